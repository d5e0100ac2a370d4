"""The outbox: what is owed to whom, in which order, every attempt, and what came back.

Owed in the transaction that files; sent by couriers. A lane is (destination, patient): a later delivery of a lane
is not due while an earlier one is unsettled. An attempt that began and was never ended (the courier died) has an
unknown outcome, and is shown as unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.contracts import Work
from broker.database import bulk, sequences
from broker.database.schema import attempt, delivery, prepared
from broker.database.types import from_micros, to_micros
from broker.errors import PermanentError
from broker.records.lookups import any_of
from broker.values import Lane

__all__ = [
    "Backlog",
    "Connection",
    "Due",
    "Ended",
    "Interrupted",
    "Owed",
    "backlog",
    "body_of",
    "due",
    "heads",
    "interrupted",
    "overdue",
    "owe",
    "settle",
    "settle_many",
    "start_attempt",
    "unsettled",
]

MEDIA = {
    "hl7v2": "x-application/hl7-v2+er7",
    "cda": "application/cda+xml",
    "fhir-r4": "application/fhir+json",
    "xdm": "application/zip",
}
"""Media type of a message sent on as it came, when its sender gave none."""

STATES = {
    "sent": "sent",
    "refused": "parked",
    "expired": "parked",
    "unknown": "unknown",
    "failed": "owed",
}
"""Outcome of an attempt to the state of its delivery. `unknown` stays unsettled: its lane waits for a person."""

_SETTLED = ("sent", "parked")
_OPEN = "d.destination = :destination AND d.settled_at IS NULL"
_FIRST = (
    "(d.lane = 0 OR NOT EXISTS (SELECT 1 FROM delivery e WHERE e.destination = d.destination AND e.lane = d.lane "
    "AND e.recipient = d.recipient AND e.settled_at IS NULL AND e.id < d.id)) "
    "AND NOT EXISTS (SELECT 1 FROM lane l WHERE l.kind = 'outbound' AND l.destination = d.destination "
    "AND l.lane = d.lane AND l.state = 'held')"
)
_DUE = (
    "SELECT d.id, d.lane, d.attempts, d.created_at, d.message_seq, d.destination, d.recipient, m.id AS message_id "  # noqa: S608
    f"FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {_OPEN} AND d.state = 'owed' AND {_FIRST}"
)


@dataclass(frozen=True, slots=True)
class Owed:
    """One delivery to make. `body` None sends the message on as it came; else these prepared bytes.

    refused: why the document has no form the destination takes; the delivery is parked from the beginning, a person's
        business, and the filing of the message goes on
    """

    message_seq: int
    document_id: str | None
    destination: str
    lane: Lane
    intent: str
    media: str
    body: bytes | None = field(default=None, repr=False)
    reason: str = ""
    recipient: str = ""
    ins_used: str | None = None
    hops: int = 0
    refused: str = ""
    refused_at: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be sent now: the oldest of its lane."""

    id: int
    lane: Lane
    attempts: int
    created_at: datetime
    message_seq: int
    message_id: str
    destination: str
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A delivery whose last attempt, number `attempts`, began and never ended."""

    id: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one attempt. `outcome` is sent, failed, refused, expired or unknown.

    With `next_try_at` the delivery is owed again from then on, whatever the outcome was; `answer_code` is the
    receiver's own (`AA`), `code` ours.
    """

    delivery_id: int
    destination: str
    number: int
    started_at: datetime
    ended_at: datetime
    outcome: str
    code: str = ""
    place: str = ""
    answer: bytes = field(default=b"", repr=False)
    answer_code: str = ""
    answer_matched: bool | None = None
    peer: str = ""
    sent_digest: int | None = None
    next_try_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one destination is still owed."""

    owed: int
    unknown: int
    oldest: datetime | None


def owe(connection: Connection, rows: Sequence[Owed], now: datetime) -> list[int]:
    """Owe deliveries, in order; returns their numbers. They exist if and only if the transaction commits."""
    if not rows:
        return []
    first = sequences.reserve(connection, "delivery", len(rows), now)
    created = to_micros(now)
    columns = (
        "id", "message_seq", "document_id", "destination", "recipient", "intent", "lane", "state", "created_at",
        "settled_at", "reason", "reason_place", "ins_used", "hops", "attempts",
    )  # fmt: skip
    bulk.insert_rows(
        connection,
        delivery,
        columns,
        [
            (
                first + position, row.message_seq, row.document_id, row.destination, row.recipient, row.intent,
                row.lane, "parked" if row.refused else "owed", created, created if row.refused else None,
                row.refused or row.reason or None, row.refused_at or None, row.ins_used, row.hops, 0,
            )
            for position, row in enumerate(rows)
        ],
    )  # fmt: skip
    bodies = [
        (first + position, row.media, row.body)
        for position, row in enumerate(rows)
        if row.body is not None
    ]
    bulk.insert_rows(connection, prepared, ("delivery_id", "media", "body"), bodies)
    return list(range(first, first + len(rows)))


def due(connection: Connection, destination: str, limit: int, now: datetime) -> list[Due]:
    """The oldest unsettled delivery of each lane whose time has come, oldest first."""
    rows = connection.execute(
        text(
            _DUE
            + " AND (d.next_try_at IS NULL OR d.next_try_at <= :now) ORDER BY d.id LIMIT :limit"
        ),
        {"destination": destination, "now": to_micros(now), "limit": limit},
    )
    return [_due(row) for row in rows]


def heads(connection: Connection, destination: str, ids: Collection[int]) -> list[Due]:
    """Those of `ids` that are the oldest of their lane, in order; the time of the next try is the queue's business."""
    if not ids:
        return []
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(
        text(f"{_DUE} AND {within} ORDER BY d.id"), {"destination": destination, **given}
    )
    return [_due(row) for row in rows]


