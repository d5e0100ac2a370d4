"""Identity messages through the pipeline: who is whose, and what is never changed."""

from __future__ import annotations

import pytest

from broker.database.engine import reading
from broker.records import identity_journal, patients
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


def take(site: LaneSite, *bodies: bytes) -> None:
    site.receive(*bodies)
    site.work()


def test_a_merge_makes_one_record_and_moves_no_row(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")))
    a, b = person(lane_site.engine, "A"), person(lane_site.engine, "B")

    take(lane_site, a40("3", cx("B"), cx("A")), a04("4", cx("A")))

    engine = lane_site.engine
    assert members(engine, "A") == members(engine, "B") == {a, b}
    assert {row.patient for row in rows(engine, "SELECT patient FROM document")} == {a, b}
    assert len(rows(engine, "SELECT 1 FROM document WHERE patient = :a", a=a)) == 2
    assert reasons(engine)["3"] == "identity.merged"
    (entry,) = rows(engine, "SELECT * FROM audit_entry WHERE act = 'patient_merged'")
    assert (entry.subject, entry.patient, entry.actor) == (f"patient:{a}", b, "ward")


def test_a_merge_of_unknown_patients_creates_both(lane_site: LaneSite) -> None:
    take(lane_site, a40("1", cx("B"), cx("A")))

    assert len(members(lane_site.engine, "A")) == 2
    assert person(lane_site.engine, "A") != person(lane_site.engine, "B")


def test_a_merge_said_twice_has_no_further_effect(lane_site: LaneSite) -> None:
    take(lane_site, a40("1", cx("B"), cx("A")), a40("2", cx("B"), cx("A")))

    assert reasons(lane_site.engine) == {"1": "identity.merged", "2": "identity.merged_already"}
    assert len(rows(lane_site.engine, "SELECT 1 FROM identity_event")) == 1


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_circle_of_merges_is_said_and_without_effect(
    lane_site: LaneSite, in_one_batch: bool
) -> None:
    bodies = [
        a40("1", cx("B"), cx("A")),
        a40("2", cx("C"), cx("B")),
        a40("3", cx("A"), cx("C")),
    ]
    for some in [bodies] if in_one_batch else [[one] for one in bodies]:
        take(lane_site, *some)

    assert reasons(lane_site.engine)["3"] == "identity.circular"
    assert len(members(lane_site.engine, "A")) == 3


def test_a_merge_of_several_absorbs_them_all(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")), a40("3", cx("C"), cx("A~B")))

    assert members(lane_site.engine, "C") == {
        person(lane_site.engine, one) for one in ("A", "B", "C")
    }


def test_two_merge_groups_in_one_message_are_done_together_or_not_at_all(
    lane_site: LaneSite,
) -> None:
    second = f"PID|2||{cx('C')}||EXEMPLE^JEANNE^^^^^L||19540201|F\rMRG|{cx('B')}\r"
    other = f"PID|2||{cx('Z')}||EXEMPLE^JEANNE^^^^^L||19540201|F\rMRG|{cx('Y')}\r"

    take(lane_site, a40("1", cx("C"), cx("A"), more=second))
    take(lane_site, a40("2", cx("V"), cx("W"), more=other))

    assert len(members(lane_site.engine, "C")) == 3
    assert reasons(lane_site.engine)["2"] == "identity.several_patients"
    assert len(rows(lane_site.engine, "SELECT 1 FROM identity_event")) == 2


@pytest.mark.parametrize("which", ["known", "brought"])
def test_two_ins_stop_a_merge_and_a_person_decides(lane_site: LaneSite, which: str) -> None:
    take(lane_site, a04("1", cx("A", ONE_INS)))
    if which == "known":
        take(lane_site, a04("2", cx("B", OTHER_INS)))

    take(lane_site, a40("3", cx("B", OTHER_INS if which == "brought" else ""), cx("A")))

    assert reasons(lane_site.engine)["3"] == "identity.two_ins"
    assert rows(lane_site.engine, "SELECT state FROM message WHERE control_id = '3'")[0].state == (
        State.HELD
    )
    assert not rows(lane_site.engine, "SELECT 1 FROM patient WHERE merged_into IS NOT NULL")


def test_a_merged_record_has_one_ins_whichever_number_a_message_comes_under(
    lane_site: LaneSite,
) -> None:
    take(lane_site, a04("1", cx("A", ONE_INS)), a40("2", cx("B"), cx("A")))

    take(lane_site, a04("3", cx("B", OTHER_INS)))
    take(lane_site, a04("4", cx("C", ONE_INS)))

    assert reasons(lane_site.engine)["3"] == "identity.ins_differs"
    assert person(lane_site.engine, "C") == person(lane_site.engine, "A"), "found by its INS"


def test_numbers_of_both_name_one_record_after_the_merge_and_are_a_conflict_before(
    lane_site: LaneSite,
) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")), a04("3", cx("C")))
    take(lane_site, a40("4", cx("B"), cx("A")))

    take(lane_site, a04("5", cx("A~B")))
    take(lane_site, a04("6", cx("C~A")))

    found = reasons(lane_site.engine)
    assert (found["5"], found["6"]) == (None, "identity.conflict")


def test_linked_patients_stay_two_and_can_be_unlinked(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), adt("A24^ADT_A24", "2", cx("A"), second=cx("B")))
    engine = lane_site.engine
    with reading(engine) as connection:
        linked = identity_journal.linked(connection, [person(engine, "A")])

    take(lane_site, adt("A37^ADT_A37", "3", cx("B"), second=cx("A")))

    assert linked == [person(engine, "B")]
    assert len(members(engine, "A")) == 1
    assert not rows(engine, "SELECT 1 FROM identity_link")
    assert reasons(engine) == {"1": None, "2": "identity.linked", "3": "identity.unlinked"}


def test_a_changed_local_number_still_names_the_patient(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), adt("A47^ADT_A30", "2", cx("A2"), prior=cx("A")))
    take(lane_site, a04("3", cx("A")), a04("4", cx("A2")))

    assert person(lane_site.engine, "A") == person(lane_site.engine, "A2")
    assert len(rows(lane_site.engine, "SELECT DISTINCT patient FROM document")) == 1


