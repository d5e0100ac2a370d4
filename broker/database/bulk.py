"""Many rows in one statement: never one query a message.

PostgreSQL gets the rows as one JSON text, which it takes apart for less than the client would pay for an array a
column, and which needs no round trip of its own as COPY does; SQLite gets executemany inside the transaction. Rows are
tuples in column order, already in storage form (instants as microseconds, see `types.to_micros`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, LargeBinary, Table
from sqlalchemy.engine import Dialect

from broker.database.engine import is_sqlite
from broker.database.together import together

Row = tuple[Any, ...]

_LINK = "n"


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; a key that exists is an error of the caller."""
    _insert(connection, table, columns, rows, "")


def insert_across(
    connection: Connection,
    tables: Mapping[Table, Sequence[str]],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    shared: int = 0,
    counter: str | None = None,
) -> None:
    """Insert rows that several tables share: each takes the columns named beside it. One statement for all.

    The last `shared` columns are alike in most rows: each combination of them travels once. With `counter` the first
    column is the row's place among the numbers that this transaction has just reserved of that sequence, one a row:
    whoever writes them need not know them.
    """
    if not rows:
        return
    if is_sqlite(connection):
        if counter is not None:
            cursor = connection.connection.cursor()
            cursor.execute("SELECT value FROM counter WHERE name = ?", (counter,))
            before = int((cursor.fetchone() or (0,))[0]) - len(rows) + 1
            cursor.close()
            rows = [(before + row[0], *row[1:]) for row in rows]
        for table, wanted in tables.items():
            places = [columns.index(name) for name in wanted]
            _insert(connection, table, wanted, [tuple(row[i] for i in places) for row in rows], "")
        return
    *others, last = [
        f'INSERT INTO "{table.name}" ({", ".join(_quoted(wanted))}) '  # noqa: S608 - names of our own schema
        f"SELECT {', '.join(_quoted(wanted))} FROM given"
        for table, wanted in tables.items()
    ]
    also = "".join(f", i{n} AS ({statement})" for n, statement in enumerate(others))
    number = ""
    parameters: tuple[Any, ...] = ()
    if counter is not None:
        number = "(SELECT value + 1 - %s::bigint FROM counter WHERE name = %s) + "
        parameters = (len(rows), counter)
    given, given_parameters = _given(connection, tables, columns, rows, shared, number)
    execute(connection, f"WITH {given}{also} {last}", (*parameters, *given_parameters))


def _given(
    connection: Connection,
    tables: Mapping[Table, Sequence[str]],
    columns: Sequence[str],
    rows: Sequence[Row],
    shared: int,
    number: str,
) -> tuple[str, tuple[Any, ...]]:
    """The rows as a table `given` of a statement, and its parameters; `number` is added to the first column."""
    own = len(columns) - shared
    named = tuple(tables)
    shape = _shape(connection.dialect, named, tuple(columns[:own]), link=shared > 0)
    if not shared:
        values = ", ".join(shape.named_values)
        return _GIVEN.format(number, values, shape.source), shape.encode(rows)
    alike = _shape(connection.dialect, named, tuple(columns[own:]), "s", link=True)
    once: dict[Row, int] = {}
    linked = [(*row[:own], once.setdefault(row[own:], len(once))) for row in rows]
    values = ", ".join((*shape.named_values, *alike.named_values))
    source = f"{shape.source} JOIN {alike.source} ON s.{_LINK} = t.{_LINK}"
    distinct = [(*combination, link) for combination, link in once.items()]
    return _GIVEN.format(number, values, source), (*shape.encode(linked), *alike.encode(distinct))


_GIVEN = "given AS MATERIALIZED (SELECT {}{} FROM {})"


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
    parameters = (counter, base + len(rows) - 1, len(rows))
    if is_sqlite(connection):
        cursor = connection.connection.cursor()
        cursor.execute(f"{RESERVE_SQLITE} RETURNING value", parameters)
        (last,) = cursor.fetchone() or (0,)
        first = int(last) - len(rows) + 1
        cursor.close()
        numbered = [(first + i, *row) for i, row in enumerate(rows)]
        _insert(connection, table, (columns[0], *columns[1:]), numbered, "")
        return
    shape = _shape(connection.dialect, (table,), tuple(columns))
    statement = (
        f"WITH c AS ({RESERVE_POSTGRESQL} RETURNING value) "  # noqa: S608 - names of our own schema
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT c.value - {shape.first}, {shape.values_after_first} '
        f"FROM c, {shape.source}"
    )
    last = len(rows) - 1
    numbered = [(last - i, *row) for i, row in enumerate(rows)]
    execute(connection, statement, (*parameters, *shape.encode(numbered)))


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
    if is_sqlite(connection):
        cursor = connection.connection.cursor()
        names = ", ".join(_quoted(columns))
        marks = ", ".join("?" * len(columns))
        cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}){action}', rows)  # noqa: S608
        cursor.close()
        return
    shape = _shape(connection.dialect, (table,), tuple(columns))
    statement = (
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT {shape.values} '  # noqa: S608 - names of our own schema
        f"FROM {shape.source}{action}"
    )
    execute(connection, statement, shape.encode(rows))


