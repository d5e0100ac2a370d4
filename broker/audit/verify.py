"""Prove the trail of a database, or name the first bad entry; an exported file by `verify_standalone`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.audit import chain, keys, verify_standalone
from broker.audit.keys import PublicKey
from broker.audit.seal import entries_after, remembered, seals_after
from broker.audit.trail import SEQUENCE
from broker.audit.verify_standalone import Head, Keys, Unreadable, seal_message
from broker.database.engine import reading
from broker.errors import SetupError

_MARGIN = 1


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and the first thing wrong if any.

    `unsealed` entries are younger than the last seal: only their numbering is checked. `head` is worth writing down
    elsewhere: given back as `expect`, it proves that no older state was restored. `signed` seals have a signature
    that holds, by the keys `keys`.
    """

    segments: int
    entries: int
    unsealed: int
    head: str
    bad: chain.Bad | None = None
    signed: int = 0
    keys: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return self.bad is None


@dataclass(slots=True)
class _Walk:
    """The seals of a database, one after the other."""

    keys: Keys
    expected: Head
    first_key: int | None
    last: chain.Segment | None = None
    entries: int = 0
    signed: int = 0
    signers: list[str] = field(default_factory=list)

    def take(self, connection: Connection, seal: chain.Segment) -> chain.Bad | None:
        """What is wrong with a seal or its entries."""
        last = self.last
        starts_late = last is None and (seal.segment != 1 or seal.from_n != 0)
        if starts_late or not chain.follows(seal, last, last.head if last else chain.GENESIS):
            return chain.Bad("seal", seal.segment)
        rows = entries_after(connection, seal.from_n, seal.entries + _MARGIN, seal.to_n)
        bad = chain.first_bad(seal, rows)
        if bad is not None:
            return bad[0]
        wrong = self._signature(seal)
        if wrong is not None:
            return chain.Bad(wrong, seal.segment)
        self.last, self.entries = seal, self.entries + seal.entries
        if seal.segment == self.expected.segment and seal.head.hex() != self.expected.head:
            return chain.Bad("restored", seal.segment)
        return None

    def _signature(self, seal: chain.Segment) -> str | None:
        if not seal.key:
            # Once there was a key, every seal is signed by one.
            is_late = self.first_key is not None and seal.sealed_at > self.first_key
            return "signature" if self.signed or is_late else None
        wrong = self.keys.wrong(seal.key, seal_message(seal.segment, seal.head), seal.signature)
        if wrong is None:
            self.signed += 1
            if seal.key not in self.signers:
                self.signers.append(seal.key)
        return wrong

    def result(self, unsealed: int, bad: chain.Bad | None) -> Verified:
        """What was checked so far."""
        segments = self.last.segment if self.last is not None else 0
        head = remembered(self.last)
        return Verified(
            segments, self.entries, unsealed, head, bad, self.signed, tuple(self.signers)
        )


def verify(
    engine: Engine,
    expect: str = "",
    trusted: list[PublicKey] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Walk the whole chain of a database in one snapshot.

    `expect` is a head noted earlier (`Verified.head`, or a `seal.checkpoint`): the chain must still contain it.
    `trusted` are the keys of the site's folder: seals must be signed by one of them, or by one that they endorsed.
    Raises: SetupError("audit.head_invalid").
    """
    expected = _expected(expect)
    with reading(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        anchors = tuple(bytes.fromhex(key.public) for key in trusted or ())
        records = [msgspec.structs.asdict(key) for key in keys.registered(connection)]
        first_key = min((key.made_at for key in trusted or ()), default=None)
        walk = _Walk(Keys(records, anchors), expected, first_key)
        wrong = expected.wrong(walk.keys)
        if wrong is not None:
            return walk.result(0, chain.Bad(wrong, expected.segment))
        return _all(connection, walk, progress)


def _all(connection: Connection, walk: _Walk, progress: Callable[[int], None] | None) -> Verified:
    for seal in seals_after(connection, 0):
        bad = walk.take(connection, seal)
        if bad is not None:
            return walk.result(0, bad)
        if progress is not None:
            progress(walk.entries)
    if walk.expected.segment > (walk.last.segment if walk.last else 0):
        return walk.result(0, chain.Bad("restored", walk.expected.segment))
    return walk.result(*_tail(connection, walk.last))


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


def _expected(expect: str) -> Head:
    try:
        return Head.read(expect)
    except Unreadable as error:
        raise SetupError(
            "audit.head_invalid", where="--expect", reason="not SEGMENT:HEAD"
        ) from error


def verify_export(
    path: Path,
    expect: str = "",
    anchors: tuple[bytes, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Prove an exported file by itself: no database, no network, no settings. `bad.line` is its first bad line.

    A file may begin in the middle of the chain; then its own first line says which head it continues, and only
    `expect` ties it to what somebody noted. `anchors` are the public keys that must have signed it.
    Raises: SetupError("audit.export_invalid") when the file is not an export, "audit.head_invalid".
    """
    expected = _expected(expect)
    try:
        found = verify_standalone.verify(path, anchors, expected, progress)
    except Unreadable as error:
        raise SetupError("audit.export_invalid", where=path.name, reason=str(error)) from error
    bad = found.bad
    return Verified(
        found.segments,
        found.entries,
        0,
        found.head,
        chain.Bad(bad.kind, bad.segment, bad.n, bad.line) if bad else None,
        found.signed,
        tuple(found.keys),
    )
