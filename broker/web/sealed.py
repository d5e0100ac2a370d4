"""Names that tell nothing: ids of patients, and links of pages that only their owner can follow, for a while.

A patient's id is its number under a key of the installation (one AES block: the number and zeros that must come back),
so ids cannot be counted through. A page's link is the search itself, sealed for its owner with AES-GCM: nothing is
kept on the server, any process can follow it, nobody else can, and it ends. Both keys come from the installation's
key by HKDF.
"""

from __future__ import annotations

import base64
import binascii
import os
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.records.looking import Place

_ZEROS = bytes(8)
_NONCE = 12
MAX_LINK = 8_000


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """A search as a link carries it: type, patient, the parameters as given, and where to go on."""

    resource: str
    patient: int
    pairs: tuple[tuple[str, str], ...]
    place: Place | None
    until: int


class Seals:
    """Makes and opens both kinds of names."""

    def __init__(self, secret: bytes, ttl: timedelta) -> None:
        self._ids = algorithms.AES(_derived(secret, b"carnet web patient id"))
        self._accesses = algorithms.AES(_derived(secret, b"carnet web access id"))
        self._consents = algorithms.AES(_derived(secret, b"carnet web consent id"))
        self._links = AESGCM(_derived(secret, b"carnet web page link"))
        self._ttl = ttl
        # A page asks for the same few at each of its resources.
        self._ids_known = lru_cache(maxsize=1_024)(self._id_of)

    def id_of(self, patient: int) -> str:
        """The id of a patient: 32 hexadecimal digits."""
        return self._ids_known(patient)

    def _id_of(self, patient: int) -> str:
        block = patient.to_bytes(8, "big") + _ZEROS
        # One block, one key, no chaining: the input is never longer and each number is its own.
        encryptor = Cipher(self._ids, modes.ECB()).encryptor()  # noqa: S305 - a permutation of one block
        return (encryptor.update(block) + encryptor.finalize()).hex()

    def patient_of(self, text: str) -> int:
        """The number behind an id; 0, which is nobody's, for any that was not given out."""
        try:
            block = bytes.fromhex(text) if len(text) == 32 else b""
        except ValueError:
            block = b""
        if len(block) != 16:
            return 0
        decryptor = Cipher(self._ids, modes.ECB()).decryptor()  # noqa: S305 - as above
        plain = decryptor.update(block) + decryptor.finalize()
        number = int.from_bytes(plain[:8], "big")
        return number if plain[8:] == _ZEROS and number < 2**63 else 0

    def id_of_access(self, visit: int, n: int) -> str:
        """The id of an access: 32 hexadecimal digits that count nothing."""
        return _id_of_line(self._accesses, visit, n)

    def access_of(self, text: str) -> tuple[int, int]:
        """Visit and line behind an id; (0, 0), which is none, for any that was not given out."""
        return _line_of(self._accesses, text)

    def id_of_consent(self, person: int, n: int) -> str:
        """The id of what a person said on one matter: 32 hexadecimal digits that count nothing."""
        return _id_of_line(self._consents, person, n)

    def consent_of(self, text: str) -> tuple[int, int]:
        """Person and first word behind an id; (0, 0), which is none, for any that was not given out."""
        return _line_of(self._consents, text)

    def link(self, stored: Stored, owner: bytes) -> str:
        """A search as a name in a link, for its owner alone."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._links.encrypt(nonce, msgspec.json.encode(stored), owner)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def until(self, now: datetime) -> int:
        """When a search stored now ends, in seconds since 1970."""
        return int((now + self._ttl).timestamp())

    def follow(self, name: str, owner: bytes, now: datetime) -> Stored | None:
        """The search behind a link; None when it is over, somebody else's, or none at all."""
        if len(name) > MAX_LINK:
            return None
        try:
            raw = base64.b64decode(name.encode() + b"=" * (-len(name) % 4), b"-_", validate=True)
            plain = self._links.decrypt(raw[:_NONCE], raw[_NONCE:], owner)
        except (InvalidTag, binascii.Error, ValueError):
            return None
        stored = msgspec.json.decode(plain, type=Stored)
        return stored if now.timestamp() < stored.until else None


def _id_of_line(key: algorithms.AES, whole: int, n: int) -> str:
    block = whole.to_bytes(8, "big") + n.to_bytes(4, "big") + _ZEROS[:4]
    encryptor = Cipher(key, modes.ECB()).encryptor()  # noqa: S305 - a permutation of one block
    return (encryptor.update(block) + encryptor.finalize()).hex()


def _line_of(key: algorithms.AES, text: str) -> tuple[int, int]:
    try:
        block = bytes.fromhex(text) if len(text) == 32 else b""
    except ValueError:
        block = b""
    if len(block) != 16:
        return 0, 0
    decryptor = Cipher(key, modes.ECB()).decryptor()  # noqa: S305 - as above
    plain = decryptor.update(block) + decryptor.finalize()
    whole, n = int.from_bytes(plain[:8], "big"), int.from_bytes(plain[8:12], "big")
    is_ours = plain[12:] == _ZEROS[:4] and whole < 2**63 and n < 2**31
    return (whole, n) if is_ours else (0, 0)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=purpose).derive(secret)
