"""The provisional code of a space: made of a key and a number, never stored; and the judgment of an attempt. Pure.

A code is what the key makes of the patient's number and the number of the code, so a letter can be written again and
nothing is kept but a keyed digest. The serial number of the carte Vitale is kept as a keyed digest only.
Source: CSP R.1111-32 (code, national number, serial number of the card).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

MOST_TRIES = 5
"""Wrong attempts after which only a new code helps (T5b)."""

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 10
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})

Verdict = Literal["right", "wrong", "expired", "locked", "none"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a code: its number, the digest of it with the card's serial number, until when, tries made."""

    number: int
    digest: str
    serial: str
    valid_until: datetime
    tries: int


def code_of(key: bytes, patient: int, number: int) -> str:
    """The code with this number, in letters that are read without mistakes (Crockford): 50 bits."""
    made = _keyed(key, f"code|{patient}|{number}")
    bits = int(made, 16)
    letters = "".join(_LETTERS[(bits >> (5 * n)) & 31] for n in range(_LENGTH))
    return f"{letters[:5]}-{letters[5:]}"


def code_digest(key: bytes, patient: int, code: str) -> str:
    """The digest of a code as it was typed; spaces, hyphens and similar letters do not matter."""
    return _keyed(key, f"typed|{patient}|{code.upper().translate(_READ_AS)}")


def serial_digest(key: bytes, patient: int, serial: str) -> str:
    """The digest of a card's serial number; empty where none is known."""
    plain = "".join(serial.split())
    return _keyed(key, f"serial|{patient}|{plain}") if plain else ""


def judge(kept: Kept | None, key: bytes, patient: int, code: str, serial: str, now: datetime) -> Verdict:  # fmt: skip
    """Whether code and serial number are right. Where no serial number was given for the patient, the code alone."""
    if kept is None:
        return "none"
    if kept.tries >= MOST_TRIES:
        return "locked"
    if now >= kept.valid_until:
        return "expired"
    is_code = hmac.compare_digest(kept.digest, code_digest(key, patient, code))
    is_card = not kept.serial or hmac.compare_digest(
        kept.serial, serial_digest(key, patient, serial)
    )
    return "right" if is_code and is_card else "wrong"


def _keyed(key: bytes, text: str) -> str:
    return hashlib.blake2b(
        text.encode(), digest_size=32, key=key, person=b"carnet.code"
    ).hexdigest()
