"""The embedded queue's connection to the ledger's database: SQLite or PostgreSQL, and the fates of its failures."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from broker.errors import SetupError, TransientError
from queues.embedded_readers import CHANGE, READERS_OF, Change, metadata, readers

SQLITE_BUSY_SECONDS = 30
_CREATION_LOCK = 0x6361726E6574  # any number that no other part of Carnet locks


class Database:
    """One connection to the database of the ledger, and the fates of its failures."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._reads = self._engine.execution_options(
            **({"queue_reads": True} if self._is_sqlite else {"isolation_level": "AUTOCOMMIT"})
        )
        self._is_prepared = False
        self._ahead: float | None = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One durable transaction. Raises: TransientError when it may not have happened."""
        with self._fates():
            self._prepare()
            with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One statement, without a transaction around it. Raises: TransientError."""
        with self._fates():
            self._prepare()
            with self._reads.connect() as connection:
                yield connection

    def now(self) -> float:
        """The database's time, in seconds since 1970: several machines share it."""
        if self._is_sqlite:
            return time.time()
        if self._ahead is None:
            with self.reading() as connection:
                clock = float(connection.execute(_CLOCK).scalar_one())
            self._ahead = clock - time.monotonic()
        return time.monotonic() + self._ahead

    def look(self, topic: str, partitions: int) -> tuple[float, list[Any]]:
        self._ahead = None
        now = self.now()
        with self.reading() as connection:
            found = list(connection.execute(READERS_OF, {"of_topic": topic}))
        if len(found) < partitions:
            with self.writing() as connection:
                self._lock(connection)
                known = {
                    row.partition for row in connection.execute(READERS_OF, {"of_topic": topic})
                }
                for partition in sorted(set(range(partitions)) - known):
                    connection.execute(insert(readers), _nobody(topic, partition))
            return self.look(topic, partitions)
        return now, sorted(
            (row for row in found if row.partition < partitions), key=lambda row: row.partition
        )

    def change(self, changes: Sequence[Change]) -> list[bool]:
        with self.writing() as connection:
            return [connection.execute(CHANGE, values).rowcount == 1 for values in changes]

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        if not self._is_prepared:
            with self._engine.begin() as connection:
                self._lock(connection)
                metadata.create_all(connection)
            self._is_prepared = True

    def _lock(self, connection: Connection) -> None:
        # SQLite has one writer at a time anyway.
        if not self._is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})

    @contextmanager
    def _fates(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            # The table may have been dropped by hand; the ledger puts back what it held.
            self._is_prepared = False
            raise TransientError(
                "queue.unavailable", where="queue", reason=type(error.orig).__name__
            ) from error


_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")


def _nobody(topic: str, partition: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "owner": "", "until": 0.0, "is_wanted": 0}


def _open(url: str) -> Engine:
    try:
        address = make_url(url.removeprefix("embedded+"))
    except ArgumentError as error:
        raise _unusable("not a database address") from error
    if address.get_backend_name() == "sqlite":
        return _open_sqlite(address)
    if address.get_backend_name() == "postgresql":
        return create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=1,
            max_overflow=0,
            connect_args={"options": "-c synchronous_commit=on"},
        )
    raise _unusable("neither SQLite nor PostgreSQL")


def _open_sqlite(address: URL) -> Engine:
    if not address.database or address.database == ":memory:":
        raise _unusable("SQLite needs a file: several processes share it")
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        address,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that later writes can fail with SQLITE_BUSY at once; an immediate one waits.
        if not connection.get_execution_options().get("queue_reads"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _unusable(reason: str) -> SetupError:
    return SetupError(
        "queue.url",
        where="queue.url",
        reason=reason,
        hint="embedded+sqlite:///data/carnet.db or embedded+postgresql+psycopg://user@host/name",
    )
