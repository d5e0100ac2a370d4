"""A record of several persons: corrections across the merge, links, the holder, and replays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import identity_acts
from broker.access import Viewer
from broker.audit import trail
from broker.records import reading
from broker.rules import decide
from tests.broker.identity_site import a04, a40, adt, cx, members, oru, person, reasons, rows
from tests.broker.lane_site import MAPPINGS, LaneSite
from tests.broker.replay_site import ReplaySite, mdm

RULES = decide.load(MAPPINGS / "rules")
PHYSICIAN = Viewer(
    kind="professional", id="899900000029", name="Dr Essai", profession="G15_10", consent="explicit"
)
OID = "1.2.250.1.999.1.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ReplaySite]:
    made = ReplaySite(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}")
    yield made
    made.close()


def take(site: LaneSite, *bodies: bytes) -> list[str]:
    ids = site.receive(*bodies)
    site.work()
    return [str(one) for one in ids]


def listed(site: LaneSite, viewer: Viewer, patient: int) -> int:
    page = reading.listing(
        site.engine, viewer, patient, decide=RULES.reading, trail=trail.write, now=site.clock()
    )
    return len(page.items)


def local(value: str) -> str:
    return f"{value}^^^CHU&{OID}&ISO^PI"


def number(site: LaneSite, value: str) -> int:
    statement = "SELECT patient FROM patient_identifier WHERE system = :oid AND value = :value"
    return int(rows(site.engine, statement, oid=OID, value=value)[0].patient)


@pytest.mark.parametrize("deletes", [True, False])
def test_a_correction_across_a_merge_is_applied_and_given_back(
    site: ReplaySite, deletes: bool
) -> None:
    take(site, mdm("A", "1", "D1", "first"), mdm("B", "2", "D2", "other"))
    take(site, a40("3", local("B"), local("A")))

    later = (
        mdm("B", "4", "D1", "", deletes=True)
        if deletes
        else mdm("B", "4", "D3", "second", replaces="D1")
    )
    take(site, later)

    first = "SELECT availability FROM document WHERE patient = :a AND kind = 'clinical_document'"
    state = rows(site.engine, first, a=number(site, "A"))[0].availability
    assert state == ("deleted" if deletes else "superseded")
    effect = identity_acts.unmerge(site.engine, number(site, "A"), site.act())
    assert rows(site.engine, first, a=number(site, "A"))[0].availability == "current"
    assert len(effect.given_back) == 1


def test_before_a_merge_nobodys_document_is_touched_by_another_patient(site: ReplaySite) -> None:
    take(site, mdm("A", "1", "D1", "first"), mdm("B", "2", "D3", "second", replaces="D1"))

    assert reasons(site.engine)["2"] == "file.target_other_patient"


def test_linked_patients_are_listed_together_for_professionals_only(site: ReplaySite) -> None:
    take(site, oru("1", cx("A")), oru("2", cx("B")))
    a, b = person(site.engine, "A"), person(site.engine, "B")
    holder = Viewer(kind="patient", id=str(a))
    assert (listed(site, PHYSICIAN, a), listed(site, holder, a)) == (1, 1)

    take(site, adt("A24^ADT_A24", "3", cx("A"), second=cx("B")))

    assert (listed(site, PHYSICIAN, a), listed(site, PHYSICIAN, b)) == (2, 2)
    assert listed(site, holder, a) == 1


def test_a_linked_patient_who_closed_the_space_is_not_shown(site: ReplaySite) -> None:
    take(site, oru("1", cx("A")), oru("2", cx("B")))
    take(site, adt("A24^ADT_A24", "3", cx("A"), second=cx("B")))
    take(site, adt("A04^ADT_A01", "4", cx("B"), more="PV1|1|O\rZFA|FERME|20261101\r"))

    assert listed(site, PHYSICIAN, person(site.engine, "A")) == 1


def test_the_holder_comes_under_either_number(site: ReplaySite) -> None:
    take(site, oru("1", cx("A")), oru("2", cx("B")), a40("3", cx("B"), cx("A")))
    a, b = person(site.engine, "A"), person(site.engine, "B")

    assert listed(site, Viewer(kind="patient", id=str(a)), a) == 2
    assert listed(site, Viewer(kind="patient", id=str(a)), b) == 2
    (visit,) = reading.visits(site.engine, a)
    assert reading.visits(site.engine, b) == [visit], (
        "one session, one visit, seen under both numbers"
    )


def test_a_replayed_merge_joins_nobody_again(site: ReplaySite) -> None:
    take(site, a04("1", cx("A")), a04("2", cx("B")))
    (merge,) = take(site, a40("3", cx("B"), cx("A")))
    a = person(site.engine, "A")
    identity_acts.unmerge(site.engine, a, site.act())
    papers = len(rows(site.engine, "SELECT 1 FROM document"))

    site.replay([merge])
    site.work()

    assert members(site.engine, "A") == {a}
    assert len(rows(site.engine, "SELECT 1 FROM document")) == papers
    (again,) = site.replays_of(merge)
    assert site.detail(again).line.reason == "identity.replayed"  # type: ignore[arg-type]
