"""A document in each form a destination may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from broker import rendering
from broker.document import (
    Allergy,
    Coded,
    Coding,
    Contact,
    Document,
    Encounter,
    Identifier,
    Medication,
    Observation,
    Patient,
    Problem,
    Procedure,
    Report,
    When,
)
from broker.errors import MappingError
from broker.mapping.catalogue import MappingSet, load
from broker.parsing import fhir, hl7v2
from broker.settings_tables import Sends
from broker.writing.hl7v2 import control_id
from tests.broker.writing.documents import LETTER, PROJECT, STORE

MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
ADMISSION = Document(
    id="018f0000-0000-7000-8000-000000000000",
    kind="encounter_event",
    patient=Patient(identifiers=(Identifier(value="1"),)),
    encounters=(Encounter(status="in_progress"),),
)


@pytest.fixture(scope="module")
def mappings() -> MappingSet:
    return load(MAPPINGS)


def test_a_destination_may_ask_for_every_form() -> None:
    complete = {name for name, form in rendering.FORMS.items() if form.is_sent}
    assert set(get_args(Sends)) == {"original", *complete}


def test_as_hl7v2_the_mapping_that_applies_writes_it(mappings: MappingSet) -> None:
    media, body, _ = rendering.render(mappings, ADMISSION, "hl7v2", {}.__getitem__)

    head = hl7v2.header(body)
    assert media == "x-application/hl7-v2+er7"
    assert (head.message_type, head.control_id) == ("ADT^A08", control_id(ADMISSION.id))


def test_the_same_document_gives_the_same_bytes(mappings: MappingSet) -> None:
    for form in rendering.FORMS:
        once, again = (
            rendering.render(mappings, ADMISSION, form, {}.__getitem__) for _ in range(2)
        )
        assert once == again


def test_a_destination_may_name_another_mapping(mappings: MappingSet) -> None:
    _, body, _ = rendering.render(
        mappings, ADMISSION, "hl7v2", {}.__getitem__, mapping="out/hl7v2-oru"
    )

    assert hl7v2.header(body).message_type == "ORU^R01"


def test_a_kind_without_a_mapping_is_refused(mappings: MappingSet) -> None:
    with pytest.raises(MappingError) as told:
        rendering.render(mappings, Document(id="x", kind="order_event"), "hl7v2", {}.__getitem__)

    assert told.value.code == "mapping.none"


def test_what_could_not_be_said_is_told_by_its_place(mappings: MappingSet) -> None:
    patient = Patient(birth_date=When(original="unknown"), identity_status="other")
    document = msgspec.structs.replace(ADMISSION, patient=patient)

    _, _, issues = rendering.render(mappings, document, "hl7v2", {}.__getitem__)

    assert [(one.code, one.source_path, one.target_path) for one in issues] == [
        ("not-a-date", "patient.birth_date", "PID-7"),
        ("unmapped-code", "patient.identity_status", "PID-32"),
    ]


def test_as_fhir_it_is_a_bundle(mappings: MappingSet) -> None:
    media, body, _ = rendering.render(mappings, ADMISSION, "fhir", {}.__getitem__)

    assert media == "application/fhir+json"
    assert fhir.parse(body, media) is not None


def test_every_form_says_what_it_is_and_writes_a_letter(mappings: MappingSet) -> None:
    for name, form in rendering.FORMS.items():
        assert "/" in form.media
        assert form.what
        if name != "hl7v2":
            assert form.write(mappings, LETTER, STORE, "")


def test_the_page_says_of_every_field_where_it_goes_or_that_it_does_not() -> None:
    page = (PROJECT / "docs" / "reference" / "cda-and-xds.md").read_text(encoding="utf-8")

    assert [name for name in Document.__struct_fields__ if f"`{name}`" not in page] == []


def test_what_is_denied_or_said_of_a_relative_leaves_in_no_form_as_the_patients_own(
    mappings: MappingSet,
) -> None:
    relative = Contact(relationship=coded("FTH"))
    denied, inherited = coded("DENIED-CODE"), coded("RELATIVE-CODE")
    said = (
        {"code": denied, "negated": True},
        {"code": inherited, "subject": relative},
    )
    results = tuple(Observation(**one) for one in said)
    for kind in ("result_report", "encounter_event"):
        document = Document(
            id="018f0000-0000-7000-8000-000000000000",
            kind=kind,
            patient=Patient(identifiers=(Identifier(value="1"),)),
            encounters=(Encounter(status="in_progress"),),
            reports=(Report(code=coded("BATTERY"), observations=results),),
            observations=results,
            problems=tuple(Problem(**one) for one in said),
            allergies=tuple(Allergy(**one) for one in said),
            procedures=tuple(Procedure(**one) for one in said),
            medications=(
                Medication(product=denied, negated=True),
                Medication(product=inherited, subject=relative),
            ),
        )
        for form in ("fhir", "fhir-document", "hl7v2", "cda"):
            _, body, _ = rendering.render(mappings, document, form, {}.__getitem__)
            assert b"DENIED-CODE" not in body, (form, kind)
            assert b"RELATIVE-CODE" not in body, (form, kind)


def coded(code: str) -> Coded:
    return Coded(codings=(Coding(code=code, system="http://loinc.org", display=code),))
