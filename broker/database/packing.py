"""Rows of several tables packed into one row, to be taken apart by the database later (PostgreSQL).

One row costs its writer a small part of what the rows of it would. Columns that most rows have in common travel once
a combination.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

from broker.database.shapes import LINK, Row, quoted, shape_of

Packed = tuple[str, str, bytes]
"""The columns each row has of its own, those they share, and all bytes: `own`, `alike`, `bodies` of a packed row."""


class Packing:
    """Packs rows of `columns`, of which each of `tables` takes those named beside it; the last `shared` are alike.

    The first column is a row's place among numbers that are known when it is unpacked. A table in `optional` gets a row
    only of what has the column named there.
    """

    def __init__(
        self,
        tables: Mapping[Table, Sequence[str]],
        columns: Sequence[str],
        shared: int,
        optional: Mapping[Table, str],
    ) -> None:
        self._own_count = len(columns) - shared
        named = tuple(tables)
        dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        self._own = shape_of(dialect, named, tuple(columns[: self._own_count]), link=True)
        self._alike = shape_of(dialect, named, tuple(columns[self._own_count :]), "s", link=True)
        values = ", ".join((*self._own.named_values, *self._alike.named_values))
        given = (
            f"SELECT b.first + {values} FROM taken AS b "  # noqa: S608 - names of our own schema
            f"CROSS JOIN LATERAL {self._own.records_of('b.own')} "
            f"JOIN LATERAL {self._alike.records_of('b.alike')} ON s.{LINK} = t.{LINK}"
        )
        inserts = "".join(
            f', i{n} AS (INSERT INTO "{table.name}" ({", ".join(quoted(wanted))}) '  # noqa: S608 - names of our own schema
            f"SELECT {', '.join(quoted(wanted))} FROM given"
            f"{f' WHERE {optional[table]} IS NOT NULL' if table in optional else ''})"
            for n, (table, wanted) in enumerate(tables.items())
        )
        self._unpack = f"given AS MATERIALIZED ({given}){inserts}"

    def pack(self, rows: Sequence[Row]) -> Packed:
        """The rows as three values."""
        at = self._own_count
        once: dict[Row, int] = {}
        linked = [(*row[:at], once.setdefault(row[at:], len(once))) for row in rows]
        own, bodies = self._own.encode(linked)
        (alike,) = self._alike.encode([(*combination, link) for combination, link in once.items()])
        return own, alike, bodies

    def unpack(self, taken: str, answer: str) -> str:
        """The statement that inserts the rows of what `taken` selects: `first`, `own`, `alike`, `bodies AS all_bytes`.

        `answer` is what it says of them, selected from `given`.
        """
        return f"WITH taken AS ({taken}), {self._unpack} {answer}"
