"""What stands for a name, a number, a date or a text: the same for the same, under one key, in the same shape.

The unit is the word: a run of letters and digits. So a name is the same in a field and in a document inside, and an
identifier the same as part of a reference. Letters stay letters of their class, digits digits, all else stays;
characters and bytes are as many as before. In free text a word depends on the whole text as well: words cannot be
counted over many texts, and a name there is another one than in its field.
Source of the INS: `broker.identity.ins`. UUID: RFC 9562 §4; its version and variant stay.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from hashlib import blake2b

from broker.anonymising.letters import DIGITS, LEADING, class_of, dressed, plain_of
from broker.anonymising.permutation import permuted
from broker.identity import ins

_UNIT = re.compile(
    r"(?P<kept>\burn:(?:oid|uuid):|\b(?:https?|mailto|tel|fax|ftp|file)(?=:)|@[A-Z][A-Z0-9]{2}(?:\.\d+)+)"
    r"|(?P<uuid>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<oid>(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){4,}(?:\.\w+)?(?!\w))"
    r"|(?P<word>[^\W_]+)",
    re.IGNORECASE,
)
_INS_OID = re.compile(r"(?<![\d.])1\.2\.250\.1\.213\.1\.4\.[89](?![\d.])")
_INS = re.compile(r"[1-8]\d{2}(?:0[1-9]|1[0-2]|\d\d)(?:\d{2}|2[AB])\d{6}(?:\d{2})?", re.ASCII)
_HL7_DATE = re.compile(r"(\d{4})(?:(\d{2})(?:(\d{2})(?:\d{2}){0,3}(?:\.\d*)?)?)?(?:[+-]\d{2,4})?\Z", re.ASCII)  # fmt: skip
_ISO_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ][\d:.]*)?(?:Z|[+-]\d{2}:?\d{2})?)?)?\Z", re.ASCII)  # fmt: skip
_SLASHED = re.compile(r"(\d{2})([/.-])(\d{2})\2(\d{4})(?=\D|\Z)", re.ASCII)
_LETTERS = re.compile(r"[^\W\d_]+")
_NAME_LEAST = 3
_LONG = 9
"""Digits from which the first one stays: it says the kind of an INS or of a French national identifier."""

_CHUNK = 48
"""Characters permuted together; a longer run is taken in pieces."""


class Words:
    """The replacements of one run. Remembers them, so it lives as long as the run and no longer."""

    def __init__(self, key: bytes, *, keep_facilities: bool = False) -> None:
        self._key = blake2b(key, person=b"carnet").digest()
        self.keep_facilities = keep_facilities
        weeks = 10 + int.from_bytes(blake2b(b"days", key=self._key).digest()) % 400
        self.shift = timedelta(days=-7 * weeks)
        self._known: dict[tuple[str, str, bytes], str] = {}
        self._people: set[str] = set()

    def text(self, text: str, codec: str = "utf-8", *, tweak: bytes = b"") -> str:
        """Words, identifiers, references: each unit replaced by itself."""
        return _UNIT.sub(lambda found: self._unit(found, codec, tweak), text)

    def person(self, text: str, codec: str = "utf-8") -> str:
        """A person's name; its words are remembered, for displays that hold it."""
        self._people.update(
            word.casefold() for word in _LETTERS.findall(text) if len(word) >= _NAME_LEAST
        )
        return self.text(text, codec)

    def forget_people(self) -> None:
        """Begin another file: the names of one say nothing about the displays of the next."""
        self._people.clear()

    def display(self, text: str, codec: str = "utf-8") -> str:
        """The display of a code: kept but for names of people of this file, an INS, and dates in it."""
        dated = _SLASHED.sub(self._slashed, text)
        return _UNIT.sub(lambda found: self._shown(found, codec), dated)

    def _shown(self, found: re.Match[str], codec: str) -> str:
        word = found["word"]
        if word is None:
            return found[0]
        is_number = len(word) in (13, 15) and _INS.fullmatch(word) is not None
        return (
            self._unit(found, codec, b"") if is_number or word.casefold() in self._people else word
        )

    def free(self, text: str, codec: str = "utf-8") -> str:
        """What a person wrote: the same text again for the same text, and nothing learnt for another one."""
        same = blake2b(" ".join(text.split()).encode("utf-8", "replace"), key=self._key)
        return self.text(text, codec, tweak=same.digest()[:16])

    def facility(self, text: str, codec: str = "utf-8") -> str:
        """The name or number of an application or an organisation."""
        return text if self.keep_facilities else self.text(text, codec)

    def authority(self, text: str) -> str:
        """An authority's OID as it is; those of the INS become the one for tests."""
        return _INS_OID.sub(ins.TEST, text)

    def date(self, text: str, codec: str = "utf-8") -> str:
        """A date or time of HL7 or ISO form moved by the run's days; anything else as words.

        An impossible one is kept; a month or day of zero stays zero, as senders write what is not known.
        """
        bare = text.strip()
        found = _HL7_DATE.match(bare) or _ISO_DATE.match(bare)
        if found is None:
            return _SLASHED.sub(self._slashed, text) if _SLASHED.match(bare) else self.text(text, codec)  # fmt: skip
        year, month, day = found.groups()
        try:
            moved = date(int(year), int(month or 0) or 7, int(day or 0) or (15 if month else 1))
            moved += self.shift
        except (ValueError, OverflowError):
            return text
        mark = "-" if "-" in bare[:5] else ""
        written = [f"{moved.year:04}"]
        written += [month if int(month) == 0 else f"{moved.month:02}"] if month else []
        written += [day if int(day) == 0 else f"{moved.day:02}"] if day else []
        head, at = mark.join(written), text.index(bare)
        return text[:at] + head + text[at + len(head) :]

    def _slashed(self, found: re.Match[str]) -> str:
        day, mark, month, year = found.groups()
        try:
            moved = date(int(year), int(month), int(day)) + self.shift
        except (ValueError, OverflowError):
            return self.text(found[0])
        return f"{moved.day:02}{mark}{moved.month:02}{mark}{moved.year:04}"

    def _unit(self, found: re.Match[str], codec: str, tweak: bytes) -> str:
        kind, text = found.lastgroup or "", found[0]
        if kind == "kept":
            return text
        known = (text, codec, tweak)
        if known not in self._known:
            self._known[known] = self._new(kind, text, codec, tweak)
        return self._known[known]

    def _new(self, kind: str, text: str, codec: str, tweak: bytes) -> str:
        if kind == "uuid":
            return self._uuid(text)
        if kind == "oid":
            return self._oid(text, codec)
        if len(text) in (13, 15) and _INS.fullmatch(text):
            return self._ins(text)
        return self._word(text, codec, tweak)

    def _word(self, text: str, codec: str, tweak: bytes = b"") -> str:
        plain = "".join(map(plain_of, text))
        alphabets = [class_of(c, codec) for c in text]
        if text.isdecimal() and text.isascii():
            first = text[0] if text[0] == "0" or len(text) >= _LONG else LEADING
            alphabets[0] = first
        new = self._permuted(plain, alphabets, tweak)
        return "".join(dressed(n, o, codec) for n, o in zip(new, text, strict=True))

    def _uuid(self, text: str) -> str:
        plain = text.lower()
        alphabets = ["0123456789abcdef" if c != "-" else "-" for c in plain]
        alphabets[14], alphabets[19] = plain[14], plain[19]
        new = self._permuted(plain, alphabets, b"uuid")
        return new.upper() if text.isupper() else new

    def _oid(self, text: str, codec: str) -> str:
        """The long arcs replaced, or the last two: they say whose object it is; the short ones who counts them."""
        arcs = text.split(".")
        own = [n for n, arc in enumerate(arcs) if n > 2 and (len(arc) > 4 or not arc.isdecimal())]
        for n in own or (len(arcs) - 2, len(arcs) - 1):
            arcs[n] = self._word(arcs[n], codec)
        return ".".join(arcs)

    def _ins(self, text: str) -> str:
        """Another number with the same sex digit; the key fits where it fitted, and does not where it did not."""
        months = [f"{n:02}" for n in range(1, 13)]
        month = months[self._choice(text[:13], len(months))]
        alphabets = [text[0], DIGITS, DIGITS, month[0], month[1], text[5], text[6], *[DIGITS] * 6]
        if text[6].isdecimal():
            alphabets[5], alphabets[6] = LEADING[:8], DIGITS
        plain = text[:3] + month + text[5:13]
        if text[5] not in alphabets[5]:
            alphabets[5] = DIGITS
        new = self._permuted(plain, alphabets, b"ins")
        if len(text) == 13:
            return new
        off = (int(text[13:]) - ins.key_of(text[:13])) % 97
        if ins.is_valid(text):
            return f"{new}{ins.key_of(new):02}"
        return f"{new}{(ins.key_of(new) - 1 + (off or 1)) % 97 + 1:02}"

    def _choice(self, text: str, size: int) -> int:
        return int.from_bytes(blake2b(text.encode(), key=self._key).digest()) % size

    def _permuted(self, plain: str, alphabets: list[str], tweak: bytes) -> str:
        if len(plain) > _CHUNK:
            starts = range(0, len(plain), _CHUNK)
            pieces = [(plain[n : n + _CHUNK], alphabets[n : n + _CHUNK]) for n in starts]
            return "".join(self._permuted(some, of, tweak) for some, of in pieces)
        places = [alphabet.index(c) for c, alphabet in zip(plain, alphabets, strict=True)]
        new = permuted(places, [len(a) for a in alphabets], self._key, tweak)
        return "".join(alphabet[n] for n, alphabet in zip(new, alphabets, strict=True))
