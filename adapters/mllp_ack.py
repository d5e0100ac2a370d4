"""Says a Receipt in HL7v2: the acknowledgement to one message, for MLLP and for HL7v2 over HTTP.

A pure function of the request's bytes and the receipt: a duplicate gets the first answer again, byte for byte.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b

from adapters.hl7_header import FIELDS, Header, read_header
from broker.envelope import Receipt

_DEFAULT = Header(b"|", rb"^~\&", [b"MSH", rb"^~\&", *[b""] * (FIELDS - 2)])
_NOT_SAID = (b"", b'""')
_BEFORE_ERR8 = frozenset((b"2.1", b"2.2", b"2.3", b"2.3.1", b"2.4"))
_PLACE = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?)?"
)
_ENCODINGS = {
    b"8859/1": "latin-1",
    b"8859/15": "iso8859-15",
    b"UNICODE UTF-8": "utf-8",
    b"UTF-8": "utf-8",
}

_TABLE_0357 = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    207: "Application internal error",
}
_CONDITIONS = {
    "hl7v2.no_msh": 100,
    "hl7v2.missing": 101,
    "media.unknown": 200,
    "mapping.none": 200,
    "control_id.conflict": 205,
}
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_UNACCEPTABLE = frozenset((200, 201, 202, 203))


def acknowledge(request: bytes, receipt: Receipt) -> bytes:
    """The answer to `request`: one ER7 message, segments ended by CR, unframed; empty when none was asked for.

    MSH-15 and MSH-16 both empty mean original mode (AA/AE/AR). Otherwise MSH-15 says when an accept acknowledgement
    (CA/CE/CR) is due; when none is, MSH-16 says whether the application acknowledgement is, which Carnet gives at
    once since it has taken the message over. A sender that leaves MSH-15 empty is never left without an answer.
    A refusal for now is AR, or CE in enhanced mode; for good it is AE or CE, and AR or CR where type, event,
    processing id or version are not taken. MSH-7 is the instant of first reception, MSH-10 comes from the message id.
    Source: HL7 v2.5.1 §2.9.2 and §2.9.3 (modes), tables 0008, 0155 and 0357.
    """
    header = read_header(request) or _DEFAULT
    prefix = _mode(header, accepted=receipt.outcome == "accepted")
    if not prefix:
        return b""
    fields = header.fields
    separator, encoding = header.separator, header.encoding or _DEFAULT.encoding
    msh = [
        b"MSH",
        encoding,
        fields[4],
        fields[5],
        fields[2],
        fields[3],
        _instant(receipt.first_received_at),
        b"",
        _type(header, encoding[:1]),
        _own_control_id(request, receipt.message_id),
        fields[10] or b"P",
        fields[11] or b"2.5.1",
    ]
    if fields[17]:
        msh += (b"", b"", b"", b"", b"", header.first(18))
    if receipt.outcome == "accepted":
        msa = separator.join((b"MSA", prefix + b"A", fields[9]))
        return b"%b\r%b\r" % (separator.join(msh), msa)
    escape = _Escape(separator, encoding, header.first(18).strip())
    condition = _CONDITIONS.get(receipt.code, 207)
    verdict = [b"MSA", prefix + _fate(receipt, condition, enhanced=prefix == b"C"), fields[9]]
    if header.component(12, 1) in _BEFORE_ERR8:
        verdict.append(escape(receipt.text or receipt.code))
    err = _err(header, receipt, condition, escape, encoding)
    return b"".join(separator.join(segment) + b"\r" for segment in (msh, verdict, err))


def _mode(header: Header, *, accepted: bool) -> bytes:
    """`A` or `C`, the first letter of the code of the answer due; empty when none is due."""
    accept, application = header.fields[14].strip(), header.fields[15].strip()
    if not accept and not application:
        return b"A"
    if accept in _NOT_SAID:
        if application in _NOT_SAID or _due(application, accepted=accepted):
            return b"A"
        return b"C"
    if _due(accept, accepted=accepted):
        return b"C"
    if application not in _NOT_SAID and _due(application, accepted=accepted):
        return b"A"
    return b""


def _due(condition: bytes, *, accepted: bool) -> bool:
    """Table 0155; a condition that is not in it counts as always."""
    if condition == b"NE":
        return False
    if condition == b"ER":
        return not accepted
    return accepted or condition != b"SU"


def _fate(receipt: Receipt, condition: int, *, enhanced: bool) -> bytes:
    if receipt.retry_after is not None:
        return b"E" if enhanced else b"R"
    return b"R" if condition in _UNACCEPTABLE else b"E"


def _instant(instant: datetime | None) -> bytes:
    if instant is None:
        return b""
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return b"%04d%02d%02d%02d%02d%02d.%03d+0000" % (
        utc.year,
        utc.month,
        utc.day,
        utc.hour,
        utc.minute,
        utc.second,
        utc.microsecond // 1000,
    )


def _type(header: Header, component: bytes) -> bytes:
    parts = header.fields[8].split(component, 2)
    event = parts[1].strip() if len(parts) > 1 else b""
    return component.join((b"ACK", event, b"ACK")) if event else b"ACK"


def _own_control_id(request: bytes, message_id: str) -> bytes:
    """20 characters, the length of MSH-10 in v2.5.1: the time and the last random digits of the message id."""
    if _UUID.fullmatch(message_id):
        return (message_id[:8] + message_id[9:13] + message_id[15:18] + message_id[31:]).encode()
    return blake2b(request, digest_size=10).hexdigest().encode()


def _err(
    header: Header, receipt: Receipt, condition: int, escape: _Escape, encoding: bytes
) -> tuple[bytes, ...]:
    component = encoding[:1]
    table = b"messageErrorCondition" if header.component(17, 1) == b"FRA" else b"HL70357"
    place = _PLACE.fullmatch(receipt.where)
    erl = b""
    if place:
        parts = [(part or "").encode() for part in place.groups()]
        parts[1] = parts[1] or b"1"
        if parts[2]:
            parts[3] = parts[3] or b"1"
        erl = component.join(parts).rstrip(component)
    return (
        b"ERR",
        b"",
        erl,
        component.join((b"%d" % condition, escape(_TABLE_0357[condition]), table)),
        b"E",
        escape(receipt.code),
        b"",
        b"" if place or not receipt.where else escape(receipt.where),
        escape(receipt.text),
    )


class _Escape:
    """Writes text between the request's own delimiters; nothing in it can begin a field or a segment.

    Source: HL7 v2.5.1 §2.7.1 (escape sequences \\F\\ \\S\\ \\R\\ \\E\\ \\T\\).
    """

    __slots__ = ("_charset", "_table")

    def __init__(self, separator: bytes, encoding: bytes, charset: bytes) -> None:
        is_plain = (separator + encoding).isascii()
        self._charset = _ENCODINGS.get(charset, "ascii") if is_plain else "ascii"
        mark = encoding[2:3].decode("latin-1")
        pairs = zip((separator + encoding[:4]).decode("latin-1"), "FSRET", strict=False)
        table: dict[int, str] = dict.fromkeys((*range(0x20), 0x7F), " ")
        for character, letter in pairs:
            table[ord(character)] = f"{mark}{letter}{mark}" if mark else " "
        self._table = table

    def __call__(self, text: str) -> bytes:
        return text.translate(self._table).encode(self._charset, "replace")
