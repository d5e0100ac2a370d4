"""Writes a document as a FHIR R4 Bundle: a transaction in the manner of PDSm and IHE MHD, or a document. For destinations.

Everything structured is a resource of its own: results, stays, appointments, orders, medicines, vaccinations,
allergies, problems and acts, and the people and structures in them. Ids are derived from the document's id: the same
document always gives the same bytes. Numbers keep the digits they came with; what is missing is never made up.
Source: FHIR R4 (4.0.1); IHE MHD 4.2 "Provide Document Bundle"; CI-SIS PDSm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec

from broker.document import Document, Patient
from broker.fhir_elements import Adjustment
from broker.writing import fhir_care as care
from broker.writing import (
    fhir_composition,
    fhir_medicines,
    fhir_reference,
    fhir_results,
    fhir_submission,
)
from broker.writing import fhir_types as types
from broker.writing.fhir_adjust import adjust
from broker.writing.fhir_entries import Entries
from broker.writing.fhir_reference import Content, Missing, missing
from broker.writing.fhir_types import Json, filled
from broker.writing.own_records import is_of_patient

__all__ = [
    "Content",
    "Form",
    "Missing",
    "entries_of",
    "missing",
    "patient_resource",
    "to_bytes",
    "to_fhir",
]

Form = Literal["transaction", "document"]
"""`transaction`: DocumentReference, Binary and resources to be created; `document`: Composition first."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def to_fhir(
    document: Document,
    content: Content,
    form: Form = "transaction",
    adjustments: Sequence[Adjustment] = (),
) -> Json:
    """The document as a Bundle; decimals are `Decimal`.

    content: called once for each attachment whose bytes are to be inlined as a Binary
    adjustments: what a mapping changes of it
    """
    write = _transaction if form == "transaction" else _document
    bundle = write(document, content)
    adjust(bundle, adjustments)
    return bundle


def to_bytes(
    document: Document,
    content: Content,
    form: Form = "transaction",
    adjustments: Sequence[Adjustment] = (),
) -> bytes:
    """`to_fhir` as UTF-8 JSON, in a fixed order of keys, with every digit of every number."""
    return _ENCODER.encode(to_fhir(document, content, form, adjustments))


def entries_of(
    document: Document, content: Content, kinds: Collection[str] | None = None
) -> Entries:
    """The resources of a transaction. With `kinds`, lists and provenance only where they are among them."""
    entries = Entries(document)
    subject = entries.add("patient", patient_resource(document.patient))
    records = _records(entries, document, subject)
    related = [url for title, _, url in records if title == _REPORTS]
    reference = fhir_reference.document_reference(entries, document, content, subject, related)
    target = entries.add("document", reference)
    if fhir_reference.shared(document) and (kinds is None or "List" in kinds):
        listed = fhir_submission.submission_set(entries, document, subject, target)
        entries.add("submission set", listed)
    if kinds is None or "Provenance" in kinds:
        entries.add("provenance", _provenance(document, target))
    return entries


