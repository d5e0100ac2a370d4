"""Work as bytes and back: one queue message (or row) carries many claim checks. Pure.

Version 1: the four bytes `CWK1`, a 32-bit count n, n signed 64-bit ids, n signed 64-bit lanes, and the CRC-32 of
all before it; numbers big-endian. 16 bytes an id, and nothing about anybody's health.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from broker.contracts import Work
from broker.errors import PermanentError
from broker.values import Lane

MAX_WORK = 500
"""Most claim checks in one message: about 8 KB."""

MEDIA = "application/x-carnet-work"

_MAGIC = b"CWK1"
_HEAD = struct.Struct(">4sI")
_TAIL = struct.Struct(">I")


def pack(work: Sequence[Work]) -> bytes:
    """At most MAX_WORK claim checks as bytes."""
    count = len(work)
    if count > MAX_WORK:
        raise ValueError(f"{count} claim checks in one message, {MAX_WORK} allowed")
    body = _HEAD.pack(_MAGIC, count) + struct.pack(
        f">{2 * count}q", *(item.id for item in work), *(item.lane for item in work)
    )
    return body + _TAIL.pack(zlib.crc32(body))


def unpack(body: bytes) -> list[Work]:
    """The claim checks in `body`.

    Raises: PermanentError("queue.garbled") when these are not bytes that `pack` made. Whether the ids exist is for
    the ledger to say: a well-made forgery fails there.
    """
    count = _count(body)
    numbers = struct.unpack_from(f">{2 * count}q", body, _HEAD.size)
    if any(number <= 0 for number in numbers[:count]):
        raise _garbled("an id is not positive")
    return [
        Work(number, Lane(lane))
        for number, lane in zip(numbers[:count], numbers[count:], strict=True)
    ]


def _count(body: bytes) -> int:
    if len(body) < _HEAD.size + _TAIL.size:
        raise _garbled("too short")
    magic, count = _HEAD.unpack_from(body)
    if magic != _MAGIC:
        raise _garbled("not work of this version")
    if not 1 <= count <= MAX_WORK or len(body) != _HEAD.size + 16 * count + _TAIL.size:
        raise _garbled("its length does not fit its count")
    if _TAIL.unpack_from(body, len(body) - _TAIL.size)[0] != zlib.crc32(body[: -_TAIL.size]):
        raise _garbled("its checksum is wrong")
    return int(count)


def _garbled(reason: str) -> PermanentError:
    return PermanentError("queue.garbled", where="queue message", reason=reason)
