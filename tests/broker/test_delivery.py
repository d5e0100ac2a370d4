"""Couriers against partners that answer, refuse, fall silent and go away; and couriers that die."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from adapters.mllp_client import MllpDestination, MllpDestinationSettings
from broker.circuit import CircuitPolicy
from broker.contracts import Work
from broker.database.engine import reading, writing
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, TransientError
from broker.records import destinations, partner_answers, patients
from broker.values import Lane
from tests.broker.partner import Partner
from tests.broker.post import DEADLINE, Killed, Post, mllp, opened, queue_of
from tests.broker.records import record


@pytest.fixture
def post(empty_ledger: Engine, tmp_path: Path) -> Iterator[Post]:
    with opened(empty_ledger, tmp_path) as made:
        yield made


@pytest.fixture
def partner() -> Iterator[Partner]:
    there = Partner()
    yield there
    there.close()


def test_each_lane_arrives_in_order_over_one_connection(post: Post, partner: Partner) -> None:
    ids = [f"M{n}" for n in range(300)]
    lanes = [n % 7 + 1 for n in range(300)]
    post.owe(ids, lanes)

    with post.running(post.courier(mllp(partner.port))):
        post.until_settled()

    assert set(post.states().values()) == {"sent"}
    assert sorted(partner.control_ids) == sorted(ids)
    for lane in range(1, 8):
        mine = [c for c in partner.control_ids if lanes[ids.index(c)] == lane]
        assert mine == [c for c, one in zip(ids, lanes, strict=True) if one == lane]
    assert partner.connections == 1


def test_the_answer_is_kept_with_the_attempt_and_everything_is_in_the_trail(
    post: Post, partner: Partner
) -> None:
    partner.answer = lambda control_id, _: "AE" if control_id == "bad" else "AA"
    post.owe(["good", "bad"], [1, 2])

    with post.running(post.courier(mllp(partner.port))):
        post.until_settled()

    assert post.states() == {"good": "sent", "bad": "parked"}
    with reading(post.engine) as connection:
        answers = {
            name: partner_answers.of_delivery(connection, post.numbers[name])[1]
            for name in ("good", "bad")
        }
        told = connection.execute(text("SELECT answer_matched, peer FROM attempt")).all()
        acts = connection.execute(text("SELECT act FROM audit_entry WHERE act LIKE 'delivery_%'"))
        assert {row.act for row in acts} == {"delivery_sent", "delivery_refused"}
        now = connection.execute(
            text("SELECT error_code, circuit FROM destination_now WHERE destination = 'dmp'")
        ).one()
        flows = dict(
            connection.execute(
                text("SELECT measure, n FROM flow_minute WHERE measure IN ('delivered', 'refused')")
            ).all()
        )
    assert b"MSA|AA|good" in bytes(answers["good"])
    assert b"MSA|AE|bad" in bytes(answers["bad"]), "a refusal is kept too"
    assert {(bool(row.answer_matched), row.peer) for row in told} == {
        (True, f"127.0.0.1:{partner.port}")
    }
    assert tuple(now) == ("mllp.AE", "closed")
    assert flows == {"delivered": 1, "refused": 1}


def test_what_the_queue_lost_does_not_hold_up_what_it_has(post: Post, partner: Partner) -> None:
    """Those behind come up again and again, so the queue is never empty and nothing is swept: a lane's first is found
    by whoever waits for it.
    """
    ids = [f"M{n}" for n in range(300)]
    lanes = [n % 3 + 1 for n in range(300)]
    post.owe(ids, lanes)
    topic = f"outbound.{post.name}"
    post.queue.purge(topic)
    post.queue.put(topic, [Work(post.numbers[c], Lane(lanes[ids.index(c)])) for c in ids[240:]])

    with post.running(post.courier(mllp(partner.port))):
        post.until_settled()

    assert set(post.states().values()) == {"sent"}
    for lane in (1, 2, 3):
        mine = [c for c in partner.control_ids if lanes[ids.index(c)] == lane]
        assert mine == [c for c, one in zip(ids, lanes, strict=True) if one == lane]


def test_f13_one_patient_that_fails_for_ever_stops_no_other(post: Post, partner: Partner) -> None:
    partner.answer = lambda control_id, _: None if control_id == "stuck" else "AA"
    others = [f"M{n}" for n in range(100)]
    post.owe(["stuck", "behind", *others], [1, 1, *range(2, 102)])

    with post.running(post.courier(mllp(partner.port), is_idempotent=True)):
        post.until(lambda: all(post.states()[c] == "sent" for c in others))
        post.until(lambda: len(post.attempts()["stuck"]) >= 3)

    assert post.states()["stuck"] == post.states()["behind"] == "owed"
    assert "behind" not in partner.control_ids


def test_f12_an_outcome_that_nobody_knows_waits_for_a_person(post: Post, partner: Partner) -> None:
    partner.answer = lambda control_id, _: None if control_id == "lost" else "AA"
    post.owe(["lost", "behind", "other"], [1, 1, 2])

    with post.running(post.courier(mllp(partner.port))):
        post.until(lambda: post.states()["lost"] == "unknown")
        post.until(lambda: post.states()["other"] == "sent")

    assert post.states()["behind"] == "owed"
    assert partner.control_ids.count("lost") == 1


@pytest.mark.parametrize("is_for_record", [True, False])
def test_f30_consent_is_asked_again_at_delivery(
    post: Post, partner: Partner, is_for_record: bool
) -> None:
    who = record.person(post.engine)
    post.owe(["theirs", "others"], [who, 0])
    with writing(post.engine) as connection:
        word = patients.NewConsent(who, "filing", "IO", "patient", "desk", post.clock())
        patients.add_consents(connection, [word], post.clock())

    with post.running(post.courier(mllp(partner.port), is_for_record=is_for_record)):
        post.until_settled()

    if is_for_record:
        assert post.states() == {"theirs": "withheld", "others": "sent"}
        assert partner.control_ids == ["others"]
    else:
        assert set(post.states().values()) == {"sent"}, "deliveries to others go on (CON-07)"
    with reading(post.engine) as connection:
        acts = connection.execute(
            text("SELECT act, outcome FROM audit_entry WHERE act = 'delivery_withheld'")
        ).all()
    assert [tuple(row) for row in acts] == (
        [("delivery_withheld", "account.opposed")] if is_for_record else []
    )


class Dying(MllpDestination):
    """A destination over which the courier dies: at a delivery, before or after it was sent."""

    def __init__(self, port: int, dies_at: str, *, is_after: bool) -> None:
        super().__init__("dmp", MllpDestinationSettings(host="127.0.0.1", port=port))
        self._dies_at = dies_at
        self._is_after = is_after

    def deliver(self, envelope: Envelope) -> Receipt:
        dies = f"|{self._dies_at}|".encode() in envelope.body
        if dies and not self._is_after:
            raise Killed
        receipt = super().deliver(envelope)
        if dies:
            raise Killed
        return receipt


@pytest.mark.parametrize("is_after", [True, False])
def test_a_killed_courier_leaves_doubt_about_the_delivery_in_hand_alone(
    post: Post, partner: Partner, is_after: bool
) -> None:
    ids = [f"M{n}" for n in range(40)]
    post.owe(ids, list(range(1, 41)))
    dying = post.courier(Dying(partner.port, "M20", is_after=is_after))

    with pytest.raises(Killed):
        dying.run(threading.Event())
    post.reopen()
    with post.running(post.courier(mllp(partner.port))):
        post.until_settled()

    states = post.states()
    assert {c for c, state in states.items() if state == "unknown"} == {"M20"}
    assert set(states.values()) == {"sent", "unknown"}
    assert sorted(partner.control_ids) == sorted(set(ids) if is_after else set(ids) - {"M20"})


def test_a_killed_courier_of_an_idempotent_destination_just_goes_on(
    post: Post, partner: Partner
) -> None:
    ids = [f"M{n}" for n in range(10)]
    post.owe(ids, [1] * 10)
    dying = post.courier(Dying(partner.port, "M4", is_after=True), is_idempotent=True)

    with pytest.raises(Killed):
        dying.run(threading.Event())
    post.reopen()
    with post.running(post.courier(mllp(partner.port), is_idempotent=True)):
        post.until_settled()

    assert set(post.states().values()) == {"sent"}
    assert partner.control_ids == [*ids[:5], *ids[4:]]


def test_after_a_start_of_the_machine_everything_in_hand_is_in_doubt(
    post: Post, partner: Partner
) -> None:
    ids = [f"M{n}" for n in range(6)]
    post.owe(ids, list(range(1, 7)))
    with pytest.raises(Killed):
        post.courier(Dying(partner.port, "M2", is_after=True)).run(threading.Event())
    post.reopen()
    late = timedelta(minutes=5)
    post.clock = lambda: datetime.now(UTC) + late

    with post.running(post.courier(mllp(partner.port), boot="another")):
        post.until(lambda: set(post.states().values()) == {"unknown"})

    assert partner.control_ids == ["M0", "M1", "M2"]


class Ledger:
    """A destination that keeps what it has, loses answers, and can be asked."""

    def __init__(self, loses: set[str], takes: bool) -> None:
        self.has: list[str] = []
        self.asked = 0
        self._loses = loses
        self._takes = takes

    def deliver(self, envelope: Envelope) -> Receipt:
        control_id = envelope.body.split(b"|")[9].decode()
        if control_id in self._loses:
            self._loses.discard(control_id)
            if self._takes:
                self.has.append(control_id)
            raise AmbiguousError("ledger.silent")
        self.has.append(control_id)
        return Receipt(outcome="accepted", code="ok")

    def verify(self, envelope: Envelope) -> Receipt | None:
        self.asked += 1
        if self.asked == 1:
            raise TransientError("ledger.busy")
        control_id = envelope.body.split(b"|")[9].decode()
        return Receipt(outcome="accepted", answer=b"here") if control_id in self.has else None

    def close(self) -> None: ...


@pytest.mark.parametrize("takes", [True, False])
def test_a_partner_that_can_be_asked_settles_what_nobody_knows(post: Post, takes: bool) -> None:
    there = Ledger({"M1"}, takes)
    post.owe(["M0", "M1", "M2"], [1, 1, 1])

    with post.running(post.courier(there, is_verifiable=True)):
        post.until_settled()

    assert there.has == ["M0", "M1", "M2"]
    assert there.asked == 2
    assert set(post.states().values()) == {"sent"}


def test_f14_a_destination_that_is_down_is_left_alone_and_told_of_once(
    post: Post,
) -> None:
    there = Partner()
    port = there.port
    there.close()
    ids = [f"M{n}" for n in range(50)]
    post.owe(ids, list(range(1, 51)))
    policy = CircuitPolicy(
        failures=3, pause=timedelta(milliseconds=50), max_pause=timedelta(milliseconds=80)
    )

    with post.running(post.courier(mllp(port), circuit=policy)):
        post.until(lambda: sum(map(len, post.attempts().values())) >= 6)
        with reading(post.engine) as connection:
            down = connection.execute(text("SELECT circuit FROM destination_now")).scalar_one()
        there = Partner(port=port)
        post.until_settled()
    there.close()

    assert down == "open"
    assert sorted(there.control_ids) == sorted(ids)
    log = post.log.getvalue()
    assert (log.count("circuit_opened"), log.count("circuit_closed")) == (1, 1)
    tried = sum(map(len, post.attempts().values()))
    assert tried < 50 + 30, "while it was down, few deliveries were tried"


@pytest.mark.parametrize("ends", ["stopped", "by an error of its own"])
def test_f14_a_courier_that_starts_while_the_destination_is_down_says_nothing_twice(
    post: Post, ends: str
) -> None:
    there = Partner()
    port = there.port
    there.close()
    post.owe(["M0", "M1", "M2", "M3"], [1, 2, 3, 4])
    policy = CircuitPolicy(
        failures=3, pause=timedelta(milliseconds=20), max_pause=timedelta(milliseconds=40)
    )

    for _ in range(2):
        before = sum(map(len, post.attempts().values()))
        with post.running(post.courier(mllp(port), circuit=policy)):
            post.until(lambda: sum(map(len, post.attempts().values())) >= before + 5)  # noqa: B023
        if ends != "stopped":
            with writing(post.engine) as connection:
                destinations.failed(connection, post.name, "courier.failed", post.clock())
    told_down = post.log.getvalue()
    there = Partner(port=port)
    with post.running(post.courier(mllp(port), circuit=policy)):
        post.until_settled()
        post.until(lambda: "circuit_closed" in post.log.getvalue())
    with post.running(post.courier(mllp(port), circuit=policy)):
        post.owe(["M4"], [5])
        post.until_settled()
    there.close()

    assert (told_down.count("circuit_opened"), told_down.count("circuit_closed")) == (1, 0)
    log = post.log.getvalue()
    assert (log.count("circuit_opened"), log.count("circuit_closed")) == (1, 1)


def test_f15_a_partner_that_wants_a_pause_gets_it_over_its_only_connection(
    post: Post, partner: Partner
) -> None:
    post.owe(["M0", "M1", "M2", "M3"], [1, 2, 3, 4])
    pause = timedelta(milliseconds=150)

    with post.running(post.courier(mllp(partner.port), pause=pause)):
        post.until_settled()

    times = [one.at for one in partner.got]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= pause.total_seconds() * 0.95
    assert partner.connections == 1


class Interrupting(MllpDestination):
    """Cuts every connection to the database while the courier sends."""

    def __init__(self, port: int, engine: Engine) -> None:
        super().__init__("dmp", MllpDestinationSettings(host="127.0.0.1", port=port))
        self._engine = create_engine(engine.url, poolclass=NullPool)
        self._left = 3
        self.is_over = threading.Event()

    def deliver(self, envelope: Envelope) -> Receipt:
        receipt = super().deliver(envelope)
        if self._left:
            self._left -= 1
            with self._engine.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
        else:
            self.is_over.set()
        return receipt


@pytest.mark.parametrize("empty_ledger", ["postgresql"], indirect=True)
def test_f8_a_database_that_goes_away_while_sending_is_told_later_and_once(
    post: Post, partner: Partner
) -> None:
    ids = [f"M{n}" for n in range(20)]
    post.owe(ids, [n % 4 for n in range(20)])

    there = Interrupting(partner.port, post.engine)
    with post.running(post.courier(there)):
        assert there.is_over.wait(DEADLINE)
        sweep = queue_of(post.engine)  # the lease may have got lost with its connection
        sweep.put("outbound.dmp", [Work(n, Lane(0)) for n in post.numbers.values()])
        post.until_settled()
        sweep.close()

    assert sorted(partner.control_ids) == sorted(ids)
    assert {tuple(outcomes) for outcomes in post.attempts().values()} == {("sent",)}
