"""What is true of a partner now: last reception, last error, heartbeat. One row per source and writer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from broker.database import bulk
from broker.database.schema import source_now
from broker.database.types import to_micros


def received(connection: Connection, latest: Mapping[str, datetime], writer: str) -> None:
    """Note the last reception of each source of a batch, one statement."""
    if not latest:
        return
    rows = [
        (source, writer, to_micros(at), to_micros(at), to_micros(at))
        for source, at in sorted(latest.items())
    ]
    columns = ("source", "writer", "received_at", "answered_at", "heartbeat_at")
    bulk.replace_rows(connection, source_now, columns, rows, keys=("source", "writer"))
