"""Numbers handed out in blocks, rising with time, their month in the high bits (see `values.Seq`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from broker.database.bulk import RESERVE_POSTGRESQL, RESERVE_SQLITE
from broker.database.engine import is_sqlite
from broker.values import SEQ_MONTH_SHIFT, first_seq, month_of


def base(now: datetime) -> int:
    """The lowest number of the month of `now`."""
    return first_seq(month_of(now)) + 1


def base_beside(number: int) -> int:
    """The lowest number of the month that `number`, of whatever sequence, was given in."""
    return first_seq(number >> SEQ_MONTH_SHIFT) + 1


def reserve(connection: Connection, name: str, count: int, now: datetime) -> int:
    """Reserve `count` consecutive numbers of the sequence `name` and return the first.

    At the first reservation of a month the sequence jumps to that month's range. It never goes back, so a clock that
    does cannot reorder messages. One row lock is held to the end of the transaction: numbers become visible in their
    order, so a reader that saw a number has seen every lower one of this sequence (trap 7 of the backbone does not
    arise within a sequence).
    """
    cursor = connection.connection.cursor()
    cursor.execute(*reservation(connection, name, count, now))
    row = cursor.fetchone()
    cursor.close()
    if row is None:
        raise LookupError("counter")
    return int(row[0]) - count + 1


def reservation(
    connection: Connection, name: str, count: int, now: datetime
) -> tuple[str, tuple[str, int, int]]:
    """The statement of `reserve` and its parameters, for who sends it with others: it answers the last number."""
    statement = RESERVE_SQLITE if is_sqlite(connection) else RESERVE_POSTGRESQL
    return f"{statement} RETURNING value", (name, base(now) + count - 1, count)
