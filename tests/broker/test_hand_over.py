"""What the gateway hands to the queue: whatever the queue says to one hand-over, the next ones are made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from broker.contracts import INBOUND, Lease, Work
from broker.errors import SetupError, TransientError
from broker.hand_over import HandOver
from broker.telemetry import Telemetry
from broker.values import Lane


class Moody:
    """A queue that says no to the first hand-over."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.refused, self.taken = threading.Event(), list[Work]()

    def put(self, topic: str, work: Sequence[Work]) -> None:
        if not self.refused.is_set():
            self.refused.set()
            raise self.failure
        self.taken += work

    def take(self, topic: str, limit: int, wait: timedelta) -> Lease | None:
        return None

    def depth(self, topic: str) -> int:
        return 0

    def purge(self, topic: str) -> None:
        return

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    "failure", [TransientError("queue.unavailable"), SetupError("queue.topology"), KeyError("odd")]
)
def test_what_comes_behind_a_hand_over_that_failed_is_handed_over(failure: Exception) -> None:
    queue = Moody(failure)
    hand_over = HandOver(lambda: queue, Telemetry("gateway"))
    hand_over.start()

    hand_over(INBOUND, [Work(1, Lane(0))])
    assert queue.refused.wait(10)
    hand_over(INBOUND, [Work(2, Lane(0))])
    hand_over.stop()

    assert queue.taken == [Work(2, Lane(0))]
