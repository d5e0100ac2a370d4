"""A43, A44 and A45 through the pipeline: what was filed under the wrong patient goes to the right one, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import at_rest, identity_acts
from broker.database.engine import reading, writing
from broker.document import decode
from broker.encryption import keyring
from broker.records import account_moves, content, payloads
from broker.values import State
from tests.broker.identity_site import (
    NIR,
    ONE_INS,
    OTHER_INS,
    a04,
    a40,
    adt,
    cx,
    events,
    members,
    owner,
    person,
    reasons,
    rows,
)
from tests.broker.lane_site import LaneSite

A43, A44, A45 = "A43^ADT_A43", "A44^ADT_A43", "A45^ADT_A45"


def take(site: LaneSite, *bodies: bytes) -> None:
    site.receive(*bodies)
    site.work()


def report(control_id: str, patient: str, *, visit: str = "", account: str = "") -> bytes:
    """A report of one visit and account, with a text as its content."""
    return (
        f"MSH|^~\\&|LIS|CHU|CARNET|CHU|20261123100000||ORU^R01^ORU_R01|{control_id}|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
        f"PID|1||{patient}||EXEMPLE^JEANNE^^^^^L||19540201|F||||||||||{account}{'|' * 14}VALI\r"
        f"PV1|1|I|||||||||||||||||{visit}\r"
        f"OBR|1|P-{control_id}^PL|F-{control_id}^LIS|GLU^Glucose^L|||20261123090000|||||||||||||||20261123100000|||F\r"
        f"OBX|1|ED|18842-5^Report^LN||^AP^^Base64^{'Qm9uam91ci4g' * 8}||||||F\r"
        "OBX|2|NM|GLU^Glucose^L||5.2|mmol/L|||||F\r"
    ).encode()


def a44(control_id: str, to: str, of: str, account: str) -> bytes:
    body = adt(A44, control_id, to, prior=f"{of}||{account}").decode()
    return (
        body.replace("|19540201|F", f"|19540201|F||||||||||{account}", 1)
        .replace("|" * 24 + "VALI", "|" * 14 + "VALI")
        .encode()
    )


def a45(control_id: str, to: str, of: str, visit: str) -> bytes:
    return adt(A45, control_id, to, prior=f"{of}||||{visit}", more=f"PV1|1|I{'|' * 17}{visit}\r")


def papers(site: LaneSite) -> dict[str, int]:
    """Control id to the person its document is filed under."""
    found = rows(
        site.engine,
        "SELECT m.control_id, d.patient FROM document d JOIN message m ON m.seq = d.message_seq",
    )
    return {row.control_id: row.patient for row in found}


def test_a_visit_goes_to_the_right_patient_with_its_documents_and_nothing_else(
    lane_site: LaneSite,
) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"), report("R2", cx("A"), visit="SEJ-7"))
    take(lane_site, a04("1", cx("B")))
    a, b = person(lane_site.engine, "A"), person(lane_site.engine, "B")

    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"))

    assert papers(lane_site) == {"R1": b, "R2": a, "1": b}
    assert reasons(lane_site.engine)["2"] == "identity.moved"
    (event,) = events(lane_site.engine)
    assert (event.kind, event.patient, event.other) == ("move", a, b)
    assert [one for _, one in event.details["documents"]] == [a]
    (entry,) = rows(lane_site.engine, "SELECT * FROM audit_entry WHERE act = 'patient_moved'")
    assert (entry.subject, entry.patient, entry.actor) == (f"patient:{a}", b, "ward")


def test_content_and_bytes_go_with_their_document(
    lane_site: LaneSite,
) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"), a04("1", cx("B")))
    engine = lane_site.engine
    a, b = person(engine, "A"), person(engine, "B")
    (paper,) = rows(engine, "SELECT id FROM document WHERE patient = :a", a=a)
    before = rows(engine, "SELECT patient, sha256 FROM attachment")

    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"))

    assert {row.patient for row in before} == {a}
    assert {row.patient for row in rows(engine, "SELECT patient FROM attachment")} == {b}
    with reading(engine) as connection:
        document = decode(payloads.one(connection, str(paper.id)))
        (held,) = [one for one in document.attachments if one.sha256]
        assert content.open(connection, b, held.sha256).startswith(b"Bonjour.")


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_what_was_moved_is_sealed_anew_and_not_erased_with_the_other_patient(
    lane_site: LaneSite, is_taken_back: bool
) -> None:
    engine = lane_site.engine
    at_rest.attach(engine, lane_site.settings)
    keyring.make(Path(at_rest.place(lane_site.settings)))
    at_rest.attach(engine, lane_site.settings, lane_site.clock())
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"), a04("1", cx("B")))
    a, b = person(engine, "A"), person(engine, "B")
    (paper,) = rows(engine, "SELECT id FROM document WHERE patient = :a", a=a)
    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"))
    if is_taken_back:
        identity_acts.unmove(engine, events(lane_site.engine)[0].n, lane_site.act())

    with writing(engine) as connection:
        account_moves.erase(connection, [b if is_taken_back else a], lane_site.clock())

    with reading(engine) as connection:
        document = decode(payloads.one(connection, str(paper.id)))
        (held,) = [one for one in document.attachments if one.sha256]
        owner = a if is_taken_back else b
        assert content.open(connection, owner, held.sha256).startswith(b"Bonjour.")
    assert all(
        row.encoding == "sealed" for row in rows(engine, "SELECT encoding FROM document_payload")
    )


def test_bytes_that_another_document_still_needs_stay_with_it_too(lane_site: LaneSite) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"), report("R2", cx("A"), visit="SEJ-7"))

    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"))

    engine = lane_site.engine
    holders = {row.patient for row in rows(engine, "SELECT patient FROM attachment")}
    assert holders == {person(engine, "A"), person(engine, "B")}


def test_an_account_goes_with_all_its_visits(lane_site: LaneSite) -> None:
    take(
        lane_site,
        report("R1", cx("A"), visit="SEJ-1", account="DOS-8"),
        report("R2", cx("A"), visit="SEJ-2", account="DOS-8"),
        report("R3", cx("A"), visit="SEJ-3", account="DOS-9"),
    )

    take(lane_site, a44("1", cx("B"), cx("A"), "DOS-8"))

    engine = lane_site.engine
    a, b = person(engine, "A"), person(engine, "B")
    assert papers(lane_site) == {"R1": b, "R2": b, "R3": a}
    assert reasons(engine)["1"] == "identity.moved"


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_identifier_goes_with_what_was_filed_under_it(
    lane_site: LaneSite, is_listed: bool
) -> None:
    """What both lists carry moves; where they share nothing, all of MRG-1 does."""
    take(lane_site, a04("1", cx("K~A")), report("R1", cx("K")), report("R2", cx("A")))
    take(lane_site, a04("2", cx("B")))
    engine = lane_site.engine
    a, b = person(engine, "A"), person(engine, "B")

    to, of = (cx("B~K"), cx("A~K")) if is_listed else (cx("B"), cx("K"))
    take(lane_site, adt(A43, "3", to, prior=of), report("R3", cx("K")))

    assert (person(engine, "K"), person(engine, "A")) == (b, a)
    assert papers(lane_site) == {"1": b, "R1": b, "R2": a, "2": b, "R3": b}
    assert reasons(engine)["3"] == "identity.moved"


def test_what_is_in_the_same_batch_before_it_moves_and_what_comes_after_stays(
    lane_site: LaneSite,
) -> None:
    take(
        lane_site,
        report("R1", cx("A"), visit="SEJ-8"),
        a45("1", cx("B"), cx("A"), "SEJ-8"),
        report("R2", cx("A"), visit="SEJ-8"),
    )

    engine = lane_site.engine
    assert papers(lane_site) == {"R1": person(engine, "B"), "R2": person(engine, "A")}


def test_a_move_waits_for_what_came_before_of_the_patient_it_is_taken_from(
    lane_site: LaneSite,
) -> None:
    take(lane_site, report("R0", cx("A"), visit="SEJ-8"))
    early = lane_site.receive(report("R1", cx("A"), visit="SEJ-8"), to_queue=False)
    (moving,) = lane_site.receive(a45("1", cx("B"), cx("A"), "SEJ-8"))
    (behind,) = lane_site.receive(report("R2", cx("B")))
    lane_site.work()
    assert lane_site.states(moving, behind) == ["waiting", "waiting"]

    for _ in range(3):
        lane_site.sweep()
        lane_site.work()

    b = person(lane_site.engine, "B")
    assert papers(lane_site) == {"R0": b, "R1": b, "R2": b}
    assert lane_site.states(*early, behind) == ["filed", "filed"]


def test_a_move_is_held_behind_what_is_held(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("C")))
    take(lane_site, a04("3", cx("A~C")))
    assert reasons(lane_site.engine)["3"] == "identity.conflict"

    take(lane_site, a45("4", cx("B"), cx("A"), "SEJ-8"))

    (row,) = rows(lane_site.engine, "SELECT state, reason FROM message WHERE control_id = '4'")
    assert (row.state, row.reason) == (State.HELD, "identity.move_behind")
    assert not events(lane_site.engine)


def test_a_move_said_twice_has_no_further_effect_and_one_back_is_done(lane_site: LaneSite) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"))
    take(lane_site, a45("1", cx("B"), cx("A"), "SEJ-8"))
    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"))
    assert papers(lane_site) == {"R1": person(lane_site.engine, "B")}

    take(lane_site, a45("3", cx("A"), cx("B"), "SEJ-8"))

    assert papers(lane_site) == {"R1": person(lane_site.engine, "A")}
    found = reasons(lane_site.engine)
    assert [found[one] for one in "123"] == [
        "identity.moved", "identity.moved_nothing", "identity.moved",
    ]  # fmt: skip
    assert len(events(lane_site.engine)) == 2


def test_an_identifier_of_nobody_names_the_patient_it_is_moved_to(lane_site: LaneSite) -> None:
    take(lane_site, adt(A43, "1", cx("B~K"), prior=cx("A~K")), report("R1", cx("K")))

    engine = lane_site.engine
    assert person(engine, "K") == person(engine, "B")
    assert papers(lane_site) == {"R1": person(engine, "B")}
    assert reasons(engine)["1"] == "identity.moved_nothing"


def test_between_persons_of_one_record_nothing_is_moved(lane_site: LaneSite) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"), a40("1", cx("B"), cx("A")))
    a = person(lane_site.engine, "A")

    take(lane_site, a45("2", cx("B"), cx("A"), "SEJ-8"), adt(A43, "3", cx("B~A"), prior=cx("A")))

    assert papers(lane_site)["R1"] == a
    assert reasons(lane_site.engine)["3"] == "identity.moved_already"
    assert [one.kind for one in events(lane_site.engine)] == ["merge"]
    assert len(members(lane_site.engine, "A")) == 2


def test_an_ins_is_not_moved_to_who_has_another(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A", ONE_INS)), a04("2", cx("B", OTHER_INS)))

    take(lane_site, adt(A43, "3", cx("B"), prior=cx("", ONE_INS)))

    assert reasons(lane_site.engine)["3"] == "identity.two_ins"
    assert owner(lane_site.engine, NIR, ONE_INS) == person(lane_site.engine, "A")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (adt(A43, "9", cx("K"), prior=cx("K")), "identity.move_target_missing"),
        (adt(A43, "9", cx("B")), "identity.prior_missing"),
        (adt(A44, "9", cx("B"), prior=cx("A")), "identity.prior_missing"),
        (adt(A45, "9", cx("B"), prior=cx("A")), "identity.prior_missing"),
        (adt(A43, "9", cx("B~K"), prior=cx("A~K")), "identity.conflict"),
    ],
)
def test_what_does_not_say_whole_what_moves_changes_nothing(
    lane_site: LaneSite, body: bytes, reason: str
) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")), a04("3", cx("K")))
    before = rows(lane_site.engine, "SELECT system, value, patient FROM patient_identifier")

    take(lane_site, body)

    assert reasons(lane_site.engine)["9"] == reason
    after = rows(lane_site.engine, "SELECT system, value, patient FROM patient_identifier")
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert not events(lane_site.engine)


def test_two_moves_in_one_message_are_done_together_or_not_at_all(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("K")), a04("2", cx("L")))
    k = person(lane_site.engine, "K")
    second = f"PID|2||{cx('C')}||EXEMPLE^JEANNE^^^^^L||19540201|F\rMRG|{cx('L')}\r"

    take(lane_site, adt(A43, "3", cx("B"), prior=cx("K"), more=second), a04("4", cx("K")))

    assert reasons(lane_site.engine)["3"] == "identity.several_patients"
    assert person(lane_site.engine, "K") == k
    assert papers(lane_site)["4"] == k


def test_a_move_is_taken_back_by_command_and_held_when_it_is_said_again(
    lane_site: LaneSite,
) -> None:
    take(lane_site, a04("1", cx("K~A")), report("R1", cx("K")), a04("2", cx("B")))
    take(lane_site, adt(A43, "3", cx("B~K"), prior=cx("A~K")), report("R2", cx("B")))
    engine = lane_site.engine
    a, b = person(engine, "A"), person(engine, "B")
    (made,) = events(lane_site.engine)

    would = identity_acts.unmove(engine, made.n, lane_site.act(), dry_run=True)
    assert papers(lane_site)["R1"] == b
    done = identity_acts.unmove(engine, made.n, lane_site.act())

    assert would.documents == done.documents
    assert papers(lane_site) == {"1": a, "R1": a, "2": b, "R2": b}
    assert (person(engine, "K"), done.problem) == (a, "")
    assert {row.patient for row in rows(engine, "SELECT patient FROM attachment")} == {a, b}
    assert (
        identity_acts.unmove(engine, made.n, lane_site.act()).problem == "identity.unmoved_already"
    )
    (entry,) = rows(engine, "SELECT * FROM audit_entry WHERE act = 'patient_move_undone'")
    assert (entry.actor, entry.motive) == ("jd", "ticket 4711")

    take(lane_site, adt(A43, "4", cx("B~K"), prior=cx("A~K")))

    assert reasons(engine)["4"] == "identity.move_taken_back"
    assert person(engine, "K") == a


def test_what_went_on_to_somebody_else_is_not_taken_back(lane_site: LaneSite) -> None:
    take(lane_site, report("R1", cx("A"), visit="SEJ-8"))
    take(lane_site, a45("1", cx("B"), cx("A"), "SEJ-8"), a45("2", cx("C"), cx("B"), "SEJ-8"))
    first = events(lane_site.engine)[0].n

    problem = identity_acts.unmove(lane_site.engine, first, lane_site.act()).problem

    assert problem == "identity.move_stale"
    assert identity_acts.unmove(lane_site.engine, 999, lane_site.act()).problem == (
        "identity.not_a_move"
    )
