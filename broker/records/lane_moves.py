"""What a person does to one lane: hold it, let it go, settle its head. For `broker.operating`, in its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from broker.contracts import Work
from broker.database.engine import is_sqlite
from broker.database.types import from_micros, to_micros
from broker.records.lane_names import LaneName, mark
from broker.values import Lane, State

QUEUED = 10_000
"""Waiting work of a lane that is put to the queue at once; what is behind it comes by itself, in order."""

_KEY = "kind = :kind AND destination = :destination AND lane = :lane"


@dataclass(frozen=True, slots=True)
class Row:
    """The row of a lane that does not flow."""

    state: str
    since: datetime
    reason: str | None
    held_by: str | None
    hold_reason: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest unsettled message or delivery of a lane. `state` is a State's name, or a delivery's."""

    number: int
    name: str
    state: str
    reason: str | None
    attempts: int
    next_try_at: datetime | None


def row_of(connection: Connection, name: LaneName) -> Row | None:
    """The row of a lane, if it has one; one recipient's lane is held with the patient's others."""
    row = connection.execute(
        text(f"SELECT state, since, reason, held_by, hold_reason FROM lane WHERE {_KEY}"),  # noqa: S608
        _given(name),
    ).one_or_none()
    if row is None:
        return None
    return Row(row.state, from_micros(int(row.since)), row.reason, row.held_by, row.hold_reason)


def head_of(connection: Connection, name: LaneName) -> Head | None:
    """The oldest unsettled message or delivery of a lane; one index probe."""
    if name.kind == "filing":
        row = connection.execute(
            text(
                # OFFSET 0 keeps the planner from walking the primary key in the order asked for.
                "SELECT seq, id, state, reason, attempts, next_try_at FROM (SELECT seq, id, state, reason, attempts, "  # noqa: S608
                f"next_try_at FROM message WHERE lane = :lane AND state < 10{_fence(connection)}) AS o "
                "ORDER BY seq LIMIT 1"
            ),
            {"lane": name.number},
        ).one_or_none()
        if row is None:
            return None
        state, called = State(row.state).name.lower(), str(row.id)
    else:
        within, given = deliveries_of(connection, name)
        row = connection.execute(
            text(
                "SELECT id AS seq, state, reason, attempts, next_try_at FROM delivery WHERE settled_at IS NULL "  # noqa: S608
                f"AND {within} ORDER BY id LIMIT 1"
            ),
            given,
        ).one_or_none()
        if row is None:
            return None
        state, called = row.state, f"delivery:{row.seq}"
    tried = None if row.next_try_at is None else from_micros(int(row.next_try_at))
    return Head(int(row.seq), called, state, row.reason, int(row.attempts), tried)


def hold(connection: Connection, name: LaneName, by: str, why: str, now: datetime) -> bool:
    """Let a person hold a lane; False: somebody does already."""
    head = head_of(connection, name)
    done = connection.execute(
        text(
            "INSERT INTO lane (kind, destination, lane, state, head_seq, since, attempts, held_by, hold_reason) "
            "VALUES (:kind, :destination, :lane, 'held', :head, :now, 0, :by, :why) "
            "ON CONFLICT (kind, destination, lane) DO UPDATE SET state = 'held', since = excluded.since, "
            "held_by = excluded.held_by, hold_reason = excluded.hold_reason WHERE lane.held_by IS NULL"
        ),
        {
            **_given(name),
            "head": head.number if head else 0,
            "now": to_micros(now),
            "by": by,
            "why": why,
        },
    )
    return done.rowcount > 0


def lift(connection: Connection, name: LaneName, held_by: str, now: datetime) -> bool:
    """Take back a person's hold: the lane flows, or is held by its head again. False: somebody else did.

    What waits in a filing lane is freed when its head is settled, so the row stays until then.
    """
    head = head_of(connection, name)
    is_held = name.kind == "filing" and head is not None and head.state == "held"
    done = connection.execute(
        text(
            "UPDATE lane SET state = :state, since = :now, reason = :reason, held_by = NULL, hold_reason = NULL "  # noqa: S608
            f"WHERE {_KEY} AND held_by = :by"
        ),
        {
            **_given(name),
            "state": "held" if is_held else "released",
            "now": to_micros(now),
            "reason": head.reason if is_held and head is not None else None,
            "by": held_by,
        },
    )
    if head is None or name.kind == "outbound":
        forget(connection, name)
    return done.rowcount > 0


def note(connection: Connection, name: LaneName, state: str, now: datetime) -> None:
    """Say of a lane that is not held by a person what became of its head."""
    connection.execute(
        text(
            f"UPDATE lane SET state = :state, since = :now, reason = NULL WHERE {_KEY} AND held_by IS NULL"  # noqa: S608
        ),
        {**_given(name), "state": state, "now": to_micros(now)},
    )


def forget(connection: Connection, name: LaneName) -> None:
    """Drop the row of a lane that no person holds: it flows."""
    connection.execute(text(f"DELETE FROM lane WHERE {_KEY} AND held_by IS NULL"), _given(name))  # noqa: S608


def try_now(connection: Connection, delivery_id: int) -> bool:
    """Let a delivery that waits for its next try be due at once; False: it does not wait."""
    done = connection.execute(
        text(
            "UPDATE delivery SET next_try_at = NULL WHERE id = :id AND settled_at IS NULL AND state = 'owed' "
            "AND next_try_at IS NOT NULL"
        ),
        {"id": delivery_id},
    )
    return done.rowcount > 0


def work_of(connection: Connection, name: LaneName) -> list[Work]:
    """What the queue has to know of a lane that goes on, oldest first: its waiting messages, or owed deliveries."""
    if name.kind == "filing":
        rows = connection.execute(
            text(
                "SELECT seq AS number FROM (SELECT seq, state FROM message WHERE lane = :lane AND state < 10"  # noqa: S608
                f"{_fence(connection)}) AS o WHERE state IN (1, 2) ORDER BY seq LIMIT :n"
            ),
            {"lane": name.number, "n": QUEUED},
        )
    else:
        within, given = deliveries_of(connection, name)
        rows = connection.execute(
            text(
                "SELECT id AS number FROM delivery WHERE settled_at IS NULL "  # noqa: S608
                f"AND {within} AND state = 'owed' ORDER BY id LIMIT :n"
            ),
            {**given, "n": QUEUED},
        )
    return [Work(int(row.number), Lane(name.number)) for row in rows]


def deliveries_of(connection: Connection, name: LaneName) -> tuple[str, dict[str, object]]:
    """(condition, parameters) of the open deliveries of a destination's lane."""
    within = "destination = :destination AND lane = :lane"
    given: dict[str, object] = {"destination": name.destination, "lane": int(name.number)}
    if not name.recipient:
        return within, given
    rows = connection.execute(
        text(f"SELECT DISTINCT recipient FROM delivery WHERE settled_at IS NULL AND {within}"),  # noqa: S608
        given,
    )
    found = next((row.recipient for row in rows if mark(row.recipient) == name.recipient), None)
    if found is None:
        return f"{within} AND 1 = 0", given
    return f"{within} AND recipient = :recipient", {**given, "recipient": found}


def _given(name: LaneName) -> dict[str, object]:
    return {"kind": name.kind, "destination": name.destination, "lane": int(name.number)}


def _fence(connection: Connection) -> str:
    return "" if is_sqlite(connection) else " OFFSET 0"
