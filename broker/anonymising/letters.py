"""Which letters may stand for a letter: of the same class, in the same character set, of as many bytes."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

VOWELS, CEDILLED = "AEIOU", "CN"
CONSONANTS = "BDFGHJKLMPQRSTVWXYZ"
DIGITS, LEADING = "0123456789", "123456789"
_SPECIAL = "ßæðøþœ"
_BLOCK = 128


def class_of(character: str, codec: str) -> str:
    """The alphabet of a letter or digit; a plain letter for one with an accent, so that É and E go the same way.

    C and N have an alphabet of their own: they are the consonants that have a form with an accent in Latin-1.
    """
    plain = plain_of(character)
    for alphabet in (VOWELS, CEDILLED, CONSONANTS, DIGITS):
        if plain in alphabet:
            return alphabet
    return _others(plain, codec)


@lru_cache(maxsize=4096)
def plain_of(character: str) -> str:
    """The upper-case letter without accent; another script's letter as it is."""
    base = unicodedata.normalize("NFD", character)[0]
    return base.upper() if base.isascii() else character


@lru_cache(maxsize=65_536)
def dressed(plain: str, like: str, codec: str) -> str:
    """The letter in the case of `like` and with its accent, or else with one that the character set has."""
    parts = unicodedata.normalize("NFD", like)
    if not parts[0].isascii() or like.isdecimal():
        return plain
    base = plain if parts[0].isupper() else plain.lower()
    if len(parts) == 1:
        return base
    wanted = unicodedata.normalize("NFC", base + parts[1:])
    if _is_like(wanted, like, codec):
        return wanted
    return _accented(base, like, codec)


def _accented(base: str, like: str, codec: str) -> str:
    """A letter with an accent on `base`, or on any letter of the same case; `like` itself when it is the only one."""
    letters = [c for c in map(chr, range(0xC0, 0x250)) if _is_like(c, like, codec)]
    letters = [c for c in letters if len(unicodedata.normalize("NFD", c)) > 1]
    same = [c for c in letters if unicodedata.normalize("NFD", c)[0] == base]
    others = same or [c for c in letters if c != like] or [like]
    return others[ord(base) % len(others)]


def _is_like(letter: str, like: str, codec: str) -> bool:
    return len(letter) == 1 and letter.isupper() == like.isupper() and _width(letter, codec) == _width(like, codec)  # fmt: skip


@lru_cache(maxsize=4096)
def _others(letter: str, codec: str) -> str:
    """The letters around this one in its script, of the same category and width."""
    kind, width = unicodedata.category(letter), _width(letter, codec)
    start = ord(letter) // _BLOCK * _BLOCK
    around = _SPECIAL if letter in _SPECIAL else _SPECIAL.upper().replace("SS", "") if letter in _SPECIAL.upper() else "".join(map(chr, range(start, start + _BLOCK)))  # fmt: skip
    found = "".join(
        c
        for c in around
        if unicodedata.category(c) == kind and plain_of(c) == c and _width(c, codec) == width
    )
    return found if letter in found and width else letter


def _width(letter: str, codec: str) -> int:
    try:
        return len(letter.encode(codec))
    except UnicodeEncodeError:
        return 0
