"""Messages that wait for a translation, let go when there may be one. For `carnet codes map` and `mapping activate`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from broker.acts import Done
from broker.audit import trail
from broker.cli import acting, opened
from broker.contracts import Work
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.mapping import code_tables
from broker.pipeline import CODE_HELD
from broker.records import coverage, holds


def file_of(ledger: opened.Ledger, table: str) -> Path:
    """The file a table's name stands for: the folder's name, and the path in it. Raises: SetupError."""
    folder, _, rest = table.partition("/")
    for root in ledger.settings.mappings.folders:
        path = (root / rest).resolve()
        if root.resolve().name == folder and path.is_relative_to(root.resolve()) and path.is_file():
            return path
    raise SetupError(
        "table.unknown",
        where=table,
        reason="no such table in the mapping folders",
        hint="`carnet codes list` names tables as they are wanted here",
    )


def translated(ledger: opened.Ledger) -> Mapping[str, Collection[str]]:
    """The codes of the work-list that their table has by now, by table; a table that is gone wants none of its codes."""
    with reading(ledger.engine) as connection:
        wanted = coverage.codes(connection)
    rows: dict[str, set[tuple[str, str]] | None] = {}
    found: dict[str, list[str]] = defaultdict(list)
    for one in wanted:
        if one.table not in rows:
            rows[one.table] = _rows_of(ledger, one.table)
        known = rows[one.table]
        if known is None or ("", one.code) in known or (one.system, one.code) in known:
            found[one.table].append(one.code)
    return found


def release(
    ledger: opened.Ledger, translated: Mapping[str, Collection[str]], by: str, now: datetime
) -> int:
    """Take codes off the work-list and let every message go on that waits for one, in the order they came.

    Those that wait for another code are held again, by the set that is active then. Returns how many were released.
    """
    with writing(ledger.engine) as connection:
        for table, codes in translated.items():
            coverage.forget_codes(connection, table, codes)
        found: list[holds.Held] = []
        while some := holds.release(connection, holds.held(connection, CODE_HELD), now, "command"):
            found += some
        trail.write(
            connection,
            [
                trail.Entry(
                    act="released",
                    at=now,
                    actor_kind="operator",
                    actor=by,
                    subject=one.id,
                    outcome=CODE_HELD,
                )
                for one in found
            ],
            now,
        )
    acting.hand_over(ledger, Done(inbound=[Work(one.seq, one.lane) for one in found]))
    return len(found)


def _rows_of(ledger: opened.Ledger, table: str) -> set[tuple[str, str]] | None:
    """System and code of each row; None for a table that is not there any more."""
    try:
        path = file_of(ledger, table)
    except SetupError:
        return None
    rows = code_tables.translations(path.read_text(encoding="utf-8"))
    return {(row.source_system, row.source_code) for row in rows}
