"""What FHIR messages of several kinds and versions become, through the project's own mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker.document import Document
from broker.mapper import Given, Mapper, Reading
from broker.mapping.catalogue import load

MESSAGE_ID = "018f0000-0000-7000-8000-000000000000"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:oid:1.2.250.1.999.2", "value": "1"}],
}


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(load(Path(__file__).resolve().parents[3] / "mappings"))


def read(mapper: Mapper, resource: Any) -> Reading:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return mapper.read(body, Given(message_id=MESSAGE_ID, source="test"))


def documents(mapper: Mapper, resource: Any) -> list[Document]:
    reading = read(mapper, resource)
    assert reading.failure is None
    return reading.documents


def bundle(*resources: Any, kind: str = "collection") -> dict[str, Any]:
    entries = [
        {"fullUrl": f"urn:x:{r['resourceType']}/{r.get('id', n)}", "resource": r}
        for n, r in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def observation(identity: str, patient: str = "p1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": identity}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def codes(document: Document) -> list[str]:
    return [o.code.codings[0].code for o in document.observations if o.code]


def test_what_a_report_or_a_panel_holds_is_not_told_twice(mapper: Mapper) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"text": "NFS"},
        "subject": {"reference": "Patient/p1"},
        "result": [{"reference": "Observation/a"}],
    }
    panel = observation("b", hasMember=[{"reference": "Observation/c"}])

    made = documents(
        mapper, bundle(PATIENT, report, observation("a"), panel, observation("c"), observation("d"))
    )

    assert [d.kind for d in made] == ["result_report", "other"]
    assert [len(r.observations) for r in made[0].reports] == [1]
    assert codes(made[1]) == ["b", "d"]
    assert [p.code.codings[0].code for p in made[1].observations[0].components if p.code] == ["c"]


def test_of_several_patients_each_has_the_records_about_them(mapper: Mapper) -> None:
    other = {**PATIENT, "id": "p2"}

    made = documents(mapper, bundle(PATIENT, other, observation("a", "p1"), observation("b", "p2")))

    assert [codes(document) for document in made] == [["a"], ["b"]]


def test_answers_keep_their_questions_and_their_nesting(mapper: Mapper) -> None:
    answered = {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "item": [
            {"linkId": "1", "text": "Habitudes", "item": [
                {"linkId": "1.1", "text": "Fumez-vous ?", "answer": [{"valueBoolean": True}]},
                {"linkId": "1.2", "text": "Langues", "answer": [{"valueString": "fr"}, {"valueString": "en"}]},
            ]},
        ],
    }  # fmt: skip

    (made,) = documents(mapper, bundle(PATIENT, answered))

    (group,) = made.reports[0].observations
    smoking, languages = group.components
    assert (smoking.sub_id, smoking.code and smoking.code.text) == ("1.1", "Fumez-vous ?")
    assert smoking.value is not None
    assert smoking.value.boolean is True
    assert languages.value is not None
    assert languages.value.text == "fr"
    assert [c.value.text for c in languages.components if c.value] == ["en"]


def test_a_diagnosis_of_a_relative_is_told_of_the_relative(mapper: Mapper) -> None:
    family = {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "patient": {"reference": "Patient/p1"},
        "relationship": {"coding": [{"code": "MTH"}]},
        "condition": [{"code": {"text": "diabète"}}],
    }

    (made,) = documents(mapper, bundle(PATIENT, family))

    assert made.problems == ()
    (report,) = made.reports
    assert report.subject is not None
    assert report.subject.relationship is not None
    assert report.subject.relationship.codings[0].code == "MTH"


@pytest.mark.parametrize(
    ("version", "resource", "product"),
    [
        ("R4", {"medicationCodeableConcept": {"text": "A"}, "intent": "order"}, "A"),
        ("R5", {"medication": {"concept": {"text": "A"}}, "intent": "order"}, "A"),
    ],
)
def test_a_prescription_of_r4_and_r5_is_the_same_record(
    mapper: Mapper, version: str, resource: dict[str, Any], product: str
) -> None:
    body = {"resourceType": "MedicationRequest", "status": "active", **resource}

    (made,) = documents(mapper, bundle(PATIENT, body))

    assert made.source.format_version == version
    assert [m.product.text for m in made.medications if m.product] == [product]


def test_a_request_of_stu3_is_an_order(mapper: Mapper) -> None:
    request = {
        "resourceType": "ProcedureRequest",
        "status": "active",
        "intent": "order",
        "code": {"text": "ECG"},
        "requester": {"agent": {"display": "Dr Inventé"}},
    }

    (made,) = documents(mapper, bundle(PATIENT, request))

    assert made.source.format_version == "STU3"
    (order,) = made.orders
    assert order.requester is not None
    assert (order.intent, order.requester.name and order.requester.name.text) == (
        "order",
        "Dr Inventé",
    )


def test_a_consent_and_a_goal_have_their_places(mapper: Mapper) -> None:
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"text": "research"},
        "category": [{"text": "c"}],
        "provision": {"type": "deny"},
    }
    plan = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "contained": [
            {
                "resourceType": "Goal",
                "id": "g",
                "lifecycleStatus": "active",
                "description": {"text": "70 kg"},
            }
        ],
        "goal": [{"reference": "#g"}],
    }

    (made,) = documents(mapper, bundle(PATIENT, consent, plan))

    assert [d.decision for d in made.directives] == ["deny"]
    assert made.consents == ()
    assert [p.kind for p in made.plans] == ["care_plan", "goal"]


def test_a_structured_timing_is_put_in_words(mapper: Mapper) -> None:
    request = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "A"},
        "dosageInstruction": [
            {
                "timing": {
                    "repeat": {"frequency": 2, "period": 1, "periodUnit": "d", "when": ["MORN"]}
                }
            }
        ],
    }

    (made,) = documents(mapper, bundle(PATIENT, request))

    assert made.medications[0].timing == "2 times every 1 d, MORN"


def test_xml_reads_as_json_does(mapper: Mapper) -> None:
    xml = b"""<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/>
    <entry><resource><Patient><id value="p1"/><identifier><system value="urn:oid:1.2.250.1.999.2"/>
    <value value="1"/></identifier></Patient></resource></entry>
    <entry><resource><Observation><id value="a"/><status value="final"/><code><coding>
    <system value="http://loinc.org"/><code value="a"/></coding></code><subject><reference value="Patient/p1"/></subject>
    <valueQuantity><value value="1.950"/></valueQuantity></Observation></resource></entry></Bundle>"""
    same = bundle(PATIENT, observation("a", valueQuantity={"value": 1.0}))

    from_xml, from_json = documents(mapper, xml)[0], documents(mapper, same)[0]

    assert codes(from_xml) == codes(from_json)
    value = from_xml.observations[0].value
    assert value is not None
    assert value.quantity is not None
    assert value.quantity.value == "1.950"
    assert from_xml.patient == from_json.patient
