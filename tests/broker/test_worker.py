"""A worker with little to do: what comes at nearly the same time is filed together, and nothing waits without need."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from broker.worker import Worker
from tests.broker.lane_site import LaneSite, adt

GATHER = timedelta(seconds=30)


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
