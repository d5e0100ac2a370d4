"""F9: the clock jumps an hour back and a day ahead; order, retries and the trail hold."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.audit import seal, verify
from broker.circuit import Circuit, CircuitPolicy
from broker.database.engine import reading, writing
from broker.records import outbox
from broker.values import Lane, State
from tests.broker.records import record
from tests.faults import house
from tests.faults.house import House, a08

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
JUMPS = (
    timedelta(0),
    timedelta(hours=-1),
    timedelta(days=1),
    timedelta(hours=23),
    timedelta(hours=-2),
)
DEADLINE = 60.0


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_f09_order_and_trail_hold_over_jumps(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    url = f"sqlite:///{tmp_path}/carnet.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with house.opened(url, tmp_path, clock=clock) as site:
        sent = []
        for number, jump in enumerate(JUMPS):
            clock.now = NOON + jump
            sent += [f"{number}a", f"{number}b"]
            site.receive(a08(f"{number}a"), a08(f"{number}b"))
            with site.working():
                _until_filed(site, sent)
            seal.seal(site.engine, clock())

        with reading(site.engine) as connection:
            filed = connection.execute(
                text("SELECT control_id FROM audit_entry WHERE act = 'filed' ORDER BY n")
            )
            order = [row.control_id for row in filed]
        entries = site.count("audit_entry")
        proved = verify.verify(site.engine)

    assert order == sent
    assert proved.bad is None
    assert (proved.entries, proved.unsealed) == (entries, 0)


def _until_filed(site: House, control_ids: list[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while any(site.states().get(one) != State.FILED for one in control_ids):
        assert time.monotonic() < deadline, site.states()
        time.sleep(0.02)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_f09_a_retry_waits_no_longer_because_the_clock_went_back(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/carnet.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    longest = timedelta(minutes=10)
    with house.opened(url, tmp_path) as site:
        (seq,) = record.received(site.engine, 1)
        row = outbox.Owed(seq, None, "dmp", Lane(1), "new", "")
        with writing(site.engine) as connection:
            (number,) = outbox.owe(connection, [row], NOON)
            connection.execute(
                text("UPDATE delivery SET next_try_at = :at"),
                {"at": int((NOON + timedelta(minutes=5)).timestamp() * 1_000_000)},
            )

        def can_go(now: datetime) -> bool:
            with writing(site.engine) as connection:
                taken = outbox.claim(connection, "dmp", [number], "me", now, 9, longest)
                outbox.withdraw(connection, [one.id for one in taken], "me")
            return bool(taken)

        assert not can_go(NOON), "its time has not come"
        assert can_go(NOON + timedelta(days=1))
        assert can_go(NOON - timedelta(hours=1)), "nothing waits for longer than the longest wait"


def test_f09_an_open_circuit_stays_open_no_longer_because_the_clock_went_back() -> None:
    policy = CircuitPolicy(failures=1, pause=timedelta(seconds=5), max_pause=timedelta(minutes=2))
    circuit = Circuit(policy, lambda: 0.0)
    circuit.failed(NOON)

    assert circuit.wait(NOON) == timedelta(seconds=5)
    assert circuit.wait(NOON - timedelta(hours=1)) == timedelta(minutes=2)
    assert circuit.wait(NOON + timedelta(days=1)) == timedelta(0)
