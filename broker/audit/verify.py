"""Prove the trail, or name the first bad line: in the database, or in an exported file with no server at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.audit import chain
from broker.audit.seal import entries_after, remembered, seals_after
from broker.audit.trail import SEQUENCE
from broker.database.engine import reading
from broker.errors import SetupError

MEMBER = "audit.jsonl"
FORMAT = "carnet-audit"
MAX_LINE_BYTES = 64 * 1024 * 1024
_MARGIN = 1


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and the first thing wrong if any.

    `unsealed` entries are younger than the last seal: only their numbering is checked. `head` is worth writing down
    elsewhere: given back as `expect`, it proves that no older state was restored.
    """

    segments: int
    entries: int
    unsealed: int
    head: str
    bad: chain.Bad | None = None

    @property
    def is_good(self) -> bool:
        return self.bad is None


def verify(engine: Engine, expect: str = "") -> Verified:
    """Walk the whole chain of a database in one snapshot.

    `expect` is a head noted earlier (`Verified.head`): the chain must still contain it.
    """
    with reading(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        return _walk(connection, expect)


def _walk(connection: Connection, expect: str) -> Verified:
    wanted, wanted_head = _expected(expect)
    last: chain.Segment | None = None
    entries = 0
    for seal in seals_after(connection, 0):
        if not chain.follows(seal, last, last.head if last else chain.GENESIS) or _starts_late(
            seal, last
        ):
            return Verified(
                seal.segment - 1, entries, 0, remembered(last), chain.Bad("seal", seal.segment)
            )
        rows = entries_after(connection, seal.from_n, seal.entries + _MARGIN, seal.to_n)
        bad = chain.first_bad(seal, rows)
        if bad is not None:
            return Verified(seal.segment - 1, entries, 0, remembered(last), bad[0])
        if seal.segment == wanted and seal.head.hex() != wanted_head:
            bad_head = chain.Bad("restored", seal.segment)
            return Verified(seal.segment, entries, 0, remembered(last), bad_head)
        last, entries = seal, entries + seal.entries
    segments = last.segment if last is not None else 0
    if wanted > segments:
        return Verified(segments, entries, 0, remembered(last), chain.Bad("restored", wanted))
    unsealed, bad_tail = _tail(connection, last)
    return Verified(segments, entries, unsealed, remembered(last), bad_tail)


def _starts_late(seal: chain.Segment, last: chain.Segment | None) -> bool:
    return last is None and (seal.segment != 1 or seal.from_n != 0)


def _tail(connection: Connection, last: chain.Segment | None) -> tuple[int, chain.Bad | None]:
    """Entries after the last seal: numbered without a gap, up to what the sequence has handed out."""
    sealed_to = last.to_n if last is not None else 0
    segment = last.segment + 1 if last is not None else 1
    expected, count = sealed_to, 0
    for n in _numbers_after(connection, sealed_to):
        base = chain.month_base(n)
        if n != expected + 1 and not (base > expected and n == base + 1):
            missing = expected + 1 if expected >= base else base + 1
            return count, chain.Bad("deleted", segment, missing)
        expected, count = n, count + 1
    handed_out = connection.execute(
        text("SELECT value FROM counter WHERE name = :name"), {"name": SEQUENCE}
    ).scalar()
    if handed_out is not None and int(handed_out) > expected:
        base = chain.month_base(int(handed_out))
        return count, chain.Bad("truncated", segment, max(expected, base) + 1)
    if handed_out is None and expected:
        return count, chain.Bad("seal", segment)
    if handed_out is not None and int(handed_out) < expected:
        return count, chain.Bad("inserted", segment, expected)
    return count, None


def _numbers_after(connection: Connection, after: int) -> Iterator[int]:
    statement = text("SELECT n FROM audit_entry WHERE n > :after ORDER BY n LIMIT 10000")
    while numbers := [int(row[0]) for row in connection.execute(statement, {"after": after})]:
        yield from numbers
        after = numbers[-1]


def _expected(expect: str) -> tuple[int, str]:
    """Segment and head of `segment:head`; (0, "") for none. Raises SetupError when it is neither."""
    if not expect:
        return 0, ""
    segment, _, head = expect.partition(":")
    if not segment.isdigit() or len(head) != 64:
        raise SetupError("audit.head_invalid", where="--expect", reason="not SEGMENT:HEAD")
    return int(segment), head.lower()


def verify_export(path: Path, expect: str = "") -> Verified:
    """Prove an exported file by itself: no database, no network, no settings. `bad.line` is its first bad line.

    A file may begin in the middle of the chain; then its own first line says which head it continues, and only
    `expect` ties it to what somebody noted.
    Raises: SetupError("audit.export_invalid") when the file is not an export.
    """
    wanted, wanted_head = _expected(expect)
    state = _FileWalk()
    with _lines(path) as lines:
        bad = state.run(lines, wanted, wanted_head)
    segments = state.segments
    return Verified(segments, state.entries, 0, remembered(state.last), bad)


class _FileWalk:
    """Reads an export line by line, holding one segment at a time."""

    def __init__(self) -> None:
        self.last: chain.Segment | None = None
        self.segments = 0
        self.entries = 0
        self._previous_head = chain.GENESIS
        self._rows: list[list[Any]] = []
        self._line = 0
        self._ended: int | None = None

    def run(self, lines: Iterator[bytes], wanted: int, wanted_head: str) -> chain.Bad | None:
        first = next(lines, b"")
        self._line = 1
        header = _object(first)
        if (
            header is None
            or header.get("format") != FORMAT
            or header.get("version") != chain.VERSION
        ):
            raise SetupError("audit.export_invalid", where=MEMBER, reason="no header of an export")
        anchor = self._anchor(header)
        if anchor is not None:
            return anchor
        met = wanted == 0
        for raw in lines:
            self._line += 1
            bad = self._take(raw)
            if bad is not None:
                return bad
            if self.last is not None and self.last.segment == wanted:
                if self.last.head.hex() != wanted_head:
                    return chain.Bad("restored", wanted, line=self._line)
                met = True
        return self._finish(met, wanted)

    def _anchor(self, header: dict[str, Any]) -> chain.Bad | None:
        try:
            self._previous_head = bytes.fromhex(header["previous_head"])
            self._next_segment = int(header["first_segment"])
            self._from_n = int(header["from_n"])
        except (KeyError, TypeError, ValueError):
            return chain.Bad("seal", 0, line=1)
        if self._next_segment == 1 and (self._from_n, self._previous_head) != (0, chain.GENESIS):
            return chain.Bad("seal", 1, line=1)
        return None

    def _take(self, raw: bytes) -> chain.Bad | None:
        value = _object(raw)
        if value is None or self._ended is not None:
            return chain.Bad("edited", self._next_segment, line=self._line)
        if "entry" in value and isinstance(value["entry"], list) and value["entry"][1:]:
            self._rows.append(value["entry"])
            return None
        if "end" in value:
            self._ended = value["end"]
            return None
        return self._close(value)

    def _close(self, value: dict[str, Any]) -> chain.Bad | None:
        seal = _seal_of(value)
        expected = (self._next_segment, self._from_n)
        if (
            seal is None
            or (seal.segment, seal.from_n) != expected
            or not chain.follows(seal, self.last, self._previous_head)
        ):
            return chain.Bad("seal", self._next_segment, line=self._line)
        bad = self._check_rows(seal)
        if bad is not None:
            return bad
        self.last, self._previous_head = seal, seal.head
        self._next_segment, self._from_n = seal.segment + 1, seal.to_n
        self.segments, self.entries = self.segments + 1, self.entries + seal.entries
        self._rows = []
        return None

    def _check_rows(self, seal: chain.Segment) -> chain.Bad | None:
        first_line = self._line - len(self._rows)
        for position, row in enumerate(self._rows):
            if row[0] != chain.VERSION or not isinstance(row[1], int):
                return chain.Bad("edited", seal.segment, line=first_line + position)
        found = chain.first_bad(seal, [row[1:] for row in self._rows])
        if found is None:
            return None
        bad, position = found
        return chain.Bad(bad.kind, bad.segment, bad.n, first_line + position)

    def _finish(self, met: bool, wanted: int) -> chain.Bad | None:
        if self._rows or self._ended is None or self._ended != self.segments:
            return chain.Bad("truncated", self._next_segment, line=self._line + 1)
        if not met:
            return chain.Bad("restored", wanted, line=self._line)
        return None


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def _seal_of(value: dict[str, Any]) -> chain.Segment | None:
    try:
        seal = value["seal"]
        return chain.Segment(
            int(seal["segment"]),
            int(seal["from_n"]),
            int(seal["to_n"]),
            int(seal["entries"]),
            bytes.fromhex(seal["digests"]),
            bytes.fromhex(seal["previous_head"]),
            bytes.fromhex(seal["head"]),
            int(seal["sealed_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(MEMBER) as stream:
                yield _bounded(stream)
        else:
            with path.open("rb") as stream:
                yield _bounded(stream)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SetupError(
            "audit.export_invalid", where=path.name, reason="cannot be read"
        ) from error


def _bounded(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise SetupError("audit.export_invalid", where=MEMBER, reason="a line is too long")
        yield line
