"""What messages say and no rule reads, and codes that no table has: counted by workers, read by `carnet`.

Counts and places; a code stands here since it is to be translated, a value of another kind never does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from broker.database import bulk
from broker.database.schema import coverage, unmapped_code
from broker.database.types import to_micros

_MOST_CODE = 64
_MOST_DISPLAY = 120
_MOST_KEPT = 20_000

CodeKey = tuple[str, str, str, str]
"""Source, table, system, code."""


@dataclass(slots=True)
class Seen:
    """What was seen since it was last written."""

    paths: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """(source, mapping, version, path) -> messages; the empty path counts the messages looked at."""
    codes: Counter[CodeKey] = field(default_factory=Counter)
    displays: dict[CodeKey, str] = field(default_factory=dict)

    def message(self, source: str, mapping: str, version: str, unread: Iterable[str]) -> None:
        """Count one message that was looked at."""
        self.paths[(source, mapping, version, "")] += 1
        for path in unread:
            self.paths[(source, mapping, version, path)] += 1

    def code(self, source: str, table: str, system: str, code: str, display: str) -> None:
        """Count one code that a table does not have. What is too long to be a code is cut."""
        key = (source, table, system[:_MOST_DISPLAY], code[:_MOST_CODE])
        if key in self.codes or len(self.codes) < _MOST_KEPT:
            self.codes[key] += 1
            self.displays.setdefault(key, display[:_MOST_DISPLAY])

    def __bool__(self) -> bool:
        return bool(self.paths or self.codes)


@dataclass(frozen=True, slots=True)
class Unread:
    """A place that is populated in `n` of `messages` messages, and that no rule of the mapping reads."""

    source: str
    mapping: str
    version: str
    path: str
    n: int
    messages: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """A code on the work-list."""

    source: str
    table: str
    system: str
    code: str
    display: str
    n: int
    first_seen: datetime
    last_seen: datetime


def write(connection: Connection, seen: Seen, now: datetime) -> None:
    """Add what was seen to what is known."""
    at = to_micros(now)
    bulk.add_counts(
        connection,
        coverage,
        ("source", "mapping", "version", "path", "n", "first_seen", "last_seen"),
        [(*key, n, at, at) for key, n in seen.paths.items()],
        first=("first_seen",),
        latest=("last_seen",),
    )
    bulk.add_counts(
        connection,
        unmapped_code,
        ("source", "code_table", "system", "code", "display", "n", "first_seen", "last_seen"),
        [(*key, seen.displays[key], n, at, at) for key, n in seen.codes.items()],
        first=("first_seen",),
        latest=("last_seen", "display"),
    )


def unread(
    connection: Connection, *, source: str | None = None, mapping: str | None = None
) -> list[Unread]:
    """The unread places, of one source or mapping where asked for; the most frequent first."""
    rows = connection.execute(
        text(
            "SELECT c.source, c.mapping, c.version, c.path, c.n, m.n AS messages, c.first_seen, c.last_seen "
            "FROM coverage c JOIN coverage m ON m.source = c.source AND m.mapping = c.mapping "
            "AND m.version = c.version AND m.path = '' WHERE c.path <> '' "
            "AND (CAST(:source AS text) IS NULL OR c.source = :source) "
            "AND (CAST(:mapping AS text) IS NULL OR c.mapping = :mapping) "
            "ORDER BY c.n DESC, c.source, c.mapping, c.version, c.path"
        ).columns(**_INSTANTS),
        {"source": source, "mapping": mapping},
    )
    return [Unread(**row._asdict()) for row in rows]


def looked_at(
    connection: Connection, *, source: str | None = None, mapping: str | None = None
) -> int:
    """How many messages were looked at, of one source or mapping where asked for."""
    found = connection.execute(
        text(
            "SELECT sum(n) FROM coverage WHERE path = '' "
            "AND (CAST(:source AS text) IS NULL OR source = :source) "
            "AND (CAST(:mapping AS text) IS NULL OR mapping = :mapping)"
        ),
        {"source": source, "mapping": mapping},
    )
    return int(found.scalar() or 0)


def codes(connection: Connection, *, table: str | None = None) -> list[UnmappedCode]:
    """The codes that no table has, of one table where asked for; the most frequent first."""
    rows = connection.execute(
        text(
            'SELECT source, code_table AS "table", system, code, display, n, first_seen, last_seen FROM unmapped_code '
            "WHERE CAST(:table AS text) IS NULL OR code_table = :table ORDER BY n DESC, code_table, code, source"
        ).columns(**_INSTANTS),
        {"table": table},
    )
    return [UnmappedCode(**row._asdict()) for row in rows]


def forget_codes(connection: Connection, table: str, codes: Iterable[str]) -> None:
    """Take codes that were translated off the list."""
    rows = [{"gone": code} for code in codes]
    if rows:
        t = unmapped_code.c
        statement = unmapped_code.delete().where(t.code_table == table, t.code == bindparam("gone"))
        connection.execute(statement, rows)


_INSTANTS = {
    "first_seen": coverage.c.first_seen.type,
    "last_seen": coverage.c.last_seen.type,
}
