"""Messages made to cost more than they weigh: deep objects, many patients, nested chapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load

GIVEN = Given(message_id="018f0000-0000-7000-8000-000000000000", source="attack")
V3 = 'xmlns="urn:hl7-org:v3"'


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(load(Path(__file__).resolve().parents[2] / "mappings"))


@pytest.mark.parametrize("depth", [90, 150, 400, 5000])
@pytest.mark.parametrize("coverage", [False, True])
def test_a_deep_object_is_read_or_refused_with_a_reason(
    mapper: Mapper, depth: int, coverage: bool
) -> None:
    deep = '{"linkId":"1","item":[' * depth + "]}" * depth
    body = '{"resourceType":"QuestionnaireResponse","status":"completed","item":[' + deep + "]}"

    reading = mapper.read(body.encode(), GIVEN, coverage=coverage)

    assert reading.failure is None or reading.failure.code == "fhir.too_deep"


def test_many_patients_cost_as_many_documents_and_no_more(mapper: Mapper) -> None:
    count = 2000
    patients = [{"resource": {"resourceType": "Patient", "id": str(i)}} for i in range(count)]
    results = [
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{i}"},
            }
        }
        for i in range(count)
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": patients + results}

    reading = mapper.read(json.dumps(bundle).encode(), GIVEN)

    assert len(reading.documents) == count
    assert all(len(document.observations) == 1 for document in reading.documents)


def test_chapters_in_chapters_stop_at_the_bound_of_values(mapper: Mapper) -> None:
    chapter = '<component><section><templateId root="1.3.6.1.4.1.19376.1.3.3.2.1"/>'
    result = (
        '<entry><act><entryRelationship><observation><templateId root="1.3.6.1.4.1.19376.1.3.1.6"/>'
        '<code code="a"/></observation></entryRelationship></act></entry>'
    )
    body = (
        f'<ClinicalDocument {V3}><id root="1"/><component><structuredBody>'
        + chapter * 40
        + result * 4000
        + "</section></component>" * 40
        + "</structuredBody></component></ClinicalDocument>"
    )

    reading = mapper.read(body.encode(), GIVEN)

    assert reading.failure is not None
    assert reading.failure.code == "mapping.too_many_values"
