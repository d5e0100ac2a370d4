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
from broker.records.circles import Name, Said, Sending, signs, signs_of
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

    def comes(
        self,
        source: str,
        window: timedelta = timedelta(days=1),
        *,
        sender: str = "",
        after: timedelta = timedelta(seconds=1),
    ) -> int:
        """It comes from a source: signs of a circle, and it is sent on."""
        self.now += after
        found = self.looked_at(Name(source, sender), window)
        self.sent(source, sender, found)
        return found

    def looked_at(self, name: Name, window: timedelta = timedelta(days=1)) -> int:
        said = Said(CONTENT, name)
        with reading(self.engine) as connection:
            return signs_of(connection, [said], self.now - window).get(said, 0)

    def sent(self, source: str, sender: str, found: int) -> None:
        (seq,) = record.received(self.engine, 1, b"MSH|", self.now)
        with writing(self.engine) as connection:
            connection.execute(
                text("UPDATE message SET source = :source, sender = :sender WHERE seq = :seq"),
                {"source": source, "sender": sender, "seq": seq},
            )
            owed = outbox.Owed(seq, None, "d", Lane(0), "new", "", b"x", signs=found)
            (number,) = outbox.owe(connection, [owed], self.now)
            outbox.claim(connection, "d", [number], "me", self.now, 1)
            sent = Ended(number, "d", 1, self.now, self.now, "sent", sent_digest=CONTENT)
            outbox.note(connection, [sent])


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


def test_a_partner_that_gives_back_on_the_same_port_is_told_by_its_name(
    empty_ledger: Engine,
) -> None:
    way = Way(empty_ledger)

    found = [way.comes("port", sender=name) for name in ("WEST|H", *["EAST|E"] * 4)]

    assert found == [0, 0, 1, 2, 3]


def test_a_source_that_repeats_itself_closes_none_however_often(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)

    assert [way.comes("ward", after=timedelta(milliseconds=20)) for _ in range(25)] == [0] * 25


def test_what_came_before_the_window_is_forgotten(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)
    for source in ("west", "east") * 2:
        way.comes(source)
    way.now += timedelta(hours=2)

    assert way.comes("west", timedelta(hours=1)) == 0
    assert way.comes("east", timedelta(hours=1)) == 0


def test_who_said_it_first_is_known_however_often_it_was_sent_since(empty_ledger: Engine) -> None:
    way = Way(empty_ledger)
    way.comes("west")

    found = [way.comes("east") for _ in range(2 * circles.ROWS)]

    assert found == list(range(2 * circles.ROWS))


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
        said = [Said(CONTENT, Name(name)) for name in ("ward", "other")]
        found = signs_of(connection, [*said, Said(7, Name("ward"))], now)

    newest = set(range(first + many - circles.ROWS, first + many))
    assert {number for _, _, number in tries} == {first, *newest}
    assert len(tries) == circles.ROWS + 1
    assert found == dict.fromkeys(said, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=12))
def test_no_order_of_sendings_gives_more_signs_than_a_source_has_come_again(
    order: list[tuple[str, int]],
) -> None:
    sendings: list[Sending] = []
    at = 0

    for source, seconds in order:
        at += seconds * 1_000_000 + 1
        found = signs(sendings, Name(source))
        assert 0 <= found <= sum(one.name.source == source for one in sendings)
        sendings.append(Sending(at, Name(source), found))
