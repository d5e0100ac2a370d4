"""What people search a message by, out of HL7v2 bytes that gave no document. For `search_keys`.

Whatever the bytes are, nothing is raised: a place that cannot be read says nothing. Only the segments that name the
sender, the patient, the stay, orders and documents are looked at, in the first megabyte. The same places as the
mappings read: see `mappings/hl7v2`.
Source: HL7 v2.5.1 §2.14.9 MSH, §3.4.2 PID, §3.4.3 PV1, §4.5.1 ORC, §4.5.3 OBR, §4.5.6 IPC, §9.6.1 TXA, §11.6.1 RF1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from broker.errors import ParseError
from broker.parsing.charset import decode
from broker.parsing.hl7v2_separators import STANDARD, Separators, read_separators, unescape

LOOKED_AT = 1024 * 1024
"""Bytes of a message that are looked at; orders and patients stand before what is long."""
_SEGMENTS = 400
_LONGEST = 16 * 1024
_NULL = '""'

_WANTED = re.compile(
    rb"(?:\A|[\r\n\x0b\x1c])[ \t]*(?:\xef\xbb\xbf)?(MSH|PID|PV1|ORC|OBR|IPC|TXA|RF1)([!-/:-@\[-`{-~][^\r\n\x1c]*)"
)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_INS_AUTHORITIES = "1.2.250.1.213.1.4."
_DATE = re.compile(r"(\d{4})(?:-?(?!00)(\d\d)(?:-?(?!00)(\d\d))?)?")


@dataclass(slots=True)
class Landmarks:
    """Values as they were sent, unescaped and trimmed; of those that are there each once. Health data: never log it.

    `ins` and `local` are identifiers of patients; `names` the family names of each PID with its birth date, as
    `1954-02-01`.
    """

    senders: dict[str, None] = field(default_factory=dict, repr=False)
    ins: dict[str, None] = field(default_factory=dict, repr=False)
    local: dict[str, None] = field(default_factory=dict, repr=False)
    names: dict[tuple[str, str], None] = field(default_factory=dict, repr=False)
    stays: dict[str, None] = field(default_factory=dict, repr=False)
    wards: dict[str, None] = field(default_factory=dict, repr=False)
    placers: dict[str, None] = field(default_factory=dict, repr=False)
    fillers: dict[str, None] = field(default_factory=dict, repr=False)
    references: dict[str, None] = field(default_factory=dict, repr=False)
    documents: dict[str, None] = field(default_factory=dict, repr=False)


def landmarks(body: bytes, declared: str = "") -> Landmarks:
    """What can be made out of the bytes; `declared` is their charset, where it is known."""
    found = Landmarks()
    for name, fields, marks in _segments(body[:LOOKED_AT], declared):
        _READERS[name](_Segment(fields, marks), found)
    return found


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment and how to read it: `fields[n]` is field n."""

    fields: list[str] = field(repr=False)
    marks: Separators

    def repetitions(self, number: int) -> list[list[str]]:
        """The repetitions of a field, each cut into its components; those that say nothing are left out."""
        text = self.fields[number] if number < len(self.fields) else ""
        cut = [one.split(self.marks.component) for one in text.split(self.marks.repetition)]
        return [parts for parts in cut if self.leaf(parts, 1)]

    def leaf(self, parts: list[str], number: int, sub: int = 1) -> str:
        """A component, or a subcomponent of it, decoded; nothing for HL7's null."""
        text = parts[number - 1] if number <= len(parts) else ""
        if self.marks.subcomponent:
            cut = text.split(self.marks.subcomponent)
            text = cut[sub - 1] if sub <= len(cut) else ""
        elif sub > 1:
            return ""
        text = unescape(text, self.marks).strip()
        return "" if text == _NULL else text

    def each(self, *numbers: int) -> Iterator[str]:
        """The first component of every repetition of these fields."""
        for number in numbers:
            for parts in self.repetitions(number):
                yield self.leaf(parts, 1)


def _segments(body: bytes, declared: str) -> Iterator[tuple[str, list[str], Separators]]:
    if body[:2] in _UTF16_MARKS:
        body = body.decode("utf-16", "replace").encode()
    marks: Separators | None = None
    for count, found in enumerate(_WANTED.finditer(body)):
        if count >= _SEGMENTS:
            return
        name = found[1].decode()
        text = decode(found[2][:_LONGEST], declared).text
        if name == "MSH":
            marks = _separators(text)
        elif marks is None:
            marks = Separators(field=text[0])
        fields = text.split(marks.field)
        yield name, [name, marks.field, *fields[1:]] if name == "MSH" else fields, marks


def _separators(behind: str) -> Separators:
    try:
        return read_separators("MSH" + behind)[0]
    except ParseError:
        return STANDARD


def _msh(segment: _Segment, found: Landmarks) -> None:
    """MSH-3, or MSH-4 where no application is named: a namespace id, or a universal id where there is none."""
    for text in segment.fields[3:5]:
        parts = text.split(segment.marks.repetition)[0].split(segment.marks.component)
        if value := segment.leaf(parts, 1) or segment.leaf(parts, 2):
            found.senders[value] = None
            return


def _pid(segment: _Segment, found: Landmarks) -> None:
    numbers = segment.repetitions(3) or segment.repetitions(2) or segment.repetitions(4)
    for parts in numbers:
        authority = segment.leaf(parts, 4, 2) or segment.leaf(parts, 4)
        is_ins = segment.leaf(parts, 5).startswith("INS") or authority.startswith(_INS_AUTHORITIES)
        (found.ins if is_ins else found.local)[segment.leaf(parts, 1)] = None
    found.stays.update(dict.fromkeys(segment.each(18)))
    born = _DATE.match(next(segment.each(7), ""))
    if born is not None:
        day = "-".join(filter(None, born.groups()))
        found.names.update({(family, day): None for family in segment.each(5, 9)})


def _pv1(segment: _Segment, found: Landmarks) -> None:
    found.wards.update(dict.fromkeys(segment.each(3)))
    found.stays.update(dict.fromkeys(segment.each(19)))


def _order(segment: _Segment, found: Landmarks) -> None:
    """ORC and OBR: the requester's number stands in field 2, the performer's in field 3."""
    found.placers.update(dict.fromkeys(segment.each(2)))
    found.fillers.update(dict.fromkeys(segment.each(3)))
    found.references.update(dict.fromkeys(segment.each(2, 3)))


def _obr(segment: _Segment, found: Landmarks) -> None:
    _order(segment, found)
    if not found.documents:
        found.documents.update(dict.fromkeys(segment.each(3)))


def _ipc(segment: _Segment, found: Landmarks) -> None:
    found.references.update(dict.fromkeys(segment.each(1, 3)))


def _txa(segment: _Segment, found: Landmarks) -> None:
    found.documents.update(dict.fromkeys(segment.each(12)))
    found.references.update(dict.fromkeys(segment.each(14, 15)))


def _rf1(segment: _Segment, found: Landmarks) -> None:
    found.placers.update(dict.fromkeys(segment.each(6)))
    found.fillers.update(dict.fromkeys(segment.each(11)))


_READERS = {
    "MSH": _msh, "PID": _pid, "PV1": _pv1, "ORC": _order, "OBR": _obr, "IPC": _ipc, "TXA": _txa, "RF1": _rf1,
}  # fmt: skip
