"""Certificates made for one test run: an authority, a server, partners, and the ones that must be refused."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Invented"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


class Certificates:
    """PEM files by name: `ca`, `crl`, `server`, `lab-a`, `lab-b`, `expired`, `revoked`, `stranger` (another authority)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._authority("ca", self._key)
        self.server = self._issue("server", self._key)
        self.other_name = self._issue(
            "other-name", self._key, dns="elsewhere.invalid", ip="192.0.2.1"
        )
        self.lab_a = self._issue("lab-a", self._key)
        self.lab_b = self._issue("lab-b", self._key)
        self.expired = self._issue("expired", self._key, days=-1)
        self.revoked = self._issue("revoked", self._key)
        other = ec.generate_private_key(ec.SECP256R1())
        self.other_ca = self._authority("other-ca", other)
        self.stranger = self._issue("stranger", other)
        self.crl = self._crl()

    def client(self, certificate: Path | None = None) -> ssl.SSLContext:
        """A TLS client that trusts the authority and shows this certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def _authority(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        builder = self._builder(name, key, "ca", 30).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(usage, critical=True).add_extension(
            identifier, critical=False
        )
        return self._save(name, builder.sign(key, hashes.SHA256()))

    def _issue(
        self,
        name: str,
        issuer: ec.EllipticCurvePrivateKey,
        *,
        dns: str = "localhost",
        ip: str = "127.0.0.1",
        days: int = 20,
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName(dns if name in ("server", "other-name") else f"{name}.invalid")]
            + (
                [x509.IPAddress(ipaddress.ip_address(ip))]
                if name in ("server", "other-name")
                else []
            )
        )
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        certificate = (
            self._builder(name, key, "ca", days)
            .add_extension(names, critical=False)
            .add_extension(authority, critical=False)
            .sign(issuer, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._save(name, certificate, pem)

    def _builder(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: str, days: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name("ca" if name.endswith("ca") else name))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - 10 * DAY)
            .not_valid_after(self._now + days * DAY)
        )

    def _crl(self) -> Path:
        revoked = x509.load_pem_x509_certificate(self.revoked.read_bytes())
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(revoked.serial_number)
            .revocation_date(self._now - DAY)
            .build()
        )
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name("ca"))
            .last_update(self._now - DAY)
            .next_update(self._now + DAY)
            .add_revoked_certificate(entry)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / "crl.pem"
        path.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        return path

    def _save(self, name: str, certificate: x509.Certificate, key: bytes = b"") -> Path:
        path = self._folder / f"{name}.pem"
        path.write_bytes(key + certificate.public_bytes(serialization.Encoding.PEM))
        return path
