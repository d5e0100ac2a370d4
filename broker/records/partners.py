"""What is true of a source now: last reception, last answer, last refusal, connections. One row per source and gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from broker.database import bulk
from broker.database.schema import source_now
from broker.database.types import to_micros

SCHEDULER = "scheduler"
"""Writer of the row that says that a source fell silent (`records.silence`)."""

HEARTBEAT = timedelta(minutes=1)
"""How often a gateway with open connections says that it is there."""

GONE = 3 * HEARTBEAT
"""A gateway that said nothing for so long has no connections: it is gone, or has none."""


@dataclass(slots=True)
class Seen:
    """What a gateway saw of a source since it last wrote; None where there was nothing of it.

    error_code: why it refused something last, a reason code; connections: how many are open now.
    """

    received_at: datetime | None = None
    answered_at: datetime | None = None
    error_code: str | None = None
    error_at: datetime | None = None
    connections: int = 0

    def behind(self, newer: Seen) -> Seen:
        """This and what was seen after it."""
        return Seen(
            newer.received_at or self.received_at,
            newer.answered_at or self.answered_at,
            newer.error_code or self.error_code,
            newer.error_at or self.error_at,
            newer.connections,
        )


_INSTANTS = ("received_at", "answered_at", "error_code", "error_at")


def note(connection: Connection, seen: Mapping[str, Seen], writer: str, now: datetime) -> None:
    """Note what a gateway saw of its sources, one statement; what it did not see anew stays."""
    rows = [
        (
            source,
            writer,
            one.received_at and to_micros(one.received_at),
            one.answered_at and to_micros(one.answered_at),
            one.error_code,
            one.error_at and to_micros(one.error_at),
            one.connections,
            to_micros(now),
        )
        for source, one in sorted(seen.items())
    ]
    columns = ("source", "writer", *_INSTANTS, "connections", "heartbeat_at")
    keys = ("source", "writer")
    bulk.replace_rows(connection, source_now, columns, rows, keys=keys, kept=_INSTANTS)
