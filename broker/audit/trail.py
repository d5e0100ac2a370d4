"""Write entries into the trail, in the transaction of what they tell.

For intake, the pipeline, couriers and the readers of records. Call `write` as the last statement of a transaction:
the numbers are reserved under a lock that is held to the commit, so an entry that is visible has all earlier ones
beside it, and the sealer needs no margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from broker.access import Entry
from broker.database import bulk, sequences
from broker.database.schema import audit_entry
from broker.database.types import to_micros

__all__ = ["COLUMNS", "SEQUENCE", "Entry", "write"]

SEQUENCE = "audit"

COLUMNS = (
    "n",
    "at",
    "act",
    "actor_kind",
    "actor",
    "subject",
    "actor_snapshot",
    "mode",
    "motive",
    "patient",
    "decision",
    "outcome",
    "software",
    "control_id",
    "details",
)
"""Columns in the order of the canonical encoding (see `audit.seal`); never reordered within a version."""


def write(connection: Connection, entries: Sequence[Entry], now: datetime) -> None:
    """Append entries, numbered in the order given; in one statement."""
    if not entries:
        return
    rows = [
        (
            to_micros(entry.at),
            entry.act,
            entry.actor_kind,
            entry.actor,
            entry.subject,
            entry.actor_snapshot,
            entry.mode,
            entry.motive,
            entry.patient,
            entry.decision,
            entry.outcome,
            entry.software,
            entry.control_id,
            entry.details,
        )
        for entry in entries
    ]
    bulk.append_rows(
        connection, audit_entry, COLUMNS, rows, counter=SEQUENCE, base=sequences.base(now)
    )
