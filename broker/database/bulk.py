"""Many rows in one statement: never one query a message.

PostgreSQL gets the rows as one JSON text, which it takes apart for less than the client would pay for an array a
column, and which needs no round trip of its own as COPY does; SQLite gets executemany inside the transaction. Rows are
tuples in column order, already in storage form (instants as microseconds, see `types.to_micros`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from broker.database.engine import is_sqlite
from broker.database.shapes import Row, quoted, shape_of
from broker.database.together import together


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; a key that exists is an error of the caller."""
    _insert(connection, table, columns, rows, "")


def insert_missing(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> int | None:
    """Insert rows whose key is new and leave the others as they are. Sort them first: writers must not cross.

    Returns how many were new; None where the statement has not been run yet.
    """
    return _insert(connection, table, columns, rows, " ON CONFLICT DO NOTHING")


def replace_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    keys: Sequence[str],
    where: str = "",
    kept: Sequence[str] = (),
) -> None:
    """Insert rows, or overwrite the other columns of those whose `keys` exist. Sort them first.

    Columns in `kept` keep what they have where the new value is null. With `where`, a condition in SQL on the row that is there (`lane.held_by IS NULL`), the others stay as they are.
    """
    named = ", ".join(f'"{name}"' for name in keys)
    sets = ", ".join(
        f'"{name}" = COALESCE(excluded."{name}", "{table.name}"."{name}")'
        if name in kept
        else f'"{name}" = excluded."{name}"'
        for name in columns
        if name not in keys
    )
    only = f" WHERE {where}" if where else ""
    _insert(connection, table, columns, rows, f" ON CONFLICT ({named}) DO UPDATE SET {sets}{only}")


def add_counts(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    count: str = "n",
    latest: Sequence[str] = (),
    first: Sequence[str] = (),
    following: tuple[str, str, int] | None = None,
) -> None:
    """Add to counters: `columns` is the primary key, `count`, and what stands beside it. Rows are sorted here, so
    writers never cross.

    Of columns beside the count, those in `latest` take the new value, those in `first` keep the old one. `following`
    is (column, counter, base): the column takes the number that the sequence hands out next, to this transaction.
    """
    beside = {count, *latest, *first}
    keys = ", ".join(f'"{name}"' for name in columns if name not in beside)
    sets = [f'"{count}" = "{table.name}"."{count}" + excluded."{count}"']
    sets += [f'"{name}" = excluded."{name}"' for name in latest]
    action = f" ON CONFLICT ({keys}) DO UPDATE SET {', '.join(sets)}"
    if following is None:
        _insert(connection, table, columns, sorted(rows), action)
    else:
        _insert_following(connection, table, columns, sorted(rows), action, following)


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
        first = _reserved(connection, parameters) - len(rows) + 1
        numbered = [(first + i, *row) for i, row in enumerate(rows)]
        _insert(connection, table, (columns[0], *columns[1:]), numbered, "")
        return
    shape = shape_of(connection.dialect, (table,), tuple(columns))
    statement = (
        f"WITH c AS ({RESERVE_POSTGRESQL} RETURNING value) "  # noqa: S608 - names of our own schema
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT c.value - {shape.first}, {shape.values_after_first} '
        f"FROM c, {shape.source}"
    )
    last = len(rows) - 1
    numbered = [(last - i, *row) for i, row in enumerate(rows)]
    execute(connection, statement, (*parameters, *shape.encode(numbered)))


