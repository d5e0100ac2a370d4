"""What is owed: order per lane, every attempt kept, an unknown outcome shown as unknown."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.database.engine import reading, writing
from broker.errors import PermanentError
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


def attempt(engine: Engine, number: int, outcome: str, **fields: object) -> None:
    with writing(engine) as connection:
        outbox.start_attempt(connection, number, 1, NOW)
    ended = Ended(
        delivery_id=number,
        destination="dmp",
        number=1,
        started_at=NOW,
        ended_at=LATER,
        outcome=outcome,
        **fields,
    )  # type: ignore[arg-type]
    with writing(engine) as connection:
        outbox.settle(connection, ended)


def due(engine: Engine, now: object = LATER, limit: int = 100) -> list[int]:
    with reading(engine) as connection:
        return [one.id for one in outbox.due(connection, "dmp", limit, now)]  # type: ignore[arg-type]


def test_only_the_oldest_of_each_lane_is_due(empty_ledger: Engine) -> None:
    first, second, other, free, free2 = owe(empty_ledger, 1, 1, 2, 0, 0)

    assert due(empty_ledger) == [first, other, free, free2]
    attempt(empty_ledger, first, "sent")
    assert due(empty_ledger) == [second, other, free, free2]


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
    assert due(empty_ledger, LATER + timedelta(minutes=6)) == [first]


def test_heads_are_those_of_the_asked_ids_that_are_first_in_their_lane(
    empty_ledger: Engine,
) -> None:
    first, second, other = owe(empty_ledger, 1, 1, 2)

    with reading(empty_ledger) as connection:
        heads = outbox.heads(connection, "dmp", [second, other])
        open_ones = outbox.unsettled(connection, [first, second, other])

    assert [one.id for one in heads] == [other]
    assert heads[0].message_id.count("-") == 4
    assert open_ones == {first, second, other}


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
        bodies = {
            one.id: outbox.body_of(connection, one)
            for one in outbox.due(connection, "dmp", 9, LATER)
        }

    assert bodies == {
        prepared: (b"%PDF", "application/pdf"),
        raw: (b"MSH|^~\\&|raw", "x-application/hl7-v2+er7"),
    }


def test_pruned_bytes_are_said_to_be_missing(sqlite_ledger: Engine) -> None:
    owe(sqlite_ledger, 1)
    with writing(sqlite_ledger) as connection:
        connection.execute(text("DELETE FROM message_body"))

    with reading(sqlite_ledger) as connection:
        (one,) = outbox.due(connection, "dmp", 9, LATER)
        with pytest.raises(PermanentError, match=r"content\.missing"):
            outbox.body_of(connection, one)


def test_an_attempt_that_never_ended_is_found(empty_ledger: Engine) -> None:
    first, other = owe(empty_ledger, 1, 2)
    with writing(empty_ledger) as connection:
        outbox.start_attempt(connection, first, 1, NOW)

    with reading(empty_ledger) as connection:
        found = outbox.interrupted(connection, "dmp", [first, other])

    assert [(one.id, one.attempts) for one in found] == [(first, 1)]


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

    while ready := due(sqlite_ledger):
        number = random.choice(ready)  # type: ignore[attr-defined]
        sent[lane_of[number]].append(number)
        attempt(sqlite_ledger, number, "sent")

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
        with pytest.raises(PermanentError, match=r"content\.missing"):
            outbox.body_of(connection, item)
    assert tuple(stored) == ("parked", "mapping.none", "kind")
