"""What cannot go on without a person: parked messages, and deliveries that are parked or whose outcome is unknown.

For `carnet parked`. Lists come newest first by keyset, as those of `messages_reading`; `selected` and
`selected_deliveries` give what a command is to take, oldest first. `tests/broker/test_plans.py` holds the statements to
their plans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.database.types import from_micros
from broker.records import messages_reading
from broker.records.lookups import any_of
from broker.records.messages_reading import PAGE, WINDOW
from broker.values import Lane, MessageId, Seq, State

STATES = ("parked", "unknown")
"""States of a delivery that wait for a person. The index of them has this condition; SQLite wants it repeated."""

_STUCK = "d.state IN ('parked', 'unknown')"
_NEWEST = (1 << 63) - 1
_AT_ONCE = 1_000
_COLUMNS = (
    "d.id, d.message_seq, m.id AS message_id, m.source, d.destination, d.recipient, d.lane, d.state, d.created_at, "
    "d.settled_at, d.attempts, d.reason, d.reason_place, d.document_id, "
    "coalesce(d.answer_code, "
    "(SELECT a.answer_code FROM attempt a WHERE a.delivery_id = d.id AND a.number = d.attempts)) AS answer_code"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery in a list. `since` is when it was settled, or owed where it is not."""

    id: int
    message_seq: Seq
    message_id: MessageId
    source: str
    destination: str
    recipient: str
    lane: Lane
    state: str
    created_at: datetime
    since: datetime
    attempts: int
    reason: str | None
    place: str | None
    answer_code: str | None
    has_own_form: bool

    @property
    def name(self) -> str:
        """As an operator names it."""
        return f"delivery:{self.id}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery; without an end, a courier has it in its hands or died over it."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    answer_code: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `before` is the position of the next page, None when there is nothing older."""

    lines: Sequence[Delivery]
    before: int | None


def messages(
    connection: Connection,
    *,
    source: str | None = None,
    reason: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> messages_reading.Page:
    """Parked messages, newest first."""
    return messages_reading.listing(
        connection, source=source, state=State.PARKED, reason=reason, before=before, limit=limit
    )


def deliveries(
    connection: Connection,
    *,
    destination: str | None = None,
    source: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> Page:
    """Deliveries that wait for a person, newest first. Filters but `destination` hold within a window of rows."""
    wanted = {"source": source, "state": state, "reason": reason}
    is_filtered = any(value is not None for value in wanted.values())
    window = max(limit, WINDOW) if is_filtered else limit
    names = destinations(connection) if destination is None else [destination]
    parts: list[str] = []
    given: dict[str, Any] = {"top": _NEWEST if before is None else before, "window": window}
    for n, name in enumerate(names):
        given[f"d{n}"] = name
        parts.append(
            f"SELECT * FROM (SELECT d.id FROM delivery d WHERE {_STUCK} AND d.destination = :d{n} AND d.id < :top "  # noqa: S608
            f"ORDER BY d.id DESC LIMIT :window) AS q{n}"
        )
    if not parts:
        return Page((), None)
    rows = connection.execute(text(" UNION ALL ".join(parts)), given)
    # Every stream gave its newest: the newest of all of them are complete down to as many rows as one stream may give.
    ids = sorted((int(row.id) for row in rows), reverse=True)
    looked_at = ids[:window]
    found = [one for one in by_ids(connection, looked_at) if _is(one, wanted)]
    lines = sorted(found, key=lambda one: -one.id)[:limit]
    if len(found) > limit:
        return Page(lines, lines[-1].id)
    return Page(lines, looked_at[-1] if len(ids) >= window else None)


def selected(
    connection: Connection, *, source: str | None = None, reason: str | None = None
) -> list[int]:
    """The numbers of all parked messages (of a source, for a reason), oldest first: what a command is to take."""
    reasons = [reason] if reason is not None else messages_reading.reasons(connection)
    found: list[int] = []
    for one in reasons:
        found += _walk(
            connection,
            "SELECT seq AS number, state, source FROM message WHERE reason = :reason AND seq > :after "
            "ORDER BY seq LIMIT :n",
            {"reason": one},
            lambda row: row.state == State.PARKED and source in (None, row.source),
        )
    return sorted(found)


def selected_deliveries(
    connection: Connection,
    *,
    destination: str | None = None,
    source: str | None = None,
    state: str | None = None,
    reason: str | None = None,
) -> list[int]:
    """The numbers of all such deliveries that wait for a person, oldest first."""
    found: list[int] = []
    for name in destinations(connection) if destination is None else [destination]:
        found += _walk(
            connection,
            "SELECT d.id AS number, d.state, d.reason, m.source FROM delivery d "  # noqa: S608
            f"JOIN message m ON m.seq = d.message_seq WHERE {_STUCK} AND d.destination = :destination "
            "AND d.id > :after ORDER BY d.id LIMIT :n",
            {"destination": name},
            lambda row: (
                source in (None, row.source)
                and state in (None, row.state)
                and reason in (None, row.reason)
            ),
        )
    return sorted(found)


def by_ids(connection: Connection, ids: Collection[int]) -> list[Delivery]:
    """Deliveries of any state by their numbers, in no order."""
    if not ids:
        return []
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {within}"  # noqa: S608
        ),
        given,
    )
    return [_delivery(row) for row in rows]


def attempts(connection: Connection, number: int) -> list[Attempt]:
    """The newest attempts of one delivery, in their order."""
    rows = connection.execute(
        text(
            "SELECT number, started_at, ended_at, outcome, answer_code FROM attempt WHERE delivery_id = :id "
            "ORDER BY number DESC LIMIT :n"
        ),
        {"id": number, "n": PAGE},
    )
    return [
        Attempt(
            int(row.number),
            from_micros(int(row.started_at)),
            None if row.ended_at is None else from_micros(int(row.ended_at)),
            row.outcome,
            row.answer_code,
        )
        for row in reversed(rows.all())
    ]


def never_rendered(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of `ids` that have nothing to send: their document has no form that the destination takes."""
    if not ids:
        return set()
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(
        text(
            f"SELECT d.id FROM delivery d WHERE {within} AND d.document_id IS NOT NULL "  # noqa: S608
            "AND NOT EXISTS (SELECT 1 FROM prepared p WHERE p.delivery_id = d.id)"
        ),
        given,
    )
    return {int(row.id) for row in rows}


