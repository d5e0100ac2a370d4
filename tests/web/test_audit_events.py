"""AuditEvent: the patient sees every access, a professional their own, and no line tells of a hidden document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fhir.resources.R4B.bundle import Bundle

from broker.accounts.days import PARIS
from broker.database.engine import writing
from broker.records import consents, notice_check, sight
from broker.records.consents import Said
from tests.broker.records import record
from tests.web import papers
from tests.web.site import DISCHARGE, OTHER_INS, PHYSICIAN, Site, bearer

GLASS = {"X-Carnet-Mode": "bris_de_glace", "X-Carnet-Reason": "found%20unconscious"}
OTHER = ("899900000037", "10/SM26")


def events(site: Site, who: dict[str, str], patient: int, **given: str) -> list[dict[str, Any]]:
    bundle = site.search("AuditEvent", who, patient=site.reference(patient), **given)
    Bundle.model_validate(bundle)
    return [one["resource"] for one in bundle.get("entry", [])]


def what(one: dict[str, Any]) -> tuple[str, str, str]:
    """Who, action, and the document or nothing."""
    agent = one["agent"][0]["who"]
    who = agent.get("identifier", {}).get("value") or agent["reference"].partition("/")[0]
    documents = [e["what"]["reference"] for e in one["entity"][1:]]
    return who, one["action"], documents[0].partition("/")[2] if documents else ""


def test_aud_02_the_patient_sees_every_access_and_a_professional_their_own(site: Site) -> None:
    patient = site.person()
    shown = papers.letter(0)
    site.put(patient, shown)
    other = bearer(site.issuer.professional(*OTHER)) | {"X-Carnet-Consent": "explicit"}
    site.get(f"DocumentReference/{shown.id}", site.physician())
    site.ids("DocumentReference", other, patient=site.reference(patient))
    site.ids("DocumentReference", site.patient())

    seen = [what(one) for one in events(site, site.patient(), patient)]

    by_physician, by_other = (PHYSICIAN[0], "R", shown.id), (OTHER[0], "E", "")
    assert seen == [("Patient", "E", ""), by_other, by_physician]
    assert [what(one) for one in events(site, site.physician(), patient)] == [by_physician]
    assert [what(one) for one in events(site, other, patient)] == [by_other]
    assert events(site, site.patient(OTHER_INS), patient) == []
    with site.engine.connect() as connection:
        told = connection.exec_driver_sql("SELECT count(*) FROM audit_entry WHERE act = 'audit_read'")  # fmt: skip
        assert told.scalar_one() >= 3


def test_acc_07_the_declared_medecin_traitant_sees_the_whole_list(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter(0))
    other = bearer(site.issuer.professional(*OTHER)) | {"X-Carnet-Consent": "explicit"}
    site.ids("DocumentReference", other, patient=site.reference(patient))
    assert events(site, site.physician(), patient) == []

    with writing(site.engine) as connection:
        consents.traitant(connection, patient, PHYSICIAN[0], Said("jd", "counter", record.NOW))

    assert [what(one)[0] for one in events(site, site.physician(), patient)] == [OTHER[0]]


def test_aud_07_no_line_tells_of_a_document_the_reader_may_not_see(site: Site) -> None:
    patient = site.person()
    letter = papers.letter(0, DISCHARGE)
    site.put(patient, letter)
    site.get(f"DocumentReference/{letter.id}", site.physician())
    (own,) = events(site, site.physician(), patient)
    assert what(own)[2] == letter.id

    with writing(site.engine) as connection:
        change = sight.SightChange(letter.id, "mask", f"patient:{patient}", "online", "VIS-01")
        sight.change(connection, [change], record.NOW)
    masked = site.get(f"AuditEvent/{own['id']}", site.physician())
    absent = site.get(f"AuditEvent/{'0' * 32}", site.physician())

    assert events(site, site.physician(), patient) == []
    assert (masked.status_code, masked.content) == (404, absent.content)
    assert [what(one)[2] for one in events(site, site.patient(), patient)] == [letter.id]


def test_emg_07_an_emergency_stands_with_its_mode_and_the_typed_reason(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.letter(0))
    urgent = bearer(site.issuer.professional(*OTHER)) | GLASS
    site.ids("DocumentReference", urgent, patient=site.reference(patient))

    (one,) = events(site, site.patient(), patient, purpose="BTG")

    assert one["purposeOfEvent"][0]["text"] == "found unconscious"
    assert site.get(f"AuditEvent/{one['id']}", site.patient()).json() == one
    assert events(site, site.patient(), patient, purpose="TREAT") == []


def test_not_02_a_page_that_shows_content_is_told_line_by_line(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.structured(0), papers.structured(1))
    urgent = bearer(site.issuer.professional(*OTHER)) | GLASS
    for who in (site.physician(), urgent):
        assert site.ids("Observation", who, patient=site.reference(patient))

    day = int(datetime.now(PARIS).strftime("%Y%m%d"))
    with site.engine.connect() as connection:
        mirror = notice_check.count(connection, day)

    assert mirror.gaps() == [], "trail, visits and notices have the same lines"
    assert sum(mirror.lines.values()) == 6, "twice a list and two documents"


def test_pages_of_accesses_come_back_whole_in_either_order(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter(0))
    for _ in range(5):
        site.ids("DocumentReference", site.physician(), patient=site.reference(patient))
    for order in ("-date", "date"):
        found: list[str] = []
        page = site.search("AuditEvent", site.patient(), _count="2", _sort=order)
        while True:
            found += [one["resource"]["recorded"] for one in page["entry"]]
            links = [one["url"] for one in page["link"] if one["relation"] == "next"]
            if not links:
                break
            page = site.http.get(links[0], headers=site.patient()).json()

        assert len(found) == 5
        assert found == sorted(found, reverse=order == "-date")


def test_everything_ends_with_the_accesses_whatever_the_size_of_a_page(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.letter(0), papers.letter(1))
    site.ids("DocumentReference", site.physician(), patient=site.reference(patient))
    kinds = []
    page = site.get(f"{site.reference(patient)}/$everything", site.patient(), _count="2").json()
    while True:
        kinds += [one["resource"]["resourceType"] for one in page.get("entry", [])]
        links = [one["url"] for one in page["link"] if one["relation"] == "next"]
        if not links:
            break
        page = site.http.get(links[0], headers=site.patient()).json()

    assert kinds.count("DocumentReference") == 2
    assert kinds.count("AuditEvent") >= 2
    assert kinds[-1] == "AuditEvent"
