"""HL7v2 in ER7: lazy, lossless, tolerant. For intake (`header`, `patient_keys`) and for mapping (`parse`).

The bytes received are kept and given back unchanged; what had to be read otherwise than written is named in
`repairs`. Segments are split into fields, never deeper: repetitions and components are cut where they are read.
Source: HL7 v2.5.1 chapter 2 (§2.5 message construction, §2.7 escape sequences, §2.10.3 batch protocol).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec

from broker.errors import ParseError
from broker.parsing.charset import decode
from broker.parsing.hl7v2_separators import (
    STANDARD,
    Separators,
    has_unknown_escape,
    read_separators,
    unescape,
)
from broker.values import cut

MAX_BYTES = 64 * 1024 * 1024
MAX_SEGMENTS = 20_000

_STARTS = re.compile(
    rb"(?:\A|[\r\n\x0b\x1c])[ \t]*(?:\xef\xbb\xbf)?(MSH|FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9\r\n])"
)
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?=\Z|[^A-Za-z0-9 _.,;:'/-])")


class Header(msgspec.Struct, frozen=True):
    """What the MSH segment says, as text; empty where it says nothing."""

    message_type: str
    control_id: str
    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    sent_at: str
    processing_id: str
    version: str
    accept_ack: str
    application_ack: str
    charset: str
    separators: Separators


class Segment:
    """One segment: `fields[0]` is its name, `fields[n]` its field n (MSH-1 included)."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: list[str]) -> None:
        self.name = name
        self.fields = fields


_HEADERS = frozenset({"MSH", "FHS", "BHS"})


@dataclass(slots=True)
class Hl7v2Message:
    """A parsed message. Holds health data: never log it."""

    raw: bytes = field(repr=False)
    segments: list[Segment] = field(repr=False)
    separators: Separators
    codec: str
    declared: str
    repairs: tuple[str, ...]
    format_name: str = "hl7v2"

    def to_bytes(self) -> bytes:
        """The message exactly as received: nothing is rebuilt, so a signature or digest still holds."""
        return self.raw

    def unescape(self, text: str) -> str:
        """Decode the escape sequences of a leaf, once, with the message's own separators."""
        return unescape(text, self.separators)

    def has_unknown_escape(self, text: str) -> bool:
        """Whether `unescape` leaves an escape character of the text as it stands."""
        return has_unknown_escape(text, self.separators)


def parse(body: bytes, *, declared: str = "") -> Hl7v2Message:
    """Read one message; `declared` is the transport's charset, used when MSH-18 is silent.

    Raises: ParseError `hl7v2.no_msh`, `hl7v2.separators`, `hl7v2.empty_batch`, `hl7v2.too_large`.
    """
    if len(body) > MAX_BYTES:
        raise ParseError("hl7v2.too_large", where="message", reason="larger than 64 MB")
    head = body
    if body[:3] != b"MSH":
        head = _from_msh(body)
    charset = "" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else _declared(head)
    decoded = decode(head, charset or declared)
    text = decoded.text.lstrip("\ufeff \t\r\n\x0b")
    separators, repairs = read_separators(text)
    repairs = decoded.repairs + repairs
    lines, line_repairs = _lines(text)
    segments, segment_repairs = _segments(lines, separators)
    if head is not body:
        repairs += ("leading_bytes",) if body[:3] != b"\xef\xbb\xbf" else ("byte_order_mark",)
    return Hl7v2Message(
        raw=body,
        segments=segments,
        separators=separators,
        codec=decoded.codec,
        declared=charset or declared,
        repairs=repairs + line_repairs + segment_repairs,
    )


