"""Cuts a file into its HL7v2 messages: one, several, or a batch with FHS/BHS ... BTS/FTS. Sans I/O.

Source: HL7 v2.5.1 §2.10.3 (batch protocol). Real files are looser (CR, LF, CRLF, a BOM, MLLP bytes, no envelope,
wrong counts): each tolerance is named in `defects`, and every message keeps its own bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A segment begins a line. MSH, FHS and BHS show their separator twice, around the encoding characters; so a line
# of text that merely begins with these letters is not one.
_LINE = rb"(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n\x0b\x1c]))[ \t]*"
_EDGE = re.compile(
    _LINE + rb"(?:(?P<msh>MSH)(?P<s>[^\w\s])[^\w\s]{1,5}(?P=s)"
    rb"|(?P<head>FHS|BHS)(?=[^\w\s]|[\r\n]|\Z)|(?P<tail>BTS|FTS)(?=[^\w\s]|[\r\n]|\Z))"
)
_COUNT = re.compile(rb"BTS[^\w\s]([0-9]{1,9})(?![0-9])")
_FRAME = b"\x0b\x1c"


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one file in their order, and what was odd about their wrapping.

    `defects`: `batch.no_trailer` (a header without its trailer: the file may be cut), `batch.count` (BTS-1 is not
    the number of messages), `batch.preamble` (text before the first segment, not kept).
    """

    messages: tuple[bytes, ...]
    defects: tuple[str, ...] = ()


def split(data: bytes) -> Batch | None:
    """The batch in `data`, or None when no line of it begins an HL7v2 message or batch."""
    edges = list(_EDGE.finditer(data))
    if not edges:
        return _lone_message(data)
    messages: list[bytes] = []
    heads: list[bytes] = []
    tails: list[bytes] = []
    counts_right = True
    since_header = 0
    for edge, following in zip(edges, [*edges[1:], None], strict=True):
        segment = data[edge.start() : following.start() if following else len(data)]
        if edge["msh"]:
            messages.append(_unframed(segment))
        elif edge["head"]:
            heads.append(edge["head"])
            since_header = len(messages) if edge["head"] == b"BHS" else since_header
        else:
            tails.append(edge["tail"])
            counted = _COUNT.match(segment.lstrip())
            counts_right &= not counted or int(counted[1]) == len(messages) - since_header
    defects = []
    if heads.count(b"FHS") > tails.count(b"FTS") or heads.count(b"BHS") > tails.count(b"BTS"):
        defects.append("batch.no_trailer")
    if not counts_right:
        defects.append("batch.count")
    if data[: edges[0].start()].strip(_FRAME + b" \t\r\n\xef\xbb\xbf"):
        defects.append("batch.preamble")
    return Batch(tuple(messages), tuple(defects))


def _lone_message(data: bytes) -> Batch | None:
    """A file that begins with MSH but whose MSH is broken is one message still: the broker says what is wrong."""
    message = _unframed(data)
    if message.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"MSH"):
        return Batch((message,))
    return None


def _unframed(segment: bytes) -> bytes:
    """Without the bytes of MLLP frames that were saved along."""
    body = segment.lstrip(_FRAME)
    if b"\x1c" in body[-4:]:
        body = body[: body.rindex(b"\x1c")]
    return body.rstrip(_FRAME)
