"""The timeline of a message tells what partners said later and what people decided, beside what was said at once."""

from __future__ import annotations

from broker import operating, timeline
from broker.database.engine import reading
from broker.overdue import Overdue
from tests.broker.answer_site import (
    WITHIN,
    acknowledgement,
    answered,
    delivery,
    send,
    silent,
    zam,
)
from tests.broker.lane_site import DELETION, LaneSite, Partner, adt


def steps(site: LaneSite, message_id: str) -> list[timeline.Step]:
    found = site.detail(message_id)
    with reading(site.engine) as connection:
        return timeline.of(connection, found)


def told(site: LaneSite, message_id: str, *words: str) -> list[tuple[str, str]]:
    """The steps whose name has one of the words, as (name, outcome)."""
    return [
        (one.name, one.outcome)
        for one in steps(site, message_id)
        if any(word in one.name for word in words)
    ]


def test_a_late_refusal_stands_beside_the_first_answer_and_says_that_it_parked(
    lane_site: LaneSite,
) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))

    (answer,) = answered(lane_site, acknowledgement("C1", "AE"))

    found = steps(lane_site, sent)
    attempt, awaited, late = found[-3:]
    assert (attempt.name, attempt.outcome) == ("attempt 1 to dmp", "sent CA")
    assert awaited.name == "application answer of dmp awaited"
    assert (late.name, late.outcome) == ("application answer of dmp", "AE parked: answer.AE")
    assert (late.message, late.by) == (answer, "")
    assert attempt.at < late.at
    assert sorted(one.at for one in found) == [one.at for one in found]


def test_an_attempt_keeps_what_was_answered_to_it(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    answered(lane_site, acknowledgement("C1", "AE"))

    (attempt,) = lane_site.rows("SELECT outcome, answer_code FROM attempt")

    assert (attempt.outcome, attempt.answer_code) == ("sent", "CA")
    assert delivery(lane_site, sent).answer_code == "AE"


def test_an_answer_that_confirms_says_so_and_one_to_an_unknown_outcome_that_it_is_sent(
    lane_site: LaneSite,
) -> None:
    (sure,) = send(lane_site, adt("1", "C1"))
    answered(lane_site, acknowledgement("C1"))
    (unsure,) = send(lane_site, adt("2", "C2"), partner=Partner(silent), expects=None)
    answered(lane_site, acknowledgement("C2"))

    assert told(lane_site, sure, "answer")[-1] == ("application answer of dmp", "AA")
    assert told(lane_site, unsure, "answer of") == [
        ("application answer of dmp", "AA sent: delivery.answered")
    ]


def test_an_overdue_answer_is_told_with_when_and_stays_when_it_comes(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    due = lane_site.rows("SELECT due_at FROM expectation")[0].due_at
    lane_site.spoil("UPDATE expectation SET due_at = due_at - 3600000000")
    Overdue(lane_site.engine, lane_site.telemetry, lane_site.clock).find()
    before = told(lane_site, sent, "answer of")
    answered(lane_site, acknowledgement("C1"))

    overdue = ("application answer of dmp overdue", "answer.overdue")
    assert overdue in before
    assert [one for one in told(lane_site, sent, "answer of") if "awaited" not in one[0]] == [
        overdue,
        ("application answer of dmp", "AA"),
    ]
    (step,) = [one for one in steps(lane_site, sent) if one.name == overdue[0]]
    assert int(step.at.timestamp() * 1_000_000) == due - 3_600_000_000


def test_an_answer_that_a_person_gave_up_is_told_with_who_and_why(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    Overdue(lane_site.engine, lane_site.telemetry, lambda: lane_site.clock() + 2 * WITHIN).find()

    operating.discard_deliveries(
        lane_site.engine, [delivery(lane_site, sent).id], lane_site.act("they lost it")
    )

    found = {one.name: one for one in steps(lane_site, sent)}
    given_up = found["answer of dmp awaited no longer"]
    assert (given_up.by, given_up.why) == ("jd", "they lost it")
    assert "application answer of dmp overdue" in found


def test_a_release_is_told_with_who_and_why_and_the_answer_before_it_stays(
    lane_site: LaneSite,
) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))
    (first,) = answered(lane_site, acknowledgement("C1", "AE", of="A"))
    done = operating.release_deliveries(
        lane_site.engine, [delivery(lane_site, sent).id], lane_site.act("they mended it", "mm")
    )
    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site)
    (second,) = answered(lane_site, acknowledgement("C1", of="B"))

    found = [one for one in steps(lane_site, sent) if "dmp" in one.name and one.outcome]
    assert [(one.name, one.outcome) for one in found if "awaited" not in one.name] == [
        ("routed to dmp", "rule all"),
        ("attempt 1 to dmp", "sent CA"),
        ("application answer of dmp", "AE parked: answer.AE"),
        ("delivery to dmp released", "answer.AE"),
        ("attempt 2 to dmp", "sent CA"),
        ("application answer of dmp", "AA"),
    ]
    assert [one.message for one in found if one.message] == [first, second]
    assert [(one.by, one.why) for one in found if one.by] == [("mm", "they mended it")]


def test_what_people_did_to_a_delivery_or_the_message_is_told(lane_site: LaneSite) -> None:
    unsure, behind = send(
        lane_site, adt("1", "C1"), adt("1", "C2"), partner=Partner(silent), expects=None
    )
    operating.confirm_deliveries(
        lane_site.engine, [delivery(lane_site, unsure).id], lane_site.act("they have it")
    )
    operating.discard_orphans(
        lane_site.engine, [delivery(lane_site, behind).id], lane_site.act("gone")
    )
    (bad,) = lane_site.receive(adt("3", "C3", kind=DELETION))
    lane_site.work()
    operating.discard_parked(
        lane_site.engine, [lane_site.detail(bad).line.seq], lane_site.act("a test")
    )

    acts = [
        (one.name, one.by, one.why)
        for message in (unsure, behind, bad)
        for one in steps(lane_site, message)
        if one.by
    ]
    assert acts == [
        ("delivery to dmp confirmed as sent", "jd", "they have it"),
        ("delivery to dmp discarded", "jd", "gone"),
        ("discarded", "jd", "a test"),
    ]
    assert len([one for one in steps(lane_site, bad) if one.name == "discarded"]) == 1


def test_the_french_answers_are_told_each_by_its_kind(lane_site: LaneSite) -> None:
    (sent,) = send(lane_site, adt("1", "C1"))

    answered(lane_site, zam("C1", "Z02"), zam("C1", "Z03", "N", "DMPClosed"))

    assert [one for one in told(lane_site, sent, "answer of") if "awaited" not in one[0]] == [
        ("reception answer of dmp", "Y"),
        ("reading answer of dmp", "DMPClosed parked: answer.refused"),
    ]
