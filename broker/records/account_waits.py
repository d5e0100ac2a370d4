"""Documents that wait for what becomes of a space: noted by the pipeline, received again when it opens, else dropped.

What else their messages owe has gone out when they came: a professional's mail does not wait for a patient's letter.
Source: life-cycle, edge semantics and section 7 (our reading).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.accounts.machine import WAITING
from broker.database import bulk
from broker.database.schema import account_wait
from broker.database.types import to_micros
from broker.records.lookups import any_of

REASONS = ("account.not_open", "account.suspended")
"""Why a message that waits was not filed: a replay of one sends to records alone, the others have theirs."""


def waits(account: str) -> bool:
    """Whether documents wait in this state, rather than being refused for good."""
    return account in WAITING


def note(connection: Connection, rows: Sequence[tuple[int, int]], now: datetime) -> None:
    """Note (patient, message) whose documents wait."""
    at = to_micros(now)
    bulk.insert_missing(
        connection,
        account_wait,
        ("patient", "seq", "since"),
        [(*row, at) for row in sorted(set(rows))],
    )


def take(connection: Connection, patients: Collection[int]) -> list[int]:
    """The messages that waited for these patients, in order; they wait no longer."""
    if not patients:
        return []
    within, given = any_of(connection, "patient", sorted(patients))
    rows: Sequence[Any] = connection.execute(
        text(f"SELECT seq FROM account_wait WHERE {within} ORDER BY seq"),  # noqa: S608 - our own words
        given,
    ).all()
    if rows:
        connection.execute(text(f"DELETE FROM account_wait WHERE {within}"), given)  # noqa: S608
    return [int(row.seq) for row in rows]


def drop(connection: Connection, patients: Collection[int], reason: str) -> list[tuple[int, str]]:
    """(number, id) of messages whose documents will not be filed; their reason says why from now on."""
    seqs = take(connection, patients)
    if not seqs:
        return []
    within, given = any_of(connection, "seq", seqs)
    connection.execute(
        text(f"UPDATE message SET reason = :reason WHERE {within} AND state >= 10"),  # noqa: S608
        {"reason": reason, **given},
    )
    rows = connection.execute(text(f"SELECT seq, id FROM message WHERE {within} ORDER BY seq"), given)  # noqa: S608 # fmt: skip
    return [(int(row.seq), str(row.id)) for row in rows]


def waiting(connection: Connection, patient: int) -> int:
    """How many messages wait for one patient."""
    found = connection.execute(
        text("SELECT count(*) FROM account_wait WHERE patient = :id"), {"id": patient}
    )
    return int(found.scalar_one())