def test_a_changed_ins_no_longer_names_the_patient(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A", ONE_INS)))
    take(lane_site, adt("A47^ADT_A30", "2", cx("A", OTHER_INS), prior=cx("", ONE_INS)))
    take(lane_site, a04("3", cx("", ONE_INS)), a04("4", cx("", OTHER_INS)))

    engine = lane_site.engine
    assert owner(engine, NIR, OTHER_INS) == person(engine, "A")
    assert owner(engine, NIR, ONE_INS) not in (None, person(engine, "A")), "somebody else's now"
    assert reasons(engine)["2"] == "identity.renumbered"


def test_an_ins_that_is_deleted_leaves_the_patient_under_its_own_number(
    lane_site: LaneSite,
) -> None:
    gone = f'""^^^ASIP-SANTE-INS-NIR&{NIR}&ISO^INS'
    take(lane_site, a04("1", cx("A", ONE_INS)))

    take(lane_site, adt("A47^ADT_A30", "2", gone, prior=cx("", ONE_INS), status="PROV"))

    engine = lane_site.engine
    assert reasons(engine)["2"] == "identity.ins_removed"
    assert not rows(engine, "SELECT 1 FROM patient_identifier WHERE system = :s", s=NIR)
    assert person(engine, "A")
    (event,) = events(engine)
    assert (event.kind, event.patient) == ("remove", person(engine, "A"))
    (paper,) = rows(engine, "SELECT id FROM document")
    assert event.details["documents"] == [str(paper.id)], "to be looked at"


def test_a_number_of_another_patient_is_not_given_away(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")))

    take(lane_site, adt("A47^ADT_A30", "3", cx("B"), prior=cx("A")))

    assert reasons(lane_site.engine)["3"] == "identity.conflict"


@pytest.mark.parametrize("event", ["A23^ADT_A21", "A29^ADT_A21", "A48^ADT_A43"])
def test_what_needs_a_person_changes_nothing(lane_site: LaneSite, event: str) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")))

    take(lane_site, adt(event, "3", cx("B"), prior=cx("A")))

    assert reasons(lane_site.engine)["3"] == "identity.event_unsupported"
    assert not rows(lane_site.engine, "SELECT 1 FROM identity_event")


def test_a_merge_that_names_nobody_to_absorb_is_parked(lane_site: LaneSite) -> None:
    take(lane_site, adt("A40^ADT_A39", "1", cx("A")))

    assert reasons(lane_site.engine)["1"] == "identity.prior_missing"


def test_an_opposition_of_any_member_closes_the_record_from_the_merge_on(
    lane_site: LaneSite,
) -> None:
    opposed = "ZFA|||||||||IO|20261101\r"
    take(lane_site, adt("A04^ADT_A01", "1", cx("A"), more=f"PV1|1|O\r{opposed}"))
    take(lane_site, a04("2", cx("B")), a40("3", cx("B"), cx("A")), a04("4", cx("B")))

    found = reasons(lane_site.engine)
    assert (found["2"], found["4"]) == (None, "account.opposed")


def test_same_strict_traits_under_other_numbers_are_candidates_and_never_merged(
    lane_site: LaneSite,
) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")), a04("3", cx("C"), name="AUTRE^JEANNE"))
    take(lane_site, a04("4", cx("D", ONE_INS), name="HOMO^NYME"))
    take(lane_site, a04("5", cx("E", OTHER_INS), name="Hômo^NYME"))

    engine = lane_site.engine
    found = rows(engine, "SELECT one, other, why, state FROM identity_candidate ORDER BY one")
    pairs = [(row.one, row.other, row.why, row.state) for row in found]
    assert pairs == [
        (person(engine, "A"), person(engine, "B"), "same_traits", "open"),
        (person(engine, "D"), person(engine, "E"), "homonym", "open"),
    ]
    assert len(members(engine, "A")) == 1


def test_a_row_of_traits_is_written_only_where_a_message_says_something_new(
    lane_site: LaneSite,
) -> None:
    def written() -> tuple[int, int]:
        (row,) = rows(lane_site.engine, "SELECT created_at, updated_at FROM patient")
        return row.created_at, row.updated_at

    take(lane_site, a04("1", cx("A")))
    created, updated = written()
    assert updated == created

    take(lane_site, a04("2", cx("A")))
    assert written() == (created, created)

    lane_site.spoil("UPDATE patient SET traits_digest = NULL")
    take(lane_site, a04("2b", cx("A")))
    (row,) = rows(lane_site.engine, "SELECT traits_digest FROM patient")
    assert row.traits_digest is not None

    take(lane_site, a04("3", cx("A")).replace(b"EXEMPLE", b"NOUVEAU"))
    assert written()[1] > created
    who = patients.traits_of(lane_site.engine, person(lane_site.engine, "A"))
    assert who is not None
    assert who.names[0].family == "NOUVEAU"
