"""Before messages are read: make the rows of what intake keeps packed (see `records.receptions`).

Called by whoever is about to read messages: the worker before it takes them up, the sweep, and every command that
opens the ledger. On SQLite there is never anything to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from broker import fault_points
from broker.audit import trail
from broker.database import bulk, together
from broker.database.engine import is_sqlite
from broker.records import receptions

_AT_EASE = (
    "SELECT set_config('synchronous_commit', 'off', true), set_config('work_mem', '64MB', true)"
)
"""What is lost with a crash is found packed again, so nobody waits for the disk; and rows are made in memory."""


def unpack(
    engine: Engine, writer: str, *, after: int = 0, wait: together.Wait = together.block
) -> int:
    """Unpack all receptions above the number `after`, in order; returns how many messages they held.

    `writer` is whose tallies count them. Several processes may do it at once: each reception is unpacked by one, and
    the others wait for it. Raises: TransientError.
    """
    count = 0
    while engine.dialect.name != "sqlite":
        with together.writing_together(engine, wait) as connection:
            bulk.execute(connection, _AT_EASE, ())
            some = unpack_some(connection, writer, after=after)
            if some:
                fault_points.reach("unpack.written")
        if not some:
            break
        count += some
    return count


def unpack_some(connection: Connection, writer: str, *, after: int = 0) -> int:
    """Unpack some of the oldest receptions in this transaction, with the entries of the trail; 0: there are none."""
    if is_sqlite(connection):
        return 0
    found = receptions.packed(connection, after)
    if found:
        count = receptions.unpack(connection, found, writer)
        trail.received(connection, _spans(found), count)
        return count
    return 0


def _spans(found: Sequence[receptions.Packed]) -> list[tuple[int, int]]:
    """(first, last) of each run of receptions without a gap: in a gap may be messages that were never packed."""
    spans: list[tuple[int, int]] = []
    for one in found:
        if spans and spans[-1][1] + 1 == one.first:
            spans[-1] = (spans[-1][0], one.last)
        else:
            spans.append((one.first, one.last))
    return spans


class Unpacker:
    """Unpacks for a process that is told which numbers it needs, and remembers how far it got."""

    def __init__(self, engine: Engine, writer: str) -> None:
        self._engine = engine
        self._writer = writer
        self._done = 0

    def up_to(self, seq: int) -> None:
        """Unpack all there is if anything up to `seq` may still be packed.

        Receptions are committed in the order of their numbers: who knows of one has all earlier ones before them.
        """
        if seq > self._done:
            unpack(self._engine, self._writer, after=self._done)
            self._done = seq

    def forget(self) -> None:
        """After a failure of the database: what it unpacked last, without waiting for the disk, may be packed again."""
        self._done = 0
