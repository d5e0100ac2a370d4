"""How rows travel to PostgreSQL: as one JSON text, and all their bytes end to end beside it.

The server takes the text apart for less than a client would pay for an array a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import LargeBinary, Table
from sqlalchemy.engine import Dialect

Row = tuple[Any, ...]

LINK = "n"
"""The column behind the others of a shape with a link."""


class Shape:
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
        self.names = ", ".join(quoted(columns))
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
            types.append(f"{LINK} int")
            fields.append(LINK)
        self.each = tuple(values)
        self.first = values[0]
        self.values = ", ".join(values)
        self.values_after_first = ", ".join(values[1:])
        self.named_values = [
            f'{value} AS "{name}"' for value, name in zip(values, columns, strict=True)
        ]
        self._record_set = f"json_to_recordset({{}}::json) AS {alias}({', '.join(types)})"
        self.source = self.records_of("%s")
        if self._binary:
            self.source += " CROSS JOIN (SELECT %b::bytea AS all_bytes) AS b"
        self._record = msgspec.defstruct(
            f"{tables[0].name}_row",
            [(f"f{i}", Any, None) for i in range(len(fields))],
            rename={f"f{i}": name for i, name in enumerate(fields)},
            omit_defaults=True,
            gc=False,
        )

    def records_of(self, text: str) -> str:
        """The rows of a JSON text, as something to select from; their bytes are sought in `b.all_bytes`."""
        return self._record_set.format(text)

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
def shape_of(
    dialect: Dialect,
    tables: tuple[Table, ...],
    columns: tuple[str, ...],
    alias: str = "t",
    *,
    link: bool = False,
) -> Shape:
    return Shape(dialect, tables, columns, alias, link=link)


def quoted(names: Iterable[str]) -> list[str]:
    """Names as SQL wants them."""
    return [f'"{name}"' for name in names]
