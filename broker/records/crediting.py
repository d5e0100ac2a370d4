"""Deliveries that an answer may be about: taken under a lock, and moved by what it says. For `broker.answers`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from broker.contracts import Work
from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import delivery
from broker.database.types import to_micros
from broker.records.lookups import any_of
from broker.values import Lane, MessageId, Seq

_FREED = 10_000
"""Deliveries put to the queue at once when a lane goes on; those behind them come by the sweep."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery that was tried at least once, and that an answer names.

    in_hand: a courier has it now, so how its attempt ended is not written yet
    """

    id: int
    message_seq: Seq
    message_id: MessageId
    destination: str
    recipient: str = field(repr=False)
    lane: Lane
    state: str
    answer_code: str
    last_outcome: str
    in_hand: bool


@dataclass(frozen=True, slots=True)
class Credit:
    """What an answer makes of a delivery: its state from now on (None: as it was), and why."""

    delivery: Sent
    code: str
    state: str | None
    reason: str | None = None
    place: str | None = None


def lock(connection: Connection, ids: Collection[int]) -> dict[int, Sent]:
    """Those of `ids` that were tried, held until the transaction ends."""
    if not ids:
        return {}
    within, given = any_of(connection, "d.id", sorted(ids))
    held = "" if is_sqlite(connection) else " FOR UPDATE OF d"
    rows = connection.execute(
        text(
            "SELECT d.id, d.message_seq, m.id AS message_id, d.destination, d.recipient, d.lane, d.state, "  # noqa: S608
            "d.answer_code, d.claimed_by, "
            "(SELECT a.outcome FROM attempt a WHERE a.delivery_id = d.id AND a.number = d.attempts) AS last_outcome "
            f"FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {within} AND d.attempts > 0 "
            f"ORDER BY d.id{held}"
        ),
        given,
    )
    return {
        int(r.id): Sent(
            int(r.id), Seq(int(r.message_seq)), MessageId(str(r.message_id)), r.destination, r.recipient,
            Lane(int(r.lane)), r.state, r.answer_code or "", r.last_outcome or "", r.claimed_by is not None,
        )
        for r in rows
    }  # fmt: skip


def write(connection: Connection, credits_: Sequence[Credit], now: datetime) -> None:
    """Move the deliveries, and keep what was answered last. Their attempts stay as they ended: see `expectations`."""
    rows = sorted(credits_, key=lambda one: one.delivery.id)
    bulk.update_rows(
        connection,
        delivery,
        "id",
        ("answer_code",),
        [(one.delivery.id, one.code) for one in rows],
    )
    bulk.update_rows(
        connection,
        delivery,
        "id",
        ("state", "settled_at", "next_try_at", "reason", "reason_place"),
        [
            (one.delivery.id, one.state, to_micros(now), None, one.reason, one.place)
            for one in rows
            if one.state is not None
        ],
        where="t.claimed_by IS NULL",
    )


def going_on(connection: Connection, settled: Collection[Sent]) -> dict[str, list[Work]]:
    """What is owed in the lanes of deliveries that are settled now, by destination; one statement a destination."""
    lanes: dict[str, set[int]] = {}
    for one in settled:
        if one.lane:
            lanes.setdefault(one.destination, set()).add(one.lane)
    found: dict[str, list[Work]] = {}
    for destination, mine in sorted(lanes.items()):
        within, given = any_of(connection, "lane", sorted(mine))
        rows = connection.execute(
            text(
                "SELECT id, lane FROM delivery WHERE settled_at IS NULL AND destination = :destination "  # noqa: S608
                f"AND {within} AND state = 'owed' ORDER BY id LIMIT :n"
            ),
            {"destination": destination, "n": _FREED, **given},
        ).all()
        if rows:
            found[destination] = [Work(int(row.id), Lane(int(row.lane))) for row in rows]
    return found