def _walk(
    connection: Connection, statement: str, given: dict[str, Any], wanted: Any
) -> Iterator[int]:
    """The numbers a statement finds in rounds, each above the last of the one before."""
    after = 0
    while True:
        rows = connection.execute(text(statement), {**given, "after": after, "n": _AT_ONCE}).all()
        yield from (int(row.number) for row in rows if wanted(row))
        if len(rows) < _AT_ONCE:
            return
        after = int(rows[-1].number)


def destinations(connection: Connection) -> list[str]:
    """Every destination that has such deliveries, by jumping along their index: one probe for each."""
    rows = connection.execute(
        text(
            f"WITH RECURSIVE r(name) AS (SELECT min(d.destination) FROM delivery d WHERE {_STUCK} UNION ALL "  # noqa: S608
            f"SELECT (SELECT min(d.destination) FROM delivery d WHERE {_STUCK} AND d.destination > r.name) FROM r "
            "WHERE r.name IS NOT NULL) SELECT name FROM r WHERE name IS NOT NULL"
        )
    )
    return [row.name for row in rows]


def _is(one: Delivery, wanted: dict[str, str | None]) -> bool:
    return all(value is None or getattr(one, name) == value for name, value in wanted.items())


def _delivery(row: Any) -> Delivery:
    since = row.created_at if row.settled_at is None else row.settled_at
    return Delivery(
        id=int(row.id),
        message_seq=Seq(int(row.message_seq)),
        message_id=MessageId(str(row.message_id)),
        source=row.source,
        destination=row.destination,
        recipient=row.recipient,
        lane=Lane(int(row.lane)),
        state=row.state,
        created_at=from_micros(int(row.created_at)),
        since=from_micros(int(since)),
        attempts=int(row.attempts),
        reason=row.reason,
        place=row.reason_place,
        answer_code=row.answer_code,
        has_own_form=row.document_id is not None,
    )
