"""The resources of one document, with the ids and references under which the API serves them.

The writers make a Bundle; here each resource of a served type gets an id that names its document, what it refers to
and is not served itself is contained in it, and the patient is the one of the record. An id is
`<document>.<16 hexadecimal digits>`; a DocumentReference has the document's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from broker.document import Attachment, Document
from broker.records.document_rows import DocumentRow
from broker.records.known import Person
from broker.web.resources import OF_DOCUMENTS
from broker.writing import fhir, fhir_reference
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries

Json = dict[str, Any]

_URN = "urn:uuid:"
_REFERENCE = re.compile(rb'"(reference|url)":"(urn:uuid:[^"\\]*)"')
"""Inside a JSON text these quotes cannot stand: what matches is a member, never part of a text."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")
DECODER = msgspec.json.Decoder(Json, float_hook=Decimal)
"""Numbers keep the digits they came with."""
_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.([0-9a-f]{16}))?", re.ASCII)
_NOT_LISTED = ("Binary", "Patient")
_STATUS = {"superseded": "superseded", "deleted": "entered-in-error"}
_SUBJECTS = {
    "AllergyIntolerance": "patient",
    "Immunization": "patient",
    "Appointment": "",
    "Binary": "",
}


def document_of(resource_id: str) -> str:
    """The id of the document a resource stands in; empty for an id that cannot be one."""
    found = _ID.fullmatch(resource_id)
    return found[1] if found else ""


def resources_of(
    row: DocumentRow,
    document: Document,
    patient: str,
    base: str,
    kinds: Collection[str] = OF_DOCUMENTS,
) -> list[Json]:
    """The resources of a document that the API serves, of these types, without the bytes of a Binary.

    patient: reference to the patient of the record; base: the API's own URL
    """
    entries: dict[str, Json] = dict(fhir.entries_of(document, lambda _: b"", kinds).resources)
    names: dict[str, str] = {}
    for url, resource in entries.items():
        kind = resource["resourceType"]
        if kind == "Patient":
            names[url] = patient
        elif kind in OF_DOCUMENTS:
            names[url] = f"{kind}/{_id(document.id, kind, url)}"
    return [
        _served(resource, names[url], row, patient, base, entries, names)
        for url, resource in entries.items()
        if url in names
        and resource["resourceType"] in kinds
        and resource["resourceType"] not in _NOT_LISTED
    ]


def binaries_of(document: Document) -> Mapping[str, Attachment]:
    """The bytes of a document by the id of their Binary."""
    entries = Entries(document)
    return {
        _id(document.id, "Binary", entries.url(f"binary {number}")): one
        for number, one in enumerate(fhir_reference.shared(document), 1)
        if one.sha256
    }


def person_resource(person: Person, patient_id: str) -> Json:
    """The patient of a record: the traits last received, under every identifier that is known."""
    known = {(one.oid or one.system, one.value): one for one in person.traits.identifiers}
    identifiers = []
    for system, value, kind in person.identifiers:
        given = known.get((system, value))
        written = types.identifier(given) if given else None
        if written is None and re.fullmatch(r"[0-9.]+", system):
            written = {"system": f"urn:oid:{system}", "value": value}
        if written is None:
            written = {"value": value, "assigner": {"display": system}} if kind else None
        if written:
            identifiers.append(written)
    resource = fhir.patient_resource(person.traits) or {"resourceType": "Patient"}
    made = {
        "resourceType": "Patient",
        "id": patient_id,
        "meta": {"lastUpdated": person.updated_at.isoformat(timespec="milliseconds")},
        **{name: value for name, value in resource.items() if name != "resourceType"},
    }
    if identifiers:
        made["identifier"] = identifiers
    return made


def _id(document: str, kind: str, url: str) -> str:
    if kind == "DocumentReference":
        return document
    return f"{document}.{url.removeprefix(_URN).replace('-', '')[:16]}"


def _served(
    resource: Json,
    name: str,
    row: DocumentRow,
    patient: str,
    base: str,
    entries: Mapping[str, Json],
    names: Mapping[str, str],
) -> Json:
    kind = resource["resourceType"]
    contained: dict[str, Json] = {}

    def refer(url: str) -> str:
        """The reference to something of the same document: served by its name, anything else contained."""
        if url in names:
            return names[url]
        if url not in entries:
            return url
        if url not in contained:
            inner = f"r{len(contained) + 1}"
            contained[url] = {"resourceType": entries[url]["resourceType"], "id": inner}
            content = _referring(entries[url], refer, base)
            contained[url].update((k, v) for k, v in content.items() if k != "resourceType")
        return f"#{contained[url]['id']}"

    made = _referring(resource, refer, base)
    # What a document replaces may be hidden from whoever sees this one: that it exists must not be told.
    made.pop("relatesTo", None)
    own = made.pop("contained", [])
    if kind == "DocumentReference" and row.availability in _STATUS:
        made["status"] = _STATUS[row.availability]
    if subject := _SUBJECTS.get(kind, "subject"):
        made[subject] = {"reference": patient}
    head: Json = {
        "resourceType": kind,
        "id": name.partition("/")[2],
        "meta": {"lastUpdated": row.filed_at.isoformat(timespec="milliseconds")},
    }
    if own or contained:
        head["contained"] = [*own, *contained.values()]
    return head | {key: value for key, value in made.items() if key != "resourceType"}


def _referring(value: Json, refer: Callable[[str], str], base: str) -> Json:
    """The resource with every reference inside the Bundle as `refer` makes it: in its JSON, which is one pass in C."""

    def name(found: re.Match[bytes]) -> bytes:
        key, url = found[1], refer(found[2].decode())
        return b'"%b":%b' % (key, _ENCODER.encode(url if key == b"reference" else f"{base}/{url}"))

    said = _ENCODER.encode(value)
    named = _REFERENCE.sub(name, said)
    return value if named == said else DECODER.decode(named)
