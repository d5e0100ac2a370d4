"""Reads what an adapter must know of an HL7v2 message: its MSH segment, and nothing below it.

Sans I/O. Source: HL7 v2.5.1 §2.5.4 (message delimiters) and §2.15.9 (MSH).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
ER7_MEDIA = "x-application/hl7-v2+er7"

FIELDS = 21

_BEFORE_MSH = BOM + b" \t\r\n\x0b"
_CONTROLS = bytes(range(0x20)) + b"\x7f"
_ANY_MSH = re.compile(rb"(?:^|[\r\n\x0b\x0c\x1c])[ \t\xef\xbb\xbf]*(MSH[^\r\n]*)")


@dataclass(slots=True)
class Header:
    """The fields of one MSH segment as bytes, numbered as the standard numbers them (`field(10)` is MSH-10).

    Not frozen: one is made for every message, and freezing would double what that costs.
    """

    separator: bytes
    encoding: bytes
    fields: list[bytes]
    """At least 21 of them, MSH-1 excepted: `fields[n - 1]` is MSH-n, the missing ones empty."""

    def field(self, number: int) -> bytes:
        """MSH-`number`, for 2 to 21; empty when the segment is shorter."""
        return self.fields[number - 1]

    def component(self, field: int, number: int) -> bytes:
        """One component of the first repetition of a field, trimmed."""
        parts = self.first(field).split(self.encoding[:1] or b"^")
        return parts[number - 1].strip() if number <= len(parts) else b""

    def first(self, field: int) -> bytes:
        """The first repetition of a field."""
        return self.field(field).split(self.encoding[1:2] or b"~", 1)[0]


def read_header(message: bytes) -> Header | None:
    """The message's MSH, or None when it does not begin with one. A BOM and white space before it are passed over.

    Control characters inside the segment are dropped: what is echoed in an answer cannot end a segment or a frame.
    """
    if not message.startswith(b"MSH"):
        message = message[:64].lstrip(_BEFORE_MSH) + message[64:]
        if not message.startswith(b"MSH"):
            return None
    end = message.find(b"\r", 3)
    segment = message if end < 0 else message[:end]
    return _split(segment.split(b"\n", 1)[0])


def read_headers(message: bytes) -> list[Header]:
    """Every MSH segment in the bytes, wherever a line begins: who may hide behind the first one is seen too."""
    headers = (_split(found) for found in _ANY_MSH.findall(message))
    return [header for header in headers if header is not None]


def _split(segment: bytes) -> Header | None:
    separator = segment[3:4]
    if not separator or separator in _CONTROLS or separator.isalnum() or separator == b" ":
        return None
    if not segment.isascii() or not segment.decode("ascii").isprintable():
        segment = segment.translate(None, _CONTROLS)
    fields = segment.split(separator)
    if len(fields) < FIELDS:
        fields += [b""] * (FIELDS - len(fields))
    return Header(separator, fields[1], fields)
