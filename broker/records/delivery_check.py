"""What `reconcile` looks at again of deliveries: those owed for the messages of a day, and their attempts.

Read-only. A delivery is found by its message; one that is gone, by the gap in the numbers, since they are handed out
in the transaction that writes the rows, without gaps within a month.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.records import archiving
from broker.records.balance_check import SHOWN, Span, day_from, day_given
from broker.records.moving import OPEN_DELIVERIES, SETTLED_DELIVERIES
from broker.values import SEQ_MONTH_SHIFT

CONFIRMED = "delivery.confirmed"
"""Why a delivery is sent although no attempt ended so: its partner said that it arrived, and a person noted it."""

_OPEN = ", ".join(f"'{state}'" for state in OPEN_DELIVERIES)
_SETTLED = ", ".join(f"'{state}'" for state in SETTLED_DELIVERIES)
_FIRST_OF_MONTH = 1
_HIGHEST = (1 << 63) - 1


def no_such_state(connection: Connection, of: Span) -> list[str]:
    """Deliveries in a state that does not exist."""
    return _names(connection, of, f"d.state NOT IN ({_OPEN}, {_SETTLED})")


def half_settled(connection: Connection, of: Span) -> list[str]:
    """Deliveries whose state says settled and whose row has no instant of it, or the other way round."""
    return _names(
        connection,
        of,
        f"((d.state IN ({_SETTLED}) AND d.settled_at IS NULL) OR (d.state IN ({_OPEN}) AND d.settled_at IS NOT NULL))",
    )


def sent_without_attempt(connection: Connection, of: Span) -> list[str]:
    """Deliveries marked sent without an attempt that ended as sent, the partner's answer, or a person who noted its word."""
    return _names(
        connection,
        of,
        "d.state = 'sent' AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.outcome = 'sent') "  # noqa: S608
        f"AND NOT (d.reason = '{CONFIRMED}' AND {_entry(connection, 'delivery_confirmed')}) "
        f"AND NOT {_answered('answered')}",
    )


def undone(connection: Connection, of: Span) -> list[str]:
    """Deliveries that an attempt sent, and that are not marked so, although no later answer refused them."""
    return _names(
        connection,
        of,
        "d.state <> 'sent' AND EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.outcome = 'sent') "  # noqa: S608
        f"AND NOT {_answered('refused')}",
    )


def without_attempt(connection: Connection, of: Span) -> list[str]:
    """Deliveries whose last attempt is not there."""
    return _names(
        connection,
        of,
        "d.attempts > 0 AND d.claimed_by IS NULL AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_id = d.id "
        "AND a.number = d.attempts)",
    )


def without_entry(connection: Connection, of: Span, state: str) -> list[str]:
    """Deliveries that a person settled (`skipped`, `discarded`), and whom the trail does not know."""
    return _names(
        connection, of, f"d.state = '{state}' AND NOT {_entry(connection, f'delivery_{state}')}"
    )


def without_message(connection: Connection, of: Span) -> list[str]:
    """Deliveries owed for a message that is not there, among the numbers that the day's messages may have."""
    low, high = _bounds(connection, of)
    rows = connection.execute(
        text(
            "SELECT d.id FROM delivery d WHERE d.message_seq >= :low AND d.message_seq <= :high "
            "AND NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = d.message_seq) LIMIT :shown"
        ),
        {"low": low, "high": high, "shown": SHOWN},
    )
    return [_name(row.id) for row in rows]


