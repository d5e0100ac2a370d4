"""What is owed: order per lane, every attempt kept, an unknown outcome shown as unknown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.database.engine import reading, writing
from broker.errors import TransientError
from broker.records import outbox
from broker.records.outbox import Ended, Owed
from broker.values import Lane
from tests.broker.records import record

NOW = record.NOW
LATER = NOW + timedelta(minutes=1)


def owe(
    engine: Engine, *lanes: int, destination: str = "dmp", body: bytes | None = None
) -> list[int]:
    seqs = record.received(engine, len(lanes), b"MSH|^~\\&|raw")
    rows = [
        Owed(seq, None, destination, Lane(lane), "new", "application/pdf", body)
        for seq, lane in zip(seqs, lanes, strict=True)
    ]
    with writing(engine) as connection:
        return outbox.owe(connection, rows, NOW)


def open_ones(engine: Engine) -> list[int]:
    """Every delivery to the destination that is not settled, as a queue would have it."""
    with reading(engine) as connection:
        rows = connection.execute(
            text(
                "SELECT id FROM delivery WHERE settled_at IS NULL AND destination = 'dmp' ORDER BY id"
            )
        )
        return [int(row.id) for row in rows]


def claim(engine: Engine, ids: list[int] | None = None, limit: int = 100) -> list[outbox.Due]:
    with writing(engine) as connection:
        wanted = open_ones(engine) if ids is None else ids
        return outbox.claim(connection, "dmp", wanted, "me", LATER, limit)


def attempt(engine: Engine, number: int, outcome: str, **fields: object) -> None:
    """One attempt at a delivery, taken in hand alone, and how it ended."""
    (taken,) = claim(engine, [number])
    note(engine, taken, outcome, **fields)


def note(engine: Engine, taken: outbox.Due, outcome: str, **fields: object) -> None:
    ended = Ended(
        delivery_id=taken.id,
        destination="dmp",
        number=taken.attempts,
        started_at=NOW,
        ended_at=LATER,
        outcome=outcome,
        **fields,
    )  # type: ignore[arg-type]
    with writing(engine) as connection:
        outbox.note(connection, [ended])


def due(engine: Engine, ids: list[int] | None = None, now: datetime = LATER) -> list[int]:
    """What could be taken in hand, and put down again."""
    with writing(engine) as connection:
        wanted = open_ones(engine) if ids is None else ids
        taken = [one.id for one in outbox.claim(connection, "dmp", wanted, "me", now, 100)]
        outbox.withdraw(connection, taken, "me")
    return taken


def test_a_lane_flows_as_far_as_its_deliveries_are_asked_for_in_order(
    empty_ledger: Engine,
) -> None:
    first, second, third, other, free = owe(empty_ledger, 1, 1, 1, 2, 0)

    assert due(empty_ledger) == [first, second, third, other, free]
    assert due(empty_ledger, [second, third, other]) == [other]
    assert due(empty_ledger, [first, third, free]) == [first, free]
    attempt(empty_ledger, first, "sent")
    assert due(empty_ledger, [second, other]) == [second, other]


def test_what_is_taken_in_hand_is_taken_once_and_counts_as_an_attempt(empty_ledger: Engine) -> None:
    first, second = owe(empty_ledger, 1, 2)

    (taken,) = claim(empty_ledger, [first, second], limit=1)

    assert (taken.id, taken.attempts, taken.last_outcome) == (first, 1, "")
    assert due(empty_ledger) == [second]
    with writing(empty_ledger) as connection:
        outbox.withdraw(connection, [first], "somebody else")
    assert due(empty_ledger) == [second]
    with writing(empty_ledger) as connection:
        outbox.withdraw(connection, [first], "me")
    assert [one.attempts for one in claim(empty_ledger)] == [1, 1]


def test_two_couriers_never_have_the_same_delivery_in_hand(postgres_ledger: Engine) -> None:
    (first,) = owe(postgres_ledger, 1)

    with writing(postgres_ledger) as one, ThreadPoolExecutor(1) as other:
        assert len(outbox.claim(one, "dmp", [first], "me", LATER, 9)) == 1
        racing = other.submit(_claim_as, postgres_ledger, first, "you")
        one.commit()
        outcome = racing.result(timeout=20)

    assert outcome in ("nothing", "delivery.raced")


def _claim_as(engine: Engine, number: int, name: str) -> str:
    try:
        with writing(engine) as connection:
            found = outbox.claim(connection, "dmp", [number], name, LATER, 9)
    except TransientError as error:
        return error.code
    return f"{len(found)} taken" if found else "nothing"


def test_large_ones_are_taken_in_hand_a_few_at_a_time(sqlite_ledger: Engine) -> None:
    owe(sqlite_ledger, 1, 2, 3, body=b"x" * (outbox.CLAIM_BYTES // 2))

    assert len(claim(sqlite_ledger)) == 2


def test_lanes_of_other_destinations_do_not_wait(empty_ledger: Engine) -> None:
    owe(empty_ledger, 1, destination="archive")
    mine = owe(empty_ledger, 1)

    assert due(empty_ledger) == mine


@pytest.mark.parametrize(
    ("outcome", "state", "goes_on"),
    [
        ("sent", "sent", True),
        ("refused", "parked", True),
        ("expired", "parked", True),
        ("unknown", "unknown", False),
    ],
)
def test_where_a_delivery_stands_after_its_attempt(
    sqlite_ledger: Engine, outcome: str, state: str, goes_on: bool
) -> None:
    first, second = owe(sqlite_ledger, 1, 1)

    attempt(sqlite_ledger, first, outcome, code="x.y", answer=b"MSA|AE")

    with reading(sqlite_ledger) as connection:
        row = connection.execute(
            text(
                "SELECT d.state, a.outcome, a.answer, a.latency_us FROM delivery d "
                "JOIN attempt a ON a.delivery_id = d.id WHERE d.id = :id"
            ),
            {"id": first},
        ).one()
    assert (row.state, row.outcome, bytes(row.answer), row.latency_us) == (
        state,
        outcome,
        b"MSA|AE",
        60_000_000,
    )
    assert due(sqlite_ledger) == ([second] if goes_on else [])


def test_a_failed_delivery_is_due_again_at_its_time_and_holds_its_lane(
    empty_ledger: Engine,
) -> None:
    first, _second = owe(empty_ledger, 1, 1)

    attempt(empty_ledger, first, "failed", next_try_at=LATER + timedelta(minutes=5))

    assert due(empty_ledger) == []
    (taken,) = due(empty_ledger, [first], LATER + timedelta(minutes=6))
    assert taken == first


def test_an_attempt_knows_how_the_one_before_ended(empty_ledger: Engine) -> None:
    (first,) = owe(empty_ledger, 1)
    attempt(empty_ledger, first, "unknown", next_try_at=LATER)

    (taken,) = claim(empty_ledger)

    assert (taken.attempts, taken.last_outcome) == (2, "unknown")


def test_a_held_lane_is_not_due(sqlite_ledger: Engine) -> None:
    first, other = owe(sqlite_ledger, 1, 2)
    with writing(sqlite_ledger) as connection:
        connection.execute(
            text(
                "INSERT INTO lane (kind, destination, lane, state, head_seq, since, attempts) "
                "VALUES ('outbound', 'dmp', 1, 'held', :id, 0, 0)"
            ),
            {"id": first},
        )

    assert due(sqlite_ledger) == [other]


def test_what_was_prepared_is_sent_and_else_the_message_as_it_came(empty_ledger: Engine) -> None:
    (prepared,) = owe(empty_ledger, 1, body=b"%PDF")
    (raw,) = owe(empty_ledger, 2)

    with reading(empty_ledger) as connection:
        bodies = outbox.bodies_of(connection, claim(empty_ledger))

    assert bodies == {
        prepared: (b"%PDF", "application/pdf"),
        raw: (b"MSH|^~\\&|raw", "x-application/hl7-v2+er7"),
    }


def test_pruned_bytes_are_said_to_be_missing(sqlite_ledger: Engine) -> None:
    owe(sqlite_ledger, 1)
    with writing(sqlite_ledger) as connection:
        connection.execute(text("DELETE FROM message_body"))

    with reading(sqlite_ledger) as connection:
        assert outbox.bodies_of(connection, claim(sqlite_ledger)) == {}


def test_what_somebody_has_in_hand_is_found(empty_ledger: Engine) -> None:
    first, other = owe(empty_ledger, 1, 2)
    claim(empty_ledger, [first])

    with reading(empty_ledger) as connection:
        (found,) = outbox.interrupted(connection, "dmp")
        assert outbox.interrupted(connection, "dmp", [other]) == []

    assert (found.id, found.attempts, found.claimed_by) == (first, 1, "me")
    assert found.claimed_at == LATER


def test_the_sweep_finds_what_nobody_touched(empty_ledger: Engine) -> None:
    first, second = owe(empty_ledger, 5, 5)
    attempt(empty_ledger, first, "failed", next_try_at=LATER + timedelta(hours=1))

    with reading(empty_ledger) as connection:
        assert outbox.overdue(connection, NOW, 10) == {}
        found = outbox.overdue(connection, LATER, 10)
        backlog = outbox.backlog(connection)

    assert {name: [work.id for work in works] for name, works in found.items()} == {"dmp": [second]}
    assert (backlog["dmp"].owed, backlog["dmp"].unknown, backlog["dmp"].oldest) == (2, 0, NOW)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_each_lane_is_sent_in_the_order_it_was_owed(
    sqlite_ledger: Engine, lanes: list[int], random: object
) -> None:
    with writing(sqlite_ledger) as connection:
        connection.execute(text("DELETE FROM delivery"))
    numbers = owe(sqlite_ledger, *lanes)
    lane_of = dict(zip(numbers, lanes, strict=True))
    sent: dict[int, list[int]] = {1: [], 2: [], 3: []}

    while still := open_ones(sqlite_ledger):
        leased = random.sample(still, random.randint(1, len(still)))  # type: ignore[attr-defined]
        for taken in claim(sqlite_ledger, leased, random.randint(1, 3)):  # type: ignore[attr-defined]
            sent[lane_of[taken.id]].append(taken.id)
            note(sqlite_ledger, taken, "sent")

    assert all(order == sorted(order) for order in sent.values())
    assert sorted(number for order in sent.values() for number in order) == numbers


def test_a_document_without_a_form_is_parked_from_the_beginning_and_never_sent_as_it_came(
    empty_ledger: Engine,
) -> None:
    (seq,) = record.received(empty_ledger, 1, b"MSH|raw")
    row = Owed(
        message_seq=seq,
        document_id="018f0000-0000-7000-8000-000000000000",
        destination="dmp",
        lane=Lane(1),
        intent="create",
        media="",
        refused="mapping.none",
        refused_at="kind",
    )
    with writing(empty_ledger) as connection:
        (number,) = outbox.owe(connection, [row], NOW)

    assert due(empty_ledger) == []
    with reading(empty_ledger) as connection:
        stored = connection.execute(text("SELECT state, reason, reason_place FROM delivery")).one()
        item = outbox.Due(number, Lane(1), 0, NOW, seq, "", "dmp")
        assert outbox.bodies_of(connection, [item]) == {}
    assert tuple(stored) == ("parked", "mapping.none", "kind")
