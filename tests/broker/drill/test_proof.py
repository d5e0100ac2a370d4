"""The proof of a drill has power to fail: each promise, broken by the smallest fact that breaks it, is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.drill.proof import Facts, prove
from broker.drill.record import Delivery, Received
from broker.drill.traffic import Sent
from broker.values import State

ONE, TWO, THREE = "DP0001N00001", "DP0001N00002", "DP0001N00003"


def row(control_id: str, seq: int, *, state: State = State.FILED, documents: int = 1) -> Received:
    return Received(control_id, seq, state, 5, documents, documents)


def delivery(number: int, control_id: str, state: str = "sent", to: str = "partner") -> Delivery:
    outcome = {"sent": ("sent",), "unknown": ("unknown",), "owed": ()}[state]
    return Delivery(number, to, control_id, 5, state, outcome)


GOOD = Facts(
    run="D",
    sent={1: Sent(acknowledged=3, results={2, 3})},
    received=[row(ONE, 1), row(TWO, 2), row(THREE, 3)],
    filed=[ONE, TWO, THREE],
    deliveries=[
        delivery(1, ONE),
        delivery(2, TWO),
        delivery(3, TWO, "unknown", "strict"),
        delivery(4, THREE),
        delivery(5, THREE, "owed", "strict"),
    ],
    arrivals={"partner": [ONE, TWO, THREE], "strict": [TWO]},
    streets={1: "1 RUE DE L'EXERCICE"},
    kills={"filing.written": 2},
)
"""One patient: an update and two results, the first of which is in doubt where it must not arrive twice."""

Break = Callable[[Facts], Facts]


def attempts(facts: Facts, number: int, *outcomes: str | None) -> list[Delivery]:
    return [
        replace(one, attempts=outcomes) if one.id == number else one for one in facts.deliveries
    ]


def state(facts: Facts, number: int, name: str) -> list[Delivery]:
    return [replace(one, state=name) if one.id == number else one for one in facts.deliveries]


BROKEN: dict[str, tuple[str, Break]] = {
    "an acknowledged message is not there": (
        "durable",
        lambda facts: replace(facts, received=facts.received[:2]),
    ),
    "a message was filed twice": (
        "once",
        lambda facts: replace(facts, received=[row(ONE, 1, documents=2), *facts.received[1:]]),
    ),
    "a message was not filed": (
        "once",
        lambda facts: replace(
            facts, received=[row(ONE, 1, state=State.PARKED, documents=0), *facts.received[1:]]
        ),
    ),
    "a message stands in the ledger twice": (
        "nothing else",
        lambda facts: replace(facts, received=[*facts.received, row(ONE, 4)]),
    ),
    "a message was never sent": (
        "nothing else",
        lambda facts: replace(facts, received=[*facts.received, row("DP0001N00009", 4)]),
    ),
    "two messages of a patient changed places": (
        "order",
        lambda facts: replace(facts, filed=[ONE, THREE, TWO]),
    ),
    "the record shows an older version": (
        "last version",
        lambda facts: replace(facts, streets={1: "7 RUE DES TILLEULS"}),
    ),
    "a delivery was never owed": (
        "owed",
        lambda facts: replace(facts, deliveries=facts.deliveries[1:]),
    ),
    "a delivery is owed twice": (
        "owed",
        lambda facts: replace(facts, deliveries=[*facts.deliveries, delivery(9, ONE)]),
    ),
    "a delivery noted as sent did not arrive": (
        "delivered",
        lambda facts: replace(facts, arrivals={"partner": [ONE, THREE], "strict": [TWO]}),
    ),
    "a delivery is left behind": (
        "delivered",
        lambda facts: replace(facts, deliveries=state(facts, 2, "owed")),
    ),
    "a delivery to whom may have it twice stays unknown": (
        "delivered",
        lambda facts: replace(facts, deliveries=state(facts, 2, "unknown")),
    ),
    "a delivery went past one in doubt": (
        "delivered",
        lambda facts: replace(facts, arrivals={**facts.arrivals, "strict": [TWO, THREE]}),
    ),
    "a delivery arrived twice and no attempt was in doubt": (
        "delivered once",
        lambda facts: replace(
            facts, arrivals={**facts.arrivals, "partner": [ONE, ONE, TWO, THREE]}
        ),
    ),
    "a delivery arrived twice where it must not, doubt or no doubt": (
        "delivered once",
        lambda facts: replace(facts, arrivals={**facts.arrivals, "strict": [TWO, TWO]}),
    ),
    "something arrived that is not owed": (
        "delivered once",
        lambda facts: replace(facts, arrivals={**facts.arrivals, "strict": [ONE, TWO]}),
    ),
    "deliveries changed places": (
        "order outside",
        lambda facts: replace(facts, arrivals={**facts.arrivals, "partner": [ONE, THREE, TWO]}),
    ),
    "the balance does not close": (
        "accounted for",
        lambda facts: replace(facts, unreconciled=["20261125: tally: one too many"]),
    ),
    "the trail does not verify": (
        "audited",
        lambda facts: replace(facts, unverified=["the first bad line is 7"]),
    ),
    "the broker did not end": ("drained", lambda facts: replace(facts, undrained=["code 1"])),
    "a point was not reached": ("drilled", lambda facts: replace(facts, missed=["sweep.put"])),
}


def broken(facts: Facts) -> list[str]:
    return [promise.name for promise in prove(facts) if not promise.holds]


def test_what_was_kept_is_proved() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_named(what: str) -> None:
    name, breaking = BROKEN[what]

    assert name in broken(breaking(GOOD))


@pytest.mark.parametrize("doubt", [None, "unknown"])
def test_a_second_arrival_is_explained_by_an_attempt_in_doubt(doubt: str | None) -> None:
    facts = replace(GOOD, deliveries=attempts(GOOD, 1, doubt, "sent"))

    facts = replace(facts, arrivals={**facts.arrivals, "partner": [ONE, ONE, TWO, THREE]})

    assert broken(facts) == []


def test_a_message_in_hand_at_the_end_may_be_there_and_may_be_not() -> None:
    sent = {1: Sent(acknowledged=2, results={2, 3}, in_hand=3)}

    assert broken(replace(GOOD, sent=sent)) == []


def test_many_findings_are_counted_and_a_few_are_kept() -> None:
    strangers = [row(f"DP0002N{number:05d}", 10 + number) for number in range(40)]

    found = {one.name: one for one in prove(replace(GOOD, received=[*GOOD.received, *strangers]))}

    assert found["nothing else"].breaks == 40
    assert len(found["nothing else"].findings) == 10
