"""A courier: takes owed deliveries of one destination, sends them in the order of their lanes, keeps every answer.

One thread and one connection a destination. A request is sent as it was prepared before the first attempt; what
comes back is kept with the attempt. An unknown outcome is shown as unknown unless the destination is idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from sqlalchemy import Engine

from broker import fault_points, retry
from broker.audit import trail
from broker.contracts import Destination, Lease, Queue
from broker.database.engine import reading, writing
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, CarnetError, PermanentError, TransientError
from broker.records import outbox
from broker.telemetry import Telemetry

_WAIT = timedelta(milliseconds=500)
_AWAY = timedelta(seconds=2)
_BEHIND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Attempted:
    """One attempt's end: what is known of it, and when to try again if ever."""

    due: outbox.Due
    number: int
    started_at: datetime
    ended_at: datetime
    outcome: str
    code: str = ""
    place: str = ""
    receipt: Receipt | None = None
    next_try_at: datetime | None = None


class Courier:
    """Runs one destination until `stop` is set; the delivery in hand is finished and noted first."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        *,
        engine: Engine,
        queue: Queue,
        policy: retry.Policy,
        is_idempotent: bool,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        random: Random,
        batch: int = 50,
    ) -> None:
        self._name = name
        self._topic = f"outbound.{name}"
        self._destination = destination
        self._engine = engine
        self._queue = queue
        self._policy = policy
        self._is_idempotent = is_idempotent
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._batch = batch

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    lease = self._queue.take(self._topic, self._batch, _WAIT)
                    if lease is not None:
                        self._serve(lease, stop)
                except TransientError as error:
                    self._telemetry.emit("queue_unavailable", topic=self._topic, code=error.code)
                    stop.wait(_AWAY.total_seconds())
        finally:
            self._destination.close()

    def _serve(self, lease: Lease, stop: threading.Event) -> None:
        """Send what is due among the leased, lane by lane; what waits behind an earlier delivery comes back later."""
        remaining = {work.id for work in lease.work}
        self._face_interrupted(sorted(remaining))
        later: dict[timedelta, list[int]] = {}
        while remaining and not stop.is_set():
            with reading(self._engine) as connection:
                due = outbox.heads(connection, self._name, sorted(remaining))
            if not due:
                break
            for item in due:
                attempted = self._attempt(item)
                remaining.discard(item.id)
                if attempted.next_try_at is not None:
                    wait = max(attempted.next_try_at - self._clock(), _BEHIND)
                    later.setdefault(wait, []).append(item.id)
        with reading(self._engine) as connection:
            still_open = outbox.unsettled(connection, sorted(remaining))
        if still_open:
            later.setdefault(_BEHIND, []).extend(sorted(still_open))
        waiting = {number for numbers in later.values() for number in numbers}
        for wait, numbers in later.items():
            lease.again(numbers, wait)
        lease.done([work.id for work in lease.work if work.id not in waiting])

    def _face_interrupted(self, ids: Sequence[int]) -> None:
        """Deliveries that a courier died over: perhaps sent. Unknown, unless sending twice does no harm."""
        if self._is_idempotent:
            return
        now = self._clock()
        with writing(self._engine) as connection:
            found = outbox.interrupted(connection, self._name, ids)
            outbox.settle_many(
                connection,
                [
                    outbox.Ended(
                        delivery_id=item.id,
                        destination=self._name,
                        number=item.attempts,
                        started_at=now,
                        ended_at=now,
                        outcome="unknown",
                        code="delivery.interrupted",
                    )
                    for item in found
                ],
            )
        if found:
            self._telemetry.emit_many("outcome_unknown", len(found), destination=self._name)

    def _attempt(self, due: outbox.Due) -> Attempted:
        number = due.attempts + 1
        started = self._clock()
        with writing(self._engine) as connection:
            outbox.start_attempt(connection, due.id, number, started)
            body, media = outbox.body_of(connection, due)
        self._telemetry.emit("attempt_started", destination=self._name)
        envelope = Envelope(
            source=self._name,
            body=body,
            received_at=started,
            media=media,
            keys={"delivery": str(due.id), "message_id": due.message_id},
        )
        fault_points.reach("delivery.claimed")
        attempted = self._send(due, number, started, envelope)
        fault_points.reach("delivery.answered")
        with writing(self._engine) as connection:
            self._note(connection, attempted)
        fault_points.reach("delivery.noted")
        self._telemetry.emit("attempt_ended", destination=self._name, outcome=attempted.outcome)
        took = (attempted.ended_at - attempted.started_at).total_seconds()
        self._telemetry.observe("delivery_seconds", took, destination=self._name)
        return attempted

    def _send(
        self, due: outbox.Due, number: int, started: datetime, envelope: Envelope
    ) -> Attempted:
        try:
            fault_points.reach("delivery.sending")
            receipt = self._destination.deliver(envelope)
        except TransientError as error:
            return self._later(due, number, started, "failed", error)
        except AmbiguousError as error:
            if self._is_idempotent:
                return self._later(due, number, started, "unknown", error)
            self._telemetry.emit("outcome_unknown", destination=self._name)
            return self._ended(due, number, started, "unknown", error)
        except PermanentError as error:
            return self._ended(due, number, started, "refused", error)
        return Attempted(due, number, started, self._clock(), "sent", receipt.code, receipt=receipt)

    def _later(
        self, due: outbox.Due, number: int, started: datetime, outcome: str, error: CarnetError
    ) -> Attempted:
        ended = self._clock()
        if retry.gives_up(self._policy, number, ended - due.created_at):
            return Attempted(due, number, started, ended, "expired", error.code, error.where)
        wait = retry.delay(self._policy, number, self._random.random)
        return Attempted(
            due, number, started, ended, outcome, error.code, error.where, next_try_at=ended + wait
        )

    def _ended(
        self, due: outbox.Due, number: int, started: datetime, outcome: str, error: CarnetError
    ) -> Attempted:
        return Attempted(due, number, started, self._clock(), outcome, error.code, error.where)

    def _note(self, connection: outbox.Connection, attempted: Attempted) -> None:
        receipt = attempted.receipt
        outbox.settle(
            connection,
            outbox.Ended(
                delivery_id=attempted.due.id,
                destination=self._name,
                number=attempted.number,
                started_at=attempted.started_at,
                ended_at=attempted.ended_at,
                outcome=attempted.outcome,
                code=attempted.code,
                place=attempted.place,
                answer=receipt.answer if receipt is not None else b"",
                next_try_at=attempted.next_try_at,
            ),
        )
        entry = trail.Entry(
            act=f"delivery_{attempted.outcome}",
            at=attempted.ended_at,
            actor_kind="machine",
            actor=self._name,
            subject=attempted.due.message_id,
            outcome=attempted.code,
        )
        trail.write(connection, [entry], attempted.ended_at)
