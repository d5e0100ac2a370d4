"""Consent: the patient sees all they said, a professional only what names them, and nobody who else is blocked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.consent import Consent

from broker.accounts.days import PARIS
from broker.database.engine import writing
from broker.document import Consent as Wish
from broker.records import care_team, consents, notice_check, patients
from broker.records.consents import Said
from broker.records.patients import ConsentSaid
from tests.broker.records import record
from tests.web import papers
from tests.web.site import OTHER_INS, PHYSICIAN, Site, bearer, ids_of

OTHER = "899900000037"
TEAM = "structure:990000001#SEJ-1"


def said(minutes: int = 0) -> Said:
    return Said("jd", "counter", record.NOW + timedelta(minutes=minutes))


def speak(site: Site, patient: int) -> None:
    """Everything a patient can say, one after the other."""
    with writing(site.engine) as connection:
        wish = ConsentSaid(patient, Wish(scope="filing", value="IO"), "ward", 7)
        patients.add_consents(connection, [wish], record.NOW)
        consents.consent(connection, patient, TEAM, "IC", said(1))
        consents.consent(connection, patient, PHYSICIAN[0], "IC", said(2))
        consents.consent(connection, patient, OTHER, "INC", said(3))
        consents.block(connection, patient, "899900000045", True, said(4))
        consents.oppose_emergency(connection, patient, "centre_15", True, said(5))
        consents.application(connection, patient, "carnet-app", True, said(6))
        consents.mandate(connection, patient, "rep-1", "parent/all/2026-01-01/", said(7))
        consents.object_to_act(connection, patient, "L.2212-4", True, said(8))
        consents.traitant(connection, patient, PHYSICIAN[0], said(9))


def found(site: Site, who: dict[str, str], **given: str) -> list[dict[str, Any]]:
    bundle = site.search("Consent", who, **given)
    Bundle.model_validate(bundle)
    for one in bundle.get("entry", []):
        if one["resource"]["resourceType"] == "Consent":
            Consent.model_validate(one["resource"])
    return [one["resource"] for one in bundle.get("entry", [])]


def kind(one: dict[str, Any]) -> str:
    return str(one["category"][1]["coding"][0]["code"])


def test_the_patient_sees_all_they_said_newest_first(site: Site) -> None:
    patient = site.person()
    speak(site, patient)

    seen = found(site, site.patient())

    assert [kind(one) for one in seen] == [
        "traitant", "minor_act", "mandate", "application", "emergency", "block", "explicit",
        "explicit", "consultation", "filing",
    ]  # fmt: skip
    types = {kind(one): one["provision"]["type"] for one in seen}
    assert (types["filing"], types["block"], types["emergency"]) == ("deny", "deny", "deny")
    assert (types["consultation"], types["application"]) == ("permit", "permit")
    (blocked,) = [one for one in seen if kind(one) == "block"]
    actor = blocked["provision"]["actor"][0]["reference"]["identifier"]
    assert actor == {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899900000045"}
    (mandate,) = [one for one in seen if kind(one) == "mandate"]
    assert mandate["provision"]["period"] == {"start": "2026-01-01"}
    assert {one["patient"]["reference"] for one in seen} == {site.reference(patient)}
    for one in seen:
        assert site.get(f"Consent/{one['id']}", site.patient()).json() == one
    assert found(site, site.patient(OTHER_INS)) == []


def test_a_word_taken_back_is_the_same_consent_and_inactive(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    with writing(site.engine) as connection:
        consents.block(connection, patient, OTHER, True, said())
    (before,) = found(site, site.patient(), status="active")

    with writing(site.engine) as connection:
        consents.block(connection, patient, OTHER, False, said(1))

    (after,) = found(site, site.patient())
    assert (before["id"], after["status"]) == (after["id"], "inactive")
    assert found(site, site.patient(), status="active") == []


def test_acc_05_a_professional_sees_what_names_them_and_never_who_is_blocked(site: Site) -> None:
    patient = site.person()
    with writing(site.engine) as connection:
        consents.consent(connection, patient, PHYSICIAN[0], "IC", said(2))
        consents.traitant(connection, patient, PHYSICIAN[0], said(9))
    who = site.physician()
    given = {"patient": site.reference(patient)}
    before = site.search("Consent", who, **given)
    with site.statements() as few:
        site.search("Consent", who, **given)

    with writing(site.engine) as connection:
        consents.block(connection, patient, OTHER, True, said(3))
        consents.block(connection, patient, PHYSICIAN[0], True, said(4))
        consents.block(connection, patient, PHYSICIAN[0], False, said(5))
        consents.oppose_emergency(connection, patient, "centre_15", True, said(6))
        consents.consent(connection, patient, OTHER, "IC", said(7))
        consents.object_to_act(connection, patient, "L.2212-4", True, said(8))
    with site.statements() as many:
        after = site.search("Consent", who, **given)

    assert after.get("entry") == before.get("entry")
    assert [kind(one["resource"]) for one in after["entry"]] == ["traitant", "explicit"]
    assert len(few) == len(many)
    hidden = [one["id"] for one in found(site, site.patient()) if kind(one) == "block"]
    absent = site.get(f"Consent/{'0' * 32}", who)
    for number in hidden:
        answer = site.get(f"Consent/{number}", who)
        assert (answer.status_code, answer.content) == (404, absent.content)
    blocked = bearer(site.issuer.professional(OTHER, "10/SM26"))
    assert found(site, blocked, **given) == []


def test_con_02_a_member_of_a_team_sees_the_consent_to_it_and_of_no_other_team(
    sqlite_site: Site,
) -> None:
    site = sqlite_site
    patient = site.person()
    with writing(site.engine) as connection:
        consents.consent(connection, patient, TEAM, "IC", said())
        consents.consent(connection, patient, "structure:990000002#SEJ-2", "IC", said(1))
        entering = care_team.TeamEvent(
            patient, "structure:990000001", "enter", record.NOW, care_team.STRUCTURE, "ward", "test",
            episode="SEJ-1",
        )  # fmt: skip
        care_team.note(connection, [entering], record.NOW)
    member = bearer(site.issuer.professional(OTHER, "10/SM26", SubjectOrganizationID="990000001"))

    seen = found(site, member, patient=site.reference(patient))

    assert [one["provision"]["actor"][0]["reference"]["display"] for one in seen] == [TEAM]


def test_consents_are_searched_by_status_category_and_date_and_paged(site: Site) -> None:
    patient = site.person()
    speak(site, patient)
    who = site.patient()

    blocks = found(site, who, category="urn:carnet:consent|block")
    assert [kind(one) for one in blocks] == ["block"]
    late = (record.NOW + timedelta(minutes=8)).isoformat().replace("+00:00", "Z")
    assert [kind(one) for one in found(site, who, date=f"ge{late}")] == ["traitant", "minor_act"]
    assert found(site, who, status="inactive") == []
    for order in ("-date", "date"):
        times: list[str] = []
        page = site.search("Consent", who, _count="3", _sort=order)
        while True:
            times += [one["resource"]["dateTime"] for one in page["entry"]]
            links = [one["url"] for one in page["link"] if one["relation"] == "next"]
            if not links:
                break
            page = site.http.get(links[0], headers=who).json()
        assert len(times) == 10
        assert times == sorted(times, reverse=order == "-date")
    included = site.search("Consent", who, _include="Consent:patient", _count="1")
    assert [one["resource"]["resourceType"] for one in included["entry"]] == ["Consent", "Patient"]


def test_everything_has_the_consents_whatever_the_size_of_a_page(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    speak(site, patient)
    site.put(patient, papers.letter(0), papers.letter(1))
    for size in ("1", "2", "3", "200"):
        ids = []
        page = site.get(
            f"{site.reference(patient)}/$everything", site.patient(), _count=size
        ).json()
        while True:
            ids += [x for x in ids_of(page) if len(x) == 32]
            kinds = [one["resource"]["resourceType"] for one in page.get("entry", [])]
            assert kinds.count("Consent") <= int(size)
            links = [one["url"] for one in page["link"] if one["relation"] == "next"]
            if not links:
                break
            page = site.http.get(links[0], headers=site.patient()).json()
        wanted = [one["id"] for one in found(site, site.patient())]
        assert [one for one in ids if one in wanted] == wanted


def test_aud_01_a_look_at_consents_is_an_access_that_the_patient_sees(site: Site) -> None:
    patient = site.person()
    speak(site, patient)

    found(site, site.physician(), patient=site.reference(patient))

    events = site.search("AuditEvent", site.patient())["entry"]
    who = events[0]["resource"]["agent"][0]["who"]
    assert who["identifier"]["value"] == PHYSICIAN[0]
    with site.engine.connect() as connection:
        lines = connection.exec_driver_sql(
            "SELECT actor_kind, actor, patient FROM audit_entry WHERE act = 'consent_read'"
        ).all()
        day = int(datetime.now(PARIS).strftime("%Y%m%d"))
        assert notice_check.count(connection, day).gaps() == [], "trail, visits, notices agree"
    assert [tuple(one) for one in lines] == [("professional", PHYSICIAN[0], patient)]


def test_the_application_needs_a_scope_for_consents(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    who = site.physician(scope="user/DocumentReference.rs")

    answer = site.get("Consent", who, patient=site.reference(patient))

    assert answer.status_code == 403
