"""Order per patient: a message is processed only when no earlier message of its lane is unsettled.

A lane has a row only while it does not flow, so flowing lanes cost one probe a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import lane, message
from broker.database.types import to_micros
from broker.values import Lane, State


def unsettled_heads(connection: Connection, wanted: Mapping[int, int]) -> dict[int, list[int]]:
    """For each lane, its first `wanted[lane]` unsettled numbers in order; one statement."""
    if not wanted:
        return {}
    limit = max(wanted.values())
    heads: dict[int, list[int]] = defaultdict(list)
    if is_sqlite(connection):
        ranked = text(
            "SELECT lane, seq FROM (SELECT lane, seq, row_number() OVER (PARTITION BY lane ORDER BY seq) AS r "
            "FROM message WHERE state < 10 AND lane IN :lanes) AS q WHERE r <= :k ORDER BY lane, seq"
        ).bindparams(bindparam("lanes", expanding=True))
    else:
        ranked = text(
            "SELECT l.lane, m.seq FROM unnest(CAST(:lanes AS bigint[])) AS l(lane) CROSS JOIN LATERAL "
            # OFFSET 0 keeps the planner from walking the primary key in the order asked for.
            "(SELECT seq FROM (SELECT seq FROM message WHERE message.lane = l.lane AND state < 10 OFFSET 0) AS o "
            "ORDER BY seq LIMIT :k) AS m "
            "ORDER BY l.lane, m.seq"
        )
    for row in connection.execute(ranked, {"lanes": list(wanted), "k": limit}):
        heads[row.lane].append(row.seq)
    return heads


def block(
    connection: Connection,
    blocked: Sequence[tuple[int, str, int, datetime, str | None, datetime | None]],
) -> None:
    """Note filing lanes that do not flow: (lane, state, head seq, since, reason, next try)."""
    rows = sorted(
        (
            "filing",
            "",
            number,
            state,
            head,
            to_micros(since),
            reason,
            next_try and to_micros(next_try),
        )
        for number, state, head, since, reason, next_try in blocked
        if number
    )
    columns = ("kind", "destination", "lane", "state", "head_seq", "since", "reason", "next_try_at")
    bulk.insert_missing(connection, lane, columns, rows)


def unhold(connection: Connection, lanes: Collection[int]) -> None:
    """Note that the heads of held lanes go on: what waits behind them is freed when they are settled."""
    wanted = sorted(number for number in lanes if number)
    if wanted:
        connection.execute(
            lane.update()
            .where(lane.c.kind == "filing", lane.c.destination == "", lane.c.lane.in_(wanted))
            .values(state="waiting", reason=None)
        )


def free(connection: Connection, lanes: Collection[int]) -> list[tuple[int, Lane]]:
    """Forget the blocks of lanes whose head is settled and return their waiting messages, oldest first.

    Lanes that were flowing cost one index probe each and return nothing.
    """
    wanted = sorted(number for number in lanes if number)
    if not wanted:
        return []
    blocked = connection.execute(
        lane.delete()
        .where(lane.c.kind == "filing", lane.c.destination == "", lane.c.lane.in_(wanted))
        .returning(lane.c.lane)
    )
    freed = [row.lane for row in blocked]
    if not freed:
        return []
    waiting = connection.execute(
        select(message.c.seq, message.c.lane)
        .where(
            message.c.lane.in_(freed), message.c.state < 10, message.c.state == int(State.WAITING)
        )
        .order_by(message.c.seq)
    )
    return [(row.seq, Lane(row.lane)) for row in waiting]


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
    first = connection.execute(text("SELECT min(seq) FROM message WHERE state < 10")).scalar()
    since = connection.execute(select(message.c.received_at).where(message.c.seq == first)).scalar()
    return Unsettled(int(counted or 0), int(blocked or 0), since)


def overdue(connection: Connection, before: datetime, limit: int) -> list[tuple[int, Lane]]:
    """Unsettled messages that nobody touched since `before`, oldest first; of waiting ones only the next of its lane.

    What the sweep puts back when the queue has nothing: lost, purged, or never handed over. A waiting message whose
    head was settled by another worker at the same instant is found here too.
    """
    cut = to_micros(before)
    rows = connection.execute(
        text(
            "SELECT m.seq, m.lane FROM message m WHERE m.state < 10 AND m.state IN (1, 2, 3) "
            "AND m.state_since < :cut AND (m.next_try_at IS NULL OR m.next_try_at < :cut) "
            "AND NOT (m.state = 2 AND EXISTS (SELECT 1 FROM message e WHERE e.lane = m.lane AND e.state < 10 "
            "AND e.seq < m.seq)) ORDER BY m.seq LIMIT :n"
        ),
        {"cut": cut, "n": limit},
    )
    return [(row.seq, Lane(row.lane)) for row in rows]