def _transaction(document: Document, content: Content) -> Json:
    entries = entries_of(document, content)
    return {
        "resourceType": "Bundle",
        "id": entries.uuid("bundle"),
        "type": "transaction",
        "entry": [
            {
                "fullUrl": url,
                "resource": resource,
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for url, resource in entries.resources
        ],
    }


def _document(document: Document, content: Content) -> Json:
    entries = Entries(document)
    subject = entries.add("patient", patient_resource(document.patient))
    records = _records(entries, document, subject)
    visit = entries.url("encounter 1") if document.encounters else ""
    for number, item in enumerate(fhir_reference.shared(document), 1):
        records.append(("Document", "", fhir_reference.binary(entries, content, item, number)))
    first = fhir_composition.composition(entries, document, subject, visit, records)
    entries.add("provenance", _provenance(document, entries.url("composition")))
    moment = types.instant(document.created_at)
    return filled(
        resourceType="Bundle",
        id=entries.uuid("bundle"),
        identifier=types.identifier(document.unique_id)
        or {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{document.id}"},
        type="document",
        timestamp=moment or types.instant(_received(document)),
        entry=[
            {"fullUrl": url, "resource": resource}
            for url, resource in [(entries.url("composition"), first), *entries.resources]
        ],
    )


_REPORTS = "Results"
Write = Callable[[Entries, Any, int, str, str], str]


def _records(entries: Entries, document: Document, subject: str) -> list[tuple[str, str, str]]:
    """Every structured record as a resource: (title of its kind, its id, its fullUrl)."""
    visits = [
        care.encounter(entries, one, n, subject) for n, one in enumerate(document.encounters, 1)
    ]
    visit = visits[0] if visits else ""
    made = [("Stays", one.id, url) for one, url in zip(document.encounters, visits, strict=True)]
    for number, report in enumerate(document.reports, 1):
        if not is_of_patient(report):
            continue
        url = fhir_results.report(entries, report, number, subject, visit)
        made.append((_REPORTS, report.id, url))
        made += [
            ("", one.id, entries.url(f"result {number}.{n}"))
            for n, one in enumerate(report.observations, 1)
            if is_of_patient(one)
        ]
    kinds: tuple[tuple[str, Iterable[Any], Write], ...] = (
        ("Observations", document.observations, _free_observation),
        ("Problems", document.problems, care.problem),
        ("Allergies", document.allergies, care.allergy),
        ("Medicines", document.medications, fhir_medicines.medication),
        ("Vaccinations", document.immunizations, fhir_medicines.immunization),
        ("Procedures", document.procedures, care.procedure),
        ("Orders", document.orders, care.order),
        ("Appointments", document.appointments, _appointment),
    )
    for title, items, write in kinds:
        for number, item in enumerate(items, 1):
            if is_of_patient(item):
                made.append((title, item.id, write(entries, item, number, subject, visit)))
    return made


def _free_observation(entries: Entries, item: Any, number: int, subject: str, visit: str) -> str:
    return fhir_results.observation(entries, item, f"observation {number}", subject, visit, {})


def _appointment(entries: Entries, item: Any, number: int, subject: str, _visit: str) -> str:
    return care.appointment(entries, item, number, subject)


def _received(document: Document) -> Any:
    return types.when_of(document.source.received_at)


def _provenance(document: Document, target: str) -> Json | None:
    """Who sent what this was made of, and when it was received; nothing when either is not known."""
    source = document.source
    recorded = types.instant(_received(document))
    sender = source.facility or source.application
    if recorded is None or sender is None:
        return None
    what = filled(system=None, value=source.message_id)
    return filled(
        resourceType="Provenance",
        target=[{"reference": target}],
        occurredDateTime=types.date_time(document.event.occurred_at) if document.event else None,
        recorded=recorded,
        agent=[{"who": filled(display=sender.value)}],
        entity=[{"role": "source", "what": {"identifier": what}}] if what else [],
    )


def patient_resource(patient: Patient | None) -> Json | None:
    """A Patient with every trait that was received; nothing where nobody is named."""
    if patient is None:
        return None
    return filled(
        resourceType="Patient",
        identifier=types.each(types.identifier, patient.identifiers),
        name=types.each(types.name, patient.names),
        telecom=types.each(types.telecom, patient.phones),
        gender=patient.sex if patient.sex in types.GENDERS else None,
        birthDate=types.date(patient.birth_date),
        deceasedDateTime=types.date_time(patient.deceased_at),
        deceasedBoolean=patient.deceased if patient.deceased_at is None else None,
        address=types.each(types.address, patient.addresses),
        maritalStatus=types.concept(patient.marital_status),
        multipleBirthInteger=patient.birth_order,
        contact=[
            filled(
                relationship=types.each(types.concept, [contact.relationship]),
                name=types.name(contact.name) if contact.name else None,
                telecom=types.each(types.telecom, contact.telecoms),
                address=types.address(contact.addresses[0]) if contact.addresses else None,
            )
            for contact in (*patient.contacts, *patient.guardians)
        ],
        communication=[{"language": one} for one in types.each(types.concept, patient.languages)],
    )
