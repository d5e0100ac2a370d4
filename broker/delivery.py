"""A courier: takes owed deliveries of one destination, sends them in the order of their lanes, keeps every answer.

One thread and one connection a destination. The database is asked and told once a batch; what happens in between
stands in the courier's journal, so that a crash leaves doubt about the delivery in hand alone. A request is sent as it
was prepared before the first attempt; what comes back is kept with the attempt. An unknown outcome is shown as unknown,
unless the destination is idempotent or can be asked what it has; an answer that comes later settles it too.

Longer than other modules because what one thread does between two words to the database is decided in one place.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from sqlalchemy import Connection, Engine

from broker import fault_points, retry
from broker.audit import trail
from broker.circuit import Circuit
from broker.contracts import RECIPIENT, Destination, Lease, Queue, Verifiable
from broker.correlating import Expects, receipt_keys, sent_keys
from broker.courier_journal import Journal
from broker.database.engine import reading, writing
from broker.encryption import sealing
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, CarnetError, PermanentError, TransientError
from broker.gathering import TIMES_A_COURIER, Gathering
from broker.hops import content_digest
from broker.records import (
    correlations,
    destinations,
    expectations,
    identity_circle,
    outbox,
    tallies,
)
from broker.records.expectations import Expectation
from broker.records.outbox import Due, Ended
from broker.records.patients import PatientRow
from broker.telemetry import Telemetry
from broker.values import month_of

_WAIT = timedelta(milliseconds=500)
_AWAY = timedelta(seconds=2)
_BEHIND = timedelta(seconds=1)
_TELL_EVERY = 0.25
"""Seconds after which the database is told what was sent meanwhile."""
_AHEAD = 1_000
"""Deliveries found at once that those of a lease wait for."""
_LONGEST = 5.0
"""Seconds of sending after which what is left of a batch is put down: a lease is not kept for ever."""
_GONE = timedelta(minutes=1)
"""A delivery in the hands of an unknown courier for so long is in nobody's."""


Refusal = Callable[[PatientRow], str | None]
"""Why something may not go into a patient's record now (a reason code), or None: the rules' word."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a destination wants to be sent to: its settings, as far as a courier has to know them."""

    retry: retry.Policy
    is_idempotent: bool = False
    is_verifiable: bool = False
    is_for_record: bool = False
    pause: timedelta = timedelta(0)
    gather: timedelta = timedelta(0)
    batch: int = 100
    expects: Expects | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """An attempt that ended, for the database: of which message, owed since when (None: of a courier before)."""

    message_id: str
    created_at: datetime | None
    ended: Ended


