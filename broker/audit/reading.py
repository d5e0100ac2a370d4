"""Read the trail without walking it: its newest entries, for `carnet audit tail`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from broker.audit.trail import COLUMNS


def newest(connection: Connection, limit: int) -> list[Sequence[Any]]:
    """The newest entries, oldest of them first, in the order of `trail.COLUMNS`. At most 500 rows by the key."""
    rows = connection.execute(
        text(f"SELECT {', '.join(COLUMNS)} FROM audit_entry ORDER BY n DESC LIMIT :limit"),  # noqa: S608 - our own
        {"limit": min(limit, 500)},
    )
    return [tuple(row) for row in reversed(rows.all())]
