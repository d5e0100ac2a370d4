"""Representatives: the record of whom they represent and no other, while the mandate holds, and never what is kept from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.database.engine import writing
from broker.records import consents, notice_check, sight
from broker.records.consents import Said
from tests.broker.records import record
from tests.web import papers
from tests.web.site import INS, OTHER_INS, PHYSICIAN, Site

PARENT, OTHER_PARENT = "p-0001", "p-0002"
CHILD_BORN = "2015-06-01"
PARIS = ZoneInfo("Europe/Paris")


def declare(site: Site, patient: int, value: str = "parent/all//", who: str = PARENT) -> None:
    with writing(site.engine) as connection:
        consents.mandate(connection, patient, who, value, Said("jd", "counter", record.NOW))


def hide(site: Site, document: str) -> None:
    with writing(site.engine) as connection:
        change = sight.SightChange(document, "hide_representatives", "jd", "counter", "VIS-04")
        sight.change(connection, [change], record.NOW)


def kinds(bundle: dict[str, Any]) -> list[str]:
    return [one["resource"]["resourceType"] for one in bundle.get("entry", [])]


def refused(site: Site) -> set[str]:
    with site.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT outcome FROM audit_entry WHERE act = 'refused'")
        return {str(row.outcome) for row in rows}


def test_min_01_a_parent_reads_the_record_of_the_child_and_the_trail_says_how(site: Site) -> None:
    child = site.person(born=CHILD_BORN)
    letter = papers.letter(0)
    site.put(child, letter)
    declare(site, child)
    who = site.representative(PARENT, given_name="Anne", family_name="EXEMPLE")

    assert site.ids("DocumentReference", who) == [letter.id]
    assert site.ids("DocumentReference", who, patient=site.reference(child)) == [letter.id]
    assert site.get(f"DocumentReference/{letter.id}", who).status_code == 200
    assert kinds(site.get(f"{site.reference(child)}/$everything", who).json())[:2] == [
        "Patient", "DocumentReference",
    ]  # fmt: skip

    with site.engine.connect() as connection:
        lines = connection.exec_driver_sql(
            "SELECT DISTINCT actor_kind, actor, mode, patient FROM audit_entry WHERE actor_kind = 'representative'"
        ).all()
        day = int(datetime.now(PARIS).strftime("%Y%m%d"))
        assert notice_check.count(connection, day).gaps() == [], "trail, visits, notices agree"
    assert [tuple(one) for one in lines] == [("representative", PARENT, "representative", child)]
    agents = [
        one["resource"]["agent"][0] for one in site.search("AuditEvent", site.patient())["entry"]
    ]
    assert ("representative", "Anne EXEMPLE") in [
        (one["who"].get("display"), one.get("name")) for one in agents
    ]


def test_vis_04_what_a_minor_keeps_from_them_is_not_there(site: Site) -> None:
    child = site.person(born=CHILD_BORN)
    shown, hidden = papers.letter(0), papers.letter(1)
    site.put(child, shown, hidden)
    hide(site, hidden.id)
    declare(site, child)
    with writing(site.engine) as connection:
        said = Said("jd", "counter", record.NOW)
        consents.object_to_act(connection, child, "L.2212-4", True, said)
        consents.mandate(connection, child, OTHER_PARENT, "parent/all//", said)
    who = site.representative(PARENT)
    site.get(f"DocumentReference/{hidden.id}", site.physician())

    everything = site.get(f"{site.reference(child)}/$everything", who)

    assert hidden.id not in everything.text
    assert "minor_act" not in everything.text
    assert OTHER_PARENT not in everything.text
    assert kinds(everything.json()).count("DocumentReference") == 1
    absent = site.get("DocumentReference/00000000-0000-4000-8000-000000000000", who)
    answer = site.get(f"DocumentReference/{hidden.id}", who)
    assert (answer.status_code, answer.content) == (404, absent.content)
    assert set(site.ids("DocumentReference", site.patient())) == {shown.id, hidden.id}
    assert "access.hidden_from_representatives" in refused(site)


def test_m5_the_18th_birthday_ends_it_at_midnight_in_paris(site: Site) -> None:
    tomorrow = datetime.now(PARIS).date() + timedelta(days=1)
    if (tomorrow.month, tomorrow.day) == (2, 29):
        tomorrow += timedelta(days=1)
    child = site.person(born=tomorrow.replace(year=tomorrow.year - 18).isoformat())
    letter = papers.letter(0)
    site.put(child, letter)
    declare(site, child)
    who = site.representative(PARENT)
    midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=PARIS).astimezone(UTC)

    site.later = midnight - datetime.now(UTC) - timedelta(seconds=60)
    before = site.ids("DocumentReference", who)
    site.later = midnight - datetime.now(UTC) + timedelta(seconds=1)
    after = site.ids("DocumentReference", who)

    assert (before, after) == ([letter.id], [])
    assert site.get(f"DocumentReference/{letter.id}", who).status_code == 404
    assert "access.of_age" in refused(site)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "access.other_record"),
        ("ended/all//", "access.other_record"),
        ("parent/all//2020-01-01", "access.mandate_over"),
        ("assistance/person//", "access.mandate_scope"),
        ("representation/property//", "access.mandate_scope"),
        ("carer/all//", "access.carer"),
    ],
)
def test_without_a_mandate_that_holds_a_token_opens_nothing(
    sqlite_site: Site, value: str, reason: str
) -> None:
    site = sqlite_site
    child = site.person(born=CHILD_BORN)
    letter = papers.letter(0)
    site.put(child, letter)
    if value:
        declare(site, child, value)
    who = site.representative(PARENT)

    assert site.search("DocumentReference", who).get("entry", []) == []
    assert site.search("Consent", who).get("entry", []) == []
    assert site.get(f"DocumentReference/{letter.id}", who).status_code == 404
    assert site.get(f"{site.reference(child)}/$everything", who).status_code == 404
    assert refused(site) == {reason}


def test_adu_01_who_represents_an_adult_by_judgment_reads_while_it_lasts(sqlite_site: Site) -> None:
    site = sqlite_site
    adult = site.person()
    site.put(adult, papers.letter(0))
    declare(site, adult, "representation/person/2026-01-01/2099-12-31")

    assert len(site.ids("DocumentReference", site.representative(PARENT))) == 1


def test_a_token_is_for_one_patient_whatever_other_mandates_there_are(site: Site) -> None:
    one = site.person(born=CHILD_BORN)
    other = site.person(OTHER_INS, born=CHILD_BORN)
    letter = papers.letter(0)
    site.put(other, letter)
    declare(site, one)
    declare(site, other)
    who = site.representative(PARENT, INS)

    assert site.search("DocumentReference", who, patient=site.reference(other)).get("entry") is None
    assert site.get(f"DocumentReference/{letter.id}", who).status_code == 404
    assert site.get(f"{site.reference(other)}/$everything", who).status_code == 404
    assert site.ids("DocumentReference", site.representative(PARENT, OTHER_INS)) == [letter.id]


def test_a_link_of_a_page_is_not_followed_by_the_patient_or_for_another(sqlite_site: Site) -> None:
    site = sqlite_site
    child = site.person(born=CHILD_BORN)
    site.put(child, papers.letter(0), papers.letter(1))
    declare(site, child)
    page = site.search("DocumentReference", site.representative(PARENT), _count="1")
    (link,) = [one["url"] for one in page["link"] if one["relation"] == "next"]

    for who in (site.patient(), site.representative(OTHER_PARENT)):
        assert site.http.get(link, headers=who).status_code == 404
    assert site.http.get(link, headers=site.representative(PARENT)).status_code == 200


@pytest.mark.parametrize("claim", [7, "", ["279035121518989"], "a b", None])
def test_a_claim_that_represents_nobody_is_refused_and_never_taken_for_the_patient(
    sqlite_site: Site, claim: Any
) -> None:
    site = sqlite_site
    site.put(site.person(), papers.letter(0))
    token = site.patients.sign({"ins": INS, "represents": claim})

    answer = site.get("DocumentReference", {"Authorization": f"Bearer {token}"})

    # `sign` leaves out a claim that is None: that token is the patient's own.
    assert answer.status_code == (200 if claim is None else 403)


def test_a_professional_does_not_become_a_representative_by_a_claim(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.letter(0))
    who = site.physician(represents=INS)
    site.ids("DocumentReference", who, patient=site.reference(patient))

    events = site.search("AuditEvent", site.patient())["entry"]

    agent = events[-1]["resource"]["agent"][0]
    assert agent["who"]["identifier"]["value"] == PHYSICIAN[0]
    urgent = site.representative(PARENT) | {"X-Carnet-Mode": "centre_15"}
    assert site.get("DocumentReference", urgent).status_code == 403
