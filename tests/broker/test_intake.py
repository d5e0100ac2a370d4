"""What a sender is told, and what the ledger then holds, on both databases."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event, text

from broker import gathering
from broker.contracts import Work
from broker.database.engine import reading, writing
from broker.envelope import Envelope, Receipt
from broker.errors import TransientError
from broker.intake import Intake, Limits, OnConflict
from broker.reception import Arrival, Reception
from broker.records import messages_reading, tallies
from broker.telemetry import Telemetry
from broker.unpacking import unpack
from broker.values import State
from tests.broker import ledger

STANDARD = Limits()
T = TypeVar("T")
Body = Callable[[Intake], Awaitable[T]]


class Site:
    """An intake on a ledger, run for as long as a test's body needs it."""

    def __init__(self, engine: Engine, policy: OnConflict = "accept") -> None:
        self.engine = engine
        self.handed: list[Work] = []
        self._policy = policy

    def run(self, body: Body[T], limits: Limits = STANDARD, reason: str = "") -> T:
        """Run `body` with the intake beside it, and close the intake in order."""

        async def whole() -> T:
            intake = Intake(
                self.engine,
                writer="gateway-0",
                zone=ZoneInfo("Europe/Paris"),
                key=b"k" * 32,
                on_conflict=lambda _: self._policy,
                hand_over=self.handed.extend,
                telemetry=Telemetry("gateway", strict=True, level="error"),
                clock=lambda: datetime.now(UTC),
                limits=limits,
                pressure=lambda: reason,
            )
            running = asyncio.create_task(intake.run())
            try:
                return await asyncio.wait_for(_as_coroutine(body(intake)), 60)
            finally:
                intake.close()
                await running
                intake.stop()

        return asyncio.run(whole())

    def fates(self) -> dict[str, int]:
        """The balance, over all days and sources."""
        found: dict[str, int] = {}
        unpack(self.engine, "test")
        with reading(self.engine) as connection:
            for (_, _, fate), n in tallies.fates(connection).items():
                found[fate] = found.get(fate, 0) + n
        return {fate: n for fate, n in found.items() if n}

    def rows(self) -> list[tuple[int, str, int]]:
        """(seq, control id, state) of the ledger, in order."""
        unpack(self.engine, "test")
        with reading(self.engine) as connection:
            rows = connection.execute(
                text("SELECT seq, control_id, state FROM message ORDER BY seq")
            )
            return [(row[0], row[1], row[2]) for row in rows]


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


@pytest.fixture
def site(empty_ledger: Engine) -> Site:
    return Site(empty_ledger)


def envelope(
    control_id: str, *, more: str = "", source: str = "lab", hurried: bool = False
) -> Envelope:
    body = f"MSH|^~\\&|A|B|C|D|20261124||ADT^A01|{control_id}|P|2.5\rPID|||7^^^X&1.2.3&ISO^PI||TEST{more}\r"
    return Envelope(
        source=source, body=body.encode(), received_at=datetime.now(UTC), hurried=hurried
    )


async def send(intake: Intake, envelopes: Sequence[Envelope]) -> list[Receipt]:
    return list(await asyncio.gather(*(intake.accept(one) for one in envelopes)))


def test_everyone_is_answered_and_counted_once(site: Site) -> None:
    receipts = site.run(lambda intake: send(intake, [envelope(f"C{n}") for n in range(150)]))

    assert {receipt.outcome for receipt in receipts} == {"accepted"}
    assert len({receipt.message_id for receipt in receipts}) == 150
    assert len(site.rows()) == len(site.handed) == 150
    assert site.fates() == {"received": 150, "in_flight": 150}


