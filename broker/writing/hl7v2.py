r"""Encodes an HL7v2 message: separators, escape sequences, character set, control id. For destinations.

Whatever a text holds, it stays the one leaf it was given as: it cannot begin a segment, field, component or
repetition, and the two characters `""` cannot be taken for the null value.
Source: HL7 v2.5.1 §2.5.4 (delimiters), §2.7 (escape sequences), table 0211 (character sets).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from broker.er7 import NULL, Component, Formatted, Repetition, Segment
from broker.errors import MappingError

UTF_8 = "UNICODE UTF-8"
CHARSETS = {
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    UTF_8: "utf-8",
}
"""Names of MSH-18 that can be written, with their codec."""

_ESCAPES = {
    "\\": "\\E\\",
    "|": "\\F\\",
    "^": "\\S\\",
    "~": "\\R\\",
    "&": "\\T\\",
    **{chr(code): f"\\X{code:02X}\\" for code in (*range(0x20), 0x7F)},
}
_TEXT = str.maketrans(_ESCAPES)
_FORMATTED = str.maketrans({**_ESCAPES, "\n": "\\.br\\"})
_QUOTED_NULL = '\\X22\\"'
"""The text `""`, which must not be read as the null value."""


def control_id(document_id: str) -> str:
    """MSH-10 of the message a document becomes: the same document, the same id, so a repeat is recognised.

    20 hexadecimal digits, the longest that HL7 v2.5.1 allows.
    """
    return hashlib.sha256(document_id.encode()).hexdigest()[:20].upper()


def to_bytes(segments: Sequence[Segment], document_id: str) -> bytes:
    """The message; each segment ends with CR. MSH-10 and MSH-18 are filled where the mapping left them empty.

    Raises: MappingError `writing.charset` for a character or a character set that cannot be written, with its place.
    """
    header = segments[0]
    fields = dict(header.fields)
    fields.setdefault(10, [((control_id(document_id),),)])
    fields.setdefault(18, [((UTF_8,),)])
    charset = fields[18][0][0][0] if fields[18][0] and fields[18][0][0] else UTF_8
    codec = CHARSETS.get(charset)
    if codec is None:
        known = ", ".join(CHARSETS)
        raise MappingError(
            "writing.charset", where="MSH-18", reason="a character set not written here", hint=known
        )
    lines = [_header(fields), *map(_segment, segments[1:])]
    return b"".join(_encoded(line, codec) for line in lines)


def escaped(text: str) -> str:
    """A leaf with everything in it that has a meaning in ER7 made harmless."""
    if text == '""':
        return _QUOTED_NULL
    if isinstance(text, Formatted):
        return text.replace("\r\n", "\n").replace("\r", "\n").translate(_FORMATTED)
    return text.translate(_TEXT)


def _header(fields: Mapping[int, Sequence[Repetition]]) -> str:
    """MSH: its first two fields are the separators themselves."""
    rest = _fields({number - 2: value for number, value in fields.items() if number > 2})
    return f"MSH|^~\\&{rest}"


def _segment(segment: Segment) -> str:
    return segment.name + _fields(segment.fields)


def _fields(fields: Mapping[int, Sequence[Repetition]]) -> str:
    last = max(fields, default=0)
    return "".join("|" + _field(fields.get(number, ())) for number in range(1, last + 1))


def _field(repetitions: Sequence[Repetition]) -> str:
    return "~".join(map(_repetition, repetitions))


def _repetition(repetition: Repetition) -> str:
    if repetition == NULL:
        return '""'
    return "^".join(map(_component, repetition))


def _component(component: Component) -> str:
    return "&".join(map(escaped, component))


def _encoded(line: str, codec: str) -> bytes:
    try:
        return line.encode(codec) + b"\r"
    except UnicodeEncodeError as error:
        where = f"{line[:3]}-{_number(line, error.start)}"
        raise MappingError(
            "writing.charset",
            where=where,
            reason=f"a character that {codec} does not have",
            hint="let MSH-18 be UNICODE UTF-8",
        ) from None


def _number(line: str, at: int) -> int:
    return line.count("|", 0, at) + (line[:3] == "MSH")
