"""Read the trail without walking it: its newest entries, for `carnet audit tail`; those about one message, for its
timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.audit.trail import COLUMNS
from broker.database import sequences
from broker.database.types import from_micros

_MOST = 500


@dataclass(frozen=True, slots=True)
class Told:
    """One entry about a message. `actor` is who did it, `motive` their own words; `details` JSON."""

    at: datetime
    act: str
    actor: str
    outcome: str
    motive: str = field(repr=False)
    details: str = field(repr=False)


def newest(connection: Connection, limit: int) -> list[Sequence[Any]]:
    """The newest entries, oldest of them first, in the order of `trail.COLUMNS`. At most 500 rows by the key."""
    rows = connection.execute(
        text(f"SELECT {', '.join(COLUMNS)} FROM audit_entry ORDER BY n DESC LIMIT :limit"),  # noqa: S608 - our own
        {"limit": min(limit, _MOST)},
    )
    return [tuple(row) for row in reversed(rows.all())]


def about(connection: Connection, message_id: str, seq: int) -> list[Told]:
    """The first entries about a message, in their order, by the index of subjects. They are as young as the message."""
    rows = connection.execute(
        text(
            "SELECT at, act, actor, outcome, motive, details FROM audit_entry WHERE subject = :id AND n >= :low "
            "ORDER BY n LIMIT :limit"
        ),
        {"id": message_id, "low": sequences.base_beside(seq), "limit": _MOST},
    )
    return [
        Told(
            from_micros(int(row.at)), row.act, row.actor, row.outcome or "", row.motive or "", row.details or ""
        )
        for row in rows
    ]  # fmt: skip
