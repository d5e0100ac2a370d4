"""What an engine asks of its database, at the driver: also what never passes SQLAlchemy's events."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import Engine, event


class Statements:
    """Every statement executed on connections that the engine opens from now on; many rows in one call are one."""

    def __init__(self, engine: Engine) -> None:
        self.made: list[str] = []
        made = self.made

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

        class OfPostgres(psycopg.Cursor[Any]):
            def execute(self, query: Any, *rest: Any, **more: Any) -> Any:
                made.append(str(query))
                return super().execute(query, *rest, **more)

            def executemany(self, query: Any, *rest: Any, **more: Any) -> Any:
                made.append(str(query))
                return super().executemany(query, *rest, **more)

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
            if engine.dialect.name == "sqlite":
                named["factory"] = SqliteConnection
            else:
                named["cursor_factory"] = OfPostgres
