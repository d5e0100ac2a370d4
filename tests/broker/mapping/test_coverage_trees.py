"""Coverage of CDA and FHIR: every attribute and value that no rule reads is told, once, without its value."""

from __future__ import annotations

from pathlib import Path

from broker.mapping.catalogue import load
from broker.mapping.run import Context, ids_from
from broker.parsing import cda, fhir

CDA = """
mapping: test/cda
version: 1.0.0
language: 1
from: cda
applies_when: id is present
document:
  title: title
  language: languageCode/@code
  type_code: code
  patient:
    names: recordTarget/patientRole/patient/name
ignore:
  - path: //@classCode
    reason: fixed by the element
  - path: setId
    reason: a test
"""
FHIR = """
mapping: test/fhir
version: 1.0.0
language: 1
from: fhir-r4
applies_when: resourceType is present
document:
  kind: = other
  patient:
    names: Patient.name
ignore:
  - path: "*.use"
    reason: a test
"""


def unread_of(folder: Path, mapping: str, body: str) -> list[str]:
    (folder / "one.yaml").write_text(mapping)
    parsed = cda.parse(body.encode()) if body.startswith("<") else fhir.parse(body.encode())
    context = Context(document_id=ids_from("018f0000-0000-7000-8000-000000000000"))
    return load(folder).apply(parsed, context, coverage=True).unread


def document(inner: str) -> str:
    return f'<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2.3"/>{inner}</ClinicalDocument>'


def test_an_attribute_no_shape_reads_is_told(tmp_path: Path) -> None:
    body = document('<code code="1" codeSystem="2" codeSystemName="LOINC"/>')

    assert unread_of(tmp_path, CDA, body) == ["id", "code/@codeSystemName"]


def test_an_element_of_which_nothing_is_read_is_told_once_at_its_top(tmp_path: Path) -> None:
    body = document(
        "<recordTarget><patientRole><patient><name><family>A</family></name>"
        '<raceCode code="1"><originalText>x</originalText></raceCode></patient></patientRole></recordTarget>'
    )

    assert unread_of(tmp_path, CDA, body) == ["id", "recordTarget/patientRole/patient/raceCode"]


def test_what_says_only_null_flavor_or_is_ignored_is_not_told(tmp_path: Path) -> None:
    body = document(
        '<setId root="1"/><recordTarget classCode="PAT"><patientRole><id nullFlavor="UNK"/>'
        "</patientRole></recordTarget>"
    )

    assert unread_of(tmp_path, CDA, body) == ["id"]


def test_a_json_member_no_rule_reads_is_told_and_a_whole_object_once(tmp_path: Path) -> None:
    body = (
        '{"resourceType": "Patient", "name": [{"use": "official", "family": "A", "given": ["B"]}],'
        ' "gender": "male", "contact": [{"name": {"family": "C"}}]}'
    )

    assert unread_of(tmp_path, FHIR, body) == ["Patient.gender", "Patient.contact"]


def test_every_resource_of_a_bundle_and_what_it_contains_is_looked_at(tmp_path: Path) -> None:
    body = (
        '{"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:1", "request":'
        ' {"method": "POST"}, "resource": {"resourceType": "Observation", "status": "final",'
        ' "contained": [{"resourceType": "Device", "id": "d", "lotNumber": "7"}]}}]}'
    )

    assert unread_of(tmp_path, FHIR, body) == [
        "Bundle.type",
        "Bundle.entry.request",
        "Observation.status",
        "Device.lotNumber",
    ]
