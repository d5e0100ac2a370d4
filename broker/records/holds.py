"""Messages that wait for a person: found by the reason they are held for, and released in the order they came.

A released message is received again as far as its lane is concerned: the pipeline takes it from the beginning, and
those that wait behind it follow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select

from broker.database import bulk
from broker.database.schema import message
from broker.database.types import to_micros
from broker.records import lanes, tallies
from broker.values import Lane, Seq, State

AT_ONCE = 10_000
"""Messages of one round: each of their numbers is a parameter of a statement."""


@dataclass(frozen=True, slots=True)
class Held:
    """A held message."""

    seq: Seq
    id: str
    source: str
    day: int
    lane: Lane


def waiting(connection: Connection, reason: str) -> int:
    """How many messages are held for a reason."""
    found = connection.execute(select(func.count()).where(*_held_for(reason)))
    return int(found.scalar_one())


def held(connection: Connection, reason: str) -> list[Held]:
    """The oldest messages held for a reason, in order; at most as many as one round of `release` takes."""
    m = message.c
    rows = connection.execute(
        select(m.seq, m.id, m.source, m.day, m.lane)
        .where(*_held_for(reason))
        .order_by(m.seq)
        .limit(AT_ONCE)
    )
    return [Held(Seq(r.seq), str(r.id), r.source, r.day, Lane(r.lane)) for r in rows]


def release(connection: Connection, found: list[Held], now: datetime, writer: str) -> list[Held]:
    """Let held messages be taken up again; returns those that were still held, oldest first.

    The caller writes the trail, and puts them to the queue after the commit; the sweep would, too, a little later.
    """
    rows = [(one.seq, int(State.RECEIVED), to_micros(now), None, None) for one in found]
    columns = ("state", "state_since", "reason", "reason_place")
    still = _still_held(connection, found)
    bulk.update_rows(
        connection,
        message,
        "seq",
        columns,
        [row for row in rows if row[0] in still],
        where=f"t.state + 0 = {int(State.HELD)}",
    )
    released = [one for one in found if one.seq in still]
    counts: Counter[tuple[int, str, str]] = Counter()
    for one in released:
        counts[(one.day, one.source, "held")] -= 1
        counts[(one.day, one.source, "in_flight")] += 1
    tallies.tally(connection, counts, writer)
    lanes.unhold(connection, {one.lane for one in released})
    return released


def _held_for(reason: str) -> tuple[ColumnElement[bool], ...]:
    m = message.c
    return m.state == int(State.HELD), m.state < 10, m.reason == reason


def _still_held(connection: Connection, found: list[Held]) -> set[int]:
    """Those that are; found by their keys, not in an index of all that are held (see `schema.UNSETTLED_BY_KEY`)."""
    m = message.c
    statement = select(m.seq).where(
        m.seq.in_([one.seq for one in found]), m.state + 0 == int(State.HELD)
    )
    return {row.seq for row in connection.execute(statement.with_for_update())}
