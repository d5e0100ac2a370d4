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
    base = first_seq(month_of(now)) + 1
    if is_sqlite(connection):
        row = connection.exec_driver_sql(
            "INSERT INTO counter (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = max(value + ?, excluded.value) RETURNING value",
            (name, base + count - 1, count),
        ).one()
        return int(row[0]) - count + 1
    # One row lock held to the end of the transaction: numbers become visible in their order, so a reader that saw a
    # number has seen every lower one of this sequence (trap 7 of the backbone does not arise within a sequence).
    # On the driver's cursor, so that it can take part in a pipeline.
    cursor = connection.connection.cursor()
    cursor.execute(
        "INSERT INTO counter (name, value) VALUES (%s, %s) "
        "ON CONFLICT (name) DO UPDATE SET value = greatest(counter.value + %s, excluded.value) RETURNING value",
        (name, base + count - 1, count),
    )
    value = cursor.fetchone()
    if value is None:
        raise LookupError(name)
    return int(value[0]) - count + 1
