"""What a search answers: every type, valid as FHIR R4, page by page, and nothing that was not asked for."""

from __future__ import annotations

import base64
import importlib
from typing import Any

import pytest

from broker.database.engine import writing
from broker.records import consents
from broker.web.resources import OF_DOCUMENTS, RESOURCES
from tests.broker.records import record
from tests.web import papers
from tests.web.site import BODY, DISCHARGE, INS, INS_OID, OTHER_INS, Site, ids_of

STRUCTURED = sorted(OF_DOCUMENTS - {"Binary", "List", "DocumentReference"})


def valid(resource: dict[str, Any]) -> None:
    """The resource is what FHIR R4 says (fhir.resources; R4B has the same elements for these types)."""
    kind = resource["resourceType"]
    module = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")
    getattr(module, kind).model_validate(resource)


@pytest.mark.parametrize("kind", STRUCTURED)
def test_each_structured_type_is_found_valid_and_read_again(sqlite_site: Site, kind: str) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.structured())

    bundle = site.search(kind, site.physician(), patient=site.reference(patient))

    valid(bundle)
    found = [one["resource"] for one in bundle["entry"]]
    assert found
    for one in found:
        assert one["resourceType"] == kind
        valid(one)
        assert site.get(f"{kind}/{one['id']}", site.physician()).json() == one


def test_documents_are_found_with_their_bytes(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.with_bytes(1, site.store(patient=patient)))

    bundle = site.search("DocumentReference", site.physician(), patient=site.reference(patient))
    valid(bundle)
    (one,) = [entry["resource"] for entry in bundle["entry"]]
    valid(one)
    url = one["content"][0]["attachment"]["url"]
    as_it_is = site.http.get(url, headers=site.physician())
    as_fhir = site.http.get(url, headers=site.physician() | {"Accept": "application/fhir+json"})

    assert one["subject"] == {"reference": site.reference(patient)}
    assert as_it_is.content == BODY
    assert as_it_is.headers["content-type"] == "application/pdf"
    valid(as_fhir.json())
    assert base64.b64decode(as_fhir.json()["data"]) == BODY
    assert site.get(f"DocumentReference/{one['id']}", site.physician()).json() == one


def test_submission_sets_are_found_with_their_documents(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.with_bytes(1, site.store(patient=patient)))

    bundle = site.search(
        "List", site.physician(), patient=site.reference(patient), _include="List:item"
    )

    valid(bundle)
    kinds = [(one["resource"]["resourceType"], one["search"]["mode"]) for one in bundle["entry"]]
    assert kinds == [("List", "match"), ("DocumentReference", "include")]
    listed, document = (one["resource"] for one in bundle["entry"])
    assert listed["entry"][0]["item"]["reference"] == f"DocumentReference/{document['id']}"


def test_a_report_brings_its_results_and_its_patient(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.structured())
    asked = {"patient": site.reference(patient), "_include": "DiagnosticReport:result"}

    bundle = site.search("DiagnosticReport", site.physician(), **asked)
    with_patient = site.search(
        "Observation",
        site.physician(),
        patient=site.reference(patient),
        _include="Observation:patient",
    )

    included = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "include"]
    assert [one["resourceType"] for one in included] == ["Observation", "Observation"]
    assert with_patient["entry"][-1]["resource"]["birthDate"] == "1979-03-28"
    assert ids_of(with_patient) == [one["id"] for one in included]


def test_a_patient_is_found_by_the_ins_and_read(site: Site) -> None:
    patient = site.person()

    bundle = site.search("Patient", site.physician(), identifier=papers.SUBJECT)
    nobody = site.search("Patient", site.physician(), identifier=f"urn:oid:{INS_OID}|{OTHER_INS}")

    (one,) = [entry["resource"] for entry in bundle["entry"]]
    valid(one)
    assert f"Patient/{one['id']}" == site.reference(patient)
    assert one["identifier"][0]["value"] == INS
    assert site.get(f"Patient/{one['id']}", site.physician()).json() == one
    assert "entry" not in nobody


PARAMETERS = (
    ({"type": DISCHARGE}, [3]),
    ({"type": f"http://loinc.org|{DISCHARGE},11488-4"}, [3, 2, 1, 0]),
    ({"type": "http://elsewhere.example|34112-3"}, []),
    ({"category": "10"}, [3, 2, 1, 0]),
    ({"date": "ge2026-03-01T10:00:00Z"}, [3, 2]),
    ({"date": "lt2026-03-01T10:00:00Z"}, [1, 0]),
    ({"date": "2026-03"}, [3, 2, 1, 0]),
    ({"date": "ne2026-03"}, []),
    ({"date": "sa2026-03-01T09:00:00Z"}, [3, 2]),
    ({"date": "eb2026-03-01T09:00:00Z"}, [0]),
    ({"_sort": "date"}, [0, 1, 2, 3]),
    ({"status": "current", "_count": "200"}, [3, 2, 1, 0]),
    ({"status": "superseded"}, []),
    ({"author.family": "modele"}, [3, 2, 1, 0]),
    ({"author.family": "personne"}, []),
    ({"identifier": "urn:oid:1.2.250.1.999.7|1.2.250.1.999.9.2.114884"}, [2]),
    ({"_lastUpdated": "lt2020"}, []),
)


