"""What a stored value looks like, sealed or not. Pure.

The form of a value is one of: the bytes themselves; `MAGIC Z` and a frame that holds them (`packed`); `MAGIC P` and the
bytes, where these begin like one of the others. Stored is one of: this form; `MAGIC S`, the number of its data key, a
nonce and the ciphertext of the form by AES-256-GCM (NIST SP 800-38D); `MAGIC E` where the content was erased. Nonces
are random: one data key seals far fewer than the 2^32 values that §8.3 allows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from broker.encryption import packed
from broker.errors import PermanentError

KEY_BYTES = 32
NONCE_BYTES = 12
PATIENT, MONTH, FIND = 1, 2, 3
"""Kinds of data keys: of the content of one patient's record, of what was received in one month, of what rows are found by.

Of the last there is one, for as long as the installation is there: under another one nothing would be found."""
FIND_OWNER = 0

MAGIC = b"\0CA1"
SEALED = MAGIC + b"S"
"""How every sealed value begins."""
_PLAIN = MAGIC + b"P"
_PACKED = MAGIC + b"Z"
ERASED = MAGIC + b"E"
"""What stands in the place of content that was erased."""

_BEFORE_VALUE = b"="
"""Stands before what is found by: OpenSSL does not seal no bytes at all."""

_NUMBER = struct.Struct(">BqH")
_HEADER = len(SEALED) + _NUMBER.size
_BEFORE = _HEADER + NONCE_BYTES
OVERHEAD = _BEFORE + 16
"""Bytes that a sealed value is longer than what it holds."""


class KeyNumber(NamedTuple):
    """Which data key: its kind, whose it is (a patient, a month as in `values.month_of`), and the how manieth."""

    kind: int
    owner: int
    generation: int


class DataKey:
    """A data key that is open: seals and opens values."""

    __slots__ = ("_aes", "_header", "number")

    def __init__(self, number: KeyNumber, secret: bytes) -> None:
        self.number = number
        self._header = SEALED + _NUMBER.pack(*number)
        self._aes = AESGCM(secret)

    def seal(self, place: bytes, plain: bytes) -> bytes:
        """`plain` for one row: opened in another `place` (table and identity of the row) it fails."""
        nonce = os.urandom(NONCE_BYTES)
        return b"".join(
            (self._header, nonce, self._aes.encrypt(nonce, plain, self._header + place))
        )

    def open(self, place: bytes, stored: bytes) -> bytes:
        """What `seal` sealed. Raises: PermanentError("encryption.altered")."""
        try:
            return self._aes.decrypt(
                stored[_HEADER:_BEFORE], stored[_BEFORE:], stored[:_HEADER] + place
            )
        except (InvalidTag, ValueError) as error:
            raise altered(place) from error


class FindKey:
    """The key that is open of what rows are found by: the same value in the same place is always sealed the same.

    AES-256-SIV (RFC 5297) under 512 bits that are derived from the key by HKDF (RFC 5869).
    """

    __slots__ = ("_siv",)

    def __init__(self, secret: bytes) -> None:
        derived = HKDFExpand(hashes.SHA512(), 64, b"carnet find key 1").derive(secret)
        self._siv = AESSIV(derived)

    def seal(self, place: Sequence[bytes], plain: bytes) -> bytes:
        """`plain` for a place: opened in another it fails."""
        return self._siv.encrypt(_BEFORE_VALUE + plain, list(place))

    def open(self, place: Sequence[bytes], stored: bytes) -> bytes:
        """What `seal` sealed. Raises: PermanentError("encryption.altered")."""
        try:
            plain = self._siv.decrypt(stored, list(place))
        except (InvalidTag, ValueError) as error:
            raise altered(place[0]) from error
        return plain[len(_BEFORE_VALUE) :]


def number_of(stored: bytes) -> KeyNumber | None:
    """The number of the key that a value was sealed under; None for one that is not sealed."""
    if not stored.startswith(SEALED) or len(stored) < OVERHEAD:
        return None
    return KeyNumber(*_NUMBER.unpack_from(stored, len(SEALED)))


def form_of(plain: bytes, pack_from: int | None) -> bytes:
    """A value as it is stored where nothing is sealed, and as it is sealed; packed where it has `pack_from` bytes."""
    if pack_from is not None and len(plain) >= pack_from:
        frame = packed.pack(plain)
        if frame is not None:
            return _PACKED + frame
    return _PLAIN + plain if plain.startswith(MAGIC) else plain


def plain_of(place: bytes, form: bytes) -> bytes:
    """The value of a form.

    Raises: PermanentError("encryption.erased") where it was erased, ("encryption.altered") where it is none of ours.
    """
    if not form.startswith(MAGIC):
        return form
    if form.startswith(_PACKED):
        plain = packed.unpack(form[len(_PACKED) :])
        if plain is not None:
            return plain
    elif form.startswith(_PLAIN):
        return form[len(_PLAIN) :]
    elif form == ERASED:
        raise erased(place)
    raise altered(place)


def is_sealed(stored: bytes) -> bool:
    """Whether there is nothing to seal: the value is sealed or erased."""
    return stored.startswith(SEALED) or stored == ERASED


def altered(place: bytes) -> PermanentError:
    """A value that is not as it was written, or not where it was written."""
    return PermanentError(
        "encryption.altered",
        where=table_of(place),
        reason="not as it was written, or not in its place",
        hint="restore the row from a backup",
    )


def erased(place: bytes) -> PermanentError:
    """A value whose key was destroyed, or that was erased itself."""
    return PermanentError(
        "encryption.erased",
        where=table_of(place),
        reason="erased on request or by its term",
    )


def table_of(place: bytes) -> str:
    """The table of a place: what an error may say of it."""
    return place.partition(b"\0")[0].decode("ascii", "replace")
