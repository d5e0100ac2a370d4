"""The keys of an archive: one of the house, and from it one for each file.

AES-256-GCM (NIST SP 800-38D) with a key of its own for each file, derived with HKDF-SHA-256 (RFC 5869) from the house's
key and the file's random salt. A frame's nonce is its number: under one key no nonce comes twice.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.errors import PermanentError

KEY_BYTES = 32
SALT_BYTES = 16
_FILE = b"carnet archive file 1"


class Cipher:
    """Encrypts and decrypts the frames of one file. `header` is what the file says of itself: it cannot be exchanged."""

    def __init__(self, key: bytes, salt: bytes, header: bytes) -> None:
        own = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_FILE).derive(key)
        self._aes = AESGCM(own)
        self._header = header

    def encrypt(self, number: int, plain: bytes, *, is_last: bool = False) -> bytes:
        """A frame, 16 bytes longer than what it holds."""
        return self._aes.encrypt(_nonce(number), plain, self._beside(is_last))

    def decrypt(self, number: int, frame: bytes, *, is_last: bool = False) -> bytes:
        """What a frame holds. Raises: PermanentError("archive.altered") for a frame that is not as it was written."""
        try:
            return self._aes.decrypt(_nonce(number), frame, self._beside(is_last))
        except InvalidTag as error:
            raise PermanentError(
                "archive.altered", where=f"frame {number}", reason="not as it was written"
            ) from error

    def _beside(self, is_last: bool) -> bytes:
        return self._header + (b"last" if is_last else b"")


def fingerprint(key: bytes) -> str:
    """By what a file says which key it needs; tells nothing of the key."""
    return hashlib.sha256(b"carnet archive fingerprint\0" + key).hexdigest()[:16]


def derived(digest_key: bytes) -> bytes:
    """The house's archive key where none is set: derived from its digest key."""
    return HKDF(
        algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"carnet archive key 1"
    ).derive(digest_key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
