"""Ask for many keys in one statement, on both databases, with a statement text that never changes.

For the modules of records. PostgreSQL gets an array, SQLite a JSON list: neither is compiled again for another
number of keys.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite


def any_of(
    connection: Connection, column: str, values: Collection[int], name: str = "ids"
) -> tuple[str, dict[str, Any]]:
    """(condition, parameters) that `column`, a 64-bit integer, is one of `values`."""
    if is_sqlite(connection):
        given = msgspec.json.encode(list(values)).decode()
        return f"{column} IN (SELECT value FROM json_each(:{name}))", {name: given}  # noqa: S608 - our own names
    return f"{column} = ANY(CAST(:{name} AS bigint[]))", {name: list(values)}


def any_text(
    connection: Connection,
    column: str,
    values: Collection[str],
    name: str = "texts",
    *,
    kind: str = "text",
) -> tuple[str, dict[str, Any]]:
    """(condition, parameters) that `column` is one of `values`; `kind` is its PostgreSQL type (text, uuid)."""
    if is_sqlite(connection):
        given = msgspec.json.encode(list(values)).decode()
        return f"{column} IN (SELECT value FROM json_each(:{name}))", {name: given}  # noqa: S608 - our own names
    return f"{column} = ANY(CAST(:{name} AS {kind}[]))", {name: list(values)}


def among(connection: Connection, column: str, values: Collection[int]) -> tuple[str, str]:
    """(condition, parameter) that `column`, a 64-bit integer, is one of `values`, for `together.ask_rows`."""
    if is_sqlite(connection):
        return f"{column} IN (SELECT value FROM json_each(%s))", _listed(values)  # noqa: S608 - our own names
    return f"{column} = ANY(%s::bigint[])", _array(values)


def among_texts(
    connection: Connection, column: str, values: Collection[str], *, kind: str = "text"
) -> tuple[str, str]:
    """(condition, parameter) that `column` is one of `values`, for `together.ask_rows`; `kind` as of `any_text`."""
    if is_sqlite(connection):
        return f"{column} IN (SELECT value FROM json_each(%s))", _listed(values)  # noqa: S608 - our own names
    # An array of its own makes an index probe a value of it, where a joined list would be an estimate.
    texts = f"ARRAY(SELECT json_array_elements_text(%s::json))::{kind}[]"
    return f"{column} = ANY({texts})", _listed(values)


def _listed(values: Collection[int] | Collection[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _array(values: Collection[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def rows_of_pairs(
    connection: Connection, select: str, pairs: Collection[tuple[str, str]]
) -> Sequence[Any]:
    """Rows of `select` (which ends in `FROM table t`) whose (system, value) is one of `pairs`."""
    if is_sqlite(connection):
        given = msgspec.json.encode(list(pairs)).decode()
        statement = (
            select.replace(" FROM ", " FROM json_each(:pairs) AS k CROSS JOIN ", 1)
            + " ON t.system = json_extract(k.value, '$[0]') AND t.value = json_extract(k.value, '$[1]')"
        )
        return connection.execute(text(statement), {"pairs": given}).all()
    statement = select + (
        " JOIN unnest(CAST(:systems AS text[]), CAST(:values AS text[])) AS k(s, v) "
        "ON t.system = k.s AND t.value = k.v"
    )
    systems, values = [p[0] for p in pairs], [p[1] for p in pairs]
    return connection.execute(text(statement), {"systems": systems, "values": values}).all()


def newest_of(
    select: str, persons: Sequence[int], order: str, name: str = "patient"
) -> tuple[str, dict[str, Any]]:
    """(statement, parameters) of `select`, which is of one `{patient}` and ends in its order and `LIMIT :limit`, for several.

    Each is read as far as its limit by its own index, and the few rows are merged; one person costs what it did.
    """
    given = {f"{name}{n}": person for n, person in enumerate(persons)}
    parts = [select.format(patient=f":{key}") for key in given]
    if len(parts) == 1:
        return parts[0], given
    one_of = " UNION ALL ".join(f"SELECT * FROM ({part}) AS s{n}" for n, part in enumerate(parts))  # noqa: S608
    return f"SELECT * FROM ({one_of}) AS found ORDER BY {order} LIMIT :limit", given  # noqa: S608
