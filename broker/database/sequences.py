"""Numbers handed out in blocks, rising with time, their month in the high bits (see `values.Seq`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from broker.database.bulk import RESERVE_POSTGRESQL, RESERVE_SQLITE
from broker.database.engine import is_sqlite
from broker.values import first_seq, month_of


def reserve(connection: Connection, name: str, count: int, now: datetime) -> int:
    """Reserve `count` consecutive numbers of the sequence `name` and return the first.

    At the first reservation of a month the sequence jumps to that month's range. It never goes back, so a clock that
    does cannot reorder messages.
    """
    return Reservation(connection, name, count, now).first()


def base(now: datetime) -> int:
    """The lowest number of the month of `now`."""
    return first_seq(month_of(now)) + 1


class Reservation:
    """A reservation that was asked for; in a pipeline its answer comes with those of the statements behind it.

    One row lock is held to the end of the transaction: numbers become visible in their order, so a reader that saw a
    number has seen every lower one of this sequence (trap 7 of the backbone does not arise within a sequence).
    """

    def __init__(self, connection: Connection, name: str, count: int, now: datetime) -> None:
        self._count = count
        self._cursor = connection.connection.cursor()
        statement = RESERVE_SQLITE if is_sqlite(connection) else RESERVE_POSTGRESQL
        self._cursor.execute(f"{statement} RETURNING value", (name, base(now) + count - 1, count))

    def first(self) -> int:
        """The first of the reserved numbers."""
        row = self._cursor.fetchone()
        self._cursor.close()
        if row is None:
            raise LookupError("counter")
        return int(row[0]) - self._count + 1