def header(body: bytes) -> Header:
    """The MSH segment only, for intake. Raises ParseError as `parse` does."""
    head = body if body[:3] == b"MSH" else _from_msh(body)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        line = head.decode("utf-16", "replace").lstrip("\ufeff \t\r\n").replace("\n", "\r")
        line = line.partition("\r")[0]
    else:
        end = head.find(b"\r")
        raw = (head if end < 0 else head[:end]).partition(b"\n")[0]
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            line = raw.decode("cp1252", "replace")
    separators, _ = read_separators(line)
    f = line.split(separators.field)
    if len(f) < 18:
        f += [""] * (18 - len(f))
    kind = f[8].strip()
    code, mark, rest = kind.partition(separators.component)
    if mark:
        event = rest.partition(separators.component)[0].strip()
        code = f"{code.strip()}^{event}" if event else code.strip()
    return Header(
        code,
        f[9].strip(),
        f[2],
        f[3],
        f[4],
        f[5],
        f[6],
        f[10],
        f[11].partition(separators.component)[0],
        f[14],
        f[15],
        f[17].partition(separators.repetition)[0].strip(),
        separators,
    )


def patient_keys(body: bytes) -> tuple[tuple[str, str], ...]:
    """(authority, value) pairs of the first PID, INS first: what says whose message this is.

    From PID-3, or PID-2 and PID-4 when PID-3 names nobody. The authority is the universal id (an OID or a FINESS
    number), or else the namespace; empty when the sender names none.
    """
    start = body.find(b"\rPID") + 1 or body.find(b"\nPID") + 1
    if not start:
        return ()
    end = body.find(b"\r", start)
    raw = (body[start:] if end < 0 else body[start:end]).partition(b"\n")[0]
    at = body.find(b"MSH")
    if at < 0:
        return ()
    try:
        line = raw.decode("utf-8")
        marks = body[at + 3 : at + 16].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        line = raw.decode("cp1252", "replace")
        marks = body[at + 3 : at + 16].decode("cp1252", "replace")
    if marks[:5] == "|^~\\&":
        separators = STANDARD
    else:
        try:
            separators, _ = read_separators("MSH" + marks)
        except ParseError:
            return ()
    f = line.split(separators.field, 5)
    keys = _keys(f[3], separators) if len(f) > 3 else []
    if not keys and len(f) > 2:
        keys = _keys(f[2], separators)
        if len(f) > 4:
            keys += _keys(f[4], separators)
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one file, and what its envelope got wrong."""

    messages: list[bytes] = field(repr=False)
    repairs: tuple[str, ...] = ()


def split_batch(body: bytes) -> Batch:
    """Cut a file into messages: one, several without an envelope, or an FHS/BHS batch.

    A count in BTS-1 that differs from the messages found is the repair `batch_count`.
    """
    if body[:3] == b"MSH" and body.count(b"MSH") == 1 and b"BTS" not in body:
        return Batch([body])
    marks = list(_STARTS.finditer(body))
    messages: list[bytes] = []
    repairs: tuple[str, ...] = ()
    batch_began = 0
    for i, mark in enumerate(marks):
        end = marks[i + 1].start() if i + 1 < len(marks) else len(body)
        name = mark.group(1)
        if name == b"MSH":
            messages.append(_trimmed(body[mark.start(1) : end]))
        elif name == b"BHS":
            batch_began = len(messages)
        elif name == b"BTS":
            count = body[mark.start(1) + 4 : end].split(body[mark.end(1) : mark.end(1) + 1])[0]
            digits = count.strip()
            if digits.isdigit() and int(digits) != len(messages) - batch_began:
                repairs = ("batch_count",)
    if len(messages) == 1 and len(marks) == 1:
        messages = [body]
    if not messages:
        messages = [body]
    return Batch(messages, repairs)


def split_messages(body: bytes) -> list[bytes]:
    """The messages of one file, in order; the whole body when no MSH is found, so that parsing says why."""
    return split_batch(body).messages


def _from_msh(body: bytes) -> bytes:
    """The bytes from MSH on: past a BOM, blank lines, or an envelope. Raises when there is no MSH."""
    if body[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        text = body.decode("utf-16", "replace").lstrip("\ufeff \t\r\n")
        if text.startswith("MSH"):
            return body
    found = _STARTS.search(body)
    while found is not None and found.group(1) != b"MSH":
        found = _STARTS.search(body, found.end())
    if found is not None:
        return body[found.start(1) :]
    if re.match(rb"\s*(?:\xef\xbb\xbf)?(?:FHS|BHS)", body):
        raise ParseError("hl7v2.empty_batch", where="BHS", reason="the envelope holds no message")
    if not body.strip():
        raise ParseError("hl7v2.no_msh", where="message", reason="the message is empty")
    if body.lstrip()[:3] == b"MSH":
        raise ParseError("hl7v2.separators", where="MSH-1", reason="no field separator after MSH")
    raise ParseError("hl7v2.no_msh", where="MSH", reason="does not begin with an MSH segment")


def _declared(head: bytes) -> str:
    """MSH-18, first repetition, read from the bytes before any decoding."""
    end = head.find(b"\r")
    line = (head if end < 0 else head[:end]).partition(b"\n")[0]
    fields = line.split(line[3:4] or b"|", 18)
    if len(fields) < 18:
        return ""
    return fields[17].partition(b"~")[0].partition(b"^")[0].decode("ascii", "ignore").strip()


def _lines(text: str) -> tuple[list[str], tuple[str, ...]]:
    if "\n" not in text:
        return cut(text, "\r"), ()
    unix = text.replace("\r\n", "\n")
    mixed = "\r" in unix
    lines = unix.replace("\r", "\n").split("\n")
    return lines, ("line_ends_mixed",) if mixed else ("line_ends",)


def _segments(lines: list[str], separators: Separators) -> tuple[list[Segment], tuple[str, ...]]:
    """Cut the segments; a line that begins no segment is the rest of the one before (folded)."""
    mark = separators.field
    whole: list[str] = []
    folded = blank = unreadable = False
    for line in lines:
        if line[3:4] == mark and line[:3].isalnum() and line[:3].isupper():
            whole.append(line)
            continue
        stripped = line.strip(" \t\x0b\x1c\x1a\0")
        if not stripped:
            blank = bool(whole)
        elif _begins_segment(stripped, mark):
            whole.append(stripped)
        elif blank or not whole:
            unreadable = True
        else:
            whole[-1] += line
            folded = True
    if len(whole) > MAX_SEGMENTS:
        raise ParseError("hl7v2.too_large", where="message", reason="more than 20,000 segments")
    segments = [Segment(line[:3], cut(line, mark)) for line in whole]
    for segment in segments:
        if segment.name in _HEADERS:
            segment.fields.insert(1, mark)
    repairs = ("folded_lines",) if folded else ()
    return segments, repairs + (("lines_ignored",) if unreadable else ())


def _begins_segment(line: str, mark: str) -> bool:
    name = line[:3]
    if line[3:4] == mark:
        return name.isalnum() and name.isupper()
    return len(line) == 3 and _SEGMENT.match(line) is not None


def _keys(text: str, separators: Separators) -> list[tuple[str, str]]:
    if not text:
        return []
    keys: list[tuple[str, str]] = []
    for repetition in text.split(separators.repetition):
        c = repetition.split(separators.component)
        value = c[0].strip()
        if not value or value == '""':
            continue
        authority = ""
        if len(c) > 3:
            sub = c[3].split(separators.subcomponent) if separators.subcomponent else [c[3]]
            authority = (sub[1].strip() if len(sub) > 1 else "") or sub[0].strip()
        is_ins = (len(c) > 4 and c[4][:3] == "INS") or authority.startswith("1.2.250.1.213.1.4.")
        if is_ins:
            keys.insert(0, (authority, value))
        else:
            keys.append((authority, value))
    return keys


def _trimmed(message: bytes) -> bytes:
    """A message cut out of a file: without the blank lines and frame bytes after it."""
    return message.rstrip(b"\r\n\x0b\x1c \t\x1a")