def unsettled(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of `ids` that will still be sent without anybody's help."""
    if not ids:
        return set()
    within, given = any_of(connection, "id", ids)
    rows = connection.execute(
        text(f"SELECT id FROM delivery WHERE {within} AND settled_at IS NULL AND state = 'owed'"),  # noqa: S608
        given,
    )
    return {int(row.id) for row in rows}


def overdue(connection: Connection, before: datetime, limit: int) -> dict[str, list[Work]]:
    """Owed deliveries nobody touched since `before`, by destination, oldest first: what the sweep puts back."""
    cut = to_micros(before)
    rows = connection.execute(
        text(
            "SELECT id, lane, destination FROM delivery WHERE settled_at IS NULL AND state = 'owed' "
            "AND created_at < :cut AND (next_try_at IS NULL OR next_try_at < :cut) ORDER BY id LIMIT :limit"
        ),
        {"cut": cut, "limit": limit},
    )
    found: dict[str, list[Work]] = defaultdict(list)
    for row in rows:
        found[row.destination].append(Work(int(row.id), Lane(int(row.lane))))
    return dict(found)


def body_of(connection: Connection, item: Due) -> tuple[bytes, str]:
    """(bytes, media) to send: as prepared, else the message as it came.

    Raises: PermanentError("content.missing") when neither is there (pruned by retention, or a document that was to be
    sent in a form it could not be given: the message's own bytes are never sent in its place).
    """
    row = connection.execute(
        text("SELECT body, media FROM prepared WHERE delivery_id = :id"), {"id": item.id}
    ).first()
    if row is not None:
        return bytes(row.body), row.media
    row = connection.execute(
        text(
            "SELECT b.body, m.media, m.format FROM message m JOIN message_body b ON b.seq = m.seq "
            "JOIN delivery d ON d.message_seq = m.seq AND d.id = :id WHERE m.seq = :seq AND d.document_id IS NULL"
        ),
        {"seq": item.message_seq, "id": item.id},
    ).first()
    if row is None:
        raise PermanentError("content.missing", where="message_body")
    return bytes(row.body), row.media or MEDIA.get(row.format, "application/octet-stream")


def start_attempt(
    connection: Connection, delivery_id: int, number: int, started_at: datetime
) -> None:
    """Note that an attempt begins, in a transaction of its own, before the first byte leaves."""
    row = (delivery_id, number, to_micros(started_at))
    bulk.insert_rows(connection, attempt, ("delivery_id", "number", "started_at"), [row])
    connection.execute(
        text("UPDATE delivery SET attempts = :number WHERE id = :id"),
        {"number": number, "id": delivery_id},
    )


def interrupted(
    connection: Connection, destination: str, ids: Collection[int]
) -> list[Interrupted]:
    """Those of `ids` whose last attempt began and never ended: the courier died with it in its hands.

    For the courier, before it sends: each is settled as unknown, or sent again where the destination is idempotent.
    """
    if not ids:
        return []
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(
        text(
            "SELECT d.id, d.attempts FROM delivery d JOIN attempt a ON a.delivery_id = d.id AND a.number = d.attempts "  # noqa: S608
            f"WHERE {_OPEN} AND d.state = 'owed' AND a.ended_at IS NULL AND {within} ORDER BY d.id"
        ),
        {"destination": destination, **given},
    )
    return [Interrupted(int(row.id), int(row.attempts)) for row in rows]


def settle(connection: Connection, ended: Ended) -> None:
    """Note how one attempt ended (see `settle_many`)."""
    settle_many(connection, [ended])


def settle_many(connection: Connection, rows: Sequence[Ended]) -> None:
    """Note how attempts ended: the attempt rows, and where their deliveries stand now; one statement each."""
    if not rows:
        return
    _end_attempts(connection, rows)
    deliveries = []
    for row in sorted(rows, key=lambda row: row.delivery_id):
        state = "owed" if row.next_try_at is not None else STATES[row.outcome]
        ended = to_micros(row.ended_at)
        deliveries.append(
            (
                row.delivery_id,
                state,
                ended if state in _SETTLED else None,
                row.next_try_at and to_micros(row.next_try_at),
                None if state == "sent" else row.code or None,
                row.place or None,
                row.answer_code or (row.code if state == "sent" else None) or None,
            )
        )
    columns = ("state", "settled_at", "next_try_at", "reason", "reason_place", "answer_code")
    bulk.update_rows(connection, delivery, "id", columns, deliveries)


def _end_attempts(connection: Connection, rows: Sequence[Ended]) -> None:
    connection.execute(
        text(
            "UPDATE attempt SET ended_at = :ended, outcome = :outcome, answer_code = :code, "
            "answer_matched = :matched, latency_us = :latency, peer = :peer, sent_digest = :digest, answer = :answer "
            "WHERE delivery_id = :id AND number = :number"
        ),
        [
            {
                "ended": to_micros(row.ended_at),
                "outcome": row.outcome,
                "code": row.answer_code or row.code or None,
                "matched": row.answer_matched,
                "latency": min(to_micros(row.ended_at) - to_micros(row.started_at), 2**31 - 1),
                "peer": row.peer or None,
                "digest": row.sent_digest,
                "answer": row.answer or None,
                "id": row.delivery_id,
                "number": row.number,
            }
            for row in rows
        ],
    )


def backlog(connection: Connection) -> dict[str, Backlog]:
    """What each destination is still owed, by the index of open deliveries."""
    rows = connection.execute(
        text(
            "SELECT destination, sum(CASE WHEN state = 'owed' THEN 1 ELSE 0 END) AS owed, "
            "sum(CASE WHEN state = 'unknown' THEN 1 ELSE 0 END) AS unknown, min(created_at) AS oldest "
            "FROM delivery WHERE settled_at IS NULL GROUP BY destination"
        )
    )
    return {
        row.destination: Backlog(int(row.owed), int(row.unknown), from_micros(int(row.oldest)))
        for row in rows
    }


def _due(row: Any) -> Due:
    return Due(
        id=int(row.id),
        lane=Lane(int(row.lane)),
        attempts=int(row.attempts),
        created_at=from_micros(int(row.created_at)),
        message_seq=int(row.message_seq),
        message_id=str(row.message_id),
        destination=row.destination,
        recipient=row.recipient,
    )