def test_every_document_parameter_narrows_as_fhir_says(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    written = [papers.letter(n) for n in range(3)] + [papers.letter(3, DISCHARGE)]
    site.put(patient, *written)
    who = site.physician()

    for asked, expected in PARAMETERS:
        found = site.ids("DocumentReference", who, patient=site.reference(patient), **asked)
        assert found == [written[n].id for n in expected], asked
    assert (
        site.ids("DocumentReference", who, patient=site.reference(patient), _id=written[1].id)
        == [written[1].id]
    )  # fmt: skip


@pytest.mark.parametrize("size", ["1", "2", "3", "7"])
@pytest.mark.parametrize("kind", ["DocumentReference", "Observation"])
def test_pages_give_each_once_and_end(sqlite_site: Site, kind: str, size: str) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, *(papers.structured(n, unique_id=f"1.2.{n}") for n in range(5)))
    who = site.physician()
    whole = site.ids(kind, who, patient=site.reference(patient))

    bundle = site.search(kind, who, patient=site.reference(patient), _count=size)
    found, pages = ids_of(bundle), 1
    while following := [one["url"] for one in bundle["link"] if one["relation"] == "next"]:
        bundle = site.http.get(following[0], headers=who).json()
        assert 0 < len(ids_of(bundle)) <= int(size)
        found, pages = found + ids_of(bundle), pages + 1

    assert found == whole
    assert len(set(whole)) == len(whole) == (5 if kind == "DocumentReference" else 10)
    assert pages == -(-len(whole) // int(size))


def test_what_was_superseded_is_found_as_that_and_its_results_no_more(sqlite_site: Site) -> None:
    from broker.document import Relation

    site = sqlite_site
    patient = site.person()
    first = papers.structured(0, unique_id="1.2.1")
    second = papers.structured(
        1,
        unique_id="1.2.2",
        relations=(Relation(kind="replaces", target=first.unique_id),),
    )
    site.put(patient, first)
    site.put(patient, second)
    who = site.physician()

    bundle = site.search("DocumentReference", who, patient=site.reference(patient))
    by_id = {one["resource"]["id"]: one["resource"] for one in bundle["entry"]}

    assert {name: one["status"] for name, one in by_id.items()} == {
        first.id: "superseded",
        second.id: "current",
    }
    assert not any("relatesTo" in one for one in by_id.values())
    found = site.ids("Observation", who, patient=site.reference(patient))
    assert found
    assert all(one.startswith(second.id) for one in found)


REFUSED = (
    ("DocumentReference", {}),
    ("DocumentReference", {"colour": "red"}),
    ("DocumentReference", {"type:not": "x"}),
    ("DocumentReference", {"date": "yesterday"}),
    ("DocumentReference", {"_count": "0"}),
    ("DocumentReference", {"_count": "-1"}),
    ("DocumentReference", {"_sort": "type"}),
    ("DocumentReference", {"_include": "DocumentReference:author"}),
    ("DocumentReference", {"_include": "*"}),
    ("DocumentReference", {"_total": "accurate"}),
    ("DocumentReference", {"_summary": "count"}),
    ("DocumentReference", {"type": ","}),
    ("DocumentReference", {"type": "x" * 501}),
    ("Patient", {"identifier": "|"}),
    ("Patient", {"name": "EXEMPLE"}),
)


def test_what_is_not_understood_is_refused_and_never_repeated(sqlite_site: Site) -> None:
    site = sqlite_site
    reference = site.reference(site.person())

    for kind, asked in REFUSED:
        about = {"patient": reference} if asked and kind != "Patient" else {}
        answer = site.http.post(f"{kind}/_search", headers=site.physician(), data=about | asked)
        assert answer.status_code == 400, (kind, asked)
        valid(answer.json())
        assert all(
            len(v) < 4 or v not in answer.text for v in asked.values() if v not in ("date", "type")
        )


def test_the_patient_gets_everything_and_nobody_else_does(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.structured(0), papers.with_bytes(1, site.store(patient=patient)))
    with writing(site.engine) as connection:
        said = consents.Said("jd", "counter", record.NOW)
        consents.block(connection, patient, "899900000045", True, said)
    path = f"{site.reference(patient)}/$everything"

    bundle = site.get(path, site.patient()).json()

    valid(bundle)
    kinds = {one["resource"]["resourceType"] for one in bundle["entry"]}
    assert kinds == set(RESOURCES) - {"Binary"}
    assert site.get(path, site.physician()).status_code == 403
    assert site.get(path, site.patient(OTHER_INS)).status_code == 404
    assert site.ids("DocumentReference", site.patient()) != []


def test_a_search_in_the_url_finds_the_same(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.letter())
    about = {"patient": site.reference(patient)}

    posted = site.ids("DocumentReference", site.physician(), **about)

    assert ids_of(site.get("DocumentReference", site.physician(), **about).json()) == posted != []
