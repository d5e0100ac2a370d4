"""Write entries into the trail, in the transaction of what they tell.

For intake, the pipeline, couriers and the readers of records. Call `write` as the last statement of a transaction:
the numbers are reserved under a lock that is held to the commit, so an entry that is visible has all earlier ones
beside it, and the sealer needs no margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from itertools import chain

from sqlalchemy import Connection

from broker.access import Entry
from broker.database import bulk, sequences
from broker.database.engine import is_sqlite
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

_CARNET = "carnet"
_SOFTWARE = {_CARNET: f"{_CARNET}/{version(_CARNET)}"}
"""Carnet itself stands with its version (AUD-03); others as they name themselves."""


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
            _SOFTWARE.get(entry.software or "", entry.software),
            entry.control_id,
            entry.details,
        )
        for entry in entries
    ]
    bulk.append_rows(
        connection, audit_entry, COLUMNS, rows, counter=SEQUENCE, base=sequences.base(now)
    )


def received(connection: Connection, spans: Sequence[tuple[int, int]], count: int) -> None:
    """Append the entry "received" of the messages numbered within `spans` (first, last), which this transaction wrote.

    They are `count`, in the order of their numbers. Between two spans there may be others, of a replay for one, which
    have their entries already. The entries are made of the rows by the database: what it was just given is not sent
    again.
    """
    parameters = (SEQUENCE, sequences.base_beside(spans[0][0]) + count - 1, count)
    if is_sqlite(connection):
        cursor = connection.connection.cursor()
        cursor.execute(f"{bulk.RESERVE_SQLITE} RETURNING value", parameters)
        (highest,) = cursor.fetchone() or (0,)
        within = " OR ".join("m.seq BETWEEN ? AND ?" for _ in spans)
        cursor.execute(_RECEIVED_SQLITE + within, (int(highest) - count, *chain(*spans)))
        cursor.close()
        return
    firsts, lasts = (f"{{{','.join(map(str, ends))}}}" for ends in zip(*spans, strict=True))
    bulk.execute(connection, _RECEIVED_POSTGRESQL, (*parameters, count, firsts, lasts))


_RECEIVED = (
    "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject, control_id, outcome) "
    "SELECT {before} + row_number() OVER (ORDER BY m.seq), m.received_at, 'received', 'machine', m.source, {id}, "
    "m.control_id, m.reason FROM message m "
)
_RECEIVED_SQLITE = _RECEIVED.format(before="?", id="m.id") + "WHERE "
_RECEIVED_POSTGRESQL = (
    f"WITH c AS ({bulk.RESERVE_POSTGRESQL} RETURNING value) "  # noqa: S608 - constants only
    + _RECEIVED.format(before="(SELECT value FROM c) - %s::bigint", id="CAST(m.id AS text)")
    + "JOIN unnest(%s::bigint[], %s::bigint[]) AS s(first, last) ON m.seq BETWEEN s.first AND s.last"
)
