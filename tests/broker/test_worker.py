"""A worker with little to do: what comes at nearly the same time is filed together, and nothing waits without need."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import worker as worker_module
from broker.contracts import INBOUND, Lease, Queue, Work
from broker.errors import TransientError
from broker.pipeline import Outcome
from broker.records import messages
from broker.unpacking import unpack
from broker.values import State
from broker.worker import Worker
from tests.broker.lane_site import LaneSite, adt

GATHER = timedelta(seconds=30)
AWAY = TransientError("database.unavailable", where="database")


class Turns(threading.Event):
    """Does the next of `acts` instead of each wait of the worker, and stops it after the last."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._acts: Sequence[Callable[[], object]] = acts

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        act, *self._acts = self._acts
        act()
        if not self._acts:
            self.set()
        return self.is_set()


def filed_at(site: LaneSite) -> list[int]:
    return [row.state_since for row in site.rows("SELECT state_since FROM message ORDER BY seq")]


def worker(site: LaneSite, batch: int = 50, gather: timedelta = GATHER) -> Worker:
    return Worker(site.pipeline, site.queue, site.telemetry, batch=batch, gather=gather)


def test_what_comes_while_a_worker_rests_is_filed_in_one_transaction(lane_site: LaneSite) -> None:
    lane_site.receive(adt("1", "A1"))
    turns = Turns(
        lambda: (lane_site.receive(adt("2", "B1")), lane_site.receive(adt("3", "C1"))),
        lambda: None,
    )

    worker(lane_site).run(turns)

    first, second, third = filed_at(lane_site)
    assert first < second == third
    assert all(0 < one <= GATHER.total_seconds() for one in turns.waits)


def test_a_worker_with_a_pile_before_it_takes_the_next_batch_at_once(lane_site: LaneSite) -> None:
    lane_site.receive(*(adt(str(n), f"A{n}") for n in range(1, 68)))
    turns = Turns(lambda: None, lambda: lane_site.receive(adt("99", "B")), lambda: None)

    worker(lane_site, batch=65).run(turns)

    # Sixty-five, then two; then one that came meanwhile, behind which it rests.
    assert sorted(Counter(filed_at(lane_site)).values()) == [1, 2, 65]
    assert [one > 0 for one in turns.waits] == [False, False, True]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to come again comes in a moment instead of in two seconds."""
    monkeypatch.setattr(worker_module, "_AWAY", timedelta(milliseconds=10))


def work_again(site: LaneSite, doing: Worker) -> None:
    """What the queue brings, until it holds nothing of it any more."""
    while held(site):
        lease = site.queue.take(INBOUND, 50, timedelta(seconds=5))
        assert lease is not None, "what was in hand does not come again"
        doing.work(lease)


def held(site: LaneSite) -> int:
    """Work to be filed that the embedded queue has, in anybody's hand or nobody's."""
    (found,) = site.rows("SELECT count(*) AS n FROM carnet_queue WHERE topic LIKE '%.inbound'")
    return int(found.n)


def first_lease(site: LaneSite) -> Lease:
    lease = site.queue.take(INBOUND, 50, timedelta())
    assert lease is not None
    return lease


class Lossy:
    """A queue that cannot be reached when what is owed is first put into it."""

    def __init__(self, queue: Queue) -> None:
        self.take, self.depth, self.purge, self.close = (
            queue.take, queue.depth, queue.purge, queue.close
        )  # fmt: skip
        self._put, self._is_there = queue.put, False

    def put(self, topic: str, work: Sequence[Work]) -> None:
        if topic != INBOUND and not self._is_there:
            self._is_there = True
            raise TransientError("queue.unavailable", where=topic)
        self._put(topic, work)


@pytest.mark.usefixtures("soon")
def test_what_was_filed_while_the_queue_was_away_does_not_stay_in_hand(
    lane_site: LaneSite,
) -> None:
    one = lane_site.receive(adt("1", "A1"))
    doing = Worker(lane_site.pipeline, Lossy(lane_site.queue), lane_site.telemetry, batch=50)

    with pytest.raises(TransientError, match=r"queue.unavailable"):
        doing.work(first_lease(lane_site))
    assert lane_site.states(*one) == ["filed"]

    work_again(lane_site, doing)


REFUSED = {
    "sqlite": (
        "CREATE TRIGGER damaged BEFORE UPDATE ON message BEGIN SELECT RAISE(ABORT, 'damaged'); END",
        "DROP TRIGGER damaged",
    ),
    "postgresql": (
        """DO $$ BEGIN
            CREATE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''damaged''; END';
            CREATE TRIGGER damaged BEFORE UPDATE ON message FOR EACH ROW EXECUTE FUNCTION damaged();
        END $$""",
        "DROP FUNCTION damaged CASCADE",
    ),
}
"""What has a database refuse every message's new state, and what ends it."""


@pytest.mark.usefixtures("soon")
def test_messages_that_cannot_even_be_parked_wait_for_the_database_and_lose_nothing(
    lane_site: LaneSite,
) -> None:
    some = lane_site.receive(adt("1", "A1"), adt("1", "A2"), adt("2", "B1"))
    unpack(lane_site.engine, "test")
    begin, end = REFUSED[lane_site.engine.dialect.name]
    lane_site.spoil(begin)

    with pytest.raises(TransientError, match=r"database.refused"):
        lane_site.worker.work(first_lease(lane_site))
    lane_site.spoil(end)
    work_again(lane_site, lane_site.worker)

    assert lane_site.states(*some) == ["filed"] * 3


@pytest.mark.usefixtures("soon")
def test_what_stands_behind_a_failure_in_its_batch_comes_again_too(lane_site: LaneSite) -> None:
    some = lane_site.receive(adt("1", "A1"), adt("2", "B1"), adt("3", "C1"), adt("4", "D1"))
    real, turns = lane_site.pipeline.process, iter([ValueError("one is at fault"), AWAY])

    def process(seqs: Sequence[int]) -> Outcome:
        failure = next(turns, None)
        if failure is not None:
            raise failure
        return real(seqs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane_site.pipeline, "process", process)
        with pytest.raises(TransientError):
            lane_site.worker.work(first_lease(lane_site))
    work_again(lane_site, lane_site.worker)

    assert lane_site.states(*some) == ["filed"] * 4


def test_what_a_crash_of_the_database_packed_again_is_unpacked_again(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = LaneSite(tmp_path, postgres_url)
    kept = "message, message_body, audit_entry, reception, tally_day, counter"
    ids = site.receive(adt("1", "A1"), adt("1", "A2"))
    seqs = [work.id for work in first_lease(site).work]
    for table in kept.split(", "):
        site.spoil(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
    monkeypatch.setattr(messages, "claim", failing(messages.claim, AWAY))

    with pytest.raises(TransientError):
        site.pipeline.process(seqs)
    for table in kept.split(", "):
        # As it stood before it was unpacked, which did not wait for the disk.
        site.spoil(f"DELETE FROM {table}")
        site.spoil(f"INSERT INTO {table} SELECT * FROM kept_{table}")
    site.pipeline.process(seqs)

    assert [row.state for row in site.rows("SELECT state FROM message ORDER BY seq")] == [
        State.FILED, State.FILED,
    ]  # fmt: skip
    assert site.states(*ids) == ["filed", "filed"]
    site.close()


def failing(real: Callable[..., Any], failure: Exception) -> Callable[..., Any]:
    """What raises the first time, and then does what it did."""
    failures = iter([failure])

    def act(*given: Any) -> Any:
        for one in failures:
            raise one
        return real(*given)

    return act
