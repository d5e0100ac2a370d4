"""Seal what was written into the hash chain. For the scheduler, every few seconds; safe if two run at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from broker import fault_points
from broker.audit import chain, keys
from broker.audit.keys import Signer
from broker.audit.trail import COLUMNS
from broker.database.engine import reading, writing
from broker.database.types import to_micros

SEAL_COLUMNS = (
    "segment",
    "from_n",
    "to_n",
    "entries",
    "digests",
    "previous_head",
    "head",
    "sealed_at",
    "key_id",
    "signature",
)
PER_SEGMENT = 10_000

_ENTRIES = f"SELECT {', '.join(COLUMNS)} FROM audit_entry WHERE n > :after"  # noqa: S608 - our own columns
_SEALS = f"SELECT {', '.join(SEAL_COLUMNS)} FROM audit_seal"  # noqa: S608


_INSERT = (
    f"INSERT INTO audit_seal ({', '.join(SEAL_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join(':' + name for name in SEAL_COLUMNS)}) ON CONFLICT DO NOTHING RETURNING segment"
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed: entries, segments, and the head now. Write the head down elsewhere: it proves a restore."""

    entries: int
    segments: int
    head: str


def seal(
    engine: Engine, now: datetime, limit: int = 50_000, signer: Signer | None = None
) -> Sealed:
    """Seal up to `limit` entries that no segment holds yet; a transaction per segment of at most 10,000.

    Every seal is signed by `signer`, whose public key is noted beside the trail before its first.
    """
    with reading(engine) as connection:
        last = last_seal(connection)
        is_known = signer is None or signer.key in keys.registered(connection)
    if signer is not None and not is_known:
        with writing(engine) as connection:
            keys.register(connection, [signer.key])
    entries = segments = 0
    while entries < limit:
        with writing(engine) as connection:
            last = last_seal(connection)
            made = _seal_next(connection, last, now, min(limit - entries, PER_SEGMENT), signer)
            if made is not None:
                fault_points.reach("seal.written")
        if made is None:
            break
        fault_points.reach("seal.committed")
        last, entries, segments = made, entries + made.entries, segments + 1
    return Sealed(entries, segments, remembered(last))


def _seal_next(
    connection: Connection,
    last: chain.Segment | None,
    now: datetime,
    limit: int,
    signer: Signer | None,
) -> chain.Segment | None:
    """The next segment, or None when nothing is left or another scheduler was first."""
    from_n = last.to_n if last is not None else 0
    rows = entries_after(connection, from_n, limit)
    if not rows:
        return None
    digests = b"".join(chain.digest(row) for row in rows)
    number = last.segment + 1 if last is not None else 1
    previous = last.head if last is not None else chain.GENESIS
    to_n, at = int(rows[-1][0]), to_micros(now)
    head = chain.head_of(previous, number, from_n, to_n, len(rows), at, digests)
    key = signer.key.id if signer else ""
    signature = signer.seal(number, head) if signer else b""
    made = chain.Segment(
        number, from_n, to_n, len(rows), digests, previous, head, at, key, signature
    )
    row = {name: getattr(made, name) for name in SEAL_COLUMNS[:-2]}
    row |= {"key_id": key or None, "signature": signature or None}
    is_first = connection.execute(text(_INSERT), row).first() is not None
    return made if is_first else None


def last_seal(connection: Connection) -> chain.Segment | None:
    """The newest segment."""
    row = connection.execute(text(_SEALS + " ORDER BY segment DESC LIMIT 1")).first()
    return None if row is None else _segment(row)


def seals_after(connection: Connection, segment: int) -> Iterator[chain.Segment]:
    """Segments above `segment` in order, one statement each: their digests are large."""
    statement = text(_SEALS + " WHERE segment > :after ORDER BY segment LIMIT 1")
    while (row := connection.execute(statement, {"after": segment}).first()) is not None:
        found = _segment(row)
        yield found
        segment = found.segment


def entries_after(
    connection: Connection, after: int, limit: int, upto: int | None = None
) -> list[Sequence[Any]]:
    """Entries with n > `after` (and n <= `upto`) in order, in the column order of the canonical encoding."""
    bound = "" if upto is None else " AND n <= :upto"
    given = {"after": after, "limit": limit} | ({} if upto is None else {"upto": upto})
    rows = connection.execute(text(f"{_ENTRIES}{bound} ORDER BY n LIMIT :limit"), given)
    return [tuple(row) for row in rows]


def remembered(last: chain.Segment | None) -> str:
    """`segment:head` to write down outside the database; empty before the first seal."""
    return "" if last is None else f"{last.segment}:{last.head.hex()}"


def checkpoint(last: chain.Segment | None) -> str:
    """`segment:head:key:signature`, or without the last two where nobody signed it: a head that proves itself."""
    said = remembered(last)
    if last is None or not last.key:
        return said
    return f"{said}:{last.key}:{last.signature.hex()}"


def _segment(row: Sequence[Any]) -> chain.Segment:
    segment, from_n, to_n, entries, digests, previous, head, at, key, signature = row
    return chain.Segment(
        int(segment),
        int(from_n),
        int(to_n),
        int(entries),
        bytes(digests),
        bytes(previous),
        bytes(head),
        int(at),
        key or "",
        bytes(signature or b""),
    )
