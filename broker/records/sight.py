"""The visibility of filed documents, changed after filing: each change is kept, and takes effect at once.

`rules.orders` says who may; here it is written. Deletion is logical (RET-08), as in `records.filing`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from broker.database import bulk, sequences
from broker.database import schema as tables
from broker.database.engine import reading
from broker.database.types import from_micros, to_micros
from broker.records.lookups import any_text


@dataclass(frozen=True, slots=True)
class SightChange:
    """One change of a document's visibility: what, by whom, how it was said, by which rule it was allowed."""

    document: str
    change: str
    by: str
    channel: str
    rule: str
    message_seq: int | None = None


_SETS = {
    "mask": "masked_ps = true",
    "unmask": "masked_ps = false",
    "show_patient": "visible_from = filed_at",
    "hide_representatives": "hidden_from_reps = true",
    "show_representatives": "hidden_from_reps = false",
    "delete": "availability = 'deleted'",
}
CHANGES = tuple(_SETS)
"""What each change sets; there is none that hides from the patient again (VIS-03)."""


def change(connection: Connection, changes: Sequence[SightChange], now: datetime) -> None:
    """Make changes that were decided, in their order, and keep them.

    Raises: KeyError for a change there is none of.
    """
    if not changes:
        return
    for name in dict.fromkeys(one.change for one in changes):
        _SETS[name]
    at = to_micros(now)
    first = sequences.reserve(connection, "document_sight", len(changes), now)
    bulk.insert_rows(
        connection,
        tables.document_sight,
        ("id", "document", "at", "change", "by", "channel", "rule", "message_seq"),
        [
            (
                first + n,
                one.document,
                at,
                one.change,
                one.by,
                one.channel,
                one.rule,
                one.message_seq,
            )
            for n, one in enumerate(changes)
        ],
    )
    for one in changes:
        connection.execute(
            text(f"UPDATE document SET {_SETS[one.change]} WHERE id = :id"),  # noqa: S608 - our own words
            {"id": one.document},
        )


def standing(
    connection: Connection, ids: Collection[str]
) -> dict[str, tuple[bool, datetime, bool, bool]]:
    """How documents stand: masked, visible from, hidden from representatives, and whether the patient masked it."""
    if not ids:
        return {}
    within, given = any_text(connection, "d.id", sorted(ids), kind="uuid")
    rows = connection.execute(
        text(
            "SELECT d.id, d.masked_ps, d.visible_from, d.filed_at, d.hidden_from_reps, "  # noqa: S608 - our own words
            "(SELECT s.by FROM document_sight s WHERE s.document = d.id AND s.change IN ('mask', 'unmask') "
            f"ORDER BY s.id DESC LIMIT 1) AS masked_by FROM document d WHERE {within}"
        ),
        given,
    )
    return {
        str(row.id): (
            bool(row.masked_ps),
            from_micros(int(row.visible_from if row.visible_from is not None else row.filed_at)),
            bool(row.hidden_from_reps),
            bool(row.masked_ps) and (row.masked_by or "").startswith("patient:"),
        )
        for row in rows
    }


def history(engine: Engine, document: str) -> list[tuple[datetime, SightChange]]:
    """What became of a document's visibility, oldest first."""
    with reading(engine) as connection:
        rows = connection.execute(
            text("SELECT * FROM document_sight WHERE document = :id ORDER BY id"), {"id": document}
        ).all()
    return [
        (
            from_micros(int(row.at)),
            SightChange(
                str(row.document), row.change, row.by, row.channel, row.rule, row.message_seq
            ),
        )
        for row in rows
    ]
