"""Numbers handed out in blocks, rising with time, their month in the high bits (see `values.Seq`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from broker.database.engine import is_sqlite
from broker.values import first_seq, month_of


def reserve(connection: Connection, name: str, count: int, now: datetime) -> int:
    """Reserve `count` consecutive numbers of the sequence `name` and return the first.

    At the first reservation of a month the sequence jumps to that month's range. It never goes back, so a clock that
    does cannot reorder messages.
    """
    return Reservation(connection, name, count, now).first()


class Reservation:
    """A reservation that was asked for; in a pipeline its answer comes with those of the statements behind it.

    One row lock is held to the end of the transaction: numbers become visible in their order, so a reader that saw a
    number has seen every lower one of this sequence (trap 7 of the backbone does not arise within a sequence).
    """

    def __init__(self, connection: Connection, name: str, count: int, now: datetime) -> None:
        base = first_seq(month_of(now)) + 1
        self._count = count
        self._cursor = connection.connection.cursor()
        statement = _SQLITE if is_sqlite(connection) else _POSTGRESQL
        self._cursor.execute(statement, (name, base + count - 1, count))

    def first(self) -> int:
        """The first of the reserved numbers."""
        row = self._cursor.fetchone()
        self._cursor.close()
        if row is None:
            raise LookupError("counter")
        return int(row[0]) - self._count + 1


_SQLITE = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(value + ?, excluded.value) RETURNING value"
)
_POSTGRESQL = (
    "INSERT INTO counter (name, value) VALUES (%s, %s) "
    "ON CONFLICT (name) DO UPDATE SET value = greatest(counter.value + %s, excluded.value) RETURNING value"
)
