"""A client that others wrote (fhirpy) walks a record: the patient, the documents and their bytes, the results."""

from __future__ import annotations

import httpx
import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

from tests.web import papers
from tests.web.site import BODY, CONSENTED, CONSULTATION, DISCHARGE, Site


def test_fhirpy_walks_a_record(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    held = site.store(patient=patient)
    visible = [papers.structured(n, CONSULTATION, attachments=(held,), unique_id=f"1.2.{n}") for n in range(5)]  # fmt: skip
    hidden = papers.structured(9, DISCHARGE)
    site.put(patient, *visible, hidden)
    token = site.podiatrist()["Authorization"]
    client = SyncFHIRClient(f"{site.url}/fhir", authorization=token, extra_headers=CONSENTED)

    whom = client.resources("Patient").search(identifier=papers.SUBJECT).first()
    documents = client.resources("DocumentReference").search(patient=whom.id).limit(2).fetch_all()
    results = (
        client.resources("Observation").search(patient=whom.id, code="718-7").limit(2).fetch_all()
    )
    with_subject = (
        client.resources("Encounter")
        .search(patient=whom.id)
        .include("Encounter", "patient")
        .fetch_raw()
    )

    assert whom["name"][0]["family"] == "EXEMPLE"
    assert [one.id for one in documents] == [one.id for one in reversed(visible)]
    assert [one["valueQuantity"]["value"] for one in results] == [13.1] * 5
    assert {one.resource["resourceType"] for one in with_subject.entry} == {"Encounter", "Patient"}
    assert documents[0]["subject"]["reference"] == f"Patient/{whom.id}"
    url = documents[0]["content"][0]["attachment"]["url"]
    assert httpx.get(url, headers={"Authorization": token} | CONSENTED).content == BODY
    assert client.reference("DocumentReference", documents[0].id).to_resource() == documents[0]
    with pytest.raises(ResourceNotFound):
        client.reference("DocumentReference", hidden.id).to_resource()
