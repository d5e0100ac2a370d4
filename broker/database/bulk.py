"""Many rows in one statement: never one query a message.

PostgreSQL gets the rows as one JSON text, which it takes apart for less than the client would pay for an array a
column, and which needs no round trip of its own as COPY does; SQLite gets executemany inside the transaction. Rows are
tuples in column order, already in storage form (instants as microseconds, see `types.to_micros`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, LargeBinary, Table
from sqlalchemy.engine import Dialect

from broker.database.engine import is_sqlite, writing

Row = tuple[Any, ...]

_PIPELINED = "carnet_pipelined"


@contextmanager
def writing_pipelined(engine: Engine) -> Iterator[Connection]:
    """A transaction like `writing`'s whose statements, the commit too, do not wait for each other's answers.

    For short transactions of many small statements, where round trips cost more than the rows. Only statements of
    this package may run in it; an error shows at the next result that is fetched, or at the commit. On SQLite it is
    `writing`.
    """
    with writing(engine) as connection:
        if is_sqlite(connection):
            yield connection
            return
        driver: Any = connection.connection.driver_connection
        connection.info[_PIPELINED] = True
        try:
            with driver.pipeline():
                yield connection
                connection.commit()
        finally:
            connection.info.pop(_PIPELINED, None)


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; a key that exists is an error of the caller."""
    _insert(connection, table, columns, rows, "")


def insert_missing(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows whose key is new and leave the others as they are. Sort them first: writers must not cross."""
    _insert(connection, table, columns, rows, " ON CONFLICT DO NOTHING")


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
    _insert(connection, table, columns, rows, f" ON CONFLICT ({named}) DO UPDATE SET {sets}")


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
    action = f' ON CONFLICT ({keys}) DO UPDATE SET "{count}" = "{table.name}"."{count}" + excluded."{count}"'
    _insert(connection, table, columns, sorted(rows), action)


def append_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    counter: str,
    base: int,
) -> None:
    """Insert rows whose first column continues the sequence `counter`, in their order; rows are given without it.

    The numbers are handed out on the server (see `sequences`), so nobody waits for them; `base` is the lowest they
    may be.
    """
    if not rows:
        return
    cursor = connection.connection.cursor()
    parameters = (counter, base + len(rows) - 1, len(rows))
    if is_sqlite(connection):
        cursor.execute(f"{RESERVE_SQLITE} RETURNING value", parameters)
        first = int(cursor.fetchone()[0]) - len(rows) + 1
        cursor.close()
        numbered = [(first + i, *row) for i, row in enumerate(rows)]
        _insert(connection, table, (columns[0], *columns[1:]), numbered, "")
        return
    shape = _shape(connection.dialect, table, tuple(columns))
    statement = (
        f"WITH c AS ({RESERVE_POSTGRESQL} RETURNING value) "  # noqa: S608 - names of our own schema
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT c.value - t."{columns[0]}", {shape.values_after_first} '
        f"FROM c, json_to_recordset(%s::json) AS t({shape.typed})"
    )
    last = len(rows) - 1
    numbered = [(last - i, *row) for i, row in enumerate(rows)]
    cursor.execute(statement, (*parameters, shape.encode(numbered)))


RESERVE_SQLITE = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(value + ?, excluded.value)"
)
RESERVE_POSTGRESQL = (
    "INSERT INTO counter (name, value) VALUES (%s, %s) "
    "ON CONFLICT (name) DO UPDATE SET value = greatest(counter.value + %s, excluded.value)"
)


def _insert(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], action: str
) -> None:
    if not rows:
        return
    cursor = connection.connection.cursor()
    if is_sqlite(connection):
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}){action}', rows)  # noqa: S608
        cursor.close()
        return
    shape = _shape(connection.dialect, table, tuple(columns))
    statement = (
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT {shape.values} '  # noqa: S608 - names of our own schema
        f"FROM json_to_recordset(%s::json) AS t({shape.typed}){action}"
    )
    cursor.execute(statement, (shape.encode(rows),))
    if not connection.info.get(_PIPELINED):
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
        shape = _shape(connection.dialect, table, (key, *columns))
        sets = ", ".join(f'"{name}" = d."{name}"' for name in columns)
        statement = (
            f'UPDATE "{table.name}" AS t SET {sets} FROM (SELECT {shape.values} '  # noqa: S608
            f"FROM json_to_recordset(%s::json) AS t({shape.typed})) AS d({shape.names}) "
            f'WHERE t."{key}" = d."{key}"{extra}'
        )
        cursor.execute(statement, (shape.encode(rows),))
    changed = int(cursor.rowcount)
    cursor.close()
    return changed


class _Shape:
    """How rows of some columns travel as JSON: bytes as base64, what is NULL left out."""

    def __init__(self, dialect: Dialect, table: Table, columns: tuple[str, ...]) -> None:
        is_binary = {name: isinstance(table.c[name].type, LargeBinary) for name in columns}
        self.names = ", ".join(f'"{name}"' for name in columns)
        values = [
            f"decode(t.\"{name}\", 'base64')" if is_binary[name] else f't."{name}"'
            for name in columns
        ]
        self.values = ", ".join(values)
        self.values_after_first = ", ".join(values[1:])
        types = {
            name: "text" if is_binary[name] else table.c[name].type.compile(dialect=dialect)
            for name in columns
        }
        self.typed = ", ".join(f'"{name}" {types[name]}' for name in columns)
        fields = [(f"c{i}", Any, None) for i in range(len(columns))]
        self._record = msgspec.defstruct(
            f"{table.name}_row",
            fields,
            rename=dict(zip((f"c{i}" for i in range(len(columns))), columns, strict=True)),
            omit_defaults=True,
            gc=False,
        )

    def encode(self, rows: Sequence[Row]) -> str:
        """The rows as one JSON text."""
        record = self._record
        return msgspec.json.encode([record(*row) for row in rows]).decode()


@lru_cache(maxsize=512)
def _shape(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> _Shape:
    return _Shape(dialect, table, columns)
