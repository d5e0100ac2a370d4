"""A worker: lease a batch, run the pipeline over it, settle the lease. Synchronous; one process, one connection."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from broker import fault_points, memory
from broker.contracts import INBOUND, Lease, Queue
from broker.errors import TransientError
from broker.gathering import TIMES_A_WORKER, Gathering
from broker.pipeline import Outcome, Pipeline
from broker.telemetry import Telemetry

_WAIT = timedelta(milliseconds=500)
_AWAY = timedelta(seconds=2)


class Worker:
    """Runs until `stop` is set; what is leased is finished first.

    `gather` is the longest rest between two leases while few messages come: see `gathering`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        queue: Queue,
        telemetry: Telemetry,
        *,
        batch: int,
        gather: timedelta = timedelta(),
    ) -> None:
        self._pipeline = pipeline
        self._queue = queue
        self._telemetry = telemetry
        self._batch = batch
        self._gathering = Gathering(gather.total_seconds(), TIMES_A_WORKER, batch=batch)
        self._away = False

    def run(self, stop: threading.Event) -> None:
        spare = memory.Spare(monotonic())
        while not stop.is_set():
            try:
                lease = self._queue.take(INBOUND, self._batch, _WAIT)
                begun = monotonic()
                if lease is not None:
                    with memory.in_hand():
                        self.work(lease)
                self._pipeline.note_seen()
                self._pipeline.renew()
                self._back()
                spare.give_back(monotonic())
                if lease is not None:
                    worked = monotonic() - begun
                    stop.wait(self._gathering.rest(len(lease.work), worked))
            except TransientError as error:
                self._gone(error, stop)
        with suppress(TransientError):
            self._pipeline.note_seen(at_once=True)

    def work(self, lease: Lease) -> None:
        """Process one lease: as a batch, and where the batch fails, in halves down to the one message at fault.

        Raises: TransientError; what is not settled by then comes back after a pause.
        """
        fault_points.reach("filing.leased")
        try:
            self._process(lease, [work.id for work in lease.work])
        except TransientError:
            with suppress(TransientError):
                lease.again([work.id for work in lease.work], _AWAY)
            raise

    def _process(self, lease: Lease, ids: Sequence[int]) -> None:
        try:
            outcome = self._pipeline.process(ids)
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 - one message is at fault: found by halves, and parked
            if len(ids) > 1:
                middle = len(ids) // 2
                self._process(lease, ids[:middle])
                self._process(lease, ids[middle:])
                return
            outcome = self._park(ids[0], error)
        self._settle(lease, ids, outcome)

    def _park(self, seq: int, error: Exception) -> Outcome:
        """Park the message at fault. Where not even that can be written, the fault is not the message's."""
        try:
            return self._pipeline.park(seq, error)
        except TransientError:
            raise
        except Exception as worse:
            reason = type(worse).__name__
            if not self._away:
                self._telemetry.emit("filing_stopped", error=reason)
            raise TransientError("database.refused", where="database", reason=reason) from worse

    def _settle(self, lease: Lease, ids: Sequence[int], outcome: Outcome) -> None:
        """Put follow-up work first, settle after: a crash between the two repeats work, it never loses any."""
        fault_points.reach("filing.committed")
        if outcome.freed or outcome.owed:
            fault_points.reach("queue.publishing")
            if outcome.freed:
                self._queue.put(INBOUND, outcome.freed)
            for topic, work in outcome.owed.items():
                self._queue.put(topic, work)
            fault_points.reach("queue.confirmed")
        again = {number for numbers in outcome.again.values() for number in numbers}
        for after, numbers in outcome.again.items():
            lease.again(numbers, after)
        fault_points.reach("filing.handed_over")
        lease.done([number for number in ids if number not in again])
        fault_points.reach("lease.settled")

    def _gone(self, error: TransientError, stop: threading.Event) -> None:
        if not self._away:
            self._telemetry.emit("queue_unavailable", topic=INBOUND, code=error.code)
        self._away = True
        stop.wait(_AWAY.total_seconds())

    def _back(self) -> None:
        if self._away:
            self._telemetry.emit("queue_back", topic=INBOUND)
        self._away = False
