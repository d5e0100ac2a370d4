"""Monthly partitions on PostgreSQL; on SQLite there is nothing to do and every call says so by doing nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.schema import PARTITIONED
from broker.values import first_seq, month_of

AHEAD_MONTHS = 2


def ensure(connection: Connection, now: datetime, *, ahead: int = AHEAD_MONTHS) -> None:
    """Create the partitions of this month and the next `ahead` ones, where they are missing."""
    if is_sqlite(connection):
        return
    month = month_of(now)
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('carnet partitions'))"))
    known = set(
        connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'r'")).scalars()
    )
    for table in PARTITIONED:
        for number in range(month, month + ahead + 1):
            name = partition_name(table, number)
            if name not in known:
                connection.exec_driver_sql(
                    f'CREATE TABLE IF NOT EXISTS "{name}" PARTITION OF "{table}" '
                    f"FOR VALUES FROM ({first_seq(number)}) TO ({first_seq(number + 1)})"
                )


def partition_name(table: str, month: int) -> str:
    """`message_202611` for the message partition of November 2026."""
    return f"{table}_{2000 + month // 12:04d}{month % 12 + 1:02d}"
