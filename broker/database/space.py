"""Give the room of deleted rows back to the disk. SQLite; on PostgreSQL dropped partitions do it by themselves."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from broker.database.engine import as_fate

_PAGES_AT_ONCE = 1_000
_INCREMENTAL = 2


def gives_back(engine: Engine) -> bool:
    """Whether deleted rows give their room back without a rewrite: databases made by an older version do not."""
    if engine.dialect.name != "sqlite":
        return True
    return _number(engine, "PRAGMA auto_vacuum") == _INCREMENTAL


def give_back(engine: Engine, is_stopped: Callable[[], bool] = lambda: False) -> None:
    """Shorten the file by its free pages, some at a time, so that writers wait for a moment only.

    Source: SQLite documentation, PRAGMA incremental_vacuum. Raises: TransientError("database.unavailable").
    """
    if engine.dialect.name != "sqlite" or not gives_back(engine):
        return
    while _number(engine, "PRAGMA freelist_count") and not is_stopped():
        _run(engine, f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
    _run(engine, "PRAGMA wal_checkpoint(TRUNCATE)")


def rewrite(engine: Engine) -> None:
    """Rewrite the whole file, and let it give room back from now on. Writers wait for all of it; stop Carnet first."""
    if engine.dialect.name == "sqlite":
        _run(
            engine,
            f"PRAGMA auto_vacuum = {_INCREMENTAL}",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        )


def _number(engine: Engine, statement: str) -> int:
    return int(_run(engine, statement)[0][0])


def _run(engine: Engine, *statements: str) -> list[tuple[int, ...]]:
    """Statements outside of a transaction; the rows of the last. Each is read to its end: only then it is done."""
    try:
        connection = engine.raw_connection()
    except DBAPIError as error:
        raise as_fate(error) from error
    try:
        cursor = connection.cursor()
        rows: list[tuple[int, ...]] = []
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall())
        cursor.close()
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]  # a dialect that connects has one
        raise as_fate(error) from error
    else:
        return rows
    finally:
        connection.close()
