"""Open a database and run transactions on it; its failures become our fates."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from broker.database.prepared import forget_prepared
from broker.errors import SetupError, TransientError

SQLITE_BUSY_SECONDS = 30

_LASTING = (psycopg.errors.ProgramLimitExceeded,)
"""What does not pass by itself, whatever class the driver gives it."""

_FAILURES = (DBAPIError, psycopg.Error, sqlite3.Error)
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.SerializationFailure,
    # A server that was demoted, or that its provider made read-only because storage is full.
    psycopg.errors.ReadOnlySqlTransaction,
    sqlite3.OperationalError,
)

_POSTGRESQL = (
    "synchronous_commit=on",
    "timezone=UTC",
    # Every statement of ours is an index probe. A planner without statistics (a new partition, a restored backup)
    # must not scan a table instead, nor spend longer on compiling a plan than on running it.
    "enable_seqscan=off",
    "random_page_cost=1.1",
    "jit=off",
    # Plan once: our statements have one good plan each, and planning over monthly partitions costs more than running.
    "plan_cache_mode=force_generic_plan",
)
PLANS_LAST_SECONDS = 3600
"""A connection is made anew after so long, and its plans with it: some were made when their tables were empty."""

_READ_ONLY = {"carnet_mode": "DEFERRED", "postgresql_readonly": True}
"""Begun as such, without a statement of its own."""


def open_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Open `sqlite:///path` or `postgresql+psycopg://…`.

    SQLite runs in WAL mode with synchronous=FULL: a commit is on the disk when it returns.
    Raises: SetupError("database.url") for another dialect or an unusable address.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SetupError(
            "database.url", where="database.url", reason="not a database URL"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(url, parsed.database or "")
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            pool_recycle=PLANS_LAST_SECONDS,
            hide_parameters=True,
            connect_args={"options": " ".join(f"-c {setting}" for setting in _POSTGRESQL)},
        )
        event.listen(engine, "rollback", forget_prepared)
        return engine
    raise SetupError(
        "database.url",
        where="database.url",
        reason=f"'{parsed.get_backend_name()}' is not supported",
        hint="use sqlite:///path/to/carnet.db or postgresql+psycopg://user@host/name",
    )


def _open_sqlite(url: str, path: str) -> Engine:
    if not path or path == ":memory:":
        raise SetupError(
            "database.url",
            where="database.url",
            reason="SQLite needs a file: several processes share it",
            hint="sqlite:///data/carnet.db",
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            # Before the first page is written: later it takes a rewrite of the whole file, and the lock of writers.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-65536",
            "temp_store=MEMORY",
            "wal_autocheckpoint=4000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that later writes can fail with SQLITE_BUSY at once; an immediate one waits its turn.
        mode = connection.get_execution_options().get("carnet_mode", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def attach(engine: Engine, name: str, thing: object) -> None:
    """Let whoever has a connection of this engine find something that belongs to the installation (`attached`)."""
    engine.update_execution_options(**{f"carnet_{name}": thing})


def attached(connection: Connection, name: str) -> Any:
    """What was attached to the connection's engine under this name; None for nothing."""
    return connection.get_execution_options().get(f"carnet_{name}")


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that commits when the block ends and rolls back when it raises.

    Raises: TransientError("database.unavailable") when the database is away, busy, full or read-only: nothing was
    committed. A connection to a server that became read-only is not used again: a new one may find where to write.
    """
    try:
        with engine.begin() as connection:
            try:
                yield connection
            except _FAILURES as error:
                if isinstance(_origin(error), psycopg.errors.ReadOnlySqlTransaction):
                    connection.invalidate()
                raise
    except _FAILURES as error:
        raise as_fate(error) from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read-only snapshot that never waits for writers."""
    try:
        with (
            engine.connect().execution_options(**_READ_ONLY) as connection,
            connection.begin(),
        ):
            yield connection
    except _FAILURES as error:
        if isinstance(_origin(error), psycopg.errors.ReadOnlySqlTransaction):
            raise  # whoever writes in a reading is at fault, not the server
        raise as_fate(error) from error


def as_fate(error: Exception) -> Exception:
    """Ours for a driver's exception: what passes by itself is transient; the rest is a fault of the program.

    Bulk statements run on the driver's own cursor, so its exceptions come bare as well as wrapped.
    """
    origin = _origin(error)
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or (isinstance(origin, _PASSING) and not isinstance(origin, _LASTING)):
        return TransientError(
            "database.unavailable", where="database", reason=type(origin).__name__
        )
    return error


def _origin(error: Exception) -> BaseException | None:
    """The driver's own exception."""
    return error.orig if isinstance(error, DBAPIError) else error
