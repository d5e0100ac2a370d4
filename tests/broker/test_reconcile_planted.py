"""`carnet reconcile` finds a planted inconsistency of each kind and names what it is about, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from broker import operating
from broker.errors import AmbiguousError, PermanentError
from broker.reconcile import Finding
from broker.records import lane_names
from tests.broker.answer_site import EXPECTS, Committing, acknowledgement
from tests.broker.lane_site import DELETION, LaneSite, adt


@dataclass
class Day:
    """A day on which everything happened once; each part is there to be spoilt once."""

    site: LaneSite
    ids: dict[str, str] = field(default_factory=dict)

    def seq(self, name: str) -> int:
        return self.site.detail(self.ids[name]).line.seq

    def delivery(self, name: str) -> int:
        (row,) = self.site.rows(
            "SELECT d.id FROM delivery d WHERE d.message_seq = :seq", seq=self.seq(name)
        )
        return int(row.id)


def a_day(site: LaneSite) -> Day:
    """Filed and sent; parked; held; skipped; and each fate of a delivery. One patient each."""
    day = Day(site)
    kinds = dict.fromkeys(SENT, "ADT^A04") | {
        "merge": DELETION,
        "merge2": DELETION,
        "merge3": DELETION,
    }
    for n, (name, kind) in enumerate(kinds.items(), 1):
        (day.ids[name],) = site.receive(adt(str(n), name, kind=kind))
    site.work()
    (day.ids["held"],) = site.receive(adt("1", "held", also="2"))
    site.work()

    def says(body: bytes) -> Exception | None:
        name = body.split(b"|")[9].decode()
        if name in ("unknown", "skipped", "discarded", "confirmed"):
            return AmbiguousError("mllp.no_answer")
        return PermanentError("mllp.refused") if name == "refused" else None

    courier = site.courier(Committing(says), expects=EXPECTS)
    while (lease := site.queue.take("outbound.dmp", 50, timedelta())) is not None:
        courier.serve(lease, threading.Event())
    answers = (acknowledgement("answered"), acknowledgement("rejected", "AR"))
    day.ids["answer"], _ = site.receive(*answers)
    site.work()
    act = site.act()
    skipped = day.delivery("skipped")
    (row,) = site.rows("SELECT lane FROM delivery WHERE id = :id", id=skipped)
    operating.skip(site.engine, lane_names.outbound("dmp", row.lane), skipped, act)
    operating.discard_deliveries(site.engine, [day.delivery("discarded")], act)
    operating.confirm_deliveries(site.engine, [day.delivery("confirmed")], act)
    operating.discard_parked(site.engine, [day.seq("merge2")], act)
    operating.skip(site.engine, site.lane(day.ids["held"]), day.seq("held"), act)
    return day


SENT = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "answered", "rejected", "awaiting", "other", "unknown", "refused", "skipped", "discarded", "confirmed", "last",
)  # fmt: skip

Plant = tuple[str, str, str, dict[str, Callable[[Day], int]], str]
"""(what, check, statement, its parameters, and what is named: a message or delivery by its name in the day)."""

PLANTS: list[Plant] = [
    (
        "a message is deleted",
        "message",
        "DELETE FROM message WHERE seq = :n",
        {"n": lambda day: day.seq("one")},
        "message one",
    ),
    (
        "a message's state does not exist",
        "state",
        "UPDATE message SET state = 77 WHERE seq = :n",
        {"n": lambda day: day.seq("two")},
        "message two",
    ),
    (
        "a parked message is made to look received",
        "state",
        "UPDATE message SET state = 1 WHERE seq = :n",
        {"n": lambda day: day.seq("merge")},
        "message merge",
    ),
    (
        "a parked message is made to look skipped",
        "audit.fate",
        "UPDATE message SET state = 14 WHERE seq = :n",
        {"n": lambda day: day.seq("merge3")},
        "message merge3",
    ),
    (
        "a filed message is made to look filtered",
        "document",
        "UPDATE message SET state = 12 WHERE seq = :n",
        {"n": lambda day: day.seq("three")},
        "message three",
    ),
    (
        "the bytes of a message are deleted",
        "bytes",
        "DELETE FROM message_body WHERE seq = :n",
        {"n": lambda day: day.seq("four")},
        "message four",
    ),
    (
        "the entry of an operator's act is deleted",
        "audit.fate",
        "DELETE FROM audit_entry WHERE act = 'discarded' AND subject = (SELECT CAST(id AS text) FROM message WHERE seq = :n)",
        {"n": lambda day: day.seq("merge2")},
        "message merge2",
    ),
    (
        "a delivery's state does not exist",
        "delivery.state",
        "UPDATE delivery SET state = 'lost' WHERE id = :n",
        {"n": lambda day: day.delivery("five")},
        "delivery five",
    ),
    (
        "a settled delivery has no instant",
        "delivery.state",
        "UPDATE delivery SET settled_at = NULL WHERE id = :n",
        {"n": lambda day: day.delivery("six")},
        "delivery six",
    ),
    (
        "an unknown outcome is made to look sent",
        "delivery.sent",
        "UPDATE delivery SET state = 'sent', settled_at = 1 WHERE id = :n",
        {"n": lambda day: day.delivery("unknown")},
        "delivery unknown",
    ),
    (
        "an operator's word for it is made up",
        "delivery.sent",
        "UPDATE delivery SET state = 'sent', reason = 'delivery.confirmed' WHERE id = :n",
        {"n": lambda day: day.delivery("refused")},
        "delivery refused",
    ),
    (
        "a sent delivery is undone",
        "delivery.sent",
        "UPDATE delivery SET state = 'owed', settled_at = NULL WHERE id = :n",
        {"n": lambda day: day.delivery("seven")},
        "delivery seven",
    ),
    (
        "an attempt is deleted",
        "delivery.attempt",
        "DELETE FROM attempt WHERE delivery_id = :n",
        {"n": lambda day: day.delivery("eight")},
        "delivery eight",
    ),
    (
        "the entry of a skipped delivery is deleted",
        "delivery.fate",
        "DELETE FROM audit_entry WHERE act = 'delivery_skipped'",
        {},
        "delivery skipped",
    ),
    (
        "the entry of a discarded delivery is of another one",
        "delivery.fate",
        "UPDATE audit_entry SET details = replace(details, 'delivery', 'other') WHERE act = 'delivery_discarded'",
        {},
        "delivery discarded",
    ),
    (
        "a delivery is deleted",
        "delivery.gone",
        "DELETE FROM delivery WHERE id = :n",
        {"n": lambda day: day.delivery("nine")},
        "delivery nine",
    ),
    (
        "the last delivery is deleted",
        "delivery.gone",
        "DELETE FROM delivery WHERE id = :n",
        {"n": lambda day: day.delivery("last")},
        "delivery last",
    ),
    (
        "a message is made to look like a replay that nobody asked for",
        "replay",
        "UPDATE message SET replay_of = (SELECT min(seq) FROM message) WHERE seq = :n",
        {"n": lambda day: day.seq("five")},
        "message five",
    ),
    (
        "what a message is a replay of is not there",
        "replay",
        "UPDATE message SET replay_of = 7 WHERE seq = :n",
        {"n": lambda day: day.seq("six")},
        "message six",
    ),
    (
        "an answer is awaited of a delivery that is not there",
        "answer.delivery",
        "DELETE FROM delivery WHERE id = :n",
        {"n": lambda day: day.delivery("awaiting")},
        "delivery awaiting",
    ),
    (
        "an answer is credited to two deliveries",
        "answer.twice",
        "UPDATE expectation SET answer_seq = :answer WHERE delivery_id = :n",
        {"n": lambda day: day.delivery("other"), "answer": lambda day: day.seq("answer")},
        "message answer",
    ),
    (
        "a matched answer names no message",
        "answer.message",
        "UPDATE message SET answers = NULL WHERE seq = :n",
        {"n": lambda day: day.seq("answer")},
        "message answer",
    ),
    (
        "a refusal that came later is undone",
        "delivery.sent",
        "DELETE FROM expectation WHERE delivery_id = :n",
        {"n": lambda day: day.delivery("rejected")},
        "delivery rejected",
    ),
    (
        "a tally is off by one",
        "tally",
        "UPDATE tally_day SET n = n + 1 WHERE fate = 'filed' AND writer = 'worker-0'",
        {},
        "",
    ),
]


def test_each_planted_inconsistency_is_found_and_named(lane_site: LaneSite) -> None:
    day = a_day(lane_site)
    assert day.site.prove().findings == []
    numbers = {name: day.delivery(name) for name in SENT}
    one = numbers["one"]

    for what, check, statement, given, named in PLANTS:
        before = named_by(day, check)
        day.site.spoil(statement, **{name: value(day) for name, value in given.items()})

        after = named_by(day, check)

        kind, _, name = named.partition(" ")
        wanted = day.ids[name] if kind == "message" else f"delivery:{numbers.get(name)}"
        assert wanted in after - before if named else after - before, what
    # The first of them took a message that something was owed for.
    assert f"delivery:{one}" in named_by(day, "delivery.message")


def named_by(day: Day, check: str) -> set[str]:
    """What the findings of a check name; a finding about sums names nobody, and counts as it reads."""
    found: list[Finding] = [one for one in day.site.prove().findings if one.check == check]
    names = {name for one in found for name in (*one.messages, *one.deliveries)}
    return names or {one.text for one in found}
