"""What every listener and client needs of the network: who may be reached in clear, TLS, and who the peer is."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

from broker.errors import SetupError


def is_loopback(host: str) -> bool:
    """Whether a host stays on this machine. A name other than `localhost` may point anywhere, so it does not."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def require_protection(host: str, *, tls: bool, allow_plaintext: bool, where: str) -> None:
    """Refuse health data in clear beyond this machine unless the operator said so. Raises: SetupError."""
    if tls or allow_plaintext or is_loopback(host):
        return
    raise SetupError(
        "network.plaintext",
        where=where,
        reason="this address is beyond loopback and TLS is not set up",
        hint="set up TLS, or allow_plaintext = true where the network itself is protected",
    )


def server_context(
    *,
    certificate: Path,
    key: Path | None,
    password: str,
    client_ca: Path | None,
    crl: Path | None,
    where: str,
) -> ssl.SSLContext:
    """TLS 1.2 or later for a listener; with `client_ca`, a client certificate is demanded (mutual TLS).

    Raises: SetupError when a file is missing or unusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password or "")
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=client_ca)
        _load_crl(context, crl)
    except (OSError, ValueError) as error:
        raise _unusable(where, error) from error
    return context


def client_context(
    *,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    password: str,
    crl: Path | None,
    where: str,
) -> ssl.SSLContext:
    """TLS 1.2 or later for a client; the server's certificate and name are always verified.

    Raises: SetupError when a file is missing or unusable.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            context.load_cert_chain(certificate, key, password or "")
        _load_crl(context, crl)
    except (OSError, ValueError) as error:
        raise _unusable(where, error) from error
    return context


def peer_of(connection: socket.socket | None) -> str:
    """Who is at the other end, as `10.0.0.7:2575` or `[::1]:2575`; empty when it is gone already."""
    try:
        return address_of(connection.getpeername()) if connection is not None else ""
    except OSError:
        return ""


def address_of(name: object) -> str:
    """An internet address as the socket module has it (host, port, …), in words; empty for anything else."""
    match name:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""


def certificate_names(peer_certificate: dict[str, Any] | None) -> tuple[str, frozenset[str]]:
    """The subject as one line (`CN=lab-a,O=Lab`) and every name an allow-list may use: it, the CN, DNS names."""
    if not peer_certificate:
        return "", frozenset()
    attributes = [pair for rdn in peer_certificate.get("subject", ()) for pair in rdn]
    short = {
        "commonName": "CN",
        "organizationName": "O",
        "organizationalUnitName": "OU",
        "countryName": "C",
    }
    subject = ",".join(
        f"{short.get(name, name)}={_escaped(value)}" for name, value in reversed(attributes)
    )
    names = {value for name, value in attributes if name == "commonName"}
    names |= {value for kind, value in peer_certificate.get("subjectAltName", ()) if kind == "DNS"}
    return subject, frozenset(names | {subject})


def _escaped(value: str) -> str:
    return "".join(
        f"\\{character}" if character in '\\,+"<>;=' else character for character in value
    )


def _load_crl(context: ssl.SSLContext, crl: Path | None) -> None:
    if crl:
        context.load_verify_locations(cafile=crl)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _unusable(where: str, error: Exception) -> SetupError:
    return SetupError(
        "tls.unusable",
        where=where,
        reason=f"a certificate, key or list of TLS cannot be used ({type(error).__name__})",
        hint="check that the files exist, are PEM, belong together, and that the password is right",
    )