class Courier:
    """Runs one destination until `stop` is set; the delivery in hand is finished and noted first."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        manner: Manner,
        circuit: Circuit,
        journal: Journal,
        *,
        engine: Engine,
        queue: Queue,
        refusal: Refusal,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        random: Random,
    ) -> None:
        self._name = name
        self._topic = f"outbound.{name}"
        self._destination = destination
        self._manner = manner
        self._circuit = circuit
        self._journal = journal
        self._engine = engine
        self._queue = queue
        self._refusal = refusal
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._gathering = Gathering(
            manner.gather.total_seconds(), TIMES_A_COURIER, batch=manner.batch
        )
        self._untold: dict[int, _Told] = {}
        self._unbegun: set[int] = set()
        self._is_told_again = False
        self._sent_at = 0.0

    def run(self, stop: threading.Event, going: Callable[[], None] = lambda: None) -> None:
        """Send until `stop` is set. What the courier before left behind comes first.

        `going` is called at each turn that went well: there was nothing to do, or it was done.
        """
        recovered = False
        try:
            while not stop.is_set():
                try:
                    if not recovered:
                        self._recover()
                        recovered = True
                    self._tell()
                    self._turn(stop)
                    going()
                except TransientError as error:
                    self._telemetry.emit("queue_unavailable", topic=self._topic, code=error.code)
                    stop.wait(_AWAY.total_seconds())
        finally:
            self._destination.close()
            self._journal.close()

    def _turn(self, stop: threading.Event) -> None:
        """One lease, if the destination is not to be left alone, and a rest behind a small one."""
        alone = self._circuit.wait(self._clock())
        if alone:
            stop.wait(min(alone, _WAIT).total_seconds())
            return
        lease = self._queue.take(self._topic, self._most, _WAIT)
        if lease is None:
            return
        begun = time.thread_time()
        try:
            self.serve(lease, stop)
        except TransientError:
            with suppress(TransientError):
                lease.again([work.id for work in lease.work], _AWAY)
            raise
        stop.wait(self._gathering.rest(len(lease.work), time.thread_time() - begun))

    @property
    def _most(self) -> int:
        """How many deliveries may be in hand: one, while it is open whether the destination is back."""
        return 1 if self._circuit.is_open else self._manner.batch

    # --- one lease ------------------------------------------------------------------------------------------------

    def serve(self, lease: Lease, stop: threading.Event) -> None:
        """Send what may go of the leased, lane by lane; what has to wait comes back later.

        Where nothing may go for what stands before it, that is sent first, leased or not.
        """
        leased = {work.id for work in lease.work}
        remaining = set(leased)
        waits: dict[int, timedelta] = {}
        goes_on = True
        while goes_on and remaining and not stop.is_set():
            with writing(self._engine) as connection:
                claimed = outbox.claim(
                    connection,
                    self._name,
                    sorted(remaining),
                    self._journal.identity,
                    self._clock(),
                    self._most,
                    self._manner.retry.max_delay,
                )
                refused = self._refused(connection, claimed)
                bodies = outbox.bodies_of(connection, claimed)
                ahead = (
                    []
                    if claimed
                    else outbox.ahead(
                        connection, self._name, sorted(remaining), self._clock(), _AHEAD
                    )
                )
            if not claimed and remaining.issuperset(ahead):
                break
            if not claimed:
                remaining.update(ahead)
                continue
            fault_points.reach("delivery.claimed")
            self._telemetry.emit_many("attempt_started", len(claimed), destination=self._name)
            ended, goes_on = self._send_all(claimed, bodies, refused, stop)
            for one in ended:
                remaining.discard(one.delivery_id)
                if one.next_try_at is not None:
                    waits[one.delivery_id] = max(one.next_try_at - self._clock(), _BEHIND)
        mine = {number: wait for number, wait in waits.items() if number in leased}
        self._settle(lease, remaining & leased, mine)

    def _settle(self, lease: Lease, remaining: set[int], waits: dict[int, timedelta]) -> None:
        """Give the lease back: what waits or is still open comes again, the rest is done."""
        self._face_interrupted(remaining)
        with reading(self._engine) as connection:
            still_open = outbox.unsettled(connection, sorted(remaining))
        behind = max(self._circuit.wait(self._clock()), _BEHIND)
        waits |= dict.fromkeys(still_open, behind)
        later: dict[timedelta, list[int]] = {}
        for number, wait in sorted(waits.items()):
            later.setdefault(wait, []).append(number)
        for wait, numbers in later.items():
            lease.again(numbers, wait)
        lease.done([work.id for work in lease.work if work.id not in waits])

    def _send_all(
        self,
        claimed: Sequence[Due],
        bodies: Mapping[int, outbox.Body],
        refused: Mapping[int, str],
        stop: threading.Event,
    ) -> tuple[list[Ended], bool]:
        """(what was tried, whether more may be sent now). A lane stops at its first delivery that did not get through."""
        self._journal.start()
        self._unbegun |= {item.id for item in claimed}
        begun = told = time.monotonic()
        done: list[Ended] = []
        stopped: set[tuple[int, str]] = set()
        goes_on = True
        for item in claimed:
            now = time.monotonic()
            if stop.is_set() or not goes_on or now - begun > _LONGEST:
                goes_on = False
                break
            lane = (item.lane, item.recipient)
            if lane in stopped:
                continue
            if item.lane in refused:
                done.append(self._withhold(item, refused[item.lane]))
                continue
            if not self._paced(stop):
                break
            ended = self._attempt(item, bodies.get(item.id))
            done.append(ended)
            if item.lane and (ended.next_try_at is not None or ended.outcome == "unknown"):
                stopped.add(lane)
            goes_on = not self._circuit.wait(self._clock())
            if now - told > _TELL_EVERY:
                self._tell(keeps=self._unbegun)
                told = now
        self._tell()
        return done, goes_on

    def _refused(self, connection: Connection, claimed: Sequence[Due]) -> dict[int, str]:
        """Patient -> why nothing may be sent now to a destination that is their record; asked again at each attempt."""
        if not self._manner.is_for_record:
            return {}
        people = identity_circle.load(connection, {item.lane for item in claimed if item.lane})
        why = {number: self._refusal(person) for number, person in people.items()}
        return {number: reason for number, reason in why.items() if reason}

    def _withhold(self, due: Due, reason: str) -> Ended:
        now = self._clock()
        error = PermanentError(reason, where="patient")
        return self._over(due, self._end(due, now, "withheld", error))

    def _paced(self, stop: threading.Event) -> bool:
        """Wait as long as the partner wants between two messages; False where the courier is to stop meanwhile."""
        rest = self._sent_at + self._manner.pause.total_seconds() - time.monotonic()
        return rest <= 0 or not stop.wait(rest)

    # --- one attempt ----------------------------------------------------------------------------------------------

    def _attempt(self, due: Due, content: outbox.Body | None) -> Ended:
        started = self._clock()
        body, media = content or (PermanentError("content.missing", where="message_body"), "")
        if isinstance(body, PermanentError):
            return self._over(due, self._end(due, started, "refused", body))
        envelope = Envelope(
            source=self._name,
            body=body,
            received_at=started,
            media=media,
            keys={
                "delivery": str(due.id),
                "message_id": due.message_id,
                "recipient": due.recipient,
            },
        )
        self._journal.begin(due.id, due.attempts)
        self._unbegun.discard(due.id)
        fault_points.reach("delivery.begun")
        sent = self._traceable(self._send(due, started, envelope), body)
        fault_points.reach("delivery.answered")
        ended = self._over(due, sent)
        self._journal.end(ended)
        fault_points.reach("delivery.journaled")
        self._sent_at = time.monotonic()
        self._mark(due, ended)
        return ended

    def _traceable(self, ended: Ended, body: bytes) -> Ended:
        """With what a later answer, or the message itself when it comes back, is known by; if it may have arrived."""
        if ended.outcome not in ("sent", "unknown"):
            return ended
        keys = (*ended.keys, *sent_keys(body, self._name))
        return replace(ended, keys=keys, sent_digest=content_digest(body))

    def _over(self, due: Due, ended: Ended) -> Ended:
        self._unbegun.discard(due.id)
        self._untold[due.id] = _Told(due.message_id, due.created_at, ended)
        return ended

    def _send(self, due: Due, started: datetime, envelope: Envelope) -> Ended:
        if self._is_to_ask(due) and isinstance(self._destination, Verifiable):
            try:
                known = self._destination.verify(envelope)
            except TransientError as error:
                return self._later(due, started, "unknown", error)  # as much in doubt as before
            if known is not None:
                return self._sent(due, started, known, "delivery.verified")
        try:
            fault_points.reach("delivery.sending")
            receipt = self._destination.deliver(envelope)
        except TransientError as error:
            return self._later(due, started, "failed", error)
        except AmbiguousError as error:
            if self._manner.is_idempotent or self._manner.is_verifiable:
                return self._later(due, started, "unknown", error)
            return self._end(due, started, "unknown", error)
        except PermanentError as error:
            return self._end(due, started, "refused", error)
        except Exception as error:  # noqa: BLE001 - a plug-in's defect: nobody knows what it did
            unknown = AmbiguousError("delivery.adapter_failed", where=type(error).__name__)
            return self._end(due, started, "unknown", unknown)
        return self._sent(due, started, receipt, receipt.code)

    def _is_to_ask(self, due: Due) -> bool:
        return self._manner.is_verifiable and due.last_outcome == "unknown"

    def _sent(self, due: Due, started: datetime, receipt: Receipt, code: str) -> Ended:
        return Ended(
            delivery_id=due.id,
            destination=self._name,
            number=due.attempts,
            started_at=started,
            ended_at=self._clock(),
            outcome="sent",
            code=code,
            answer=receipt.answer,
            answer_matched=receipt.answer_matched,
            peer=receipt.peer,
            keys=receipt_keys(receipt.keys),
            expects=self._expected(receipt),
        )

    def _expected(self, receipt: Receipt) -> tuple[tuple[str, datetime], ...]:
        """Answers still to come, as the adapter or the settings say. AA is the application's own answer already."""
        told = {one.kind: one.deadline for one in receipt.expects}
        if (expects := self._manner.expects) is not None:
            due = self._clock() + expects.answer_within
            told |= {kind: due for kind in expects.answers if kind not in told}
        if receipt.code == "AA":
            told.pop("application", None)
        return tuple(sorted(told.items()))

    def _later(self, due: Due, started: datetime, outcome: str, error: CarnetError) -> Ended:
        """Again after a while; given up by age or number, a delivery that may have arrived is unknown for good."""
        policy = self._manner.retry
        if retry.gives_up(policy, due.attempts, self._clock() - due.created_at):
            return self._end(due, started, "unknown" if outcome == "unknown" else "expired", error)
        wait = retry.delay(policy, due.attempts, self._random.random)
        ended = self._end(due, started, outcome, error)
        return replace(ended, next_try_at=ended.ended_at + wait)

    def _end(self, due: Due, started: datetime, outcome: str, error: CarnetError) -> Ended:
        return Ended(
            delivery_id=due.id,
            destination=self._name,
            number=due.attempts,
            started_at=started,
            ended_at=self._clock(),
            outcome=outcome,
            code=error.code,
            place=error.where,
            answer=error.answer,
            answer_matched=error.answer_matched,
            peer=error.peer,
        )

    def _mark(self, due: Due, ended: Ended) -> None:
        """Tell the circuit: an answer, whatever it says, shows that the partner is there.

        So does a failure of one recipient's mailbox, where there are others to go on with.
        """
        is_theirs = bool(due.recipient) and ended.place == RECIPIENT
        if ended.outcome in ("sent", "refused") or is_theirs:
            if self._circuit.succeeded():
                self._telemetry.emit("circuit_closed", destination=self._name)
        elif self._circuit.failed(self._clock()):
            self._telemetry.emit("circuit_opened", destination=self._name, code=ended.code)

    # --- what is told to the database -----------------------------------------------------------------------------

    def _tell(self, keeps: Collection[int] = ()) -> None:
        """Note all that was sent and not noted yet, and put down what was not begun, but for what it `keeps`.

        Raises: TransientError when the database is away: nothing is forgotten, and it is told before anything else.
        """
        put_down = self._unbegun.difference(keeps)
        told = list(self._untold.values())
        if not told and not put_down:
            return
        is_again, self._is_told_again = self._is_told_again, True
        with writing(self._engine) as connection:
            keep_key = sealing.ready(connection, month_of(self._clock()))
            if is_again:
                # The commit of the last time may have arrived, and only its answer have been lost.
                ids = outbox.in_hand(connection, list(self._untold), self._journal.identity)
                told = [one for one in told if one.ended.delivery_id in ids]
            outbox.withdraw(connection, sorted(put_down), self._journal.identity)
            self._note(connection, told, self._clock())
        keep_key()
        fault_points.reach("delivery.noted")
        self._is_told_again = False
        self._untold = {}
        self._unbegun -= put_down
        self._report(told)

    def _report(self, told: Sequence[_Told]) -> None:
        for outcome, n in Counter(one.ended.outcome for one in told).items():
            self._telemetry.emit_many("attempt_ended", n, destination=self._name, outcome=outcome)
        for_good = sum(o.ended.outcome == "unknown" and not o.ended.next_try_at for o in told)
        self._telemetry.emit_many("outcome_unknown", for_good, destination=self._name)
        took = [(one.ended.ended_at - one.ended.started_at).total_seconds() for one in told]
        self._telemetry.observe_many("delivery_seconds", took, destination=self._name)

    def _note(self, connection: Connection, told: Sequence[_Told], now: datetime) -> None:
        ended = [one.ended for one in told]
        if not ended:
            return
        outbox.note(connection, ended)
        correlations.add(connection, [(one.delivery_id, key) for one in ended for key in one.keys])
        expectations.write(
            connection,
            [
                Expectation(one.delivery_id, kind, one.destination, due)
                for one in ended
                for kind, due in one.expects
            ],
        )
        flows = Counter((self._name, _MEASURES[one.outcome]) for one in ended)
        waited = [
            (one.ended.ended_at - one.created_at).total_seconds() for one in told if one.created_at
        ]
        for measure, n in tallies.latency_measures("delivery", waited).items():
            flows[(self._name, measure)] += n
        tallies.flow(connection, flows, now, f"courier-{self._name}")
        destinations.tell(connection, self._name, self._doing(ended), now)
        entries = [
            trail.Entry(
                act=f"delivery_{one.ended.outcome}",
                at=one.ended.ended_at,
                actor_kind="machine",
                actor=self._name,
                subject=one.message_id,
                outcome=one.ended.code,
            )
            for one in told
        ]
        trail.write(connection, entries, now)

    def _doing(self, ended: Sequence[Ended]) -> destinations.Doing:
        arrived = [one.ended_at for one in ended if one.outcome == "sent"]
        failed = [one for one in ended if one.outcome != "sent"]
        return destinations.Doing(
            delivered_at=max(arrived, default=None),
            error_code=failed[-1].code if failed else "",
            error_at=failed[-1].ended_at if failed else None,
            is_open=self._circuit.is_open,
            consecutive_failures=self._circuit.failures,
        )

    # --- what a courier before left behind ------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take up what the courier before had in its hands, as far as the journal vouches for it, and its circuit.

        Else a destination that was said to be down would be said so once more, or never to be back.
        """
        with reading(self._engine) as connection:
            found = outbox.interrupted(connection, self._name)
            bodies = outbox.bodies_of(connection, found)
            failures = destinations.left_open(connection, self._name)
        if failures and not self._circuit.is_open:
            self._circuit.resume(failures)
        left, now = self._journal.left, self._clock()
        for one in found:
            attempt = (one.id, one.attempts)
            if one.claimed_by != self._journal.identity:
                continue
            if attempt in left.ended:
                self._untold[one.id] = _Told(one.message_id, None, left.ended[attempt])
            elif attempt in left.begun:
                self._untold[one.id] = self._in_doubt(one, now, bodies)
            else:
                self._unbegun.add(one.id)
        self._tell()

    def _face_interrupted(self, ids: Collection[int]) -> None:
        """Of what could not be taken in hand: what is in hands nobody has heard of for a while was perhaps sent.

        What seems to be in our own, and is not, was taken in a commit whose answer got lost: it was not begun.
        """
        if not ids:
            return
        now = self._clock()
        with reading(self._engine) as connection:
            found = outbox.interrupted(connection, self._name, sorted(ids))
            bodies = outbox.bodies_of(connection, found)
        for one in found:
            if one.claimed_by == self._journal.identity:
                self._unbegun.add(one.id)
            elif now - one.claimed_at > _GONE:
                self._untold[one.id] = self._in_doubt(one, now, bodies)
        self._tell()

    def _in_doubt(
        self,
        one: outbox.Interrupted,
        now: datetime,
        bodies: Mapping[int, outbox.Body],
    ) -> _Told:
        """An attempt that began and did not end; an answer to it may still tell."""
        body, _ = bodies.get(one.id, (b"", ""))
        sent = b"" if isinstance(body, PermanentError) else body
        return _Told(one.message_id, None, self._traceable(self._interrupted(one, now), sent))

    def _interrupted(self, one: outbox.Interrupted, now: datetime) -> Ended:
        can_go_on = self._manner.is_idempotent or self._manner.is_verifiable
        return Ended(
            delivery_id=one.id,
            destination=self._name,
            number=one.attempts,
            started_at=one.claimed_at,
            ended_at=now,
            outcome="unknown",
            code="delivery.interrupted",
            next_try_at=now if can_go_on else None,
        )


_MEASURES = {
    "sent": "delivered",
    "failed": "failed",
    "refused": "refused",
    "expired": "expired",
    "unknown": "unknown",
    "withheld": "withheld",
}
