"""The DocumentReference of a document, and what the DMP requires of one. For `broker.writing.fhir`.

Source: FHIR R4 (4.0.1) DocumentReference; IHE MHD 4.2; CI-SIS PDSm; IHE ITI XDS metadata as the DMP profiles them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.document import Attachment, Document, Patient
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries
from broker.writing.fhir_types import Json, filled

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

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


def document_reference(
    entries: Entries, document: Document, content: Content, subject: str, related: list[str]
) -> Json:
    """The resource; the bytes it refers to are added to the entries as Binary.

    Its people are contained, as PDSm has them. `related`: fullUrls of what is told of the same act.
    """
    contents = [
        _content(entries, document, content, item, n) for n, item in enumerate(shared(document), 1)
    ]
    resource = filled(
        resourceType="DocumentReference",
        contained=[],
        masterIdentifier=types.identifier(document.unique_id),
        identifier=[{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{document.id}"}],
        status="entered-in-error" if is_withdrawn(document) else _STATUS[document.availability],
        docStatus=_DOC_STATUS.get(document.status),
        type=types.concept(document.type_code),
        category=types.each(types.concept, [types.translated(document.class_code)]),
        subject=types.reference(subject),
        date=types.instant(document.created_at),
        relatesTo=[_relation(item.kind, item.target) for item in document.relations if item.target],
        description=document.comments or document.title,
        securityLabel=types.each(types.concept, document.confidentiality),
        content=contents or [{"attachment": filled(title=document.title or "document")}],
        context=_context(document, related),
    )
    people = types.Contained(resource.setdefault("contained", []))
    source = source_patient(document.patient)
    if source:
        resource["contained"].append(source)
        resource.setdefault("context", {})["sourcePatientInfo"] = {"reference": f"#{source['id']}"}
    resource.update(
        filled(
            author=types.each(people.author, document.authors),
            authenticator=people.author(document.legal_authenticator),
            custodian=people.organization(document.custodian),
        )
    )
    if not resource["contained"]:
        del resource["contained"]
    return resource


def is_withdrawn(document: Document) -> bool:
    """Whether the sender asks for the document to be taken away."""
    return document.event is not None and document.event.operation in ("delete", "cancel")


def shared(document: Document) -> list[Attachment]:
    """The bytes that are the document: the main attachment, else every one, else the message itself."""
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


def _content(
    entries: Entries, document: Document, content: Content, item: Attachment, number: int
) -> Json:
    url = item.url
    if item.sha256:
        url = binary(entries, content, item, number)
    attachment = filled(
        contentType=item.media_type,
        language=item.language or document.language,
        url=url,
        size=item.size or None,
        hash=base64.b64encode(bytes.fromhex(item.sha1)).decode("ascii"),
        title=item.title or document.title,
        creation=types.instant(item.creation or document.created_at),
    )
    return filled(attachment=attachment, format=types.coding(document.format_code))


def binary(entries: Entries, content: Content, item: Attachment, number: int) -> str:
    """The bytes of an attachment as an entry; its fullUrl, nothing for content that was only referred to."""
    if not item.sha256:
        return ""
    data = base64.b64encode(content(item.sha256)).decode("ascii")
    media = item.media_type or "application/octet-stream"
    resource = {"resourceType": "Binary", "contentType": media, "data": data}
    return entries.add(f"binary {number}", resource)


def source_patient(patient: Patient | None) -> Json | None:
    """The patient as the source knows them: by its own identifiers, or by the INS where there is no other."""
    if patient is None:
        return None
    own = [item for item in patient.identifiers if not item.kind.startswith("INS-")]
    content = filled(
        identifier=types.each(types.identifier, own or patient.identifiers),
        name=types.each(types.name, patient.names),
        gender=patient.sex if patient.sex in types.GENDERS else None,
        birthDate=types.date(patient.birth_date),
    )
    return {"resourceType": "Patient", "id": "source-patient", **content} if content else None


def _context(document: Document, related: list[str]) -> Json:
    return filled(
        event=types.each(types.concept, document.event_codes),
        period=filled(
            start=types.date_time(document.service_start), end=types.date_time(document.service_end)
        ),
        facilityType=types.concept(document.facility_type),
        practiceSetting=types.concept(document.practice_setting),
        related=[
            *({"identifier": types.identifier(item)} for item in document.reference_ids),
            *({"reference": url} for url in related),
        ],
    )


def _relation(kind: str, target: Any) -> Json:
    return {"code": kind, "target": {"identifier": types.identifier(target)}}


@dataclass(frozen=True, slots=True)
class Missing:
    """An attribute that a DMP entry must have and the document does not give.

    attribute: its XDS name; element: where FHIR has it; path: the field of the document to fill
    """

    attribute: str
    element: str
    path: str


def missing(document: Document) -> list[Missing]:
    """What a document must say before the DMP takes it, and does not; nothing of it is filled by guess.

    The attributes that the broker sets itself (entryUUID, availabilityStatus, version) are not listed, nor those that
    are required only if known (authorInstitution, authorRole, authorSpecialty, serviceStopTime).
    """
    return [one for one, is_there in _MUST if not is_there(document)]


def _has_ins(document: Document) -> bool:
    identifiers = document.patient.identifiers if document.patient else ()
    return any(item.kind.startswith("INS-") for item in identifiers)


def _is_full_oid(document: Document) -> bool:
    """The DMP takes an OID without extension, of at most 64 characters."""
    own = types.identifier(document.unique_id)
    return (
        own is not None
        and own.get("system") == "urn:ietf:rfc:3986"
        and own["value"].startswith("urn:oid:")
        and len(own["value"]) <= len("urn:oid:") + 64
    )


_MUST: tuple[tuple[Missing, Callable[[Document], object]], ...] = (
    (Missing("authorPerson", "DocumentReference.author", "authors.person"), lambda d: any(a.person or a.device for a in d.authors)),
    (Missing("classCode", "DocumentReference.category", "class_code"), lambda d: d.class_code),
    (Missing("typeCode", "DocumentReference.type", "type_code"), lambda d: d.type_code),
    (Missing("confidentialityCode", "DocumentReference.securityLabel", "confidentiality"), lambda d: d.confidentiality),
    (Missing("creationTime", "DocumentReference.content.attachment.creation", "created_at"), lambda d: types.instant(d.created_at)),
    (Missing("formatCode", "DocumentReference.content.format", "format_code"), lambda d: types.coding(d.format_code)),
    (Missing("hash", "DocumentReference.content.attachment.hash", "attachments.sha1"), lambda d: all(a.sha1 for a in shared(d)) and shared(d)),
    (Missing("size", "DocumentReference.content.attachment.size", "attachments.size"), lambda d: all(a.size for a in shared(d)) and shared(d)),
    (Missing("mimeType", "DocumentReference.content.attachment.contentType", "attachments.media_type"), lambda d: all(a.media_type for a in shared(d)) and shared(d)),
    (Missing("healthcareFacilityTypeCode", "DocumentReference.context.facilityType", "facility_type"), lambda d: d.facility_type),
    (Missing("practiceSettingCode", "DocumentReference.context.practiceSetting", "practice_setting"), lambda d: d.practice_setting),
    (Missing("languageCode", "DocumentReference.content.attachment.language", "language"), lambda d: d.language),
    (Missing("legalAuthenticator", "DocumentReference.authenticator", "legal_authenticator"), lambda d: d.legal_authenticator),
    (Missing("patientId", "DocumentReference.subject", "patient.identifiers[kind='INS-NIR']"), _has_ins),
    (Missing("sourcePatientId", "DocumentReference.context.sourcePatientInfo", "patient.identifiers"), lambda d: d.patient and d.patient.identifiers),
    (Missing("serviceStartTime", "DocumentReference.context.period.start", "service_start"), lambda d: types.date_time(d.service_start)),
    (Missing("title", "DocumentReference.content.attachment.title", "title"), lambda d: d.title),
    (Missing("uniqueId", "DocumentReference.masterIdentifier", "unique_id"), _is_full_oid),
)  # fmt: skip
