"""The site's master keys: a text of one key a line, oldest first, kept apart from the database.

`ID KEY`, 16 and 64 hexadecimal digits; the id is the key's fingerprint, so a key that was mistyped is found. Blank lines
and those that begin with `#` are skipped. The last key is the one that a rotation goes to.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.encryption.sealed import KEY_BYTES, NONCE_BYTES, KeyNumber
from broker.errors import PermanentError, SetupError

_LINE = re.compile(r"([0-9a-f]{16}) ([0-9a-f]{64})", re.ASCII)
_HEAD = (
    "# Master keys of this Carnet, the newest last. Without them nothing it has encrypted can be read.\n"
    "# Keep a copy, and keep it apart from the backups of the database.\n"
)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Master keys by their id, oldest first."""

    keys: Mapping[str, bytes] = field(repr=False)

    @property
    def newest(self) -> str:
        """The id of the newest key."""
        return list(self.keys)[-1]

    def wrap(self, key_id: str, number: KeyNumber, secret: bytes) -> bytes:
        """A data key as it may stand in the database. Raises: KeyError for a master key that is not here."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.keys[key_id]).encrypt(nonce, secret, _beside(key_id, number))

    def unwrap(self, key_id: str, number: KeyNumber, wrapped: bytes) -> bytes:
        """What `wrap` wrapped. Raises: KeyError; PermanentError("encryption.altered")."""
        try:
            return AESGCM(self.keys[key_id]).decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _beside(key_id, number)
            )
        except (InvalidTag, ValueError) as error:
            raise PermanentError(
                "encryption.altered",
                where="data_key",
                reason="a data key is not as it was written",
                hint="restore the table data_key from a backup",
            ) from error


def _beside(key_id: str, number: KeyNumber) -> bytes:
    return b"carnet data key 1\0%s\0%d\0%d\0%d" % (key_id.encode(), *number)


def new_line() -> str:
    """A new key as a line of a keyring. A secret."""
    key = secrets.token_bytes(KEY_BYTES)
    return f"{fingerprint(key)} {key.hex()}"


def fingerprint(key: bytes) -> str:
    """The id of a key; tells nothing of it."""
    return hashlib.sha256(b"carnet master key fingerprint\0" + key).hexdigest()[:16]


def parse(text: str, where: str) -> Keyring:
    """The keys of a text. Raises: SetupError("encryption.keyring") naming the line, never what stands in it."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        key = bytes.fromhex(match[2]) if match else b""
        if match is None or fingerprint(key) != match[1]:
            raise SetupError(
                "encryption.keyring",
                where=f"{where}, line {number}",
                reason="not a master key and its id",
                hint="restore the keyring from its copy; `carnet encryption key` makes a new line",
            )
        keys[match[1]] = key
    if not keys:
        raise SetupError(
            "encryption.keyring",
            where=where,
            reason="there is no key in it",
            hint="restore the keyring from its copy",
        )
    return Keyring(keys)


def read(path: Path) -> Keyring:
    """The keys of a file. Raises: SetupError("encryption.keyring")."""
    try:
        return parse(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            "encryption.keyring",
            where=str(path),
            reason=f"cannot be read ({type(error).__name__})",
            hint="let the user that runs Carnet read it, or restore it from its copy",
        ) from error


def make(path: Path) -> None:
    """A keyring with a first key, for its owner only; one that is there stays: two starts agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, f"{_HEAD}{new_line()}\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def add(path: Path) -> str:
    """Add a new key to a keyring, in one step and durably; returns its id. Raises: SetupError."""
    read(path)
    line = new_line()
    try:
        draft = _draft(path, f"{path.read_text(encoding='ascii').rstrip()}\n{line}\n")
        draft.replace(path)
    except OSError as error:
        raise SetupError(
            "encryption.keyring",
            where=str(path),
            reason=f"cannot be written ({type(error).__name__})",
            hint="let whoever rotates write the file and its folder",
        ) from error
    _sync(path.parent)
    return line.partition(" ")[0]


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
