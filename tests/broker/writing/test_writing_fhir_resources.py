"""What a FHIR client finds of a document's structured content, in a transaction and in a document Bundle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from broker.document import (
    Allergy,
    Appointment,
    Attachment,
    Author,
    Coded,
    Coding,
    Document,
    Encounter,
    Event,
    Identifier,
    Immunization,
    Location,
    Medication,
    Movement,
    Observation,
    Order,
    Organization,
    Participant,
    Patient,
    Period,
    Person,
    PersonName,
    Problem,
    Procedure,
    Quantity,
    Recipient,
    Report,
    ResultValue,
    Section,
    Source,
    Specimen,
    When,
)
from broker.writing.fhir import Form, missing, to_bytes, to_fhir
from broker.writing.fhir_composition import narrative

FORMS: tuple[Form, ...] = ("transaction", "document")
AT = When(value="2024-03-09T07:35:00", offset="+01:00")
DAY = When(value="2024-03-09")
DOCTOR = Person(
    identifiers=(Identifier(value="10000000001", system="rpps"),),
    name=PersonName(family="MEDECIN", given=("INVENTE",)),
)
CLINIC = Organization(name="Clinique inventée")


def coded(code: str) -> Coded:
    return Coded(codings=(Coding(code=code, system="http://loinc.org"),))


EVERYTHING = Document(
    id="018f0000-0000-7000-8000-000000000003",
    kind="clinical_document",
    status="final",
    title="Synthèse",
    type_code=coded("11490-0"),
    created_at=AT,
    patient=Patient(identifiers=(Identifier(value="IPP1", system="1.2.3"),), sex="female"),
    authors=(Author(person=DOCTOR, organization=CLINIC, at=AT),),
    legal_authenticator=Author(person=DOCTOR, organization=CLINIC, at=AT),
    custodian=CLINIC,
    event=Event(occurred_at=AT),
    source=Source(
        received_at="2024-03-09T06:40:00.123456+00:00",
        facility=Identifier(value="CHU"),
        message_id="MSG1",
    ),
    encounters=(
        Encounter(
            id="enc-1",
            status="in_progress",
            identifier=Identifier(value="V1", system="1.2.4"),
            class_=Coded(
                codings=(
                    Coding(code="I"),
                    Coding(code="IMP", system="http://x/act", role="translation"),
                )
            ),
            start=AT,
            location=Location(point_of_care="CARDIO", room="101", bed="2"),
            previous_location=Location(point_of_care="URG"),
            participants=(Participant(role=coded("attending"), person=DOCTOR),),
            movement=Movement(medical_unit=Organization(name="Cardiologie")),
        ),
    ),
    reports=(
        Report(
            id="rep-1",
            code=coded("11502-2"),
            status="final",
            requester=DOCTOR,
            placer_order=Identifier(value="P1", system="1.2.5"),
            performers=(Participant(person=DOCTOR),),
            specimens=(Specimen(id="spm-1", type=coded("BLD")),),
            observations=(
                Observation(
                    id="obs-1",
                    code=coded("85354-9"),
                    status="final",
                    specimen="spm-1",
                    performer=DOCTOR,
                    components=(
                        Observation(
                            code=coded("8480-6"), value=ResultValue(quantity=Quantity(value="120"))
                        ),
                        Observation(code=coded("8462-4"), absent_reason="not-performed"),
                    ),
                ),
            ),
        ),
    ),
    problems=(
        Problem(
            id="prb-1", code=coded("I10"), clinical_status="active", verification="confirmed", onset=DAY
        ),
    ),
    allergies=(
        Allergy(
            id="all-1", code=coded("PEN"), category="medication", criticality="high", reactions=(coded("URT"),)
        ),
    ),
    medications=(
        Medication(kind="prescribed", product=coded("A"), dose=Quantity(value="1.50", unit="mg"), timing="le soir", performer=DOCTOR, start=DAY, end=DAY),
        Medication(kind="administered", product=coded("B"), start=AT, dose=Quantity(value="2")),
        Medication(kind="administered", product=coded("C")),
        Medication(kind="dispensed", product=coded("D"), quantity=Quantity(value="30")),
        Medication(kind="statement", product=coded("E"), as_needed=True),
    ),
    immunizations=(
        Immunization(vaccine=coded("140"), occurred_at=DAY, lot="L1", status="completed", dose_number="2"),
        Immunization(vaccine=coded("141"), status="not_done", reason_not_done=coded("REF")),
    ),
    procedures=(
        Procedure(code=coded("DEQP003"), status="completed", performed=Period(start=AT), performers=(Participant(person=DOCTOR),)),
    ),
    orders=(Order(code=coded("58410-2"), control="NW", priority="S", requester=DOCTOR, requested_at=AT),),
    appointments=(
        Appointment(status="booked", start=AT, end=AT, participants=(Participant(person=DOCTOR),)),
        Appointment(status="booked", start=DAY),
    ),
    sections=(
        Section(id="sec-1", title="Antécédents", code=coded("11450-4"), narrative="<text>Hypertension &amp; <b>tabac</b></text>", entries=("prb-1",)),
        Section(id="sec-2", title="Détail", parent="sec-1", narrative="suite"),
        Section(id="sec-3", title="Allergies", empty_reason="unavailable"),
    ),
)  # fmt: skip


def _bundle(form: Form = "transaction", document: Document = EVERYTHING) -> dict[str, Any]:
    return to_fhir(document, {}.__getitem__, form)


def _of(kind: str, bundle: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    entries = (bundle or _bundle())["entry"]
    return [e["resource"] for e in entries if e["resource"]["resourceType"] == kind]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "reference":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


@pytest.mark.parametrize("form", FORMS)
def test_everything_structured_is_a_valid_resource(form: Form) -> None:
    Bundle.model_validate_json(to_bytes(EVERYTHING, {}.__getitem__, form))

    found = {e["resource"]["resourceType"] for e in _bundle(form)["entry"]}
    assert found >= {
        "Patient", "Encounter", "Location", "DiagnosticReport", "Observation", "Specimen", "ServiceRequest",
        "Condition", "AllergyIntolerance", "MedicationRequest", "MedicationAdministration", "MedicationDispense",
        "MedicationStatement", "Immunization", "Procedure", "Appointment", "Practitioner", "Organization",
        "Provenance",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_reference_leads_to_an_entry_and_every_entry_is_there_once(form: Form) -> None:
    bundle = _bundle(form)
    urls = [entry["fullUrl"] for entry in bundle["entry"]]

    assert len(urls) == len(set(urls))
    assert {r for r in _references(bundle) if not r.startswith("#")} <= set(urls)


def test_a_person_met_in_many_places_is_one_practitioner() -> None:
    assert len(_of("Practitioner")) == 1


def test_a_document_bundle_begins_with_its_composition_and_leads_to_everything() -> None:
    bundle = _bundle("document")
    by_url = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    (first, *_) = by_url.values()
    reached, todo = set[str](), list(_references(first))
    while todo:
        url = todo.pop()
        if url not in reached:
            reached.add(url)
            todo += _references(by_url[url])

    assert (bundle["type"], first["resourceType"]) == ("document", "Composition")
    assert bundle["timestamp"] == "2024-03-09T07:35:00+01:00"
    assert bundle["identifier"]["value"] == f"urn:uuid:{EVERYTHING.id}"
    left = {by_url[url]["resourceType"] for url in by_url if url not in reached}
    assert left == {"Composition", "Provenance"}
    assert all("request" not in entry for entry in bundle["entry"])


def test_the_composition_has_the_header_and_the_sections_in_their_tree() -> None:
    (first,) = _of("Composition", _bundle("document"))
    urls = {e["fullUrl"]: e["resource"]["resourceType"] for e in _bundle("document")["entry"]}

    assert first["title"] == "Synthèse"
    assert first["attester"][0]["mode"] == "legal"
    one, empty, *kinds = first["section"]
    assert one["title"] == "Antécédents"
    assert [urls[r] for r in _references(one)] == ["Condition"]
    assert one["section"][0]["title"] == "Détail"
    assert empty["emptyReason"] == {"text": "unavailable"}
    assert "Problems" not in [section["title"] for section in kinds]
    assert {"Results", "Allergies", "Medicines", "Vaccinations"} <= {s["title"] for s in kinds}


def test_an_observation_has_its_components_and_what_was_not_done() -> None:
    (found,) = (o for o in _of("Observation") if "component" in o)

    assert [c["code"]["coding"][0]["code"] for c in found["component"]] == ["8480-6", "8462-4"]
    assert found["component"][1]["dataAbsentReason"] == {"text": "not-performed"}
    assert found["performer"]
    assert found["encounter"]


def test_an_encounter_has_its_class_places_and_people() -> None:
    (found,) = _of("Encounter")

    assert (found["status"], found["class"]["code"]) == ("in-progress", "IMP")
    assert [place.get("status") for place in found["location"]] == [None, "completed"]
    assert found["participant"][0]["individual"]
    assert found["period"] == {"start": "2024-03-09T07:35:00+01:00"}


def test_what_fhir_demands_and_nobody_said_is_said_to_be_unknown() -> None:
    (allergy,) = _of("AllergyIntolerance")
    without_time = next(one for one in _of("MedicationAdministration") if "effectivePeriod" in one)
    without_date = next(one for one in _of("Immunization") if "occurrenceString" in one)
    bare = _bundle("document", Document(id="x", encounters=(Encounter(),)))

    assert allergy["clinicalStatus"]["extension"][0]["valueCode"] == "unknown"
    assert without_time["effectivePeriod"]["extension"][0]["valueCode"] == "unknown"
    assert without_date["status"] == "not-done"
    assert _of("Encounter", bare)[0]["class"]["code"] == "UNK"
    assert _of("Composition", bare)[0]["author"][0]["extension"]
    Bundle.model_validate_json(msgspec.json.encode(bare))


def test_an_appointment_without_a_full_time_is_what_was_asked_for() -> None:
    agreed, asked = _of("Appointment")

    assert agreed["start"] == "2024-03-09T07:35:00+01:00"
    assert "start" not in asked
    assert asked["requestedPeriod"] == [{"start": "2024-03-09"}]


def test_numbers_keep_their_digits_in_doses() -> None:
    body = to_bytes(EVERYTHING, {}.__getitem__)

    assert b'"value":1.50' in body


def test_the_provenance_says_who_sent_what_and_when_it_was_received() -> None:
    (found,) = _of("Provenance")

    assert found["recorded"] == "2024-03-09T06:40:00+00:00"
    assert found["agent"] == [{"who": {"display": "CHU"}}]
    assert found["entity"][0]["what"]["identifier"]["value"] == "MSG1"


def test_a_transaction_with_content_has_one_submission_set() -> None:
    content = Attachment(sha256="ab", sha1="ab", size=2, media_type="text/plain", role="main")
    sender = Author(person=Person(name=PersonName(family="DEMANDEUR")))
    recipient = Recipient(organization=CLINIC)
    document = msgspec.structs.replace(
        EVERYTHING, attachments=(content,), sender=sender, recipients=(recipient,)
    )

    bundle = to_fhir(document, lambda _: b"ab")

    (listed,) = _of("List", bundle)
    urls = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert urls[listed["entry"][0]["item"]["reference"]] == "DocumentReference"
    assert listed["date"] == "2024-03-09T06:40:00+00:00"
    assert listed["contained"][0]["name"][0]["family"] == "DEMANDEUR"
    assert listed["extension"][0]["valueReference"] == {"reference": "#organization2"}
    assert _of("List") == []
    Bundle.model_validate_json(msgspec.json.encode(bundle))


def test_the_source_patient_is_known_by_the_identifiers_of_the_source() -> None:
    patient = Patient(
        identifiers=(
            Identifier(value="1", kind="INS-NIR", system="ins_nir"),
            Identifier(value="IPP", system="1.2"),
        )
    )
    (reference,) = _of(
        "DocumentReference",
        _bundle(document=msgspec.structs.replace(EVERYTHING, patient=patient)),
    )

    source = next(one for one in reference["contained"] if one["resourceType"] == "Patient")
    assert [one["value"] for one in source["identifier"]] == ["IPP"]
    assert reference["context"]["sourcePatientInfo"] == {"reference": f"#{source['id']}"}


def test_what_the_sender_takes_back_is_never_current() -> None:
    event = Event(operation="delete")
    withdrawn = msgspec.structs.replace(EVERYTHING, event=event)

    (reference,) = _of("DocumentReference", _bundle(document=withdrawn))
    (first,) = _of("Composition", _bundle("document", withdrawn))

    assert (reference["status"], first["status"]) == ("entered-in-error", "entered-in-error")


def test_a_medicine_keeps_what_was_done_with_it() -> None:
    (request,) = _of("MedicationRequest")
    (statement,) = _of("MedicationStatement")

    assert request["dosageInstruction"][0]["text"] == "le soir"
    assert request["dispenseRequest"]["validityPeriod"]["end"] == "2024-03-09"
    assert statement["dosage"][0]["asNeededBoolean"] is True


@given(st.text())
def test_a_narrative_is_well_formed_whatever_the_section_holds(text: str) -> None:
    shown = narrative(text)

    assert shown is None or etree.fromstring(shown["div"]).tag.endswith("div")


def test_a_narrative_shows_the_words_of_a_cda_section() -> None:
    shown = narrative("<text><p>Tension &lt; 14 &amp; stable</p><br/>À revoir</text>")

    assert shown is not None
    assert shown["div"] == (
        '<div xmlns="http://www.w3.org/1999/xhtml"><p>Tension &lt; 14 &amp; stable</p><p>À revoir</p></div>'
    )


def test_what_the_dmp_requires_and_the_document_lacks_is_listed_and_not_made_up() -> None:
    found = {one.attribute for one in missing(EVERYTHING)}

    assert found == {
        "classCode", "confidentialityCode", "formatCode", "hash", "size", "mimeType", "healthcareFacilityTypeCode",
        "practiceSettingCode", "languageCode", "patientId", "serviceStartTime", "uniqueId",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("unique_id", "is_good"),
    [
        (Identifier(value="1.2.250.1.999.1"), True),
        (Identifier(value="1.2.250.1.999.1", system="urn:ietf:rfc:3986"), True),
        (Identifier(value="42", system="1.2.250.1.999.1"), False),
        (Identifier(value="1.2." + "9" * 64), False),
        (Identifier(value="9f2e9b60-1d0f-4f4c-8f0c-2f7a4b1c0d11"), False),
    ],
)
def test_the_dmp_takes_an_oid_without_extension(unique_id: Identifier, is_good: bool) -> None:
    document = msgspec.structs.replace(EVERYTHING, unique_id=unique_id)

    assert ("uniqueId" not in {one.attribute for one in missing(document)}) == is_good