def test_many_senders_at_once_keep_the_order_of_each(site: Site) -> None:
    async def one(intake: Intake, sender: int) -> None:
        for n in range(12):
            receipt = await intake.accept(envelope(f"{sender}-{n}"))
            assert receipt.outcome == "accepted"

    async def all_of_them(intake: Intake) -> None:
        await asyncio.gather(*(one(intake, sender) for sender in range(64)))

    site.run(all_of_them)

    ids = [control_id.split("-") for _, control_id, _ in site.rows()]
    assert len(ids) == 64 * 12
    for sender, mine in itertools.groupby(sorted(ids, key=lambda one: int(one[0])), lambda i: i[0]):
        assert [int(n) for _, n in mine] == list(range(12)), sender


def test_one_sender_with_many_in_flight_keeps_their_order(site: Site) -> None:
    site.run(
        lambda intake: send(intake, [envelope(f"{n}") for n in range(200)]), Limits(max_batch=7)
    )

    assert [int(control_id) for _, control_id, _ in site.rows()] == list(range(200))


def test_the_same_message_again_gets_the_first_answer(site: Site) -> None:
    async def body(intake: Intake) -> list[Receipt]:
        first = await intake.accept(envelope("C1"))
        return [first, *await send(intake, [envelope("C1"), envelope("C1")])]

    first, *again = site.run(body)

    for receipt in again:
        assert receipt.duplicate
        assert receipt.message_id == first.message_id
        assert receipt.first_received_at == first.first_received_at
    assert site.fates() == {"received": 1, "in_flight": 1, "duplicate_answered": 2}
    assert len(site.handed) == 1


def test_what_comes_again_among_new_ones_is_answered_again_and_the_new_ones_are_taken_in(
    site: Site,
) -> None:
    async def body(intake: Intake) -> list[list[Receipt]]:
        first = await send(intake, [envelope(f"{n}") for n in range(0, 40, 4)])
        again = await send(intake, [envelope(f"{n}") for n in range(40)])
        return [first, again, await send(intake, [envelope(f"{n}") for n in range(40, 60)])]

    first, again, after = site.run(body)

    assert [receipt.duplicate for receipt in again] == [n % 4 == 0 for n in range(40)]
    assert [receipt.message_id for receipt in again[::4]] == [one.message_id for one in first]
    assert not any(receipt.duplicate for receipt in after)
    ids = [int(control_id) for _, control_id, _ in site.rows()]
    assert ids == [*range(0, 40, 4), *(n for n in range(40) if n % 4), *range(40, 60)]
    assert site.fates() == {"received": 60, "in_flight": 60, "duplicate_answered": 10}
    assert len(site.handed) == 60


@pytest.mark.parametrize(
    ("policy", "outcome", "state"),
    [
        ("accept", "accepted", State.RECEIVED),
        ("hold", "accepted", State.HELD),
        ("refuse", "refused", None),
    ],
)
def test_a_control_id_used_for_something_else_meets_the_policy(
    empty_ledger: Engine, policy: OnConflict, outcome: str, state: State | None
) -> None:
    site = Site(empty_ledger, policy)

    async def body(intake: Intake) -> Receipt:
        await intake.accept(envelope("C1"))
        return await intake.accept(envelope("C1", more="X"))

    receipt = site.run(body)

    assert receipt.outcome == outcome
    assert [row[2] for row in site.rows()] == [
        State.RECEIVED,
        *([] if state is None else [state]),
    ]


def test_what_no_database_takes_is_told_to_come_back_and_then_taken(site: Site) -> None:
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE control RENAME TO away"))

    async def body(intake: Intake) -> tuple[list[Receipt], list[Receipt]]:
        refused = await send(intake, [envelope("C1"), envelope("C2")])
        with writing(site.engine) as connection:
            connection.execute(text("ALTER TABLE away RENAME TO control"))
        return refused, await send(intake, [envelope("C1"), envelope("C2")])

    refused, taken = site.run(body)

    assert [(one.outcome, one.retry_after is not None) for one in refused] == [
        ("refused", True)
    ] * 2
    assert [(one.outcome, one.duplicate) for one in taken] == [("accepted", False)] * 2
    assert site.fates() == {"received": 2, "in_flight": 2, "refused_at_door": 2}