def execute(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> None:
    """Run a statement that answers nothing, now or with those it travels with."""
    if statements := together(connection):
        statements.add(statement, parameters)
        return
    cursor = connection.connection.cursor()
    cursor.execute(statement, parameters)
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
        shape = _shape(connection.dialect, (table,), (key, *columns))
        sets = ", ".join(f'"{name}" = d."{name}"' for name in columns)
        statement = (
            f'UPDATE "{table.name}" AS t SET {sets} FROM (SELECT {shape.values} '  # noqa: S608
            f"FROM {shape.source}) AS d({shape.names}) "
            f'WHERE t."{key}" = d."{key}"{extra}'
        )
        cursor.execute(statement, shape.encode(rows))
    changed = int(cursor.rowcount)
    cursor.close()
    return changed


class _Shape:
    """How rows of some columns travel to PostgreSQL: one JSON text, and all their bytes end to end beside it.

    `link` adds a number behind the columns, by which rows of two shapes find each other.
    """

    def __init__(
        self,
        dialect: Dialect,
        tables: tuple[Table, ...],
        columns: tuple[str, ...],
        alias: str,
        *,
        link: bool,
    ) -> None:
        kinds = [next(t.c[name].type for t in tables if name in t.c) for name in columns]
        self._binary = tuple(i for i, kind in enumerate(kinds) if isinstance(kind, LargeBinary))
        self.names = ", ".join(_quoted(columns))
        values, types, fields = [], [], []
        # Names of one or two letters: every row's text repeats them.
        for i in range(len(columns)):
            if i in self._binary:
                values.append(f"substring(b.all_bytes FROM {alias}.a{i} FOR {alias}.z{i})")
                types.append(f"a{i} int, z{i} int")
                fields += [f"a{i}", f"z{i}"]
            else:
                values.append(f"{alias}.c{i}")
                types.append(f"c{i} {kinds[i].compile(dialect=dialect)}")
                fields.append(f"c{i}")
        if link:
            types.append(f"{_LINK} int")
            fields.append(_LINK)
        self.first = values[0]
        self.values = ", ".join(values)
        self.values_after_first = ", ".join(values[1:])
        self.named_values = [
            f'{value} AS "{name}"' for value, name in zip(values, columns, strict=True)
        ]
        self.source = f"json_to_recordset(%s::json) AS {alias}({', '.join(types)})"
        if self._binary:
            self.source += " CROSS JOIN (SELECT %b::bytea AS all_bytes) AS b"
        self._record = msgspec.defstruct(
            f"{tables[0].name}_row",
            [(f"f{i}", Any, None) for i in range(len(fields))],
            rename={f"f{i}": name for i, name in enumerate(fields)},
            omit_defaults=True,
            gc=False,
        )

    def encode(self, rows: Sequence[Row]) -> tuple[Any, ...]:
        """The parameters of `source`; a column that is NULL is left out."""
        record = self._record
        if not self._binary:
            return (msgspec.json.encode([record(*row) for row in rows]).decode(),)
        chunks: list[bytes] = []
        at = 1
        records = []
        for row in rows:
            fields: list[Any] = []
            done = 0
            for i in self._binary:
                chunk = row[i]
                fields += row[done:i]
                done = i + 1
                if chunk is None:
                    fields += (None, None)
                    continue
                fields += (at, len(chunk))
                at += len(chunk)
                chunks.append(chunk)
            fields += row[done:]
            records.append(record(*fields))
        return msgspec.json.encode(records).decode(), b"".join(chunks)


@lru_cache(maxsize=512)
def _shape(
    dialect: Dialect,
    tables: tuple[Table, ...],
    columns: tuple[str, ...],
    alias: str = "t",
    *,
    link: bool = False,
) -> _Shape:
    return _Shape(dialect, tables, columns, alias, link=link)


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]
