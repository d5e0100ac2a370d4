"""A partner takes messages over at once and says later what became of them, over a connection of its own."""

from __future__ import annotations

import time
from typing import Any

import hl7.client
import pytest

from tests.broker.answer_site import acknowledgement
from tests.broker.lane_site import adt
from tests.broker.partner import Partner
from tests.story.site import Site, free_port

DEADLINE = 60.0


def settings(partner: Partner, answers: int, within: str) -> str:
    return f"""
[source.ris-answers]
adapter = "mllp"
port = {answers}

[destination.ris]
adapter = "mllp"
host = "127.0.0.1"
port = {partner.port}
expects = {{ answer_within = "{within}", sources = ["ris-answers"] }}

[[route]]
name = "everything"
to = ["ris"]
"""


def answer(port: int, body: bytes) -> str:
    with hl7.client.MLLPClient("127.0.0.1", port) as client:
        told: bytes = client.send(b"\x0b" + body + b"\x1c\r")
    return told.split(b"MSA|")[1].split(b"|")[0].decode()


def until(site: Site, holds: Any) -> Any:
    """Wait until `carnet status` says so."""
    deadline = time.monotonic() + DEADLINE
    while True:
        _, lines = site.carnet("status")
        if holds(lines[0]):
            return lines[0]
        assert time.monotonic() < deadline, lines[0]


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
def test_answers_are_matched_overdue_ones_shown_and_the_balance_closes(site: Site) -> None:
    partner, port = Partner(lambda _id, _message: "CA"), free_port()
    site.write(settings(partner, port, "3s"))

    with site.serving():
        site.send_mllp(*(adt(str(n), f"C{n}") for n in range(1, 6)))
        site.await_settled(5)
        # Taken, refused, answered too late, never answered, and by one who does not say who it is; and by somebody else.
        assert answer(port, acknowledgement("C1")) == "AA"
        answer(port, acknowledgement("C2", "AE"))
        answer(port, acknowledgement("C3", who="OTHER|CHU", of="X"))
        answer(port, acknowledgement("C5", who="|"))
        site.await_balance(lambda b: b.get("answer_matched", 0) == 3, DEADLINE)
        until(site, lambda s: s["answers_overdue"].get("ris", {}).get("count") == 2)
        _, late = site.carnet("parked", "list", "--kind", "answer")
        answer(port, acknowledgement("C3"))
        site.await_balance(lambda b: b.get("answer_matched", 0) == 4, DEADLINE)
        until(site, lambda s: s["answers_overdue"]["ris"]["count"] == 1)
        _, left = site.carnet("parked", "list", "--kind", "answer")
        given_up = site.carnet(
            "parked", "discard", left[0]["id"], "--reason", "they lost it, ticket 4711", "--yes"
        )
        status = until(site, lambda s: s["answers_overdue"] == {})
        site.await_settled(10)

    partner.close()
    assert {(one["reason"], one["awaits"]) for one in late} == {("answer.overdue", "application")}
    assert given_up[0] == 0
    assert status["balance"]["closes"]
    _, parked = site.carnet("parked", "list")
    assert sorted((one["kind"], one["reason"]) for one in parked) == [
        ("delivery", "answer.AE"),
        ("message", "answer.unmatched"),
    ]
    assert site.carnet("reconcile")[0] == 0
