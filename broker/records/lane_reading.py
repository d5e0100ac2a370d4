"""Lanes that do not flow, for `carnet lanes` and the console: those of filing, then those of each destination.

A lane of filing that does not flow has a row. So has a lane that a person holds; of the others of a destination it is
the head that tells (of each recipient's, where it writes to recipients): its outcome is unknown, or it is tried again. Lists go by keyset, in the order of names' numbers,
through at most a window of lanes a page: a page may hold fewer lanes than asked for and still say where to go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.types import from_micros
from broker.records import lane_moves, messages_reading
from broker.records.lane_names import LaneName, filing, outbound
from broker.records.lanes import unsettled_heads
from broker.records.lookups import any_of
from broker.records.messages_reading import PAGE, WINDOW
from broker.values import State

STATES = ("held", "retrying", "waiting", "released", "skipped")
"""`held` and, in a destination's lane, `waiting` need a person; the others go on by themselves."""

_LOWEST = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Line:
    """One lane that does not flow. `head` names the message or delivery it waits for, `reason` says why."""

    name: LaneName
    state: str
    since: datetime
    head: str
    head_state: str
    reason: str | None
    attempts: int
    next_try_at: datetime | None
    held_by: str | None
    hold_reason: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """In the order of names. `after` is where the next page begins, None when there is nothing more."""

    lines: Sequence[Line]
    after: LaneName | None


@dataclass(frozen=True, slots=True)
class Behind:
    """One message or delivery of a lane, in its order."""

    name: str
    state: str
    since: datetime
    reason: str | None
    place: str | None


def listing(
    connection: Connection,
    *,
    kind: str | None = None,
    destination: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    after: LaneName | None = None,
    limit: int = PAGE,
) -> Page:
    """Lanes that do not flow, behind the position `after`."""
    lines: list[Line] = []
    left = max(limit, WINDOW)
    for one, behind_it in _segments(connection, kind, destination, after):
        looked_at = 0
        for name, line in islice(_walk(connection, one, behind_it, left), left):
            looked_at += 1
            if line is not None and state in (None, line.state) and reason in (None, line.reason):
                lines.append(line)
            if len(lines) == limit or looked_at == left:
                return Page(_with_heads(connection, lines), name)
        left -= looked_at
    return Page(_with_heads(connection, lines), None)


def one(connection: Connection, name: LaneName) -> Line | None:
    """A lane that has something unsettled, or that a person holds; None: there is nothing in it. It may flow."""
    row, head = lane_moves.row_of(connection, name), lane_moves.head_of(connection, name)
    if row is None and head is None:
        return None
    if row is not None:
        state, since = row.state, row.since
    else:
        assert head is not None
        state = "flows"
        if name.kind == "outbound":
            state = _state_of(head.state, head.next_try_at is not None) or "flows"
        since = behind(connection, name, 1)[0].since
    return Line(
        name, state, since,
        head.name if head else "", head.state if head else "",
        (head.reason if head else None) or (row.reason if row else None),
        head.attempts if head else 0, head.next_try_at if head else None,
        row.held_by if row else None, row.hold_reason if row else None,
    )  # fmt: skip


def head_number(connection: Connection, name: LaneName) -> int | None:
    """The number of the oldest unsettled message or delivery of a lane."""
    head = lane_moves.head_of(connection, name)
    return None if head is None else head.number