def insert_behind(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    owner: tuple[str, int],
) -> None:
    """Insert rows whose first column numbers what belongs to `owner` (column, value) from 1 on; rows come without it.

    Lock the owner first: numbers are handed out behind the highest that is there.
    """
    if not rows:
        return
    column, value = owner
    highest = (
        f'(SELECT coalesce(max("{columns[0]}"), 0) FROM "{table.name}" WHERE "{column}" = {{}})'  # noqa: S608 - names of our own schema
    )
    numbered = [(n, *row) for n, row in enumerate(rows, 1)]
    if is_sqlite(connection):
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT {highest.format('?')}", (value,))
        (last,) = cursor.fetchone() or (0,)
        cursor.close()
        _insert(connection, table, columns, [(last + n, *row) for n, *row in numbered], "")
        return
    shape = shape_of(connection.dialect, (table,), tuple(columns))
    statement = (
        f'INSERT INTO "{table.name}" ({shape.names}) '  # noqa: S608 - names of our own schema
        f"SELECT h.highest + {shape.first}, {shape.values_after_first} "
        f"FROM (SELECT {highest.format('%s::bigint')} AS highest) AS h, {shape.source}"
    )
    execute(connection, statement, (value, *shape.encode(numbered)))


def _reserved(connection: Connection, parameters: Row) -> int:
    """The last number of a reservation on SQLite."""
    cursor = connection.connection.cursor()
    cursor.execute(f"{RESERVE_SQLITE} RETURNING value", parameters)
    (last,) = cursor.fetchone() or (0,)
    cursor.close()
    return int(last)


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
) -> int | None:
    if not rows:
        return 0
    if is_sqlite(connection):
        cursor = connection.connection.cursor()
        names = ", ".join(quoted(columns))
        marks = ", ".join("?" * len(columns))
        cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}){action}', rows)  # noqa: S608
        inserted = int(cursor.rowcount)
        cursor.close()
        return inserted
    shape = shape_of(connection.dialect, (table,), tuple(columns))
    statement = (
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT {shape.values} '  # noqa: S608 - names of our own schema
        f"FROM {shape.source}{action}"
    )
    return execute(connection, statement, shape.encode(rows))


def _insert_following(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    action: str,
    following: tuple[str, str, int],
) -> None:
    """`_insert`, one column of which takes the next number of a sequence; nothing is taken from it."""
    if not rows:
        return
    column, counter, base = following
    parameters = (counter, base - 1, 0)
    place = columns.index(column)
    if is_sqlite(connection):
        last = _reserved(connection, parameters)
        given = [(*row[:place], last + 1, *row[place + 1 :]) for row in rows]
        _insert(connection, table, columns, given, action)
        return
    shape = shape_of(connection.dialect, (table,), tuple(columns))
    values = [*shape.each[:place], "f.value + 1", *shape.each[place + 1 :]]
    statement = (
        f"WITH f AS ({RESERVE_POSTGRESQL} RETURNING value) "  # noqa: S608 - names of our own schema
        f'INSERT INTO "{table.name}" ({shape.names}) SELECT {", ".join(values)} FROM f, {shape.source}{action}'
    )
    execute(connection, statement, (*parameters, *shape.encode(rows)))


def execute(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> int | None:
    """Run a statement that answers nothing, now or with those it travels with; of how many rows, where it was run now."""
    if statements := together(connection):
        statements.add(statement, parameters)
        return None
    cursor = connection.connection.cursor()
    cursor.execute(statement, parameters)
    changed = int(cursor.rowcount)
    cursor.close()
    return changed


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
        shape = shape_of(connection.dialect, (table,), (key, *columns))
        sets = ", ".join(f'"{name}" = d."{name}"' for name in columns)
        kind = table.c[key].type.compile(dialect=connection.dialect)
        # The keys once more as an array: each is an index probe, whatever the table held when the plan was made. A join
        # alone may read the whole table for it.
        statement = (
            f'UPDATE "{table.name}" AS t SET {sets} FROM (SELECT {shape.values} '  # noqa: S608
            f"FROM {shape.source}) AS d({shape.names}) "
            f'WHERE t."{key}" = d."{key}" AND t."{key}" = ANY(%s::{kind}[]){extra}'
        )
        cursor.execute(statement, (*shape.encode(rows), [row[0] for row in rows]))
    changed = int(cursor.rowcount)
    cursor.close()
    return changed
