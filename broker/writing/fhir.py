"""Writes a document as a FHIR R4 transaction Bundle in the manner of PDSm and IHE MHD. For destinations.

Patient, DocumentReference and Binary; for results also DiagnosticReport, Observation and Specimen. Ids are derived
from the document's id: the same document always gives the same bytes. Numbers keep the digits they came with.
Source: FHIR R4 (4.0.1); IHE MHD 4.2 "Provide Document Bundle"; CI-SIS PDSm.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from broker.document import Attachment, Document, Observation, Patient, Report, Specimen
from broker.writing import fhir_types as types
from broker.writing.fhir_types import Json, filled

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_STATUS = {
    "current": "current",
    "archived": "current",
    "superseded": "superseded",
    "deleted": "entered-in-error",
}
_DOC_STATUS = {
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "amended",
    "entered_in_error": "entered-in-error",
}
_REPORT_STATUS = {"entered_in_error": "entered-in-error", "not_done": "cancelled"}
_REPORT_STATUSES = frozenset(
    [
        "registered",
        "partial",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "appended",
        "cancelled",
        "entered-in-error",
        "unknown",
    ]
)
_OBSERVATION_STATUSES = frozenset(
    [
        "registered",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "cancelled",
        "entered-in-error",
        "unknown",
    ]
)


def to_fhir(document: Document, content: Content) -> Json:
    """The document as a transaction Bundle; decimals are `Decimal`.

    content: called once for each attachment whose bytes are to be inlined as a Binary
    """
    bundle = _Bundle(document, content)
    bundle.write()
    return {
        "resourceType": "Bundle",
        "id": bundle.uuid("bundle"),
        "type": "transaction",
        "entry": bundle.entries,
    }


def to_bytes(document: Document, content: Content) -> bytes:
    """`to_fhir` as UTF-8 JSON, in a fixed order of keys, with every digit of every number."""
    return _ENCODER.encode(to_fhir(document, content))


class _Bundle:
    """The entries of one Bundle while it is written."""

    def __init__(self, document: Document, content: Content) -> None:
        self.document = document
        self.content = content
        self.entries: list[Json] = []
        self.space = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:uuid:{document.id}")

    def uuid(self, name: str) -> str:
        return str(uuid.uuid5(self.space, name))

    def add(self, name: str, resource: Json | None, method: str = "POST") -> str:
        """Adds a resource; its fullUrl, to be referred to by."""
        if resource is None:
            return ""
        url = f"urn:uuid:{self.uuid(name)}"
        request = {"method": method, "url": resource["resourceType"]}
        self.entries.append({"fullUrl": url, "resource": resource, "request": request})
        return url

    def write(self) -> None:
        document = self.document
        subject = self.add("patient", _patient(document.patient))
        reference = self._document_reference(subject)
        results = [
            self._report(report, number, subject)
            for number, report in enumerate(document.reports, 1)
            if report.subject is None
        ]
        for number, observation in enumerate(document.observations, 1):
            if _is_of_patient(observation):
                self.add(f"observation {number}", _observation(observation, subject))
        related = [{"reference": url} for url in results if url]
        if related:
            reference.setdefault("context", {}).setdefault("related", []).extend(related)

    def _document_reference(self, subject: str) -> Json:
        document = self.document
        contents = [self._attachment(item, n) for n, item in enumerate(self._shared(), 1)]
        resource = filled(
            resourceType="DocumentReference",
            contained=[],
            masterIdentifier=types.identifier(document.unique_id),
            identifier=[{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{document.id}"}],
            status=_STATUS[document.availability],
            docStatus=_DOC_STATUS.get(document.status),
            type=types.concept(document.type_code),
            category=types.each(types.concept, [types.translated(document.class_code)]),
            subject=types.reference(subject),
            date=types.instant(document.created_at),
            relatesTo=[
                _relation(item.kind, item.target) for item in document.relations if item.target
            ],
            description=document.comments or document.title,
            securityLabel=types.each(types.concept, document.confidentiality),
            content=contents or [{"attachment": filled(title=document.title or "document")}],
            context=_context(document, subject),
        )
        people = types.Contained(resource.setdefault("contained", []))
        resource.update(
            filled(
                author=types.each(people.author, document.authors),
                authenticator=people.author(document.legal_authenticator),
                custodian=people.organization(document.custodian),
            )
        )
        if not resource["contained"]:
            del resource["contained"]
        self.add("document", resource)
        return resource

    def _shared(self) -> list[Attachment]:
        """The bytes that are the document: the main attachment, else every one, else the message itself."""
        document = self.document
        main = [item for item in document.attachments if item.role == "main"]
        if main:
            return main
        original = document.original
        if original.sha256 and document.source.format == "cda":
            return [
                Attachment(
                    sha256=original.sha256, size=original.size, media_type="text/xml",
                    language=document.language, title=document.title,
                )
            ]  # fmt: skip
        return [item for item in document.attachments if item.sha256 or item.url]

    def _attachment(self, item: Attachment, number: int) -> Json:
        url = item.url
        if item.sha256:
            data = base64.b64encode(self.content(item.sha256)).decode("ascii")
            media = item.media_type or "application/octet-stream"
            url = self.add(
                f"binary {number}",
                {"resourceType": "Binary", "contentType": media, "data": data},
            )
        attachment = filled(
            contentType=item.media_type,
            language=item.language or self.document.language,
            url=url,
            size=item.size or None,
            hash=base64.b64encode(bytes.fromhex(item.sha1)).decode("ascii"),
            title=item.title or self.document.title,
            creation=types.instant(item.creation or self.document.created_at),
        )
        coding = types.coding(self.document.format_code)
        return filled(attachment=attachment, format=coding)

    def _report(self, report: Report, number: int, subject: str) -> str:
        specimens = {
            specimen.id: self.add(f"specimen {number}.{n}", _specimen(specimen, subject))
            for n, specimen in enumerate(report.specimens, 1)
        }
        results = [
            self.add(
                f"result {number}.{n}",
                _observation(item, subject, specimens.get(item.specimen, "")),
            )
            for n, item in enumerate(report.observations, 1)
            if _is_of_patient(item)
        ]
        identifiers = [types.identifier(i) for i in (report.filler_order, report.placer_order) if i]
        resource = filled(
            resourceType="DiagnosticReport",
            identifier=identifiers + types.each(types.identifier, report.identifiers),
            status=_status(report.status, _REPORT_STATUSES),
            category=types.each(types.concept, [report.category]),
            code=types.concept(report.code) or {"text": report.title or "report"},
            subject=types.reference(subject),
            effectiveDateTime=types.date_time(report.collected_at),
            issued=types.instant(report.issued_at),
            specimen=[{"reference": url} for url in specimens.values()],
            result=[{"reference": url} for url in results],
            conclusion=report.conclusion,
        )
        return self.add(f"report {number}", resource)


def _patient(patient: Patient | None) -> Json | None:
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
        contact=[
            filled(
                relationship=types.each(types.concept, [contact.relationship]),
                name=types.name(contact.name) if contact.name else None,
                telecom=types.each(types.telecom, contact.telecoms),
                address=types.address(contact.addresses[0]) if contact.addresses else None,
            )
            for contact in (*patient.contacts, *patient.guardians)
        ],
    )


def _context(document: Document, subject: str) -> Json:
    return filled(
        event=types.each(types.concept, document.event_codes),
        period=filled(
            start=types.date_time(document.service_start), end=types.date_time(document.service_end)
        ),
        facilityType=types.concept(document.facility_type),
        practiceSetting=types.concept(document.practice_setting),
        sourcePatientInfo=types.reference(subject),
        related=[{"identifier": types.identifier(item)} for item in document.reference_ids],
    )


def _relation(kind: str, target: Any) -> Json:
    return {"code": kind, "target": {"identifier": types.identifier(target)}}


def _specimen(specimen: Specimen, subject: str) -> Json:
    return filled(
        resourceType="Specimen",
        identifier=types.each(types.identifier, [specimen.identifier]),
        type=types.concept(specimen.type),
        subject=types.reference(subject),
        receivedTime=types.date_time(specimen.received_at),
        collection=filled(
            collectedDateTime=types.date_time(specimen.collected_at),
            bodySite=types.concept(specimen.body_site),
        ),
    )


def _observation(item: Observation, subject: str, specimen: str = "") -> Json:
    value = types.result_value(item.value)
    return filled(
        resourceType="Observation",
        identifier=types.each(types.identifier, item.identifiers),
        status=_status(item.status, _OBSERVATION_STATUSES),
        code=types.concept(item.code) or {"text": "observation"},
        subject=types.reference(subject),
        effectiveDateTime=types.date_time(item.observed_at),
        **value,
        dataAbsentReason={"text": item.absent_reason} if item.absent_reason and not value else None,
        interpretation=types.each(types.concept, item.flags),
        note=[{"text": note} for note in item.notes],
        bodySite=types.concept(item.body_site),
        method=types.concept(item.method),
        specimen=types.reference(specimen),
        referenceRange=types.each(types.reference_range, item.reference_range),
        component=[
            filled(
                code=types.concept(part.code) or {"text": "component"},
                **types.result_value(part.value),
                interpretation=types.each(types.concept, part.flags),
                referenceRange=types.each(types.reference_range, part.reference_range),
            )
            for part in item.components
            if _is_of_patient(part)
        ],
    )


def _is_of_patient(item: Observation) -> bool:
    """Neither denied nor about a relative: FHIR R4 Observation has no element for either, and a reader who missed an
    extension would take it for a finding of the patient. The document's own bytes, always written, do say it."""
    return not item.negated and item.subject is None


def _status(status: str, known: Iterable[str]) -> str:
    status = _REPORT_STATUS.get(status, status)
    return status if status in known else "unknown"