def behind(
    connection: Connection, name: LaneName, limit: int = PAGE, after: int = 0
) -> list[Behind]:
    """What is unsettled in a lane, its head first, above the number `after`."""
    fence = "" if is_sqlite(connection) else " OFFSET 0"
    if name.kind == "filing":
        rows = connection.execute(
            text(
                "SELECT seq, id, state, state_since, reason, reason_place FROM (SELECT seq, id, state, state_since, "  # noqa: S608
                f"reason, reason_place FROM message WHERE lane = :lane AND state < 10{fence}) AS o "
                "WHERE seq > :after ORDER BY seq LIMIT :n"
            ),
            {"lane": name.number, "after": after, "n": limit},
        )
        return [
            Behind(str(r.id), State(r.state).name.lower(), from_micros(int(r.state_since)), r.reason, r.reason_place)
            for r in rows
        ]  # fmt: skip
    within, given = lane_moves.deliveries_of(connection, name)
    rows = connection.execute(
        text(
            "SELECT id, state, created_at, reason, reason_place FROM delivery WHERE settled_at IS NULL "  # noqa: S608
            f"AND {within} AND id > :after ORDER BY id LIMIT :n"
        ),
        {**given, "after": after, "n": limit},
    )
    return [
        Behind(f"delivery:{r.id}", r.state, from_micros(int(r.created_at)), r.reason, r.reason_place) for r in rows
    ]  # fmt: skip


# --- walking ------------------------------------------------------------------------------------------------------


def _segments(
    connection: Connection, kind: str | None, destination: str | None, after: LaneName | None
) -> Iterator[tuple[LaneName, LaneName | None]]:
    """The parts of the list, each a lane that stands for all of its kind and destination, and behind which to begin."""
    parts = [filing(0)] if kind != "outbound" and destination is None else []
    if kind != "filing":
        names = [destination] if destination is not None else _destinations(connection)
        parts += [outbound(name, 0) for name in names]
    for part in parts:
        place = (part.kind, part.destination)
        if after is None or place > (after.kind, after.destination):
            yield part, None
        elif place == (after.kind, after.destination):
            yield part, after


def _walk(
    connection: Connection, part: LaneName, after: LaneName | None, most: int
) -> Iterator[tuple[LaneName, Line | None]]:
    """The lanes of one part behind `after`: their names, and the line where one does not flow."""
    # The other recipients of the lane where the page before ended are behind it.
    begin = _LOWEST if after is None else after.number - bool(after.recipient)
    rows = connection.execute(
        text(
            "SELECT lane, state, since, reason, held_by, hold_reason FROM lane WHERE kind = :kind "
            "AND destination = :destination AND lane > :begin ORDER BY lane LIMIT :n"
        ),
        {"kind": part.kind, "destination": part.destination, "begin": begin, "n": most},
    ).all()
    with_row = {int(row.lane): row for row in rows}
    with_head: dict[int, Any] = {}
    if part.kind == "outbound":
        with_head = {
            int(row.lane): row for row in _heads(connection, part.destination, begin, most)
        }
    each = _heads_of_recipients(connection, part.destination, with_head.values())
    # Beyond the last of a full read nothing is known yet.
    ends = [max(found) for found in (with_row, with_head) if len(found) >= most]
    for number in sorted(with_row.keys() | with_head.keys()):
        if ends and number > min(ends):
            return
        named = [(filing(number), None)] if part.kind == "filing" else []
        if part.kind == "outbound" and (number in with_row or number not in each):
            named = [(outbound(part.destination, number), with_head.get(number))]
        elif part.kind == "outbound":
            named = sorted(
                ((outbound(part.destination, number, one.recipient), one) for one in each[number]),
                key=lambda pair: pair[0],
            )
        for name, head in named:
            if after is None or name > after:
                # What has no patient keeps no order: nothing waits behind it.
                yield name, _line(name, with_row.get(number), head) if number else None


def _heads(connection: Connection, destination: str, begin: int, most: int) -> Sequence[Any]:
    """The head of each lane with open deliveries, by jumping along the index of open ones: two probes a lane."""
    return connection.execute(
        text(
            "WITH RECURSIVE w(lane, n) AS (SELECT (SELECT min(d.lane) FROM delivery d WHERE d.settled_at IS NULL "
            "AND d.destination = :destination AND d.lane > :begin), 1 UNION ALL SELECT (SELECT min(d.lane) "
            "FROM delivery d WHERE d.settled_at IS NULL AND d.destination = :destination AND d.lane > w.lane), w.n + 1 "
            "FROM w WHERE w.lane IS NOT NULL AND w.n < :most) "
            "SELECT h.id, h.lane, h.recipient, h.state, h.created_at, h.next_try_at, h.attempts, h.reason FROM w "
            "JOIN delivery h ON h.id = (SELECT min(d.id) FROM delivery d WHERE d.settled_at IS NULL "
            "AND d.destination = :destination AND d.lane = w.lane) WHERE w.lane IS NOT NULL ORDER BY h.lane"
        ),
        {"destination": destination, "begin": begin, "most": most},
    ).all()