def gone(connection: Connection, of: Span) -> list[str]:
    """Numbers just below those of the day's deliveries that neither a delivery nor an archive has: a row was taken away.

    And the last number that was given, whatever the day.
    """
    rows = connection.execute(
        text(
            f"SELECT d.id - 1 AS id {_from(connection)} AND d.id - ((d.id >> {SEQ_MONTH_SHIFT}) << {SEQ_MONTH_SHIFT}) "  # noqa: S608
            f"> {_FIRST_OF_MONTH} AND NOT EXISTS (SELECT 1 FROM delivery p WHERE p.id = d.id - 1) "
            f"AND NOT {archiving.is_held('(d.id - 1)', archiving.DELIVERY)} LIMIT :shown"
        ),
        {**day_given(of), "shown": SHOWN},
    )
    found = [_name(row.id) for row in rows]
    last = connection.execute(
        text(
            "SELECT c.value FROM counter c WHERE c.name = 'delivery' "  # noqa: S608
            "AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = c.value) "
            f"AND NOT {archiving.is_held('c.value', archiving.DELIVERY)}"
        )
    ).scalar()
    return found if last is None else [*found, _name(last)]


def nobodys(connection: Connection, of: Span, table: str) -> list[str]:
    """Deliveries that `table` (expectation, correlation) speaks of and that are not there, among the day's numbers."""
    row = connection.execute(
        text(f"SELECT min(d.id) AS low, max(d.id) AS high {_from(connection)}"),
        day_given(of),
    ).one()
    if row.low is None:
        return []
    rows = connection.execute(
        text(
            f"SELECT DISTINCT t.delivery_id FROM {table} t WHERE t.delivery_id > coalesce((SELECT max(b.id) FROM delivery b "  # noqa: S608
            "WHERE b.id < :low), 0) AND t.delivery_id < coalesce((SELECT min(b.id) FROM delivery b WHERE b.id > :high), "
            ":highest) AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = t.delivery_id) "
            f"AND NOT {archiving.is_held('t.delivery_id', archiving.DELIVERY)} LIMIT :shown"
        ),
        {"low": int(row.low), "high": int(row.high), "highest": _HIGHEST, "shown": SHOWN},
    )
    return [_name(row.delivery_id) for row in rows]


def _answered(state: str) -> str:
    """That an answer that came later said so of the delivery `d`."""
    return (
        "EXISTS (SELECT 1 FROM expectation x WHERE x.delivery_id = d.id "  # noqa: S608
        f"AND x.state = '{state}' AND x.answer_seq IS NOT NULL)"
    )


def _names(connection: Connection, of: Span, condition: str) -> list[str]:
    rows: Sequence[Any] = connection.execute(
        text(f"SELECT d.id {_from(connection)} AND {condition} LIMIT :shown"),
        {**day_given(of), "shown": SHOWN},
    ).all()
    return [_name(row.id) for row in rows]


def _from(connection: Connection) -> str:
    """The day's messages, and what is owed for each."""
    day = day_from(connection)
    return day.replace(
        "FROM message m WHERE", "FROM message m JOIN delivery d ON d.message_seq = m.seq WHERE", 1
    )


def _bounds(connection: Connection, of: Span) -> tuple[int, int]:
    """The numbers that the day's messages may have: above the last of the day before, below the first of the next."""
    row = connection.execute(
        text(f"SELECT min(m.seq) AS low, max(m.seq) AS high {day_from(connection)}"), day_given(of)
    ).one()
    if row.low is None:
        return 0, -1
    near = connection.execute(
        text(
            "SELECT (SELECT max(seq) FROM message WHERE seq < :low) AS low, "
            "(SELECT min(seq) FROM message WHERE seq > :high) AS high"
        ),
        {"low": int(row.low), "high": int(row.high)},
    ).one()
    return (
        int(near.low) + 1 if near.low is not None else 0,
        int(near.high) - 1 if near.high is not None else _HIGHEST,
    )


def _entry(connection: Connection, act: str) -> str:
    """That the trail has this act of a person about the delivery `d`, as `broker.operating` writes it."""
    subject = "m.id" if is_sqlite(connection) else "CAST(m.id AS text)"
    return (
        f"EXISTS (SELECT 1 FROM audit_entry t WHERE t.subject = {subject} AND t.act = '{act}' "  # noqa: S608
        "AND t.details LIKE '{\"delivery\":' || d.id || ',%')"
    )


def _name(number: int) -> str:
    return f"delivery:{int(number)}"
