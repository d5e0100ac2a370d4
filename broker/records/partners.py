"""What is true of a partner now: last reception, last error, heartbeat. One row per source and writer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.types import to_micros


def received(connection: Connection, latest: Mapping[str, datetime], writer: str) -> None:
    """Note the last reception of each source of a batch, one statement."""
    if not latest:
        return
    rows = [
        {"source": source, "writer": writer, "at": to_micros(at)} for source, at in sorted(latest.items())
    ]
    connection.execute(
        text(
            "INSERT INTO source_now (source, writer, received_at, answered_at, heartbeat_at) "
            "VALUES (:source, :writer, :at, :at, :at) ON CONFLICT (source, writer) DO UPDATE SET "
            "received_at = excluded.received_at, answered_at = excluded.answered_at, "
            "heartbeat_at = excluded.heartbeat_at"
        ),
        rows,
    )
