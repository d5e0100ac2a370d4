"""Answers that come later, as messages of their own: credited to the one delivery they are about, or to none."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import event, text

from broker import app, operating
from broker.answers import EARLY
from broker.correlating import Expects
from broker.database.engine import reading
from broker.overdue import Overdue
from broker.records import expectations
from tests.broker.answer_site import (
    WITHIN,
    acknowledgement,
    answered,
    awaited,
    delivery,
    late,
    send,
    silent,
    zam,
)
from tests.broker.lane_site import LaneSite, Partner, adt


def test_the_applications_answer_confirms_what_was_committed(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    assert awaited(lane_site, sent) == {"application": "open"}

    (answer,) = answered(lane_site, acknowledgement("C1"))

    found = lane_site.detail(answer)
    assert (found.line.state.name, found.answers) == (
        "ANSWER_MATCHED",
        lane_site.detail(sent).line.seq,
    )
    assert awaited(lane_site, sent) == {"application": "answered"}
    assert (delivery(lane_site, sent).state, delivery(lane_site, sent).answer_code) == (
        "sent",
        "AA",
    )
    assert lane_site.balance().fates["answer_matched"] == 1
    assert lane_site.prove().findings == []


def test_a_refusal_that_comes_later_parks_the_delivery_with_code_and_place(
    lane_site: LaneSite,
) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))

    (answer,) = answered(lane_site, acknowledgement("C1", "AE"))

    row = delivery(lane_site, sent)
    assert (row.state, row.reason, row.reason_place, row.answer_code) == (
        "parked",
        "answer.AE",
        "PID-3.1",
        "AE",
    )
    assert awaited(lane_site, sent) == {"application": "refused"}
    assert lane_site.states(answer) == ["answer_matched"]
    assert lane_site.prove().findings == []


@pytest.mark.parametrize(("code", "state"), [("AA", "sent"), ("AR", "parked"), ("CE", "parked")])
def test_a_delivery_of_unknown_outcome_is_settled_by_its_answer_and_its_lane_goes_on(
    lane_site: LaneSite, code: str, state: str
) -> None:
    first, second = send(
        lane_site, adt("1", "C1"), adt("1", "C2"), partner=Partner(silent), expects=None
    )
    assert [delivery(lane_site, one).state for one in (first, second)] == ["unknown", "owed"]
    lane_site.queue.purge("outbound.dmp")

    answered(lane_site, acknowledgement("C1", code))
    send(lane_site, expects=None)

    assert delivery(lane_site, first).state == state
    assert delivery(lane_site, second).state == "sent"
    assert lane_site.prove().findings == []


@pytest.mark.parametrize(
    "other",
    [
        acknowledgement("C9"),
        acknowledgement("C1", who="OTHER|CHU"),
        acknowledgement("C1", who="CARNET|ELSEWHERE"),
        acknowledgement("C1", to="ANOTHER|CHU"),
        acknowledgement("C1", who="|"),
    ],
    ids=["another number", "another application", "another facility", "to another", "nobody"],
)
def test_f12_an_answer_of_somebody_else_is_credited_to_nobody(
    lane_site: LaneSite, other: bytes
) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))

    (answer,) = lane_site.receive(other)
    lane_site.work()
    first_look = lane_site.states(answer)
    lane_site.spoil(
        "UPDATE message SET received_at = received_at - 60000000 WHERE seq = :seq",
        seq=lane_site.detail(answer).line.seq,
    )
    lane_site.sweep()
    lane_site.work()

    assert first_look == ["received"], "its delivery may still be in a courier's hands"
    assert lane_site.states(answer) == ["parked"]
    assert lane_site.detail(answer).line.reason == "answer.unmatched"
    assert awaited(lane_site, sent) == {"application": "open"}
    assert delivery(lane_site, sent).answer_code == "CA"
    assert lane_site.prove().findings == []


def test_an_answer_quicker_than_the_couriers_word_is_credited_when_that_has_come(
    lane_site: LaneSite,
) -> None:
    (sent,) = lane_site.receive(adt("1", "C1"))
    lane_site.work()
    (answer,) = answered(lane_site, acknowledgement("C1"))
    assert lane_site.states(answer) == ["received"]

    send(lane_site)
    lane_site.sweep()
    lane_site.work()

    assert lane_site.states(answer) == ["answer_matched"]
    assert awaited(lane_site, sent) == {"application": "answered"}


def test_the_same_answer_again_is_absorbed_and_a_contrary_one_is_a_persons_business(
    lane_site: LaneSite,
) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))

    first, again, contrary = answered(
        lane_site,
        acknowledgement("C1", of="A"),
        acknowledgement("C1", of="B"),
        acknowledgement("C1", "AE", of="C"),
    )

    assert lane_site.states(first, again, contrary) == ["answer_matched", "filtered", "parked"]
    reasons = [lane_site.detail(one).line.reason for one in (again, contrary)]
    assert reasons == ["answer.duplicate", "answer.contradicts"]
    assert delivery(lane_site, sent).state == "sent"
    assert lane_site.prove().findings == []


def test_one_that_said_aa_at_once_and_says_it_again_says_nothing_new(lane_site: LaneSite) -> None:
    send(lane_site, adt("1", "C1"), partner=Partner())

    (answer,) = answered(lane_site, acknowledgement("C1"))

    assert lane_site.states(answer) == ["filtered"]
    assert lane_site.detail(answer).line.reason == "answer.duplicate"


def test_the_french_business_answers_are_credited_by_kind(lane_site: LaneSite) -> None:
    one, two = send(lane_site, adt("1", "C1"), adt("2", "C2"))

    answers = answered(
        lane_site, zam("C1", "Z02"), zam("C1", "Z03"), zam("C2", "Z01", "N", "DMPClosed")
    )

    assert lane_site.states(*answers) == ["answer_matched"] * 3
    assert awaited(lane_site, one) == {
        "application": "open",
        "reception": "answered",
        "reading": "answered",
    }
    row = delivery(lane_site, two)
    assert (row.state, row.reason, row.answer_code) == ("parked", "answer.refused", "DMPClosed")
    assert lane_site.prove().findings == []


def test_an_answer_with_a_patient_is_credited_and_filed_as_ever(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    orl = acknowledgement("C1").replace(b"ACK^A04^ACK", b"ORR^O02^ORR_O02") + (
        b"PID|||1^^^CHU&1.2.250.1.999.1.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19540201|F\rORC|OK|P1|F1\r"
        b"OBR|1|P1|F1|GLU^Glucose^L\r"
    )

    (answer,) = answered(lane_site, orl)

    assert lane_site.states(answer) == ["filed"]
    assert lane_site.detail(answer).answers == lane_site.detail(sent).line.seq
    assert awaited(lane_site, sent) == {"application": "answered"}


def test_who_came_behind_an_early_answer_of_its_lane_waits_for_it(lane_site: LaneSite) -> None:
    given = lane_site.settings
    expects = Expects(answer_within=WITHIN, sources=("ward",))
    destinations = {"dmp": msgspec.structs.replace(given.destinations["dmp"], expects=expects)}
    pipeline = app.pipeline_of(
        msgspec.structs.replace(given, destinations=destinations),
        lane_site.engine,
        lane_site.telemetry,
        "worker-0",
        clock=lane_site.clock,
    )
    early = acknowledgement("C9").replace(b"ACK^A04^ACK", b"ORR^O02^ORR_O02") + (
        b"PID|||1^^^CHU&1.2.250.1.999.1.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19540201|F\rORC|OK|P1|F1\r"
    )
    ids = lane_site.receive(early, adt("1", "C2"), to_queue=False)
    seqs = [lane_site.detail(one).line.seq for one in ids]

    outcome = pipeline.process(seqs)

    assert lane_site.states(*ids) == ["received", "waiting"]
    assert [number for numbers in outcome.again.values() for number in numbers] == seqs[:1]
    lane_site.now += 2 * EARLY
    freed = pipeline.process(seqs[:1]).freed
    assert [one.id for one in freed] == seqs[1:]
    pipeline.process(seqs[1:])
    assert lane_site.states(*ids)[1] == "filed"


def test_an_overdue_answer_is_found_once_and_cleared_when_it_comes(lane_site: LaneSite) -> None:
    one, two = send(lane_site, adt("1", "C1"), adt("2", "C2"))
    answered(lane_site, acknowledgement("C2"))
    now = lane_site.clock()
    in_time = Overdue(lane_site.engine, lane_site.telemetry, lambda: now)
    in_the_end = Overdue(lane_site.engine, lane_site.telemetry, lambda: now + 2 * WITHIN)

    assert in_time.find() == {}
    assert in_the_end.find() == {"dmp": 1}
    assert in_the_end.find() == {}, "it is said once"

    assert awaited(lane_site, one) == {"application": "overdue"}
    with reading(lane_site.engine) as connection:
        (line,) = expectations.overdue(connection)
    assert (line.message_id, line.destination, line.kind) == (one, "dmp", "application")
    assert late(lane_site) == {"dmp": 1}
    answered(lane_site, acknowledgement("C1"))
    assert awaited(lane_site, one) == {"application": "answered"}
    assert late(lane_site) == {}
    assert awaited(lane_site, two) == {"application": "answered"}


def test_nobody_awaits_the_answer_to_what_was_parked(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    answered(lane_site, zam("C1", "Z01", "N", "DMPClosed"))
    now = lane_site.clock() + 2 * WITHIN

    found = Overdue(lane_site.engine, lane_site.telemetry, lambda: now).find()

    assert found == {}
    assert awaited(lane_site, sent)["application"] == "void"


def test_sent_again_after_a_refusal_it_awaits_its_answer_anew(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    answered(lane_site, acknowledgement("C1", "AE", of="A"))
    done = operating.release_deliveries(
        lane_site.engine, [delivery(lane_site, sent).id], lane_site.act()
    )
    assert lane_site.prove().findings == []

    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site)
    between = awaited(lane_site, sent)
    (answer,) = answered(lane_site, acknowledgement("C1", of="B"))

    assert between == {"application": "open"}
    assert lane_site.states(answer) == ["answer_matched"]
    assert delivery(lane_site, sent).state == "sent"
    assert lane_site.prove().findings == []


def test_a_batch_of_answers_costs_no_statement_more_than_one(lane_site: LaneSite) -> None:
    def statements(first: int, count: int) -> int:
        numbers = range(first, first + count)
        send(lane_site, *(adt(str(n), f"C{n}") for n in numbers))
        lane_site.receive(*(acknowledgement(f"C{n}") for n in numbers))
        said: list[str] = []

        def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
            said.append(statement)

        event.listen(lane_site.engine, "before_cursor_execute", note)
        lane_site.work()
        event.remove(lane_site.engine, "before_cursor_execute", note)
        return len(said)

    assert statements(1, 1) == statements(100, 25)
    with lane_site.engine.connect() as connection:
        rows = connection.execute(text("SELECT state FROM expectation")).scalars().all()
    assert set(rows) == {"answered"}
