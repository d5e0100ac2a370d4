"""What an operator does to a message or a delivery: from one state to another, once, counted with it.

Everything here is conditional on the state that is left, under a lock: of two operators, or of an operator and a
worker, one finds the row where it expects it. The caller writes the trail in the same transaction
(`broker.operating`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import delivery, message
from broker.database.types import to_micros
from broker.records import tallies
from broker.records.lookups import any_of
from broker.values import SETTLED, Lane, MessageId, Seq, State

AT_ONCE = 500
"""Rows of one transaction of a command that takes many."""

OPEN_DELIVERIES = ("owed", "unknown")
SETTLED_DELIVERIES = ("sent", "parked", "withheld", "skipped", "discarded")
"""Every state of a delivery. An open one is the business of its lane; `unknown` waits there for a person."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A message as it was before it was moved."""

    seq: Seq
    id: MessageId
    source: str
    day: int
    lane: Lane
    state: State
    reason: str | None


@dataclass(frozen=True, slots=True)
class MovedDelivery:
    """A delivery as it was before it was moved, with the message it is owed for."""

    id: int
    message_id: MessageId
    destination: str
    lane: Lane
    state: str
    reason: str | None


def move(
    connection: Connection,
    seqs: Collection[int],
    leaving: Collection[State],
    to: State,
    now: datetime,
    writer: str,
    *,
    act: str,
    reason: str | None = None,
) -> list[Moved]:
    """Move those of `seqs` that are in one of the states `leaving`; returns them as they were, oldest first.

    `act` names the step in the message's own trail, and the measure it is counted under. A settled message keeps the
    place, and the reason it had as `{"was": …}`; one that is taken up again has neither.
    """
    within, given = any_of(connection, "seq", seqs)
    states = ", ".join(str(int(state)) for state in leaving)
    rows = connection.execute(
        text(
            "SELECT seq, id, source, day, lane, state, reason, reason_place, trail FROM message "  # noqa: S608
            f"WHERE {within} AND state IN ({states}) ORDER BY seq{_for_update(connection)}"
        ),
        given,
    ).all()
    at, is_end = to_micros(now), to >= SETTLED
    columns = (
        "state",
        "state_since",
        "reason",
        "reason_place",
        "reason_args",
        "next_try_at",
        "trail",
    )
    bulk.update_rows(
        connection,
        message,
        "seq",
        columns,
        [
            (
                row.seq,
                int(to),
                at,
                reason,
                row.reason_place if is_end else None,
                _was(row.reason) if is_end else None,
                None,
                (row.trail or "") + _step(act, row.reason or "", now),
            )
            for row in rows
        ],
        where=f"t.state IN ({states})",
    )
    moved = [
        Moved(
            Seq(row.seq),
            MessageId(str(row.id)),
            row.source,
            row.day,
            Lane(row.lane),
            State(row.state),
            row.reason,
        )
        for row in rows
    ]
    counts: Counter[tuple[int, str, str]] = Counter()
    for one in moved:
        counts[(one.day, one.source, tallies.FATES_BY_STATE[one.state])] -= 1
        counts[(one.day, one.source, tallies.FATES_BY_STATE[to])] += 1
    tallies.tally(connection, counts, writer)
    tallies.flow(connection, Counter((one.source, act) for one in moved), now, writer)
    return moved


def move_deliveries(
    connection: Connection,
    ids: Collection[int],
    leaving: Collection[str],
    to: str,
    now: datetime,
    writer: str,
    *,
    act: str,
    reason: str | None = None,
) -> list[MovedDelivery]:
    """Move those of `ids` that are in one of the states `leaving`, as `move` does; never one that is being sent.

    A settled one keeps its place; one that is owed again is due at once, and its attempts go on counting.
    """
    within, given = any_of(connection, "d.id", ids)
    states = ", ".join(f"'{state}'" for state in leaving)
    rows = connection.execute(
        text(
            "SELECT d.id, m.id AS message_id, d.destination, d.lane, d.state, d.reason, d.reason_place "  # noqa: S608
            f"FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {within} AND d.state IN ({states}) "
            f"AND NOT {BEING_SENT} ORDER BY d.id{_for_update(connection, 'd')}"
        ),
        given,
    ).all()
    is_end = to in SETTLED_DELIVERIES
    columns = ("state", "settled_at", "next_try_at", "reason", "reason_place")
    bulk.update_rows(
        connection,
        delivery,
        "id",
        columns,
        [
            (
                row.id,
                to,
                to_micros(now) if is_end else None,
                None,
                reason,
                row.reason_place if is_end else None,
            )
            for row in rows
        ],
        where=f"t.state IN ({states})",
    )
    tallies.flow(connection, Counter((row.destination, act) for row in rows), now, writer)
    return [
        MovedDelivery(
            int(row.id), MessageId(str(row.message_id)), row.destination, Lane(int(row.lane)), row.state, row.reason
        )
        for row in rows
    ]  # fmt: skip


BEING_SENT = "d.claimed_by IS NOT NULL"
"""That a courier has the delivery `d` in its hands, or died with it there and has not said so yet."""


def _for_update(connection: Connection, of: str = "") -> str:
    """SQLite's writers wait for each other as a whole."""
    if is_sqlite(connection):
        return ""
    return f" FOR UPDATE OF {of}" if of else " FOR UPDATE"


def _was(reason: str | None) -> str | None:
    return msgspec.json.encode({"was": reason}).decode() if reason else None


def _step(act: str, outcome: str, at: datetime) -> str:
    """One line of a message's trail, as `broker.batch` writes them."""
    steps: Sequence[tuple[str, int, str]] = [(act, 0, outcome)]
    return msgspec.json.encode({"at": at.isoformat(), "steps": steps}).decode() + "\n"
