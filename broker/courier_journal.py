"""What a courier has in its hands, written down as it goes: after a crash nobody has to guess. For `delivery`.

The database is told once a batch. In between a file says of each delivery that its sending begins, and what came of
it: written before the first byte leaves, and before the next one begins. It outlives the process (a killed courier's
successor reads it), and not for certain the machine: a journal from before the last start of the machine vouches for
nothing, and neither does one that another courier wrote. Whatever nobody vouches for may have been sent.

A journal holds answers of partners, which may hold health data: it is readable by its owner only.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import msgspec

from broker.errors import SetupError, TransientError
from broker.records.outbox import Ended

Attempt = tuple[int, int]
"""A delivery and the number of its attempt."""


class _Head(msgspec.Struct, frozen=True, tag="head"):
    identity: str
    boot: str


class _Begun(msgspec.Struct, frozen=True, tag="begun"):
    delivery: int
    number: int


class _Over(msgspec.Struct, frozen=True, tag="over"):
    ended: Ended


_Record = _Head | _Begun | _Over
_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], _Record] = msgspec.msgpack.Decoder(_Record).decode
_FRAME = 8


@dataclass(slots=True)
class Left:
    """What a journal says of the courier before: attempts that ended, and those that began and did not."""

    ended: dict[Attempt, Ended] = field(default_factory=dict)
    begun: set[Attempt] = field(default_factory=set)


class Journal:
    """The journal of one destination's courier; one process has it open at a time.

    `identity` is what deliveries in hand are marked with: whoever finds the mark of its own journal can rely on it.
    """

    def __init__(self, path: Path, boot: str) -> None:
        """Raises: SetupError when the file cannot be made or read."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            data = os.pread(self._file, os.fstat(self._file).st_size, 0)
        except OSError as error:
            raise SetupError(
                "courier.journal",
                where=str(path),
                reason=error.strerror or type(error).__name__,
                hint="the data folder must be writable",
            ) from error
        records = _records(data)
        head = records[0] if records else None
        is_known = isinstance(head, _Head) and head.boot == boot
        self.identity = head.identity if is_known and isinstance(head, _Head) else uuid4().hex
        self.left = _left(records) if is_known else Left()
        self._head = _framed(_Head(self.identity, boot))

    def start(self) -> None:
        """Begin a page: what was written before stands in the database now. Raises as `begin`."""
        self._write(self._head, is_first=True)

    def begin(self, delivery: int, number: int) -> None:
        """Note that the first byte is about to leave. Raises: TransientError when it cannot be noted."""
        self._write(_framed(_Begun(delivery, number)))

    def end(self, ended: Ended) -> None:
        """Note what came of it. Raises as `begin`."""
        self._write(_framed(_Over(ended)))

    def close(self) -> None:
        """Let the next courier have it."""
        os.close(self._file)

    def _write(self, data: bytes, *, is_first: bool = False) -> None:
        try:
            if is_first:
                os.ftruncate(self._file, 0)
                os.lseek(self._file, 0, os.SEEK_SET)
            written = os.write(self._file, data)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TransientError("courier.journal", reason=reason) from error
        if written != len(data):
            raise TransientError("courier.journal", reason="the disk is full")


def this_boot() -> str:
    """The name of this start of the machine; one nobody else has where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return uuid4().hex


def _framed(record: _Record) -> bytes:
    body = _encode(record)
    return len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def _records(data: bytes) -> list[_Record]:
    """The whole records of a journal; it may end in the middle of one."""
    found: list[_Record] = []
    at = 0
    while at + _FRAME <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + _FRAME : at + _FRAME + size]
        if len(body) < size or zlib.crc32(body).to_bytes(4, "big") != data[at + 4 : at + _FRAME]:
            break
        try:
            found.append(_decode(body))
        except msgspec.DecodeError:  # of another version
            break
        at += _FRAME + size
    return found


def _left(records: list[_Record]) -> Left:
    left = Left()
    for record in records:
        if isinstance(record, _Begun):
            left.begun.add((record.delivery, record.number))
        elif isinstance(record, _Over):
            attempt = (record.ended.delivery_id, record.ended.number)
            left.begun.discard(attempt)
            left.ended[attempt] = record.ended
    return left
