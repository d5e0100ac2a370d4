"""The promises, held against what a drill left: each with its figures, and what breaks it by control id. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from broker.drill.record import Delivery, Received
from broker.drill.site import PARTNER, STRICT
from broker.drill.traffic import STREET, Sent, control_id
from broker.values import State

SHOWN = 10
"""Most findings of one promise that are kept; their number is always said."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a drill is judged by.

    `arrivals`: control ids by destination, in the order the partner got them. `streets`: what the record shows of each
    patient. `beside`: what was checked elsewhere and did not agree, by promise.
    """

    run: str
    sent: Mapping[int, Sent]
    received: Sequence[Received]
    filed: Sequence[str]
    deliveries: Sequence[Delivery]
    arrivals: Mapping[str, Sequence[str]]
    streets: Mapping[int, str]
    missed: Sequence[str] = ()
    undrained: Sequence[str] = ()
    unreconciled: Sequence[str] = ()
    unverified: Sequence[str] = ()
    days: int = 0
    segments: int = 0
    entries: int = 0
    kills: Mapping[str, int] = field(default_factory=dict)


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """One promise of a drill: what it says, the figures it was judged by, and what breaks it (empty: it holds)."""

    name: str
    says: str
    figures: str
    breaks: int
    findings: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.breaks


def prove(facts: Facts) -> list[Promise]:
    """Every promise, in the order of the report."""
    acknowledged = sum(sent.acknowledged for sent in facts.sent.values())
    owed = len(facts.deliveries)
    arrived = sum(map(len, facts.arrivals.values()))
    return [
        _promise(
            "durable",
            "Every message that was answered AA is in the ledger.",
            f"{acknowledged} answered AA, {len(facts.received)} received",
            _missing(facts),
        ),
        _promise(
            "once",
            "Each of them is filed exactly once: one document, one entry in the audit trail.",
            f"{sum(row.documents for row in facts.received)} documents, {len(facts.filed)} entries",
            _not_once(facts),
        ),
        _promise(
            "nothing else",
            "Nothing is in the ledger that was not sent, and nothing twice.",
            f"{len({row.control_id for row in facts.received})} different control ids",
            _strangers(facts),
        ),
        _promise(
            "order",
            "The messages of each patient were filed in the order they were sent.",
            f"{sum(1 for sent in facts.sent.values() if sent.acknowledged)} patients",
            _out_of_order(by_patient(facts.filed)),
        ),
        _promise(
            "last version",
            "The record shows what the last message of each patient said.",
            f"{len(facts.streets)} patients looked up",
            _stale(facts),
        ),
        _promise(
            "owed",
            "Each filed message is owed to each destination once.",
            f"{owed} deliveries",
            _not_owed(facts),
        ),
        _promise(
            "delivered",
            "What is owed arrived at least once; where it may have, it is shown as unknown.",
            f"{arrived} arrivals, {_count(facts, STRICT, 'unknown')} shown as unknown, "
            f"{_count(facts, STRICT, 'owed')} wait behind one of those",
            _not_delivered(facts),
        ),
        _promise(
            "delivered once",
            "It arrived a second time only where an attempt's outcome was shown as unknown.",
            f"{arrived - len({(to, one) for to, of in facts.arrivals.items() for one in of})} second arrivals",
            _arrived_again(facts),
        ),
        _promise(
            "order outside",
            "The partners got the messages of each patient in the order they were sent.",
            f"{len(facts.arrivals)} partners",
            _arrived_out_of_order(facts),
        ),
        _promise(
            "accounted for",
            "The balance closes: `carnet reconcile` agrees for every day.",
            f"{facts.days} day(s)",
            facts.unreconciled,
        ),
        _promise(
            "audited",
            "The audit trail verifies: `carnet audit verify`.",
            f"{facts.entries} entries in {facts.segments} sealed segments",
            facts.unverified,
        ),
        _promise(
            "drained",
            "In the end nothing was left moving, and the broker ended by itself when asked.",
            "SIGTERM, exit code 0",
            facts.undrained,
        ),
        _promise(
            "drilled",
            "The broker was killed at every point of this drill.",
            f"{sum(facts.kills.values())} kills at {sum(1 for n in facts.kills.values() if n)} points",
            facts.missed,
        ),
    ]


def _promise(
    name: str, says: str, figures: str, findings: Iterator[str] | Sequence[str]
) -> Promise:
    found = list(findings)
    return Promise(name=name, says=says, figures=figures, breaks=len(found), findings=found[:SHOWN])


def _acknowledged(facts: Facts) -> Iterator[str]:
    for patient, sent in facts.sent.items():
        for number in range(1, sent.acknowledged + 1):
            yield control_id(facts.run, patient, number)


def _missing(facts: Facts) -> Iterator[str]:
    known = {row.control_id for row in facts.received}
    for one in _acknowledged(facts):
        if one not in known:
            yield f"{one} was answered AA and is not in the ledger"


def _not_once(facts: Facts) -> Iterator[str]:
    for row in facts.received:
        if (row.state, row.documents, row.entries) != (State.FILED, 1, 1):
            yield (
                f"{row.control_id} is {row.state.name.lower()} with {row.documents} documents and "
                f"{row.entries} audit entries"
            )


def _strangers(facts: Facts) -> Iterator[str]:
    """A message in hand when the drill ended may be there, answered or not."""
    possible = set(_acknowledged(facts))
    possible |= {
        control_id(facts.run, patient, sent.in_hand)
        for patient, sent in facts.sent.items()
        if sent.in_hand
    }
    for one, times in Counter(row.control_id for row in facts.received).items():
        if one not in possible:
            yield f"{one} is in the ledger and was never sent"
        elif times > 1:
            yield f"{one} is in the ledger {times} times"


def _out_of_order(numbers_of: Mapping[int, Sequence[int]]) -> Iterator[str]:
    for patient, numbers in numbers_of.items():
        wrong = next(
            ((before, after) for before, after in pairwise(numbers) if after < before),
            None,
        )
        if wrong is not None:
            yield f"patient {patient}: number {wrong[1]} came after number {wrong[0]}"


def _stale(facts: Facts) -> Iterator[str]:
    for patient, sent in facts.sent.items():
        expected = f"{sent.last_update} {STREET}"
        # A message in hand at the end may be filed, unanswered.
        possible = {expected, f"{sent.in_hand} {STREET}"} if sent.in_hand else {expected}
        if sent.last_update and facts.streets.get(patient, "") not in possible:
            yield f"patient {patient}: the record does not show number {sent.last_update}"


def _not_owed(facts: Facts) -> Iterator[str]:
    owed = Counter((one.destination, one.control_id) for one in facts.deliveries)
    for row in facts.received:
        if row.state != State.FILED:
            continue
        patient, number = parts(row.control_id)
        results = facts.sent[patient].results if patient in facts.sent else set()
        for destination in (PARTNER, STRICT) if number in results else (PARTNER,):
            if (times := owed[destination, row.control_id]) != 1:
                yield f"{row.control_id} is owed to {destination} {times} times"


def _not_delivered(facts: Facts) -> Iterator[str]:
    arrived = {destination: set(of) for destination, of in facts.arrivals.items()}
    blocked: set[tuple[str, int]] = set()
    for one in facts.deliveries:
        lane = (one.destination, one.lane)
        if one.state == "unknown" and one.destination == STRICT:
            blocked.add(lane)
        elif one.state == "owed" and lane in blocked:
            if one.control_id in arrived[one.destination]:
                yield f"{one.control_id} arrived at {one.destination}, past one whose outcome is unknown"
        elif one.state != "sent":
            yield f"{one.control_id} to {one.destination} is {one.state}"
        elif one.control_id not in arrived[one.destination]:
            yield f"{one.control_id} is noted as sent to {one.destination} and did not arrive"


def _arrived_again(facts: Facts) -> Iterator[str]:
    """An attempt that was never ended, or ended as unknown, is the doubt that explains a second arrival."""
    known = {(one.destination, one.control_id): one for one in facts.deliveries}
    for destination, of in facts.arrivals.items():
        for one, times in Counter(of).items():
            delivery = known.get((destination, one))
            if delivery is None:
                yield f"{one} arrived at {destination} and is not owed to it"
                continue
            doubts = sum(outcome in (None, "unknown") for outcome in delivery.attempts)
            allowed = 1 if destination == STRICT else 1 + doubts
            if times > allowed:
                yield f"{one} arrived at {destination} {times} times, with {doubts} attempts in doubt"


def _arrived_out_of_order(facts: Facts) -> Iterator[str]:
    for destination, of in facts.arrivals.items():
        for finding in _out_of_order(by_patient(of)):
            yield f"{destination}: {finding}"


def by_patient(of: Sequence[str]) -> dict[int, list[int]]:
    """The numbers of control ids (`<run>P<patient>N<number>`), patient by patient, in their order."""
    order: dict[int, list[int]] = defaultdict(list)
    for one in of:
        patient, number = parts(one)
        order[patient].append(number)
    return order


def parts(identity: str) -> tuple[int, int]:
    """Patient and number of a control id; (-1, 0) for what is not ours."""
    patient, _, number = identity.rpartition("P")[2].partition("N")
    return (int(patient), int(number)) if patient.isdigit() and number.isdigit() else (-1, 0)


def _count(facts: Facts, destination: str, state: str) -> int:
    return sum(one.destination == destination and one.state == state for one in facts.deliveries)
