"""Answers that deliveries await, have, or should have had by now: opened with the attempt, closed by the answer.

`open` and in time; `overdue`, and still awaited; `answered` or `refused` by the message `answer_seq`; `void`: the
delivery ended otherwise, or a person gave the answer up. One a delivery and kind of answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import expectation
from broker.database.types import from_micros, to_micros
from broker.records.lookups import any_of

AWAITED = ("open", "overdue")
_COLUMNS = ("delivery_id", "kind", "destination", "due_at", "state", "code", "answered_at", "answer_seq")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expectation:
    """One awaited or credited answer of a delivery."""

    delivery_id: int
    kind: str
    destination: str
    due_at: datetime
    state: str = "open"
    code: str | None = None
    answered_at: datetime | None = None
    answer_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Overdue:
    """A delivery whose answer should have come: `before` is the position of the next page."""

    delivery_id: int
    message_id: str
    source: str
    destination: str
    recipient: str
    kind: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Late:
    """How many answers of a destination are overdue, and since when the first of them is."""

    count: int
    oldest: datetime


def write(connection: Connection, rows: Sequence[Expectation]) -> None:
    """Open expectations, or close them: what stood there of the same delivery and kind is overwritten."""
    made = sorted(_row(one) for one in {(one.delivery_id, one.kind): one for one in rows}.values())
    bulk.replace_rows(connection, expectation, _COLUMNS, made, keys=("delivery_id", "kind"))


def of(connection: Connection, ids: Collection[int]) -> dict[tuple[int, str], Expectation]:
    """What deliveries await or have: (delivery, kind) -> expectation."""
    if not ids:
        return {}
    within, given = any_of(connection, "delivery_id", sorted(ids))
    rows = connection.execute(
        text(f"SELECT {', '.join(_COLUMNS)} FROM expectation WHERE {within}"),  # noqa: S608
        given,
    )
    return {(int(row.delivery_id), row.kind): _read(row) for row in rows}


def fall_due(connection: Connection, now: datetime, limit: int) -> tuple[int, Counter[str]]:
    """Mark what is past due: (how many were looked at, destination -> how many are overdue now).

    Of a delivery that is no longer sent (parked, discarded) nobody awaits an answer: it becomes void.
    """
    skip = "" if is_sqlite(connection) else " FOR UPDATE OF e SKIP LOCKED"
    rows = connection.execute(
        text(
            "SELECT e.delivery_id, e.kind, e.destination, d.state FROM expectation e "  # noqa: S608
            "JOIN delivery d ON d.id = e.delivery_id WHERE e.state = 'open' AND e.due_at <= :now "
            f"ORDER BY e.due_at LIMIT :limit{skip}"
        ),
        {"now": to_micros(now), "limit": limit},
    ).all()
    for state in ("overdue", "void"):
        mine = [row for row in rows if (row.state == "sent") == (state == "overdue")]
        for kind in sorted({row.kind for row in mine}):
            ids = [int(row.delivery_id) for row in mine if row.kind == kind]
            within, given = any_of(connection, "delivery_id", ids)
            connection.execute(
                text(
                    f"UPDATE expectation SET state = :state WHERE {within} AND kind = :kind AND state = 'open'"  # noqa: S608
                ),
                {"state": state, "kind": kind, **given},
            )
    return len(rows), Counter(row.destination for row in rows if row.state == "sent")


def give_up(connection: Connection, ids: Collection[int]) -> set[int]:
    """Await no more answers to deliveries that are overdue with one; returns those that were."""
    if not ids:
        return set()
    within, given = any_of(connection, "delivery_id", sorted(ids))
    rows = connection.execute(
        text(
            f"UPDATE expectation SET state = 'void' WHERE {within} AND state = 'overdue' RETURNING delivery_id"  # noqa: S608
        ),
        given,
    )
    return {int(row.delivery_id) for row in rows}


def overdue(
    connection: Connection,
    *,
    destination: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Overdue]:
    """Deliveries whose answer is overdue, newest first, below the position `before` (a delivery's number)."""
    names = [destination] if destination is not None else _destinations(connection)
    found: list[Overdue] = []
    for name in names:
        rows = connection.execute(
            text(
                "SELECT e.delivery_id, m.id AS message_id, m.source, e.destination, d.recipient, e.kind, e.due_at "
                "FROM expectation e JOIN delivery d ON d.id = e.delivery_id JOIN message m ON m.seq = d.message_seq "
                "WHERE e.state = 'overdue' AND e.destination = :name AND e.delivery_id < :top "
                "ORDER BY e.delivery_id DESC LIMIT :n"
            ),
            {"name": name, "top": (1 << 63) - 1 if before is None else before, "n": limit},
        )
        found += [
            Overdue(int(r.delivery_id), str(r.message_id), r.source, r.destination, r.recipient, r.kind,
                    from_micros(int(r.due_at)))
            for r in rows
        ]  # fmt: skip
    return sorted(found, key=lambda one: (-one.delivery_id, one.kind))[:limit]


def late(connection: Connection) -> dict[str, Late]:
    """How much is overdue of each destination, by the index of it."""
    rows = connection.execute(
        text(
            "SELECT destination, count(*) AS n, min(due_at) AS oldest FROM expectation WHERE state = 'overdue' "
            "GROUP BY destination"
        )
    )
    return {row.destination: Late(int(row.n), from_micros(int(row.oldest))) for row in rows}


def _destinations(connection: Connection) -> list[str]:
    """Destinations with overdue answers, by jumping along their index."""
    rows = connection.execute(
        text(
            "WITH RECURSIVE r(name) AS (SELECT min(destination) FROM expectation WHERE state = 'overdue' UNION ALL "
            "SELECT (SELECT min(e.destination) FROM expectation e WHERE e.state = 'overdue' AND e.destination > r.name) "
            "FROM r WHERE r.name IS NOT NULL) SELECT name FROM r WHERE name IS NOT NULL"
        )
    )
    return [row.name for row in rows]


def _row(one: Expectation) -> tuple[Any, ...]:
    return (
        one.delivery_id, one.kind, one.destination, to_micros(one.due_at), one.state, one.code,
        one.answered_at and to_micros(one.answered_at), one.answer_seq,
    )  # fmt: skip


def _read(row: Any) -> Expectation:
    return Expectation(
        int(row.delivery_id), row.kind, row.destination, from_micros(int(row.due_at)), row.state, row.code,
        None if row.answered_at is None else from_micros(int(row.answered_at)),
        None if row.answer_seq is None else int(row.answer_seq),
    )  # fmt: skip