def test_connections_that_the_server_cuts_cost_no_message(postgres_url: str) -> None:
    site = Site(ledger.new(postgres_url))
    other = ledger.new(postgres_url)

    def cut() -> None:
        with writing(other) as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    async def body(intake: Intake) -> list[Receipt]:
        receipts: list[Receipt] = []
        for n in range(10):
            if n % 3 == 1:
                await asyncio.to_thread(cut)
            sent = [envelope(f"{n}-{k}") for k in range(5)]
            for one, receipt in zip(sent, await send(intake, sent), strict=True):
                receipts.append(
                    receipt if receipt.outcome == "accepted" else await intake.accept(one)
                )
        return receipts

    receipts = site.run(body)

    assert {receipt.outcome for receipt in receipts} == {"accepted"}
    assert len(site.rows()) == 50
    assert site.fates()["received"] == 50
    site.engine.dispose()
    other.dispose()


def test_a_text_that_only_looks_like_a_nul_character_is_taken(site: Site) -> None:
    odd = r"A\u0000B"
    first, again = site.run(
        lambda intake: send(intake, [envelope(odd, source="lab"), envelope(odd, source="lab")])
    )

    assert (first.outcome, again.outcome, again.duplicate) == ("accepted", "accepted", True)
    assert [control_id for _, control_id, _ in site.rows()] == [odd]


def test_one_message_at_fault_lets_nobody_overtake_those_behind_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Reception.store

    def failing(self: Reception, batch: Sequence[Arrival], wait: Any, reserved: Any) -> Any:
        if any(b"|02|" in arrival.envelope.body for arrival in batch):
            raise ValueError("at fault")
        return store(self, batch, wait, reserved)

    monkeypatch.setattr(Reception, "store", failing)
    ids = [f"{n:02}" for n in range(60)]

    receipts = site.run(
        lambda intake: send(intake, [envelope(one) for one in ids]), Limits(max_batch=20)
    )

    assert [n for n, one in enumerate(receipts) if one.outcome != "accepted"] == [2]
    assert [control_id for _, control_id, _ in site.rows()] == [one for one in ids if one != "02"]


@pytest.mark.parametrize(
    "then", [ValueError("no fault of the database"), TransientError("database.unavailable")]
)
def test_whatever_fails_at_the_second_try_the_senders_are_told_to_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, then: Exception
) -> None:
    store, failures = (
        Reception.store,
        iter([TransientError("database.unavailable"), then, then, then]),
    )

    def failing(self: Reception, batch: Any, wait: Any, reserved: Any) -> Any:
        for failure in failures:
            raise failure
        return store(self, batch, wait, reserved)

    monkeypatch.setattr(Reception, "store", failing)

    async def body(intake: Intake) -> list[Receipt]:
        return await asyncio.wait_for(send(intake, [envelope("C1"), envelope("C2")]), 10)

    refused = site.run(body)

    assert {(one.outcome, one.retry_after is not None) for one in refused} == {("refused", True)}


def test_who_comes_after_the_end_is_told_to_come_back(site: Site) -> None:
    async def body(intake: Intake) -> Receipt:
        intake.close()
        return await intake.accept(envelope("late"))

    receipt = site.run(body)

    assert receipt.outcome == "refused"
    assert receipt.retry_after is not None
    assert site.rows() == []


