"""What stands in the ledger and the records after a drill, read straight from the rows: never from a counter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from broker.database.engine import reading
from broker.records import patients
from broker.values import State


@dataclass(frozen=True, slots=True)
class Received:
    """One row of the ledger: its message's control id, its state, and how often it was filed by documents and by audit."""

    control_id: str
    seq: int
    state: State
    person: int | None
    documents: int
    entries: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery and its attempts in order: the outcome noted of each, None where it was never ended."""

    id: int
    destination: str
    control_id: str
    lane: int
    state: str
    attempts: Sequence[str | None] = field(default=())


def received(engine: Engine) -> list[Received]:
    """Every message that was received, in the order of the ledger."""
    statement = text(
        "SELECT m.control_id, m.seq, m.state, m.person, "
        "(SELECT count(*) FROM document d WHERE d.message_seq = m.seq) AS documents "
        "FROM message m ORDER BY m.seq"
    )
    filed = filing_order(engine)
    entries: dict[str, int] = defaultdict(int)
    for control_id in filed:
        entries[control_id] += 1
    with reading(engine) as connection:
        return [
            Received(
                str(row.control_id),
                int(row.seq),
                State(int(row.state)),
                row.person,
                int(row.documents),
                entries[str(row.control_id)],
            )
            for row in connection.execute(statement)
        ]


def filing_order(engine: Engine) -> list[str]:
    """The control id of every filing, in the order of the audit trail."""
    statement = text(
        "SELECT control_id FROM audit_entry WHERE act IN ('filed', 'replaced') ORDER BY n"
    )
    with reading(engine) as connection:
        return [str(row.control_id) for row in connection.execute(statement)]


def deliveries(engine: Engine) -> list[Delivery]:
    """Everything owed to destinations, in the order it was owed, with what was noted of every attempt."""
    with reading(engine) as connection:
        attempts: dict[int, list[str | None]] = defaultdict(list)
        for row in connection.execute(
            text("SELECT delivery_id, ended_at, outcome FROM attempt ORDER BY delivery_id, number")
        ):
            attempts[int(row.delivery_id)].append(row.outcome if row.ended_at is not None else None)
        return [
            Delivery(
                int(row.id),
                row.destination,
                str(row.control_id),
                int(row.lane),
                row.state,
                tuple(attempts[int(row.id)]),
            )
            for row in connection.execute(
                text(
                    "SELECT d.id, d.destination, d.lane, d.state, m.control_id FROM delivery d "
                    "JOIN message m ON m.seq = d.message_seq ORDER BY d.id"
                )
            )
        ]


def unsettled(engine: Engine) -> tuple[int, int]:
    """(messages, deliveries) that still move without anybody's help: a delivery behind an unknown one waits for a person."""
    with reading(engine) as connection:
        row = connection.execute(
            text(
                "SELECT (SELECT count(*) FROM message WHERE state < :filed) AS messages, "
                "(SELECT count(*) FROM delivery d WHERE d.settled_at IS NULL AND d.state = 'owed' AND NOT EXISTS "
                "(SELECT 1 FROM delivery e WHERE e.destination = d.destination AND e.lane = d.lane "
                "AND e.recipient = d.recipient "
                "AND e.state = 'unknown' AND e.id < d.id)) AS deliveries"
            ),
            {"filed": int(State.FILED)},
        ).one()
    return int(row.messages), int(row.deliveries)


def streets(engine: Engine, people: Mapping[int, int]) -> dict[int, str]:
    """The first line of the address the record shows for each of these patients, by the drill's own number."""
    found = {}
    for number, person in people.items():
        traits = patients.traits_of(engine, person)
        lines = traits.addresses[0].lines if traits is not None and traits.addresses else ()
        found[number] = lines[0] if lines else ""
    return found
