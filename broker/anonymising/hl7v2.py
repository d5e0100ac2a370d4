"""HL7v2: every message of a file rewritten in place, so that line ends, envelopes, separators and escapes stay.

Fields keep their length in characters and in bytes, with two exceptions: content of an ED, and the one digit by which
the OID of the INS for tests is longer.
Source: HL7 v2.5.1 chapter 2 (§2.5 message construction, §2.7 escape sequences).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.anonymising.hl7v2_content import encapsulated
from broker.anonymising.hl7v2_types import (
    CODED,
    CODES,
    COMPONENTS,
    FIELDS,
    NATIONAL,
    PEOPLE,
    TELECOM,
)
from broker.anonymising.words import Words
from broker.mapping.hl7v2_fields import FIELD_TYPES
from broker.parsing import hl7v2
from broker.parsing.hl7v2_separators import Separators

Inner = Callable[[bytes, str], bytes]
"""Content of a document inside, and its media type, to what replaces it."""

_HEADERS = ("MSH", "FHS", "BHS")
_NULL = '""'
_SYSTEM = re.compile(r"(?:HL7|99|IHE)\w+|LN|SCT|SNM3|I10|I9C?|UCUM|ISO\+?|L|LOINC|CVX|NDC|RXNORM|CIM-?10|CCAM|ATC|MetaDMPMSS")  # fmt: skip
_RESULT = re.compile(
    r"\s*[<>=≤≥]{0,2}\s*[+-]?(?:\d{1,4}(?:[.,:/]\d{1,4})?|\d{1,3}-\d{1,3})\s*%?\s*"
)
_FREE_CODE = re.compile(r"[^\s]{1,20}")
_LIKE_DATE = re.compile(
    r"(?:19|20)\d{2}(?:0\d|1[0-2])[0-3]\d(?:\d{4}|\d{6})?(?:\.\d+)?(?:[+-]\d{4})?"
)
_PLAIN_NUMBER = re.compile(r"\s*[+-]?\d{1,10}(?:[.,]\d+)?\s*")
_LIKE_OID = re.compile(r"[0-2](?:\.\d{1,4}){4,}|2\.16\.840(?:\.\d+){3,}")
_AUTHORITY_URI = re.compile(r"(?:urn:|https?://)\S+|[0-2](?:\.\d+)+", re.IGNORECASE)
_BREAK = re.compile(r"(\r\n|\r|\n)")


@dataclass(slots=True)
class _Run:
    """One message being rewritten: how its characters are read, and what was replaced where."""

    words: Words
    inner: Inner
    places: Counter[str]
    codec: str
    separators: Separators = field(default_factory=Separators)
    escapes: re.Pattern[str] | None = field(init=False)

    def __post_init__(self) -> None:
        e = re.escape(self.separators.escape)
        self.escapes = re.compile(rf"({e}(?:[HNFSTRE]|X[0-9A-Fa-f]+|[CMZ][0-9A-Fa-f]+|\.\w{{2}}[+-]?\d*){e})") if e else None  # fmt: skip


def anonymise(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> tuple[bytes, int]:
    """The file with other people in it, and how many messages it holds. `places` counts what was replaced.

    Raises: ParseError as `broker.parsing.hl7v2.parse` does: what cannot be read is not guessed at.
    """
    messages = hl7v2.split_messages(body)
    out, at = [], 0
    codec = ""
    for message in messages:
        start = body.index(message, at)
        parsed = hl7v2.parse(message)
        codec = _reversible(message, parsed.codec)
        out.append(_rewritten(body[at:start], _Run(words, inner, places, codec)))
        run = _Run(words, inner, places, codec, parsed.separators)
        out.append(_rewritten(message, run))
        at = start + len(message)
    out.append(_rewritten(body[at:], _Run(words, inner, places, codec)))
    return b"".join(out), len(messages)


def value(kind: str, text: str, words: Words) -> str:
    """One value of a data type that stands elsewhere, as in XDS metadata, with the usual separators."""
    run = _Run(words, lambda data, _: data, Counter(), "utf-8")
    return "~".join(_repetition("", kind, one, run) for one in text.split("~"))


def _reversible(message: bytes, codec: str) -> str:
    """The codec that gives the same bytes back: without a mark of its own."""
    if codec != "utf-16":
        return codec
    return "utf-16-be" if message[:2] == b"\xfe\xff" else "utf-16-le"


def _rewritten(data: bytes, run: _Run) -> bytes:
    text = data.decode(run.codec, "surrogateescape")
    return _lines(text, run).encode(run.codec, "surrogateescape")


def _lines(text: str, run: _Run) -> str:
    """Each segment with the lines folded into it, as the parser takes them together; other lines as free text."""
    parts = _BREAK.split(text)
    out: list[str] = []
    segment: list[str] = []
    for n in range(0, len(parts), 2):
        line, end = parts[n], parts[n + 1] if n + 1 < len(parts) else ""
        if _begins(line, run) or not line.strip(" \t\x0b\x1c\x1a\0\ufeff"):
            out.append(_folded(segment, run))
            segment = []
        segment += [line, end]
    return "".join([*out, _folded(segment, run)])


def _begins(line: str, run: _Run) -> bool:
    bare = line.lstrip(" \t\x0b\x1c\x1a\0\ufeff")
    name, mark = bare[:3], bare[3:4]
    is_name = len(name) == 3 and name.isalnum() and name.isupper()
    return is_name and (mark in (run.separators.field, "") or name in _HEADERS)


def _folded(parts: list[str], run: _Run) -> str:
    """One segment over its lines; breaks stand where they stood when nothing before them changed its length."""
    if not parts:
        return ""
    lines, ends = parts[::2], parts[1::2]
    whole = "".join(lines)
    new = _segment(whole, run)
    if len(new) != len(whole):
        return new + ends[-1]
    out, at = [], 0
    for line, end in zip(lines, ends, strict=True):
        out += [new[at : at + len(line)], end]
        at += len(line)
    return "".join(out)


def _segment(line: str, run: _Run) -> str:
    bare = line.lstrip(" \t\x0b\x1c\x1a\0\ufeff")
    before, name = line[: len(line) - len(bare)], bare[:3]
    if not bare:
        return line
    if not _begins(line, run):
        return _counted(line, run.words.free(line, run.codec), "outside segments", run)
    separators = run.separators
    if name in ("FHS", "BHS") and bare[3:4]:
        separators = Separators(bare[3], *(bare[4:8] + "^~\\&"[len(bare[4:8]) :]))
        run = _Run(run.words, run.inner, run.places, run.codec, separators)
    fields = bare.split(separators.field)
    shift = 1 if name in _HEADERS else 0
    kind = fields[2] if name == "OBX" and len(fields) > 2 else ""
    for n in range(1, len(fields)):
        number = n + shift
        if fields[n].strip() and not (shift and number == 2):
            fields[n] = _field(
                name, number, fields[n], kind.partition(separators.component)[0], run
            )
    return before + separators.field.join(fields)


def _field(name: str, number: int, text: str, value_type: str, run: _Run) -> str:
    place = f"{name}-{number}"
    declared = FIELD_TYPES.get(name, "").split()
    kind = declared[number - 1].rstrip("*") if number <= len(declared) else ""
    if place == "OBX-5":
        kind = value_type.strip() or "varies"
    if kind == "ED":
        return _counted(text, encapsulated(text, run.separators, run.inner, run.words, run.codec), place, run)  # fmt: skip
    mark = run.separators.repetition
    repetitions = text.split(mark)
    new = mark.join(_repetition(place, kind, one, run) for one in repetitions)
    return _counted(text, new, place, run)


def _repetition(place: str, kind: str, text: str, run: _Run) -> str:
    if not text.strip() or text.strip() == _NULL:
        return text
    mark = run.separators.component
    parts = text.split(mark)
    if kind in CODED:
        return mark.join(_coded(parts, run, is_result=place == "OBX-5"))
    if kind in CODES and place not in FIELDS:
        return _code(parts, run)
    if place == "OBX-5" and kind in ("ST", "TX", "FT"):
        return text if _RESULT.fullmatch(text) else _as("F", text, run)
    if (kind == "NM" and not _PLAIN_NUMBER.fullmatch(text)) or (kind == "SI" and len(text) > 4):
        return _unknown(text, run)
    letters = FIELDS.get(place) or COMPONENTS.get(kind) or ("U" if kind in ("", "-", "varies", "CM") else "V")  # fmt: skip
    if letters == "U":
        return _unknown(text, run)
    if letters == "F":
        return _as("F", text, run)
    padded = letters + letters[-1] * len(parts)
    if kind in PEOPLE:
        padded = padded.replace("W", "N")
    return mark.join(_as(letter, part, run) for letter, part in zip(padded, parts, strict=False))


def _code(parts: list[str], run: _Run) -> str:
    """A field of codes: what is too long or too numerical for one, or has components of none, is not trusted."""
    mark = run.separators.component
    text = mark.join(parts)
    if len(parts) == 1:
        return text if len(text) <= 32 and not re.search(r"\d{5}", text) else _unknown(text, run)
    if len(parts) > 2 and _SYSTEM.fullmatch(parts[2].strip()):
        return mark.join(_coded(parts, run, is_result=False))
    first = parts[0] if len(parts[0].strip()) <= 3 else _as("U", parts[0], run)
    return mark.join([first, *(_as("U", part, run) for part in parts[1:])])


def _coded(parts: list[str], run: _Run, *, is_result: bool) -> list[str]:
    """A code with its display and system kept; words without a code, and the original text, are free text."""
    filled = [*parts, *[""] * (9 - len(parts))]
    new = list(parts)
    for n in (1, 4):
        if filled[n].strip():
            new[n] = _displayed(parts[n], run)
    if not filled[0].strip() and not filled[3].strip() and filled[1].strip():
        new[1] = _as("F", parts[1], run)
    if not filled[2].strip():
        is_long = re.search(r"\d{8}", filled[0]) is not None
        new[0] = _as("U", parts[0], run) if is_long else _displayed(parts[0], run)
    if is_result and not filled[2].strip() and not _FREE_CODE.fullmatch(filled[0]):
        new[0] = _as("F", parts[0], run)
        if filled[1].strip():
            new[1] = _as("F", parts[1], run)
    if filled[8].strip():
        new[8] = _as("F", parts[8], run)
    return new


def _unknown(text: str, run: _Run) -> str:
    """A field nobody knows: codes with their system, numbers and codes of one or two characters, dates, OIDs stay."""
    mark = run.separators.component
    parts = text.split(mark)
    if len(parts) > 2 and _SYSTEM.fullmatch(parts[2].strip()):
        return mark.join(_coded(parts, run, is_result=True))
    return mark.join(_as("U", part, run) for part in parts)


def _as(letter: str, text: str, run: _Run) -> str:
    bare = text.strip()
    if letter == "K" or not bare or bare == _NULL:
        return text
    if letter == "F":
        return _escaped(text, run, free=True)
    if letter in "DO" or (letter == "U" and _LIKE_DATE.fullmatch(bare)):
        return _date(text, run) if letter != "O" else _facility(text, run)
    if letter == "A":
        return run.words.authority(text) if _AUTHORITY_URI.fullmatch(bare) else _facility(text, run)
    if letter == "P" and len(bare) <= 6:
        return text
    if letter == "X" and bare.upper() in TELECOM:
        return text
    if letter == "Y" and not any(c.isdigit() for c in bare):
        return text
    if letter in "CV":
        return _displayed(text, run)
    if letter == "N":
        run.words.person(bare, run.codec)
    if letter == "U" and (len(bare) <= 2 or _LIKE_OID.fullmatch(bare)):
        return run.words.authority(text) if len(bare) > 2 and "1.2.250.1.213.1.4" in bare else text
    return _escaped(text, run, free=False)


def _date(text: str, run: _Run) -> str:
    mark = run.separators.subcomponent
    parts = text.split(mark) if mark else [text]
    return mark.join(run.words.date(part, run.codec) for part in parts)


def _facility(text: str, run: _Run) -> str:
    """An application, organisation or authority: its namespace, and the universal id beside it."""
    mark = run.separators.subcomponent
    out = []
    for part in text.split(mark) if mark else [text]:
        bare = part.strip()
        if _AUTHORITY_URI.fullmatch(bare):
            out.append(run.words.authority(part))
        elif (
            bare.upper() in NATIONAL
            or len(bare) <= 1
            or bare in ("ISO", "DNS", "GUID", "UUID", "URI", "CLIA")
        ):
            out.append(part)
        else:
            out.append(part if run.words.keep_facilities else _escaped(part, run, free=False))
    return mark.join(out)


def _displayed(text: str, run: _Run) -> str:
    """A display with its escape sequences."""
    if run.escapes is None or run.separators.escape not in text:
        return run.words.display(text, run.codec)
    parts = run.escapes.split(text)
    return "".join(p if n % 2 else run.words.display(p, run.codec) for n, p in enumerate(parts))


def _escaped(text: str, run: _Run, *, free: bool) -> str:
    """Words between the escape sequences; hexadecimal ones are replaced in what they mean when it is text."""
    change = run.words.free if free else run.words.text
    if run.escapes is None or run.separators.escape not in text:
        return change(text, run.codec)
    parts = run.escapes.split(text)
    for n, part in enumerate(parts):
        parts[n] = change(part, run.codec) if n % 2 == 0 else _hexadecimal(part, run)
    return "".join(parts)


def _hexadecimal(sequence: str, run: _Run) -> str:
    digits = sequence[2:-1]
    if sequence[1] != "X" or len(digits) % 2:
        return sequence
    said = bytes.fromhex(digits).decode("ascii", "replace")
    if not said.isprintable() or "\ufffd" in said:
        return sequence
    return sequence[:2] + run.words.text(said).encode("ascii").hex().upper() + sequence[-1]


def _counted(old: str, new: str, place: str, run: _Run) -> str:
    if new != old:
        run.places[place] += 1
    return new
