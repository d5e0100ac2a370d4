"""Answers that come as messages of their own: which delivery each is credited to, and what that makes of it.

For the pipeline, in its transaction. An answer is credited to one delivery or to none: the one it names by its number
and by who answers whom, on a source that may answer for the destination. What fits nobody, or more than one, waits for
a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from broker.audit import trail
from broker.batch import InHand
from broker.contracts import Work
from broker.correlating import Answer, Key, own_source_keys
from broker.records import correlations, crediting, expectations, tallies
from broker.records.crediting import Credit, Sent
from broker.records.expectations import AWAITED, Expectation
from broker.telemetry import Telemetry
from broker.values import State

UNMATCHED, AMBIGUOUS, DUPLICATE, CONTRADICTS = (
    "answer.unmatched",
    "answer.ambiguous",
    "answer.duplicate",
    "answer.contradicts",
)
CONFIRMED = "delivery.answered"
"""Why a delivery is sent that nobody knew of: its answer came."""

EARLY = timedelta(seconds=30)
"""An answer may be quicker than the word of the courier that sent: so long it is looked for again."""
IN_HAND = timedelta(minutes=10)
"""How long an answer waits for the word of a courier that has its delivery in hand, or died over it."""
_SOON = timedelta(seconds=1)


@dataclass(slots=True)
class Credited:
    """What came of the answers in a batch.

    early: to be looked at again, after the time given; owed: what goes on now, by topic; entries: for the trail
    """

    early: dict[timedelta, list[InHand]] = field(default_factory=dict)
    owed: dict[str, list[Work]] = field(default_factory=dict)
    entries: list[trail.Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """What is known while the answers of one batch are judged, one after the other."""

    sent: dict[int, Sent]
    found: Mapping[Key, list[int]]
    expected: dict[tuple[int, str], Expectation]
    credits: dict[int, Credit] = field(default_factory=dict)
    closed: dict[tuple[int, str], Expectation] = field(default_factory=dict)


class Answers:
    """Which sources answer for which destination, as the settings say; one per worker."""

    def __init__(self, sources: Mapping[str, Sequence[str]], telemetry: Telemetry) -> None:
        """`sources`: of each destination that awaits answers, those they come on; none: any of them."""
        self._sources = sources
        self._telemetry = telemetry

    def credit(
        self, connection: Connection, hands: Sequence[InHand], now: datetime, writer: str
    ) -> Credited:
        """Credit the answers among `hands`, in their order; a batch without one costs nothing."""
        asked = [(hand, hand.answer) for hand in hands if hand.answer is not None]
        done = Credited()
        if not asked:
            return done
        keys = {key for hand, answer in asked for key in self._keys(answer, hand.message.source)}
        found = correlations.find(connection, keys)
        sent = crediting.lock(connection, {number for ids in found.values() for number in ids})
        batch = _Batch(sent, found, expectations.of(connection, sent))
        for hand, answer in asked:
            self._judge(hand, answer, batch, done, now)
        self._write(connection, batch, done, now, writer)
        return done

    def _keys(self, answer: Answer, source: str) -> list[Key]:
        """Every name by which it may find its delivery: who answers whom, and the destinations whose source it is."""
        own = [name for name, sources in self._sources.items() if source in sources]
        return [answer.key, *(key for name in own for key in own_source_keys(answer, name))]

    def _judge(
        self, hand: InHand, answer: Answer, batch: _Batch, done: Credited, now: datetime
    ) -> None:
        source, age = hand.message.source, now - hand.message.received_at
        named = {n for key in self._keys(answer, source) for n in batch.found.get(key, ())}
        fitting = [
            batch.sent[number]
            for number in sorted(named & batch.sent.keys())
            if source in (self._sources.get(batch.sent[number].destination) or (source,))
        ]
        waits = answer.is_alone or bool(self._sources)
        patience = IN_HAND if any(one.in_hand for one in fitting) else EARLY
        if waits and age < patience and (not fitting or any(one.in_hand for one in fitting)):
            done.early.setdefault(max(_SOON, min(age, EARLY)), []).append(hand)
            return
        chosen, refusal = _chosen(
            hand, answer, [one for one in fitting if not one.in_hand], batch.expected
        )
        if chosen is None:
            self._leave(hand, answer, refusal)
            return
        hand.answers = chosen.message_seq
        self._end(hand, answer, refusal)
        if not refusal:
            _credit(hand, answer, chosen, batch, now)
            done.entries.append(_entry(hand, answer, batch.credits[chosen.id], now))

    def _leave(self, hand: InHand, answer: Answer, refusal: str) -> None:
        """Credited to nobody: a person's business, unless there is a patient's business to go on with."""
        hand.step("answer", 0, refusal)
        self._telemetry.emit("answer_unmatched", source=hand.message.source, reason=refusal)
        if answer.is_alone:
            hand.end(State.PARKED, refusal, "MSA-2")

    def _end(self, hand: InHand, answer: Answer, refusal: str) -> None:
        hand.step("answer", 0, refusal)
        if not answer.is_alone:
            return
        hand.filings, hand.reason, hand.place = [], None, None
        if refusal == CONTRADICTS:
            hand.end(State.PARKED, refusal, "MSA-1")
        elif refusal:
            hand.end(State.FILTERED, refusal)
        else:
            hand.verdict = State.ANSWER_MATCHED

    def _write(
        self, connection: Connection, batch: _Batch, done: Credited, now: datetime, writer: str
    ) -> None:
        credits_ = list(batch.credits.values())
        if not credits_:
            return
        crediting.write(connection, credits_, now)
        expectations.write(connection, list(batch.closed.values()))
        going = [one.delivery for one in credits_ if one.state and one.delivery.state != "sent"]
        for destination, work in crediting.going_on(connection, going).items():
            done.owed[f"outbound.{destination}"] = work
        flows: Counter[tuple[str, str]] = Counter()
        for one in batch.closed.values():
            flows[(one.destination, f"answer_{one.state}")] += 1
        tallies.flow(connection, flows, now, writer)
        for one in batch.closed.values():
            self._telemetry.emit("answer_matched", destination=one.destination, outcome=one.state)


def _chosen(
    hand: InHand,
    answer: Answer,
    fitting: Sequence[Sent],
    expected: Mapping[tuple[int, str], Expectation],
) -> tuple[Sent | None, str]:
    """(the delivery it is about, why it is not credited to it): the only one that fits, or that awaits such an answer."""
    if not fitting:
        return None, UNMATCHED
    for one in fitting:
        has = expected.get((one.id, answer.kind))
        if has is not None and has.answer_seq == hand.message.seq:
            return one, DUPLICATE  # it was held for its patient's sake, and is read again
    awaiting = [one for one in fitting if _awaits(one, expected.get((one.id, answer.kind)))]
    if len(awaiting) == 1:
        return awaiting[0], ""
    if len(fitting) > 1:
        had = [expected.get((one.id, answer.kind)) for one in fitting]
        if not awaiting and all(one and one.answer_seq and _agrees(one, answer) for one in had):
            return fitting[-1], DUPLICATE
        return None, AMBIGUOUS
    (one,) = fitting
    has = expected.get((one.id, answer.kind))
    if has is not None and has.state in ("answered", "refused"):
        return one, DUPLICATE if _agrees(has, answer) else CONTRADICTS
    if (
        has is None
        and answer.is_positive
        and one.state == "sent"
        and one.answer_code == answer.code
    ):
        return one, DUPLICATE  # it said so at once, on the connection it was sent over
    return one, ""


def _awaits(one: Sent, has: Expectation | None) -> bool:
    return one.state in ("unknown", "owed") or (has is not None and has.state in AWAITED)


def _agrees(has: Expectation, answer: Answer) -> bool:
    return (has.state == "answered") == answer.is_positive


def _credit(hand: InHand, answer: Answer, one: Sent, batch: _Batch, now: datetime) -> None:
    state = _state_after(one, answer)
    reason = (CONFIRMED if answer.is_positive else reason_of(answer)) if state else None
    batch.credits[one.id] = Credit(one, answer.code, state, reason, answer.place or None)
    if state is not None:
        batch.sent[one.id] = replace(one, state=state, answer_code=answer.code)
    has = batch.expected.get((one.id, answer.kind))
    closed = Expectation(
        one.id,
        answer.kind,
        one.destination,
        has.due_at if has is not None else now,
        "answered" if answer.is_positive else "refused",
        answer.code,
        now,
        hand.message.seq,
    )
    batch.expected[(one.id, answer.kind)] = batch.closed[(one.id, answer.kind)] = closed


def _state_after(one: Sent, answer: Answer) -> str | None:
    """The state an answer puts a delivery in; None: as it is. What a person settled stays settled."""
    if not answer.is_positive:
        return "parked" if one.state in ("sent", "unknown", "owed") else None
    if one.state in ("unknown", "owed"):
        return "sent"
    gave_up = one.state == "parked" and one.last_outcome in ("expired", "unknown")
    return "sent" if gave_up else None


def reason_of(answer: Answer) -> str:
    """Why a delivery is parked that an answer refused."""
    return f"answer.{answer.code}" if answer.kind in ("accept", "application") else "answer.refused"


def _entry(hand: InHand, answer: Answer, credit: Credit, now: datetime) -> trail.Entry:
    """By which message a delivery was answered, and what that made of it (`state`: null where it stays as it was)."""
    one = credit.delivery
    details = {
        "delivery": one.id,
        "destination": one.destination,
        "answer": answer.kind,
        "message": hand.message.id,
        "state": credit.state,
        "reason": credit.reason,
    }
    return trail.Entry(
        act="delivery_answered",
        at=now,
        actor_kind="machine",
        actor=hand.message.source,
        subject=one.message_id,
        outcome=answer.code,
        control_id=hand.message.control_id,
        details=msgspec.json.encode(details).decode(),
    )
