"""A lock that one process of an installation holds: the active scheduler's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from broker.database.engine import as_fate


class HeldLock:
    """PostgreSQL: a session advisory lock, gone with its connection. SQLite: a locked file beside the database."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = f"carnet {name}"
        self._connection: Connection | None = None
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody has it; never waits. Raises: TransientError when the database is away."""
        if self._engine.dialect.name == "sqlite":
            return self._acquire_file()
        statement = text("SELECT pg_try_advisory_lock(hashtext(:name))")
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            is_mine = connection.execute(statement, {"name": self._name}).scalar_one()
        except DBAPIError as error:
            raise as_fate(error) from error
        if is_mine:
            self._connection = connection
            return True
        connection.close()
        return False

    def still_mine(self) -> bool:
        """Whether the lock is still held: a lost connection loses it."""
        if self._connection is None:
            return self._file is not None
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    def release(self) -> None:
        """Give it back; another process may take it at once."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _acquire_file(self) -> bool:
        path = Path(f"{self._engine.url.database}.{self._name.replace(' ', '-')}.lock")
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._file = handle
        return True
