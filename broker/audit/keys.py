"""The keys that sign the trail: made, kept in the site's key folder, and replaced.

In the folder, of each key `ID.json` (its public record, for ever) and of the one in use `ID.key` (its secret, PEM,
for its owner only); `current` names the one in use. A key that is replaced first signs the next one (`endorsement`),
so that whoever trusts the first can follow; then its secret is removed and its public record stays for verifying.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import Connection, text

from broker.audit.verify_standalone import endorsed_message, key_id, seal_message
from broker.database.types import to_micros
from broker.errors import SetupError

CURRENT = "current"

_COLUMNS = ("id", "public", "made_at", "endorsed_by", "endorsement")
_INSERT = (
    f"INSERT INTO audit_key ({', '.join(_COLUMNS)}) "  # noqa: S608 - our own columns
    f"VALUES ({', '.join(':' + name for name in _COLUMNS)}) ON CONFLICT DO NOTHING"
)


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public record of a key: 32 bytes in hexadecimal, when it was made (microseconds), who signed it."""

    id: str
    public: str
    made_at: int
    endorsed_by: str = ""
    endorsement: str = ""

    def pem(self) -> str:
        """As a PEM file (SubjectPublicKeyInfo, RFC 8410)."""
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public))
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the key in use."""

    key: PublicKey
    secret: Ed25519PrivateKey

    def seal(self, segment: int, head: bytes) -> bytes:
        """The signature of a seal: 64 bytes."""
        return self.secret.sign(seal_message(segment, head))


class KeyFolder:
    """The keys of a site. Every machine that runs a scheduler has such a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def signer(self, now: datetime) -> Signer:
        """The key in use; the first one is made here. Raises: SetupError("audit.keys")."""
        if not (self.path / CURRENT).exists():
            self._first(now)
        signer = self.existing()
        if signer is None:
            raise _broken(self.path / CURRENT)
        return signer

    def existing(self) -> Signer | None:
        """The key in use, if there is one. Raises: SetupError("audit.keys") when it cannot be read."""
        try:
            name = (self.path / CURRENT).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(self.path / CURRENT) from error
        try:
            secret = load_pem_private_key((self.path / f"{name}.key").read_bytes(), None)
            key = _record(self.path / f"{name}.json")
        except (OSError, ValueError) as error:
            raise _broken(self.path / f"{name}.key") from error
        if not isinstance(secret, Ed25519PrivateKey) or _raw(secret).hex() != key.public:
            raise _broken(self.path / f"{name}.key")
        return Signer(key, secret)

    def public(self) -> list[PublicKey]:
        """Every key of the folder, oldest first. Raises: SetupError("audit.keys")."""
        found = [_record(path) for path in self.path.glob("*.json")]
        return sorted(found, key=lambda key: (key.made_at, key.id))

    def draft(self, now: datetime) -> Signer:
        """The key that comes next, signed by the one in use, in the folder and not in use yet."""
        before = self.existing()
        secret = Ed25519PrivateKey.generate()
        public = _raw(secret)
        key = PublicKey(
            id=key_id(public),
            public=public.hex(),
            made_at=to_micros(now),
            endorsed_by=before.key.id if before else "",
            endorsement=before.secret.sign(endorsed_message(public)).hex() if before else "",
        )
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(self.path / f"{key.id}.key", pem)
        _write(self.path / f"{key.id}.json", msgspec.json.encode(key))
        return Signer(key, secret)

    def use(self, signer: Signer) -> None:
        """Sign with this key from now on, and forget the secrets of all others."""
        draft = self.path / f".{CURRENT}.{os.getpid()}"
        _write(draft, signer.key.id.encode())
        draft.replace(self.path / CURRENT)
        for path in self.path.glob("*.key"):
            if path.stem != signer.key.id:
                path.unlink(missing_ok=True)

    def _first(self, now: datetime) -> None:
        """Make the first key; of two starts at once, one key wins and the other is removed."""
        signer = self.draft(now)
        draft = self.path / f".{CURRENT}.{os.getpid()}"
        _write(draft, signer.key.id.encode())
        try:
            os.link(draft, self.path / CURRENT)
        except FileExistsError:
            for suffix in (".key", ".json"):
                (self.path / f"{signer.key.id}{suffix}").unlink()
        finally:
            draft.unlink()


def register(connection: Connection, keys: list[PublicKey]) -> None:
    """Note public keys beside the trail they sign, in one statement. Known ones stay as they are."""
    if keys:
        connection.execute(text(_INSERT), [msgspec.structs.asdict(key) for key in keys])


def registered(connection: Connection) -> list[PublicKey]:
    """The public keys beside the trail, oldest first."""
    rows = connection.execute(
        text(f"SELECT {', '.join(_COLUMNS)} FROM audit_key ORDER BY made_at, id")  # noqa: S608
    )
    return [
        PublicKey(
            id=row[0], public=row[1], made_at=int(row[2]), endorsed_by=row[3], endorsement=row[4]
        )
        for row in rows
    ]


def _record(path: Path) -> PublicKey:
    try:
        return msgspec.json.decode(path.read_bytes(), type=PublicKey)
    except (OSError, msgspec.DecodeError) as error:
        raise _broken(path) from error


def _raw(secret: Ed25519PrivateKey) -> bytes:
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _write(path: Path, data: bytes) -> None:
    """Durably, for its owner only."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _broken(path: Path) -> SetupError:
    return SetupError(
        "audit.keys",
        where=str(path),
        reason="this file of the trail's signing keys cannot be read, or does not fit the others",
        hint="restore the folder from its backup, or move it aside: the next start makes a new key",
    )
