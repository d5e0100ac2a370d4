"""Monthly partitions on PostgreSQL; on SQLite there is nothing to do and every call says so by doing nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from broker.database.engine import as_fate, is_sqlite
from broker.database.schema import KEPT, PARTITIONED
from broker.errors import SetupError
from broker.values import first_seq, month_of

AHEAD_MONTHS = 2


def ensure(connection: Connection, now: datetime, *, ahead: int = AHEAD_MONTHS) -> None:
    """Create the partitions of this month and the next `ahead` ones, where they are missing."""
    if is_sqlite(connection):
        return
    month = month_of(now)
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('carnet partitions'))"))
    known = existing(connection)
    for table in PARTITIONED:
        for number in range(month, month + ahead + 1):
            name = partition_name(table, number)
            if name not in known:
                connection.exec_driver_sql(
                    f'CREATE TABLE IF NOT EXISTS "{name}" PARTITION OF "{table}" '
                    f"FOR VALUES FROM ({first_seq(number)}) TO ({first_seq(number + 1)})"
                )


def existing(connection: Connection) -> set[str]:
    """The tables that are there, partitions among them, those too that are half detached. PostgreSQL."""
    found = connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'r'"))
    return {str(name) for name in found.scalars()}


def drop(engine: Engine, name: str) -> None:
    """Detach a partition and drop it. Readers and writers of its neighbours wait for nothing.

    `DETACH … CONCURRENTLY` (PostgreSQL 15 documentation, ALTER TABLE) waits until nobody's transaction uses the table as
    it was; a process that was killed in between leaves it half detached, or detached and there, and the next takes over.
    Raises: TransientError("database.unavailable"); SetupError("retention.trail") for a partition of the trail.
    """
    if name.rpartition("_")[0] in KEPT:
        raise SetupError("retention.trail", where=name, reason="the trail is never pruned (RET-09)")
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            row = connection.execute(
                text(
                    "SELECT p.relname AS parent, i.inhdetachpending AS half FROM pg_inherits i "
                    "JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent "
                    "WHERE c.relname = :name AND c.relkind = 'r'"
                ),
                {"name": name},
            ).first()
            if row is not None:
                how = "FINALIZE" if row.half else "CONCURRENTLY"
                connection.exec_driver_sql(
                    f'ALTER TABLE "{row.parent}" DETACH PARTITION "{name}" {how}'
                )
            connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{name}"')
    except DBAPIError as error:
        raise as_fate(error) from error


def partition_name(table: str, month: int) -> str:
    """`message_202611` for the message partition of November 2026."""
    return f"{table}_{2000 + month // 12:04d}{month % 12 + 1:02d}"
