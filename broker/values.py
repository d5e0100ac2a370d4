"""Small values shared by every floor: ids, instants, months, digests, names of states. No I/O."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from datetime import UTC, datetime
from enum import IntEnum
from typing import NewType

Seq = NewType("Seq", int)
"""Position of a message in the ledger: months since January 2000 in the high bits, a counter in the low 40.

Rising over time, under 2**53 (safe in JSON), and its month is read off it: partitions need no lookup."""

MessageId = NewType("MessageId", str)
"""UUIDv7 as 32 lower-case hex digits with dashes: the name of a message in rows, logs, audit and commands."""

Lane = NewType("Lane", int)
"""Signed 64-bit keyed digest of the patient's key in a message. 0: no patient found, no order to keep."""

SEQ_MONTH_SHIFT = 40

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class State(IntEnum):
    """Where a received message stands. Below SETTLED something still has to happen; at or above, nothing has."""

    RECEIVED = 1
    WAITING = 2
    RETRYING = 3
    HELD = 4
    FILED = 10
    DELIVERED_ONLY = 11
    FILTERED = 12
    PARKED = 13
    SKIPPED = 14
    DISCARDED = 15
    ANSWER_MATCHED = 16


SETTLED = 10
"""First settled state. SQLite uses a partial index only if the statement repeats its condition: write both."""


def month_of(instant: datetime) -> int:
    """Months since January 2000, in UTC."""
    utc = instant.astimezone(UTC)
    return (utc.year - 2000) * 12 + utc.month - 1


def month_start(month: int) -> datetime:
    """First instant of a month counted by `month_of`."""
    return datetime(2000 + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def first_seq(month: int) -> Seq:
    """Lowest sequence number of a month; the next month's is this month's exclusive end."""
    return Seq(month << SEQ_MONTH_SHIFT)


def uuid7(instant: datetime) -> MessageId:
    """A UUID version 7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then random bits."""
    milliseconds = int(instant.timestamp() * 1000)
    time = f"{milliseconds & ((1 << 48) - 1):012x}"
    chance = _chance()
    variant = _VARIANT[chance[3]]
    return MessageId(f"{time[:8]}-{time[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[8:]}")


def _chance() -> str:
    """Ten random bytes as hex, from the system's generator. Drawn for many ids at once: each draw is a system call."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            digits = os.urandom(10 * 256).hex()
            _drawn.extend(digits[at : at + 20] for at in range(0, len(digits), 20))


_drawn: deque[str] = deque()
# A process that forks must not hand out its parent's.
os.register_at_fork(after_in_child=_drawn.clear)


def uuid7_instant(message_id: str) -> datetime:
    """The instant inside a UUIDv7. Raises ValueError when the text is not one."""
    text = message_id.replace("-", "")
    if len(text) != 32 or text[12] != "7":
        raise ValueError("not a UUIDv7")
    return datetime.fromtimestamp(int(text[:12], 16) / 1000, tz=UTC)


def digest64(data: bytes, key: bytes = b"") -> int:
    """Signed 64-bit BLAKE2b digest, keyed when `key` (at most 64 bytes) is given; never 0."""
    number = int.from_bytes(
        hashlib.blake2b(data, digest_size=8, key=key).digest(), "big", signed=True
    )
    return number or 1


def sha256(data: bytes) -> bytes:
    """SHA-256 as 32 bytes."""
    return hashlib.sha256(data).digest()


_LONG_CHARACTERS = 16_384


def cut(text: str, mark: str) -> list[str]:
    """`text.split(mark)`, `mark` one character; five times as fast where most of a long text is one piece.

    `split` looks at each character, `find` at many at a time: a letter within a message is a field of 200 KB.
    """
    if len(text) < _LONG_CHARACTERS:
        return text.split(mark)
    pieces: list[str] = []
    most = len(text) >> 10  # as many pieces as that cost no more to find one by one
    begin, end = 0, text.find(mark)
    while end >= 0 and len(pieces) < most:
        pieces.append(text[begin:end])
        begin = end + 1
        end = text.find(mark, begin)
    if end < 0:
        pieces.append(text[begin:])
    else:
        pieces += text[begin:].split(mark)
    return pieces
