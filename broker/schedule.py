"""What happens by the clock: sweeps, sealing, folding of counters, partitions ahead. One scheduler is active.

APScheduler runs the jobs in one process; a lock in the database makes further schedulers stand by.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine

from broker import fault_points
from broker.audit import seal
from broker.audit.keys import Signer
from broker.contracts import INBOUND, Queue, Work
from broker.database import partitions
from broker.database.engine import reading, writing
from broker.database.locks import HeldLock
from broker.errors import PermanentError, SetupError, TransientError
from broker.overdue import Overdue
from broker.records import lanes, outbox, tallies
from broker.settings_tables import Retention
from broker.telemetry import Telemetry
from broker.unpacking import unpack

SWEEP_GRACE = timedelta(seconds=10)
SWEEP_LIMIT = 20_000
SEAL_LIMIT = 50_000
_STAND_BY = 2.0
_KEEP_HOURS = 6
_KEEP_AFTER = timedelta(minutes=2)
"""Retention looks a little after the start, and then a few times a day: what is due is due by whole months."""


class Sweep:
    """Puts back what the ledger owes and the queue does not have.

    Only when the queue says it has nothing ready: a backlog is not work lost. Work that is already settled when it
    comes up again costs a look at its row.
    """

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        grace: timedelta = SWEEP_GRACE,
        destinations: Collection[str] | None = None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock
        self._grace = grace
        self._destinations = destinations

    def inbound(self) -> int:
        """Sweep the filing lanes once; returns how many messages were put back."""
        if self._queue.depth(INBOUND):
            return 0
        unpack(self._engine, "scheduler")
        with reading(self._engine) as connection:
            found = lanes.overdue(connection, self._clock() - self._grace, SWEEP_LIMIT)
        return self._put(INBOUND, [Work(seq, lane) for seq, lane in found])

    def outbound(self) -> int:
        """Sweep the deliveries once; returns how many were put back."""
        with reading(self._engine) as connection:
            found = outbox.overdue(
                connection, self._clock() - self._grace, SWEEP_LIMIT, self._destinations
            )
        return sum(
            self._put(topic, work)
            for destination, work in found.items()
            if not self._queue.depth(topic := f"outbound.{destination}")
        )

    def _put(self, topic: str, work: list[Work]) -> int:
        if work:
            fault_points.reach("sweep.found")
            self._queue.put(topic, work)
            fault_points.reach("sweep.put")
            self._telemetry.emit_many("swept", len(work), topic=topic)
        return len(work)


@dataclass(frozen=True, slots=True)
class Job:
    """A further job: what it does, how often, and whether it waits for others (it gets a thread of its own)."""

    run: Callable[[], object]
    every: timedelta
    is_slow: bool = False


class Schedule:
    """Runs the jobs until `stop` is set."""

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        *,
        sweep_every: timedelta,
        sweep_grace: timedelta,
        seal_every: timedelta,
        destinations: Collection[str] | None = None,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        keep: Callable[[Callable[[], bool]], object] = lambda _: None,
        more: Callable[[Queue], Sequence[Job]] = lambda _: (),
        signer: Callable[[datetime], Signer] | None = None,
        forward: Callable[[], int] | None = None,
    ) -> None:
        """`keep` archives and prunes what is due; it is told how to ask whether it is to end."""
        self._engine = engine
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock
        self._more = more
        self._sweep_every = sweep_every
        self._sweep_grace = sweep_grace
        self._seal_every = seal_every
        self._destinations = destinations
        self._retention = retention
        self._keep = keep
        self._signer = signer
        self._forward = forward

    def run(self, stop: threading.Event) -> None:
        """Wait for the lock, run the jobs, give the lock back."""
        held = HeldLock(self._engine, "scheduler")
        while not held.acquire():
            if stop.wait(_STAND_BY):
                return
        jobs = BackgroundScheduler(
            timezone="UTC",
            # One thread: the queue's connection belongs to one, and no two jobs of ours need to overlap. Archiving may
            # take hours, and what goes out over a network may wait: each has one of its own.
            executors={
                name: ThreadPoolExecutor(1) for name in ("default", "archive", "audit", "network")
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        sweep = Sweep(
            self._engine,
            self._queue,
            self._telemetry,
            self._clock,
            self._sweep_grace,
            self._destinations,
        )
        jobs.add_job(
            self._guarded(sweep.inbound), "interval", seconds=self._sweep_every.total_seconds()
        )
        jobs.add_job(
            self._guarded(sweep.outbound), "interval", seconds=self._sweep_every.total_seconds()
        )
        jobs.add_job(
            self._guarded(self._seal), "interval", seconds=self._seal_every.total_seconds()
        )
        jobs.add_job(
            self._guarded(self._levels), "interval", seconds=self._sweep_every.total_seconds()
        )
        overdue = Overdue(self._engine, self._telemetry, self._clock)
        jobs.add_job(
            self._guarded(overdue.find), "interval", seconds=self._sweep_every.total_seconds()
        )
        if self._forward is not None:
            jobs.add_job(
                self._send_trail,
                "interval",
                seconds=self._seal_every.total_seconds(),
                executor="audit",
            )
        jobs.add_job(self._guarded(self._fold), "interval", minutes=5)
        jobs.add_job(self._guarded(self._partitions), "interval", hours=6)
        for job in self._more(self._queue):
            jobs.add_job(
                self._guarded(job.run),
                "interval",
                seconds=job.every.total_seconds(),
                executor="network" if job.is_slow else "default",
            )
        ending = threading.Event()
        if self._retention.archives_after is not None:
            jobs.add_job(
                self._guarded(lambda: self._keep(lambda: stop.is_set() or ending.is_set())),
                "interval",
                hours=_KEEP_HOURS,
                executor="archive",
                next_run_time=datetime.now(UTC) + _KEEP_AFTER,
            )
        # A job that is not over is simply not started once more; APScheduler would warn of it each time.
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
        jobs.start()
        try:
            while not stop.wait(_STAND_BY):
                if not held.still_mine():
                    return
        finally:
            ending.set()
            jobs.shutdown(wait=True)
            self._guarded(self._seal)()
            held.release()

    def _guarded(self, job: Callable[[], object]) -> Callable[[], None]:
        """A job whose service is away is tried again at its next time."""

        def run() -> None:
            try:
                job()
            except TransientError as error:
                name = (
                    "retention_stopped"
                    if error.code.startswith("archive.")
                    else "queue_unavailable"
                )
                self._telemetry.emit(name, topic="scheduler", code=error.code)
            except (PermanentError, SetupError) as error:
                self._telemetry.emit("retention_stopped", code=error.code)

        return run

    def _seal(self) -> None:
        try:
            signer = self._signer(self._clock()) if self._signer is not None else None
        except SetupError as error:
            self._telemetry.emit("seal_failed", code=error.code)
            return
        sealed = seal.seal(self._engine, self._clock(), SEAL_LIMIT, signer)
        if sealed.entries:
            self._telemetry.emit_many("sealed", sealed.entries)

    def _send_trail(self) -> None:
        """Send what was sealed to the receiver of audit messages."""
        try:
            sent = self._forward() if self._forward is not None else 0
        except TransientError as error:
            self._telemetry.emit("audit_unsent", code=error.code)
            return
        if sent:
            self._telemetry.emit_many("audit_sent", sent)

    def _levels(self) -> None:
        """The gauges that belong to the whole installation rather than to one process."""
        now = self._clock()
        with reading(self._engine) as connection:
            open_now = lanes.unsettled(connection)
        self._telemetry.level("in_flight", open_now.messages)
        oldest = (now - open_now.since).total_seconds() if open_now.since is not None else 0.0
        self._telemetry.level("oldest_unsettled_seconds", oldest)
        self._telemetry.level("lanes_blocked", open_now.lanes)
        self._telemetry.level("queue_depth", self._queue.depth(INBOUND), topic=INBOUND)

    def _fold(self) -> None:
        with writing(self._engine) as connection:
            tallies.fold(
                connection,
                self._clock(),
                self._retention.flow_minutes,
                self._retention.flow_quarters,
            )

    def _partitions(self) -> None:
        with writing(self._engine) as connection:
            partitions.ensure(connection, self._clock())
