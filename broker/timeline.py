"""What happened to one message, from its bytes to every answer of every partner: each step with its reason, and what
people decided, with who and why.

For `carnet messages timeline`, and for a console. Put together from the message's own trail, its deliveries and their
attempts, the answers they await, and the entries of the audit trail about it. Of what a person decided their words are
read there: they stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from broker.audit.reading import Told, about
from broker.records import expectations, message_detail, messages_reading, replays
from broker.records.expectations import Expectation
from broker.records.message_detail import Detail, Owed

ANSWERED, GIVEN_UP, OVERDUE = "delivery_answered", "answer_given_up", "answer.overdue"
_OF_MESSAGES = ("released", "skipped", "discarded", "edited")
_OF_DELIVERIES = {
    "delivery_released": "released",
    "delivery_confirmed": "confirmed as sent",
    "delivery_skipped": "skipped",
    "delivery_discarded": "discarded",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: when its commit was, how long it took where that is known, how it ended.

    `by` and `why` are of a person who decided it; `message` is the id of another message that it speaks of.
    """

    at: datetime
    name: str
    microseconds: int | None = None
    outcome: str = ""
    by: str = ""
    why: str = field(default="", repr=False)
    message: str = ""


def of(connection: Connection, found: Detail) -> list[Step]:
    """The steps of one message in the order of time. Some seven statements, each by index."""
    owed = message_detail.owed(connection, found.line.seq)
    expected = expectations.of(connection, [one.id for one in owed])
    told = about(connection, found.line.id, found.line.seq)
    given_up = {_delivery(one) for one in told if one.act == GIVEN_UP}
    steps = [*_received(connection, found), *_own(found, told)]
    for delivery in owed:
        steps += _sent(delivery)
        for (number, _), one in sorted(expected.items()):
            if number == delivery.id:
                steps += _awaited(delivery, one, was_given_up=number in given_up)
    steps += _decided(told, owed, _answering(connection, expected))
    return sorted(steps, key=lambda step: step.at)


def _received(connection: Connection, found: Detail) -> Iterator[Step]:
    """How it came, whether it is read again from another or others from it, and what its sender was answered."""
    at, seq = found.line.received_at, found.line.seq
    origin = replays.origin_of(connection, seq) if found.replay_of else None
    if origin is None:
        yield Step(at, "received")
    else:
        first = f"first received {origin.received_at:%Y-%m-%d %H:%M} UTC, run {origin.run}"
        named = f"received again: a replay of {origin.id}"
        yield Step(at, named, outcome=first, message=origin.id)
    for one in replays.replays_of(connection, seq):
        named = f"replayed as {one.id}"
        yield Step(one.received_at, named, outcome=f"run {one.run}", message=one.id)
    if found.answered_at is not None:
        yield Step(found.answered_at, "answered", outcome=found.answer_code)


def _own(found: Detail, told: Sequence[Told]) -> Iterator[Step]:
    """The message's own trail. What a person did stands there as a step, and who it was in the audit trail."""
    acts = {(one.at, one.act): one for one in told if one.act in _OF_MESSAGES}
    for s in message_detail.timeline(found.trail):
        step = Step(s.at, s.name, s.microseconds, s.outcome)
        act = acts.pop((s.at, s.name), None)
        yield step if act is None else replace(step, by=act.actor, why=act.motive)
    for act in acts.values():
        original = str(_details(act).get("edited_from", ""))
        yield Step(act.at, act.act, None, act.outcome, act.actor, act.motive, original)


def _sent(delivery: Owed) -> Iterator[Step]:
    is_stuck = delivery.state == "parked" and not delivery.attempts
    why = f"parked: {delivery.reason}" if is_stuck else ""
    whom = " ".join(filter(None, (delivery.destination, delivery.recipient)))
    yield Step(delivery.created_at, f"owed to {whom}", outcome=why)
    for number, started, _, outcome, code in delivery.attempts:
        ended = " ".join(filter(None, (outcome, code))) or "begun"
        yield Step(started, f"attempt {number} to {whom}", outcome=ended)


def _awaited(delivery: Owed, one: Expectation, *, was_given_up: bool) -> Iterator[Step]:
    """Until when an answer was awaited, and that it did not come by then; nothing of one that nobody awaited.

    What answered stands in the audit trail: there also of attempts before the last one.
    """
    if one.due_at == one.answered_at:
        return
    name = f"{one.kind} answer of {delivery.destination}"
    ends = [ended or started for _, started, ended, _, _ in delivery.attempts]
    begun = max((at for at in ends if at <= one.due_at), default=delivery.created_at)
    yield Step(begun, f"{name} awaited", outcome=f"until {one.due_at:%Y-%m-%d %H:%M:%S} UTC")
    was_late = one.answered_at is not None and one.answered_at > one.due_at
    if was_late or was_given_up or one.state == "overdue":
        yield Step(one.due_at, f"{name} overdue", outcome=OVERDUE)


def _decided(
    told: Sequence[Told], owed: Sequence[Owed], answers: Mapping[tuple[int, str, str], str]
) -> Iterator[Step]:
    """What answers that came later made of deliveries, and what people did."""
    standing = {one.id: one for one in owed}
    for one in told:
        details = _details(one)
        destination, number = details.get("destination", ""), _delivery(one)
        if one.act == ANSWERED:
            kind = str(details.get("answer", ""))
            message = details.get("message") or answers.get((number, kind, one.outcome), "")
            outcome = " ".join(filter(None, (one.outcome, _made_of(details, standing.get(number)))))
            yield Step(one.at, f"{kind} answer of {destination}", outcome=outcome, message=message)
        elif one.act == GIVEN_UP:
            name = f"answer of {destination} awaited no longer"
            yield Step(one.at, name, None, one.outcome, one.actor, one.motive)
        elif one.act in _OF_DELIVERIES:
            name = f"delivery to {destination} {_OF_DELIVERIES[one.act]}"
            yield Step(one.at, name, None, one.outcome, one.actor, one.motive)


def _made_of(details: Mapping[str, Any], delivery: Owed | None) -> str:
    """What an answer made of its delivery: `parked: answer.AE`. Older entries do not say it: as it stands, then."""
    if "state" in details:
        return f"{details['state']}: {details['reason']}" if details["state"] else ""
    is_parked = delivery is not None and delivery.state == "parked"
    reason = (delivery.reason or "") if delivery is not None else ""
    return f"parked: {reason}" if is_parked and reason.startswith("answer.") else ""


def _answering(
    connection: Connection, expected: Mapping[tuple[int, str], Expectation]
) -> dict[tuple[int, str, str], str]:
    """(delivery, kind, code) -> id of the message that said so, as expectations have it."""
    seqs = {one.answer_seq for one in expected.values() if one.answer_seq is not None}
    ids = {int(line.seq): line.id for line in messages_reading.by_seq(connection, sorted(seqs))}
    return {
        (number, kind, one.code or ""): ids[one.answer_seq]
        for (number, kind), one in expected.items()
        if one.answer_seq is not None and one.answer_seq in ids
    }


def _delivery(one: Told) -> int:
    return int(_details(one).get("delivery", 0))


def _details(one: Told) -> Mapping[str, Any]:
    return msgspec.json.decode(one.details) if one.details else {}
