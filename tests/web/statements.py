"""What an engine asks of its database: at SQLite's cursor, and as PostgreSQL's protocol has it, whoever sends it."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from typing import IO, Any

from sqlalchemy import Engine, event

# A line of libpq's trace (PQtrace): when, from the Frontend or the Backend, its length, what it is.
_SENT = re.compile(
    r'^(\S+ \S+)\tF\t\d+\t(?:Query\t "|Parse\t "(?P<name>\w*)" "|Bind\t "\w*" "(?P<bound>\w*)")'
    r"(?P<text>.*?)(?=^\d{4}-\d\d-\d\d \S+\t[FB]\t|\Z)",
    re.MULTILINE | re.DOTALL,
)


class Statements:
    """Every statement executed on connections that the engine opens from now on; many rows in one call are one."""

    def __init__(self, engine: Engine) -> None:
        self._of_sqlite: list[str] = []
        self._traces: list[IO[bytes]] = []
        made, traces = self._of_sqlite, self._traces

        class OfSqlite(sqlite3.Cursor):
            def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
                made.append(statement)
                return super().execute(statement, *rest)

            def executemany(self, statement: str, *rest: Any) -> sqlite3.Cursor:
                made.append(statement)
                return super().executemany(statement, *rest)

        class SqliteConnection(sqlite3.Connection):
            def cursor(self, factory: Any = OfSqlite) -> Any:
                return super().cursor(factory)

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
            if engine.dialect.name == "sqlite":
                named["factory"] = SqliteConnection

        @event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            if engine.dialect.name == "postgresql":
                traces.append(tempfile.TemporaryFile())  # noqa: SIM115 - for as long as the engine
                connection.pgconn.trace(traces[-1].fileno())

    @property
    def made(self) -> list[str]:
        """All of them, in the order they were sent."""
        found: list[tuple[str, str]] = []
        for trace in self._traces:
            trace.seek(0)
            prepared: dict[str, str] = {}
            for one in _SENT.finditer(trace.read().decode(errors="replace")):
                if one["name"] is not None:
                    prepared[one["name"]] = one["text"]
                else:
                    bound = one["bound"]
                    found.append((one[1], one["text"] if bound is None else prepared[bound]))
        return self._of_sqlite + [statement for _, statement in sorted(found, key=lambda x: x[0])]
