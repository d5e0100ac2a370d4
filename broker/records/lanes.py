"""Order per patient: a message is processed only when no earlier message of its lane is unsettled.

A lane has a row only while it does not flow, so flowing lanes cost one probe a batch. Its state is `held` (a message
of it is, or a person holds it: `held_by`), `waiting`, or `released` and `skipped` until what a person let go is settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, bindparam, exists, select, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import lane, message
from broker.database.shapes import Row
from broker.database.types import to_micros
from broker.values import Lane, State

_NOT_HELD = (
    "NOT EXISTS (SELECT 1 FROM lane b WHERE b.kind = 'filing' AND b.destination = '' AND b.lane = {}.lane "
    "AND b.held_by IS NOT NULL)"
)
"""That no person holds the lane of a row."""


def unsettled_heads(
    connection: Connection, wanted: Mapping[int, int], *, also_held: bool = False
) -> dict[int, list[int]]:
    """For each lane, its first `wanted[lane]` unsettled numbers in order; one statement.

    A lane that a person holds is left out: nothing of it may go on. Readers ask for those too (`also_held`).
    """
    if not wanted:
        return {}
    flows = "1 = 1" if also_held else _NOT_HELD
    heads: dict[int, list[int]] = defaultdict(list)
    if is_sqlite(connection):
        ranked = text(
            "SELECT q.lane, q.seq FROM (SELECT lane, seq, row_number() OVER (PARTITION BY lane ORDER BY seq) AS r "  # noqa: S608
            f"FROM message WHERE state < 10 AND lane IN :lanes) AS q WHERE q.r <= :k AND {flows.format('q')} "
            "ORDER BY q.lane, q.seq"
        ).bindparams(bindparam("lanes", expanding=True))
    else:
        ranked = text(
            "SELECT l.lane, m.seq FROM unnest(CAST(:lanes AS bigint[])) AS l(lane) CROSS JOIN LATERAL "  # noqa: S608
            # OFFSET 0 keeps the planner from walking the primary key in the order asked for.
            "(SELECT seq FROM (SELECT seq FROM message WHERE message.lane = l.lane AND state < 10 OFFSET 0) AS o "
            f"ORDER BY seq LIMIT :k) AS m WHERE {flows.format('l')} "
            "ORDER BY l.lane, m.seq"
        )
    given = {"lanes": list(wanted), "k": max(wanted.values())}
    for row in connection.execute(ranked, given):
        if len(heads[row.lane]) < wanted[row.lane]:
            heads[row.lane].append(row.seq)
    return dict(heads)


def block(
    connection: Connection,
    blocked: Sequence[tuple[int, str, int, datetime, str | None, datetime | None]],
) -> None:
    """Note filing lanes that do not flow: (lane, state, head seq, since, reason, next try).

    A lane that is known to wait becomes held when one of its messages is; what a person said of it stays.
    """
    columns = ("kind", "destination", "lane", "state", "head_seq", "since", "reason", "next_try_at")
    rows: dict[bool, dict[int, Row]] = {True: {}, False: {}}
    for number, state, head, since, reason, next_try in sorted(blocked, key=lambda one: one[:3]):
        if number:
            rows[state == "held"].setdefault(
                number,
                (
                    "filing",
                    "",
                    number,
                    state,
                    head,
                    to_micros(since),
                    reason,
                    next_try and to_micros(next_try),
                ),
            )
    bulk.replace_rows(
        connection,
        lane,
        columns,
        list(rows[True].values()),
        keys=("kind", "destination", "lane"),
        where="lane.held_by IS NULL",
    )
    bulk.insert_missing(connection, lane, columns, list(rows[False].values()))


def unhold(connection: Connection, lanes: Collection[int], state: str = "released") -> None:
    """Note that the heads of held lanes go on: what waits behind them is freed when they are settled."""
    wanted = sorted(number for number in lanes if number)
    if wanted:
        connection.execute(
            lane.update()
            .where(*_flowing_but_for(wanted), lane.c.state != state)
            .values(state=state, reason=None)
        )


def free(connection: Connection, lanes: Collection[int]) -> list[tuple[int, Lane]]:
    """Forget the blocks of lanes whose head is settled and return their waiting messages, oldest first.

    Lanes that were flowing cost one index probe each and return nothing. A lane stays blocked where a person holds
    it, and where another of its messages is held: of that one only those come back that are before it.
    """
    wanted = sorted(number for number in lanes if number)
    if not wanted:
        return []
    known = connection.execute(select(lane.c.lane).where(*_flowing_but_for(wanted)))
    blocked = [row.lane for row in known]
    if not blocked:
        return []
    held = message.alias("held")
    # In words, not as parameters: only so it is known to be about open messages when the plan is made.
    is_held = text(f"held.state < 10 AND held.state = {int(State.HELD)}")
    connection.execute(
        lane.delete().where(
            *_flowing_but_for(blocked), ~exists().where(held.c.lane == lane.c.lane, is_held)
        )
    )
    waiting = connection.execute(
        select(message.c.seq, message.c.lane)
        .where(
            message.c.lane.in_(blocked),
            text(f"message.state < 10 AND message.state = {int(State.WAITING)}"),
            ~exists().where(held.c.lane == message.c.lane, is_held, held.c.seq < message.c.seq),
        )
        .order_by(message.c.seq)
    )
    return [(row.seq, Lane(row.lane)) for row in waiting]


def _flowing_but_for(numbers: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    """The rows of filing lanes that no person holds."""
    return (
        lane.c.kind == "filing",
        lane.c.destination == "",
        lane.c.lane.in_(numbers),
        lane.c.held_by.is_(None),
    )


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What is open in the whole installation: messages, blocked lanes, and when the oldest message came."""

    messages: int
    lanes: int
    since: datetime | None


