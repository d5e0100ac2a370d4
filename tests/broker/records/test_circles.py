"""A content that goes round is told from one that is sent by several, or by one again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.database import sequences
from broker.database.engine import reading, writing
from broker.database.types import to_micros
from broker.records import circles, outbox
from broker.records.circles import _rounds, rounds_of
from broker.records.outbox import Ended
from broker.values import Lane
from tests.broker.records import record

START = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
CONTENT = 4711


class Way:
    """One content on its way through a ledger, each sending a second after the one before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = START

    def comes(self, source: str, window: timedelta = timedelta(days=1)) -> int:
        """It comes from a source: circles closed, and it is sent on."""
        self.now += timedelta(seconds=1)
        with reading(self.engine) as connection:
            found = rounds_of(connection, [(CONTENT, source)], self.now - window)
        rounds = found.get((CONTENT, source), 0)
        (seq,) = record.received(self.engine, 1, b"MSH|", self.now)
        with writing(self.engine) as connection:
            connection.execute(
                text("UPDATE message SET source = :source WHERE seq = :seq"),
                {"source": source, "seq": seq},
            )
            owed = outbox.Owed(seq, None, "d", Lane(0), "new", "", b"x", hops=rounds)
            (number,) = outbox.owe(connection, [owed], self.now)
            outbox.claim(connection, "d", [number], "me", self.now, 1)
            sent = Ended(number, "d", 1, self.now, self.now, "sent", sent_digest=CONTENT)
            outbox.note(connection, [sent])
        return rounds


def test_two_systems_that_send_each_other_what_they_are_sent_close_a_circle_a_round(
    empty_ledger: Engine,
) -> None:
    way = Way(empty_ledger)

    found = [way.comes(source) for source in ("west", "east") * 4]

    assert found == [0, 0, 1, 1, 2, 2, 3, 3]


def test_three_systems_close_a_circle_when_all_had_it(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)

    found = [way.comes(source) for source in ("a", "b", "c") * 3]

    assert found == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_source_that_repeats_itself_closes_none(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)

    assert [way.comes("ward") for _ in range(5)] == [0] * 5


def test_what_came_before_the_window_is_forgotten(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)
    for source in ("west", "east") * 2:
        way.comes(source)
    way.now += timedelta(hours=2)

    assert way.comes("west", timedelta(hours=1)) == 0
    assert way.comes("east", timedelta(hours=1)) == 0


def test_a_content_sent_very_often_costs_no_more_rows(empty_ledger: Engine) -> None:
    now, many = START, 5 * circles.ROWS
    seqs = record.received(empty_ledger, many, b"MSH|", now)
    with writing(empty_ledger) as connection:
        first = sequences.reserve(connection, "delivery", many, now)
        for n, seq in enumerate(seqs):
            connection.execute(
                text(
                    "INSERT INTO delivery (id, message_seq, destination, recipient, intent, lane, state, created_at, "
                    "attempts, hops) VALUES (:id, :seq, 'd', '', 'new', 0, 'sent', 1, 1, 0)"
                ),
                {"id": first + n, "seq": seq},
            )
            connection.execute(
                text(
                    "INSERT INTO attempt (delivery_id, number, started_at, outcome, sent_digest) "
                    "VALUES (:id, 1, :at, 'sent', :digest)"
                ),
                {"id": first + n, "at": to_micros(now) + n, "digest": CONTENT},
            )
    with reading(empty_ledger) as connection:
        tries = circles._attempts(connection, [CONTENT, 7], now)
        found = rounds_of(connection, [(CONTENT, "ward"), (CONTENT, "other"), (7, "ward")], now)

    assert len(tries) == circles.ROWS
    assert min(number for _, _, number in tries) == first + many - circles.ROWS
    assert found == {(CONTENT, "ward"): 0, (CONTENT, "other"): 0}


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12))
def test_no_order_of_sendings_counts_more_circles_than_a_source_has_come_again(
    order: list[str],
) -> None:
    tries: list[tuple[int, str, int]] = []

    for at, source in enumerate(order):
        rounds = _rounds(tries, source)
        assert 0 <= rounds <= sum(name == source for _, name, _ in tries)
        tries.append((at, source, rounds))
