"""Tests of `broker/writing/fhir.py`; not named `test_fhir` because pytest wants basenames of their own."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle

from broker.document import (
    Attachment,
    AttachmentRef,
    Author,
    Coded,
    Coding,
    Contact,
    Document,
    Identifier,
    Observation,
    Organization,
    Patient,
    Person,
    PersonName,
    Quantity,
    Range,
    Ratio,
    Relation,
    Report,
    ResultValue,
    Source,
    Specimen,
    Telecom,
    When,
)
from broker.writing.fhir import to_bytes, to_fhir

PDF = b"%PDF-1.4 invented"
STORE = {hashlib.sha256(PDF).hexdigest(): PDF}
LOINC = "http://loinc.org"


def coded(code: str, system: str = LOINC, text: str = "") -> Coded:
    return Coded(codings=(Coding(code=code, system=system, display=code),), text=text)


def pdf() -> Attachment:
    return Attachment(
        sha256=hashlib.sha256(PDF).hexdigest(),
        sha1=hashlib.sha1(PDF, usedforsecurity=False).hexdigest(),
        size=len(PDF),
        media_type="application/pdf",
        role="main",
    )


PATIENT = Patient(
    identifiers=(
        Identifier(value="279035121518989", system="ins_nir_test", oid="1.2.250.1.213.1.4.10"),
        Identifier(value="IPP1", system="CHU-X", type_code="PI"),
    ),
    names=(PersonName(family="PATIENT", given=("INVENTEE",), use="birth"),),
    birth_date=When(value="1979-03-28"),
    sex="female",
    phones=(Telecom(value="0102030405", kind="mobile"),),
)

LETTER = Document(
    id="018f0000-0000-7000-8000-000000000001",
    kind="clinical_document",
    unique_id=Identifier(value="1.2.250.1.999.1", system="urn:ietf:rfc:3986"),
    status="final",
    title="Lettre de sortie",
    type_code=coded("11490-0"),
    class_code=coded("10", "urn:oid:1.2.250.1.213.1.1.4.1"),
    confidentiality=(coded("N", "urn:oid:2.16.840.1.113883.5.25"), coded("MASQUE_PS", "")),
    language="fr-FR",
    created_at=When(value="2024-03-09T07:35", assumed_offset="+01:00"),
    service_start=When(value="2024-03"),
    patient=PATIENT,
    authors=(
        Author(
            person=Person(
                identifiers=(Identifier(value="10000000001", system="rpps"),),
                name=PersonName(family="MEDECIN", given=("INVENTE",)),
                role_code=coded("G15_10/SM26", "urn:oid:1.2.250.1.213.1.1.4.5"),
            ),
            organization=Organization(name="Clinique inventée"),
        ),
    ),
    custodian=Organization(name="Clinique inventée"),
    relations=(Relation(kind="replaces", target=Identifier(value="1.2.250.1.999.0")),),
    reference_ids=(Identifier(value="ACC1", system="1.2.3"),),
    attachments=(pdf(),),
)


def observation(value: ResultValue | None, **more: Any) -> Observation:
    return Observation(code=coded("718-7"), status="final", value=value, **more)


def results(*observations: Observation) -> Document:
    report = Report(
        code=coded("11502-2"),
        status="final",
        filler_order=Identifier(value="F1", system="1.2.3"),
        issued_at=When(value="2024-03-09T07:35:00", offset="+01:00"),
        specimens=(Specimen(id="spm-1", type=coded("BLD")),),
        observations=observations,
    )
    return Document(
        id="018f0000-0000-7000-8000-000000000002",
        kind="result_report",
        patient=PATIENT,
        reports=(report,),
        original=AttachmentRef(sha256="00", size=1),
    )


def resources(document: Document, kind: str) -> list[dict[str, Any]]:
    found = msgspec.json.decode(to_bytes(document, STORE.__getitem__))
    Bundle.model_validate(found)
    entries = [entry["resource"] for entry in found["entry"]]
    return [resource for resource in entries if resource["resourceType"] == kind]


def test_a_document_is_a_valid_transaction_of_patient_binary_reference_and_submission_set() -> None:
    bundle = to_fhir(LETTER, STORE.__getitem__)

    Bundle.model_validate(bundle)
    assert bundle["type"] == "transaction"
    assert [entry["resource"]["resourceType"] for entry in bundle["entry"]] == [
        "Patient",
        "Binary",
        "DocumentReference",
        "List",
    ]
    assert {entry["request"]["method"] for entry in bundle["entry"]} == {"POST"}


def test_the_reference_carries_the_header() -> None:
    (reference,) = resources(LETTER, "DocumentReference")

    assert reference["masterIdentifier"]["value"] == "urn:oid:1.2.250.1.999.1"
    assert (reference["status"], reference["docStatus"]) == ("current", "final")
    assert reference["type"]["coding"][0]["code"] == "11490-0"
    assert [label["coding"][0]["code"] for label in reference["securityLabel"]] == [
        "N",
        "MASQUE_PS",
    ]
    assert reference["date"] == "2024-03-09T07:35:00+01:00"
    assert reference["context"]["period"] == {"start": "2024-03"}
    assert reference["relatesTo"][0]["code"] == "replaces"
    assert reference["context"]["related"][0]["identifier"]["value"] == "ACC1"


def test_a_class_deduced_by_table_is_written_without_the_type_it_came_from() -> None:
    deduced = Coded(
        codings=(
            Coding(code="11490-0", system=LOINC),
            Coding(code="10", system="urn:oid:1.2.250.1.213.1.1.4.1", role="translation"),
        )
    )

    (reference,) = resources(
        msgspec.structs.replace(LETTER, class_code=deduced), "DocumentReference"
    )

    assert [coding["code"] for coding in reference["category"][0]["coding"]] == ["10"]


def test_the_author_is_contained_with_role_and_structure() -> None:
    (reference,) = resources(LETTER, "DocumentReference")

    contained = {item["id"]: item for item in reference["contained"]}
    role = contained[reference["author"][0]["reference"].removeprefix("#")]
    practitioner = contained[role["practitioner"]["reference"].removeprefix("#")]
    assert practitioner["identifier"][0] == {
        "system": "https://rpps.esante.gouv.fr",
        "value": "10000000001",
    }
    assert role["code"][0]["coding"][0]["code"] == "G15_10/SM26"


def test_the_bytes_are_inlined_once_with_the_sha1_of_xds() -> None:
    (binary,) = resources(LETTER, "Binary")
    (reference,) = resources(LETTER, "DocumentReference")

    attachment = reference["content"][0]["attachment"]
    assert base64.b64decode(binary["data"]) == PDF
    assert base64.b64decode(attachment["hash"]) == hashlib.sha1(PDF, usedforsecurity=False).digest()
    assert attachment["size"] == len(PDF)


def test_a_cda_without_main_attachment_is_shared_as_it_was_received() -> None:
    body = b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>'
    digest = hashlib.sha256(body).hexdigest()
    document = Document(
        id="018f0000-0000-7000-8000-000000000003",
        original=AttachmentRef(sha256=digest, size=len(body), media_type="application/cda+xml"),
        source=Source(format="cda"),
        attachments=(Attachment(sha256="ff", role="image"),),
    )

    found = to_fhir(document, {digest: body}.__getitem__)

    binaries = [e["resource"] for e in found["entry"] if e["resource"]["resourceType"] == "Binary"]
    assert [base64.b64decode(item["data"]) for item in binaries] == [body]


def test_the_same_document_is_always_the_same_bytes() -> None:
    first = to_bytes(LETTER, STORE.__getitem__)
    again = to_bytes(msgspec.structs.replace(LETTER), STORE.__getitem__)
    other = to_bytes(
        msgspec.structs.replace(LETTER, id="018f0000-0000-7000-8000-00000000000f"),
        STORE.__getitem__,
    )

    assert first == again
    assert first != other


def test_numbers_keep_their_digits() -> None:
    document = results(
        observation(ResultValue(quantity=Quantity(value="1.950", unit="g/dL", ucum="g/dL")))
    )

    assert b'"value":1.950,' in to_bytes(document, STORE.__getitem__)


def test_results_are_reports_with_their_observations_and_specimens() -> None:
    document = results(
        observation(
            ResultValue(quantity=Quantity(value="12.0", comparator="<", unit="g/L")),
            specimen="spm-1",
            flags=(coded("H"),),
            reference_range=(
                Range(low=Quantity(value="10"), high=Quantity(value="15"), text="10-15"),
            ),
        )
    )

    (report,) = resources(document, "DiagnosticReport")
    (found,) = resources(document, "Observation")
    (reference,) = resources(document, "DocumentReference")
    assert found["valueQuantity"] == {"value": 12.0, "comparator": "<", "unit": "g/L"}
    assert found["referenceRange"][0]["text"] == "10-15"
    assert found["specimen"]["reference"] == report["specimen"][0]["reference"]
    assert report["issued"] == "2024-03-09T07:35:00+01:00"
    assert len(report["result"]) == 1
    assert len(reference["context"]["related"]) == 1


def test_every_kind_of_value_has_a_valid_form() -> None:
    values = [
        ResultValue(range=Range(low=Quantity(value="1"), high=Quantity(value="2"))),
        ResultValue(ratio=Ratio(numerator=Quantity(value="1"), denominator=Quantity(value="128"))),
        ResultValue(coded=coded("260385009", "http://snomed.info/sct", "négatif")),
        ResultValue(text="neg"),
        ResultValue(when=When(value="2024-03-09T07:35", offset="+01:00")),
        ResultValue(boolean=False),
        ResultValue(quantity=Quantity(value="environ 3", unit="g")),
        ResultValue(identifier=Identifier(value="X1")),
    ]

    found = resources(results(*(observation(value) for value in values)), "Observation")

    kinds = [next(key for key in item if key.startswith("value")) for item in found]
    assert kinds == [
        "valueRange",
        "valueRatio",
        "valueCodeableConcept",
        "valueString",
        "valueDateTime",
        "valueBoolean",
        "valueString",
        "valueString",
    ]


def test_a_value_beyond_a_limit_is_a_quantity_with_its_comparator() -> None:
    beyond = Range(high=Quantity(value="0.128", comparator="<", unit="ug/mL"))
    between = Range(
        low=Quantity(value="1", comparator=">="), high=Quantity(value="2", comparator="<")
    )

    one, other = resources(
        results(observation(ResultValue(range=beyond)), observation(ResultValue(range=between))),
        "Observation",
    )

    assert one["valueQuantity"] == {"value": 0.128, "comparator": "<", "unit": "ug/mL"}
    assert other["valueRange"] == {"low": {"value": 1}, "high": {"value": 2}}


def test_a_time_without_any_offset_is_said_as_its_day() -> None:
    document = results(observation(None, observed_at=When(value="2024-03-09T07:35")))

    assert resources(document, "Observation")[0]["effectiveDateTime"] == "2024-03-09"


@pytest.mark.parametrize(
    ("value", "offset", "written"),
    [
        ("2024", "", "2024"),
        ("2024-03-09T07:35", "+01:00", "2024-03-09T07:35:00+01:00"),
        ("2024-03-09T07", "+01:00", "2024-03-09"),
        ("2024-03-09T07:35", "-80:00", "2024-03-09"),
        ("2024-13", "", None),
        ("0000", "", None),
        ("", "", None),
    ],
)
def test_a_time_is_written_only_in_a_form_fhir_has(
    value: str, offset: str, written: str | None
) -> None:
    document = results(observation(None, observed_at=When(value=value, offset=offset)))

    assert resources(document, "Observation")[0].get("effectiveDateTime") == written


def test_an_author_of_whom_nothing_is_known_is_left_out() -> None:
    document = msgspec.structs.replace(LETTER, authors=(Author(person=Person()),))

    assert "author" not in resources(document, "DocumentReference")[0]


def test_a_status_fhir_does_not_know_is_unknown() -> None:
    document = results(Observation(code=coded("x"), status="X"))

    assert resources(document, "Observation")[0]["status"] == "unknown"


def test_a_document_of_nothing_but_its_id_is_still_valid() -> None:
    bundle = to_fhir(Document(id="018f0000-0000-7000-8000-000000000004"), STORE.__getitem__)

    Bundle.model_validate(bundle)


def test_what_is_denied_or_about_a_relative_is_no_observation_of_the_patient() -> None:
    mother = Contact(relationship=coded("MTH", "urn:oid:2.16.840.1.113883.5.111"))
    said = Observation(code=coded("said"))
    document = Document(
        id="018f0000-0000-7000-8000-000000000001",
        patient=PATIENT,
        observations=(
            said,
            Observation(code=coded("denied"), negated=True),
            Observation(code=coded("hers"), subject=mother),
        ),
        reports=(Report(title="famille", subject=mother, observations=(said,)),),
    )

    written = [entry["resource"] for entry in to_fhir(document, STORE.__getitem__)["entry"]]

    assert [
        r["code"]["coding"][0]["code"] for r in written if r["resourceType"] == "Observation"
    ] == ["said"]
    assert "DiagnosticReport" not in {r["resourceType"] for r in written}