def unsettled(connection: Connection) -> Unsettled:
    """How much is open: counts from the tallies, the oldest from the index of open messages."""
    open_fates = ("in_flight", "waiting", "retrying", "held")
    counted = connection.execute(
        text("SELECT sum(n) FROM tally_day WHERE fate IN :fates").bindparams(
            bindparam("fates", expanding=True)
        ),
        {"fates": open_fates},
    ).scalar()
    blocked = connection.execute(text("SELECT count(*) FROM lane WHERE kind = 'filing'")).scalar()
    # The fence keeps the planner from walking all messages in their order, to the first open one.
    fence = "LIMIT -1 OFFSET 0" if is_sqlite(connection) else "OFFSET 0"
    oldest = f"SELECT min(seq) FROM (SELECT seq FROM message WHERE state < 10 {fence}) AS o"  # noqa: S608 - our own words
    first = connection.execute(text(oldest)).scalar()
    since = connection.execute(select(message.c.received_at).where(message.c.seq == first)).scalar()
    return Unsettled(int(counted or 0), int(blocked or 0), since)


def overdue(connection: Connection, before: datetime, limit: int) -> list[tuple[int, Lane]]:
    """Unsettled messages that nobody touched since `before`, oldest first; of waiting ones only the next of its lane.

    What the sweep puts back when the queue has nothing: lost, purged, or never handed over. A waiting message whose
    head was settled by another worker at the same instant is found here too; one whose lane a person holds is not.
    """
    cut = to_micros(before)
    rows = connection.execute(
        text(
            "SELECT m.seq, m.lane FROM message m WHERE m.state < 10 AND m.state IN (1, 2, 3) "  # noqa: S608
            "AND m.state_since < :cut AND (m.next_try_at IS NULL OR m.next_try_at < :cut) "
            "AND NOT (m.state = 2 AND EXISTS (SELECT 1 FROM message e WHERE e.lane = m.lane AND e.state < 10 "
            f"AND e.seq < m.seq)) AND NOT (m.state = 2 AND NOT {_NOT_HELD.format('m')}) ORDER BY m.seq LIMIT :n"
        ),
        {"cut": cut, "n": limit},
    )
    return [(row.seq, Lane(row.lane)) for row in rows]
