"""Many rows in one statement: never one query a message.

PostgreSQL gets COPY and unnest, SQLite executemany inside the transaction. Rows are tuples in column order, already
in storage form (instants as microseconds, see `types.to_micros`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, LargeBinary, Table
from sqlalchemy.engine import Dialect

from broker.database.engine import is_sqlite

Row = tuple[Any, ...]

_PIPELINED = "carnet_pipelined"


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Statements of this module inside the block are sent without waiting for each other's answers.

    For short transactions of many small statements, where round trips cost more than the rows (PostgreSQL's extended
    protocol; on SQLite nothing changes). An error shows at the next result that is fetched, or at the block's end.
    """
    if is_sqlite(connection):
        yield
        return
    driver: Any = connection.connection.driver_connection
    connection.info[_PIPELINED] = True
    try:
        with driver.pipeline():
            yield
    finally:
        connection.info.pop(_PIPELINED, None)


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; a key that exists is an error of the caller."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    cursor = connection.connection.cursor()
    if is_sqlite(connection):
        marks = ", ".join("?" * len(columns))
        cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', rows)  # noqa: S608
    elif connection.info.get(_PIPELINED):
        _insert_as_json(connection, table, columns, rows)
        return
    else:
        with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    cursor.close()


def _insert_as_json(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """One INSERT from one JSON text, byte columns beside it as arrays: COPY cannot be pipelined.

    Reading JSON on the server costs less than building an array a column in the client.
    """
    statement, plain, binary = _json_insert(connection.dialect, table, tuple(columns))
    names = [columns[i] for i in plain]
    records = [dict(zip(names, (row[i] for i in plain), strict=True)) for row in rows]
    parameters: list[Any] = [msgspec.json.encode(records).decode()]
    parameters += [[row[i] for row in rows] for i in binary]
    connection.connection.cursor().execute(statement, parameters)


@lru_cache(maxsize=64)
def _json_insert(
    dialect: Dialect, table: Table, columns: tuple[str, ...]
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The statement of `_insert_as_json`, and which columns go as JSON and which as bytes."""
    binary = tuple(
        i for i, name in enumerate(columns) if isinstance(table.c[name].type, LargeBinary)
    )
    plain = tuple(i for i in range(len(columns)) if i not in binary)
    typed = ", ".join(f'"{columns[i]}" {_pg_type(dialect, table, columns[i])}' for i in plain)
    sources = [
        f"json_to_recordset(%s::json) AS ({typed})",
        *("unnest(%s::bytea[])" for _ in binary),
    ]
    order = ", ".join(f'"{columns[i]}"' for i in (*plain, *binary))
    statement = f'INSERT INTO "{table.name}" ({order}) SELECT * FROM ROWS FROM ({", ".join(sources)}) AS t({order})'  # noqa: S608
    return statement, plain, binary


def insert_missing(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows whose key is new and leave the others as they are. Sort them first: writers must not cross."""
    _upsert(connection, table, columns, rows, "DO NOTHING")


def replace_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    keys: Sequence[str],
) -> None:
    """Insert rows, or overwrite the other columns of those whose `keys` exist. Sort them first."""
    named = ", ".join(f'"{name}"' for name in keys)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
    _upsert(connection, table, columns, rows, f"({named}) DO UPDATE SET {sets}")


def add_counts(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    count: str = "n",
) -> None:
    """Add to counters: `columns` is the primary key and then `count`. Rows are sorted here, so writers never cross."""
    keys = ", ".join(f'"{name}"' for name in columns if name != count)
    action = f'({keys}) DO UPDATE SET "{count}" = "{table.name}"."{count}" + excluded."{count}"'
    _upsert(connection, table, columns, sorted(rows), action)


def _upsert(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], action: str
) -> None:
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    cursor = connection.connection.cursor()
    if is_sqlite(connection):
        marks = ", ".join("?" * len(columns))
        statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT {action}'  # noqa: S608
        cursor.executemany(statement, rows)
    else:
        arrays = ", ".join(f"%s::{_pg_type(connection.dialect, table, name)}[]" for name in columns)
        statement = f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT {action}'  # noqa: S608
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])
        if connection.info.get(_PIPELINED):
            return
    cursor.close()


def update_rows(
    connection: Connection,
    table: Table,
    key: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    where: str = "",
) -> int:
    """Set `columns` of the rows found by `key` (the first value of each row); returns how many were changed.

    `where` is a further condition on the table in SQL, the same for all rows (`state < 10`); column names in it
    are unqualified in SQLite and PostgreSQL alike and must not be ambiguous with `d`'s, so prefix them with `t.`.
    """
    if not rows:
        return 0
    cursor = connection.connection.cursor()
    extra = f" AND {where}" if where else ""
    if is_sqlite(connection):
        sets = ", ".join(f'"{name}" = ?' for name in columns)
        statement = f'UPDATE "{table.name}" AS t SET {sets} WHERE t."{key}" = ?{extra}'  # noqa: S608
        cursor.executemany(statement, [(*row[1:], row[0]) for row in rows])
    else:
        names = ", ".join(f'"{name}"' for name in (key, *columns))
        sets = ", ".join(f'"{name}" = d."{name}"' for name in columns)
        arrays = ", ".join(
            f"%s::{_pg_type(connection.dialect, table, name)}[]" for name in (key, *columns)
        )
        statement = (
            f'UPDATE "{table.name}" AS t SET {sets} FROM unnest({arrays}) AS d({names}) '  # noqa: S608
            f'WHERE t."{key}" = d."{key}"{extra}'
        )
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])
    changed = int(cursor.rowcount)
    cursor.close()
    return changed


@lru_cache(maxsize=512)
def _pg_type(dialect: Dialect, table: Table, column: str) -> str:
    return table.c[column].type.compile(dialect=dialect)