def _heads_of_recipients(
    connection: Connection, destination: str, heads: Iterable[Any]
) -> dict[int, list[Any]]:
    """The head of each recipient's own lane, by the patient's; of patients whose deliveries have recipients."""
    wanted = [int(row.lane) for row in heads if row.recipient]
    if not wanted:
        return {}
    within, given = any_of(connection, "d.lane", wanted)
    rows = connection.execute(
        text(
            "SELECT h.id, h.lane, h.recipient, h.state, h.created_at, h.next_try_at, h.attempts, h.reason "  # noqa: S608
            "FROM delivery h WHERE h.id IN (SELECT min(d.id) FROM delivery d WHERE d.settled_at IS NULL "
            f"AND d.destination = :destination AND {within} GROUP BY d.lane, d.recipient)"
        ),
        {"destination": destination, **given},
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[int(row.lane)].append(row)
    return found


def _line(name: LaneName, row: Any, head: Any) -> Line | None:
    if row is None:
        state = _state_of(head.state, head.next_try_at is not None)
        if state is None:
            return None
    else:
        state = row.state
    tried = None if head is None or head.next_try_at is None else from_micros(int(head.next_try_at))
    return Line(
        name=name,
        state=state,
        since=from_micros(int(head.created_at if row is None else row.since)),
        head=f"delivery:{head.id}" if head is not None else "",
        head_state=head.state if head is not None else "",
        reason=head.reason if head is not None else row.reason,
        attempts=int(head.attempts) if head is not None else 0,
        next_try_at=tried,
        held_by=row.held_by if row is not None else None,
        hold_reason=row.hold_reason if row is not None else None,
    )


def _state_of(head_state: str, is_tried_again: bool) -> str | None:
    """What an open head of a destination's lane says of the lane; None: it flows."""
    if head_state == "unknown":
        return "waiting"
    return "retrying" if is_tried_again else None


def _with_heads(connection: Connection, lines: Sequence[Line]) -> list[Line]:
    """Lanes of filing get their heads: one statement for the page, and one for their lines."""
    wanted = {int(line.name.number): 1 for line in lines if line.name.kind == "filing"}
    heads = unsettled_heads(connection, wanted, also_held=True)
    by_seq = {
        int(line.seq): line
        for line in messages_reading.by_seq(connection, [seqs[0] for seqs in heads.values()])
    }
    return [
        line
        if line.name.number not in heads or line.name.kind != "filing"
        else _at_head(line, by_seq[heads[line.name.number][0]])
        for line in lines
    ]


def _at_head(line: Line, head: messages_reading.Line) -> Line:
    return Line(
        line.name, line.state, line.since, head.id, head.state.name.lower(), line.reason or head.reason,
        head.attempts, head.next_try_at, line.held_by, line.hold_reason,
    )  # fmt: skip


def _destinations(connection: Connection) -> list[str]:
    """Destinations that are owed something, or have a lane that a person holds, by name."""
    rows = connection.execute(
        text(
            "WITH RECURSIVE r(name) AS (SELECT min(destination) FROM delivery WHERE settled_at IS NULL UNION ALL "
            "SELECT (SELECT min(d.destination) FROM delivery d WHERE d.settled_at IS NULL AND d.destination > r.name) "
            "FROM r WHERE r.name IS NOT NULL) SELECT name FROM r WHERE name IS NOT NULL "
            "UNION SELECT destination FROM lane WHERE kind = 'outbound' ORDER BY name"
        )
    )
    return [row.name for row in rows]
