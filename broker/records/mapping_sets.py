"""The mapping sets that were used, each by the hash of its files: which one is active, and its files again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from broker.database import bulk
from broker.database.schema import mapping_set
from broker.database.types import to_micros


@dataclass(frozen=True, slots=True)
class UsedSet:
    """A set that was proved and activated, last at `activated_at`."""

    hash: str
    activated_at: datetime
    activated_by: str


def active(connection: Connection) -> UsedSet | None:
    """The set activated last; None where none ever was."""
    found = _listed(connection, 1)
    return found[0] if found else None


def used(connection: Connection, limit: int = 50) -> list[UsedSet]:
    """The sets that were used, the active one first."""
    return _listed(connection, limit)


def files(connection: Connection, set_hash: str) -> bytes | None:
    """A used set's files, as they were packed; `set_hash` may be the beginning of a hash."""
    row = connection.execute(
        select(mapping_set.c.files).where(mapping_set.c.hash.startswith(set_hash, autoescape=True))
    ).first()
    return None if row is None else bytes(row.files)


def activate(connection: Connection, set_hash: str, packed: bytes, by: str, now: datetime) -> None:
    """Make a set the active one, whether it was used before or not."""
    bulk.replace_rows(
        connection,
        mapping_set,
        ("hash", "activated_at", "activated_by", "files"),
        [(set_hash, to_micros(now), by, packed)],
        keys=("hash",),
    )


def _listed(connection: Connection, limit: int) -> list[UsedSet]:
    t = mapping_set.c
    rows = connection.execute(
        select(t.hash, t.activated_at, t.activated_by)
        .order_by(t.activated_at.desc(), t.hash)
        .limit(limit)
    )
    return [UsedSet(row.hash, row.activated_at, row.activated_by) for row in rows]
