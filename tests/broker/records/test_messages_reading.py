"""What the command reads of the ledger: lists in pages, one message, the balance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from broker.database.engine import reading, writing
from broker.records import message_detail, messages_reading, partners
from broker.records.messages_reading import Page, Partner
from broker.records.partners import Seen
from broker.values import State
from tests.broker import ledger

AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)


def put(engine: Engine, rows: list[ledger.Row]) -> list[ledger.Row]:
    with writing(engine) as connection:
        ledger.write(connection, rows, rows[0].seq)
    return rows


def series(*states: tuple[State, str | None], source: str = "lab00") -> list[ledger.Row]:
    return [
        ledger.one(n + 1, AT + timedelta(seconds=n), state, source=source, reason=reason)
        for n, (state, reason) in enumerate(states)
    ]


def all_pages(engine: Engine, limit: int, **filters: object) -> list[int]:
    """Every message of a list, page after page."""
    seqs: list[int] = []
    before = None
    with reading(engine) as connection:
        while True:
            page: Page = messages_reading.listing(
                connection,
                before=before,
                limit=limit,
                **filters,  # type: ignore[arg-type]  # a test's filters
            )
            seqs += [line.seq for line in page.lines]
            if page.before is None:
                return seqs
            assert before is None or page.before < before
            before = page.before


def test_the_balance_is_the_sum_of_its_fates(empty_ledger: Engine) -> None:
    put(
        empty_ledger,
        series((State.FILED, None), (State.PARKED, "mapping.none"), (State.RETRYING, None)),
    )

    with reading(empty_ledger) as connection:
        balance = messages_reading.balance(connection, 20261110)

    assert balance.fates == {"retrying": 1, "filed": 1, "parked": 1}
    assert balance.received == 3
    assert balance.closes
    assert (balance.unsettled, balance.in_flight) == (1, 1)


def test_a_balance_that_does_not_add_up_says_so(empty_ledger: Engine) -> None:
    put(empty_ledger, series((State.FILED, None)))
    with writing(empty_ledger) as connection:
        connection.execute(text("DELETE FROM tally_day WHERE fate = 'filed'"))

    with reading(empty_ledger) as connection:
        assert not messages_reading.balance(connection, 20261110).closes


@pytest.mark.parametrize("limit", [1, 7, 50])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"source": "lab01"},
        {"state": State.PARKED},
        {"state": State.HELD},
        {"state": State.FILED},
        {"reason": "mapping.none"},
        {"state": State.PARKED, "source": "lab02", "reason": "mapping.none"},
    ],
)
def test_pages_together_hold_every_message_once_newest_first(
    empty_ledger: Engine, filters: dict[str, object], limit: int
) -> None:
    rows = ledger.fill(empty_ledger, 600)

    found = all_pages(empty_ledger, limit, **filters)

    wanted = [
        row for row in rows if all(getattr(row, name) == value for name, value in filters.items())
    ]
    assert found == sorted((row.seq for row in wanted), reverse=True)


def test_a_message_is_found_by_id_by_number_and_by_control_id(empty_ledger: Engine) -> None:
    (row, *_) = put(empty_ledger, series((State.PARKED, "mapping.none"), (State.FILED, None)))

    with reading(empty_ledger) as connection:
        for name in (row.id, row.id.upper(), str(row.seq), row.control_id):
            (line,) = message_detail.find(connection, name)
            assert (line.seq, line.reason) == (row.seq, "mapping.none")
        assert message_detail.find(connection, "C999") == []
        assert message_detail.detail(connection, "not-an-id") is None


def test_a_control_id_that_two_sources_used_finds_both(empty_ledger: Engine) -> None:
    second = replace(ledger.one(2, AT, State.FILED, source="lab01"), control_id="C1")
    put(empty_ledger, [ledger.one(1, AT, State.FILED), second])

    with reading(empty_ledger) as connection:
        assert [line.source for line in message_detail.find(connection, "C1")] == [
            "lab01",
            "lab00",
        ]


def test_messages_are_found_by_all_of_their_keys(empty_ledger: Engine) -> None:
    rows = put(empty_ledger, series(*[(State.FILED, None)] * 3))
    digests = [row.seq % 5_000 + 1 for row in rows]

    with reading(empty_ledger) as connection:
        page = messages_reading.by_keys(connection, [digests[:1]])
        both = messages_reading.by_keys(connection, [[one] for one in digests[:2]])

        either = messages_reading.by_keys(connection, [digests[:2]])
        first = messages_reading.by_keys(connection, [digests], limit=2)
        rest = messages_reading.by_keys(connection, [digests], before=first.before, limit=2)
        narrowed = messages_reading.by_keys(connection, [digests, digests[1:2]])

    assert [line.seq for line in page.lines] == [rows[0].seq]
    assert list(both.lines) == []
    assert [line.seq for line in either.lines] == [rows[1].seq, rows[0].seq]
    assert [line.seq for line in (*first.lines, *rest.lines)] == [r.seq for r in rows[::-1]]
    assert [line.seq for line in narrowed.lines] == [rows[1].seq]


def test_the_message_that_waits_longest_is_named_by_state(empty_ledger: Engine) -> None:
    rows = put(
        empty_ledger,
        series(
            (State.FILED, None),
            (State.HELD, "identity.conflict"),
            (State.HELD, "identity.conflict"),
        ),
    )

    with reading(empty_ledger) as connection:
        waiting = messages_reading.waiting_longest(connection)

    assert {state: line.seq for state, line in waiting.items()} == {State.HELD: rows[1].seq}


def test_partners_say_when_they_last_sent(empty_ledger: Engine) -> None:
    put(empty_ledger, [ledger.one(1, AT, State.FILED, source="lab01")])

    with reading(empty_ledger) as connection:
        (partner,) = messages_reading.partners(connection, AT)

    assert (partner.source, partner.received_at) == ("lab01", AT)


def test_what_several_gateways_saw_of_a_source_is_told_as_one(empty_ledger: Engine) -> None:
    later = AT + timedelta(minutes=1)
    busy = Seen(received_at=later, error_code="size.exceeded", error_at=AT, connections=2)
    turned_away = Seen(error_code="peer.not_allowed", error_at=later, connections=1)
    with writing(empty_ledger) as connection:
        partners.note(connection, {"lab": busy}, "gateway-0", later)
        partners.note(connection, {"lab": turned_away}, "gateway-1", later)
        partners.note(
            connection, {"lab": Seen(connections=4)}, "gateway-2", AT - timedelta(hours=1)
        )

    with reading(empty_ledger) as connection:
        (one,) = messages_reading.partners(connection, later)

    assert one == Partner("lab", later, "peer.not_allowed", later, 3)


def test_what_a_gateway_did_not_see_anew_stays(empty_ledger: Engine) -> None:
    later = AT + timedelta(minutes=1)
    with writing(empty_ledger) as connection:
        refused = Seen(AT, AT, "size.exceeded", AT, 1)
        partners.note(connection, {"lab": refused}, "gateway-0", AT)
        partners.note(connection, {"lab": Seen(received_at=later)}, "gateway-0", later)

    with reading(empty_ledger) as connection:
        (one,) = messages_reading.partners(connection, later)

    assert one == Partner("lab", later, "size.exceeded", AT, 0)


def test_the_bytes_are_read_only_by_their_own_call(empty_ledger: Engine) -> None:
    (row,) = put(empty_ledger, series((State.FILED, None)))

    with reading(empty_ledger) as connection:
        assert message_detail.body(connection, row.seq) == b"x"
        assert message_detail.body(connection, row.seq + 1) is None


def test_the_trail_of_a_message_is_read_commit_by_commit() -> None:
    packed = (
        '{"at":"2026-11-10T09:00:00+00:00","steps":[["map",120,""],["file",80,"lane.behind"]]}\n'
        '{"at":"2026-11-10T09:01:00+00:00","steps":[["file",70,""]]}\n'
    )

    steps = message_detail.timeline(packed)

    assert [(step.name, step.microseconds, step.outcome) for step in steps] == [
        ("map", 120, ""),
        ("file", 80, "lane.behind"),
        ("file", 70, ""),
    ]
    assert steps[2].at - steps[0].at == timedelta(minutes=1)