def test_who_comes_alone_while_others_are_committed_is_next(site: Site) -> None:
    """The lone message's moment passes while the commit before it is held up; it must not be forgotten for that."""

    async def body(intake: Intake) -> list[float]:
        waits = []
        for n in range(4):
            await send(intake, [envelope(f"{n}-before-{k}") for k in range(8)])
            with writing(site.engine) as connection:
                connection.execute(text("UPDATE counter SET value = value WHERE name = 'message'"))
                many = asyncio.gather(*(intake.accept(envelope(f"{n}-{k}")) for k in range(8)))
                await asyncio.wait([many], timeout=0.05)
                alone = intake.accept(envelope(f"{n}-alone"))
                await asyncio.wait([many], timeout=0.05)
            released = time.monotonic()
            await alone
            waits.append(time.monotonic() - released)
            await many
        return waits

    assert max(site.run(body)) < 0.5


def test_under_pressure_a_sender_is_told_to_come_back_and_nothing_is_kept(site: Site) -> None:
    receipt = site.run(lambda intake: intake.accept(envelope("1")), reason="pressure.disk")

    assert (receipt.outcome, receipt.code) == ("refused", "pressure.disk")
    assert receipt.retry_after is not None
    assert site.rows() == []


def test_what_is_seen_of_a_source_is_written_with_what_is_written_anyway(site: Site) -> None:
    commits: list[object] = []
    event.listen(site.engine, "commit", commits.append)

    async def coming_and_going(intake: Intake) -> Receipt:
        for _ in range(500):
            intake.notice("connection_opened", {"source": "lab", "peer": "10.0.0.1"})
            intake.notice("connection_closed", {"source": "lab", "peer": "10.0.0.1"})
        intake.notice("connection_opened", {"source": "lab", "peer": "10.0.0.1"})
        intake.notice("refused_at_door", {"source": "port", "code": "peer.not_allowed"})
        return await intake.accept(envelope("C1"))

    receipt = site.run(coming_and_going)

    with reading(site.engine) as connection:
        found = {one.source: one for one in messages_reading.partners(connection, later())}
        answered = connection.execute(
            text("SELECT received_at, answered_at FROM source_now WHERE source = 'lab'")
        ).one()
    assert receipt.outcome == "accepted"
    assert (found["lab"].connections, found["lab"].error_code) == (1, None)
    assert found["lab"].received_at == receipt.first_received_at
    assert answered.answered_at > answered.received_at
    assert (found["port"].error_code, found["port"].received_at) == ("peer.not_allowed", None)
    assert len(commits) <= 5, "none for each of a thousand notices"


def test_the_last_refusal_of_a_source_is_kept_until_the_next(site: Site) -> None:
    small = Limits(max_bytes=300)

    async def refused(intake: Intake) -> None:
        await intake.accept(envelope("C1", more="X" * 300))
        await intake.accept(envelope("C2"))

    site.run(refused, small)
    site.run(lambda intake: send(intake, [envelope("C3")]))

    with reading(site.engine) as connection:
        (one,) = messages_reading.partners(connection, later())
    assert one.error_code == "size.exceeded"
    assert one.error_at is not None
    assert one.error_at <= later()


def later() -> datetime:
    return datetime.now(UTC)


def test_more_bytes_than_may_wait_for_a_commit_are_refused_for_now(site: Site) -> None:
    async def body(intake: Intake) -> list[Receipt]:
        waiting = [intake.accept(envelope(str(n))) for n in range(3)]
        return [await one for one in waiting]

    receipts = site.run(body, Limits(max_pending_bytes=10))

    assert [one.outcome for one in receipts] == ["accepted", "refused", "refused"]
    assert receipts[1].code == "pressure.memory"


@pytest.mark.parametrize("last", [True, False], ids=["one in a hurry", "enough of them"])
def test_who_waits_for_company_is_answered_with_one_in_a_hurry_or_when_enough_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    monkeypatch.setattr(gathering, "COMPANY_SECONDS", 3600.0)
    several = 2 if last else gathering.ENOUGH_COMPANY
    sent = [envelope(f"C{n}", hurried=last and n == 1) for n in range(several)]

    receipts = site.run(lambda intake: send(intake, sent))

    assert {receipt.outcome for receipt in receipts} == {"accepted"}
    assert len(site.rows()) == several
