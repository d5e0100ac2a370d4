"""The resources of a document as the API serves them: names for what they refer to, and nothing else changed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec

from broker.document import Attachment
from broker.web.rendered import resources_of
from broker.writing import fhir
from tests.web import papers

BASE = "https://record.example.org/fhir"
LURE = 'see "reference":"urn:uuid:0192f0c4-0000-7000-8000-000000000001" and "url":"urn:uuid:x"'


def served(document: Any, kinds: set[str] | None = None) -> list[dict[str, Any]]:
    row: Any = SimpleNamespace(availability="current", filed_at=datetime(2026, 3, 1, tzinfo=UTC))
    found = resources_of(row, document, "Patient/p1", BASE, **({"kinds": kinds} if kinds else {}))
    return list(found)


def texts(value: Any) -> list[str]:
    """Every text in a resource."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def test_numbers_keep_their_digits_where_references_are_named() -> None:
    results = [one for one in served(papers.structured()) if one["resourceType"] == "Observation"]

    assert [str(one["valueQuantity"]["value"]) for one in results] == ["13.10", "0.95"]
    assert all(isinstance(one["valueQuantity"]["value"], Decimal) for one in results)
    assert all(one["subject"] == {"reference": "Patient/p1"} for one in results)


def test_a_text_that_looks_like_a_reference_is_left_as_it_was() -> None:
    document = msgspec.structs.replace(papers.structured(), comments=LURE)

    (told,) = [one for one in served(document) if one["resourceType"] == "DocumentReference"]

    assert told["description"] == LURE


def test_no_reference_into_the_bundle_is_left() -> None:
    document = papers.structured()
    for one in served(document):
        told = {text for text in texts(one) if text.startswith("urn:uuid:")}
        assert told <= {f"urn:uuid:{document.id}"}


def test_the_types_asked_for_are_the_same_resources_as_among_all() -> None:
    held = Attachment(sha256="ab" * 32, size=3, media_type="application/pdf", role="main")
    document = papers.structured(attachments=(held,))
    everything = served(document)
    kinds = {one["resourceType"] for one in everything}

    assert kinds >= {"DocumentReference", "List", "Observation", "DiagnosticReport"}
    for kind in kinds:
        assert served(document, {kind}) == [
            one for one in everything if one["resourceType"] == kind
        ]


def test_ids_in_a_bundle_are_uuids_of_version_five() -> None:
    entries = fhir.entries_of(papers.structured(), lambda _: b"")

    for url, _ in entries.resources:
        assert uuid.UUID(url.removeprefix("urn:uuid:")).version == 5
