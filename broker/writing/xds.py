"""Writes the XDS metadata of a document: the ebXML request of XDS.b and METADATA.XML of XDM. For exchange with a registry.

The document described is its CDA form (`cda`). What the DMP requires and the document does not have is left out and
listed by `missing`; nothing is invented. Source: IHE ITI TF-3 §4.2 (classification schemes, slots, associations);
ebXML RIM 3.0; the DMP's metadata as CI-SIS publishes them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable

from lxml import etree

from broker.document import Author, Coding, Document
from broker.writing import cda, cda_header, systems
from broker.writing import xds_slots as slots
from broker.writing.cda_elements import Element, add, put
from broker.writing.cda_elements import to_bytes as serialised
from broker.writing.xds_required import (
    Missing,
    content_type,
    format_of,
    missing,
    source_id,
    target_of,
)

__all__ = ["MEDIA", "Content", "Missing", "metadata", "missing", "to_bytes"]

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

MEDIA = "text/xml"

_LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
_RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
_OBJECT = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject"
_STATUS = "urn:oasis:names:tc:ebxml-regrep:StatusType"
_STATUSES = {
    "current": f"{_STATUS}:Approved",
    "superseded": f"{_STATUS}:Deprecated",
    "archived": "urn:asip:ci-sis:2010:StatusType:Archived",
    "deleted": "urn:asip:ci-sis:2010:StatusType:Deleted",
}
_ENTRY = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
_SET = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
_SCHEMES = {
    "author": "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d",
    "classCode": "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
    "confidentialityCode": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
    "eventCodeList": "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4",
    "formatCode": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
    "healthcareFacilityTypeCode": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
    "practiceSettingCode": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
    "typeCode": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
    "uniqueId": "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab",
    "patientId": "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427",
}
_SET_SCHEMES = {
    "author": "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d",
    "contentTypeCode": "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500",
    "uniqueId": "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8",
    "sourceId": "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832",
    "patientId": "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446",
}
_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
_ASSOCIATIONS = {
    "replaces": "urn:ihe:iti:2007:AssociationType:RPLC",
    "appends": "urn:ihe:iti:2007:AssociationType:APND",
    "transforms": "urn:ihe:iti:2007:AssociationType:XFRM",
    "signs": "urn:ihe:iti:2007:AssociationType:signs",
}


def to_bytes(document: Document, content: Content) -> bytes:
    """The metadata of the document's CDA form.

    Raises: PermanentError `writing.character` as `cda.to_bytes`; `where` is the path of the element.
    """
    return metadata(document, cda.to_bytes(document, content), content)


def metadata(document: Document, body: bytes, content: Content, *, uri: str = "") -> bytes:
    """A SubmitObjectsRequest of one document entry in one submission set.

    body: the bytes of the document described; uri: its name inside an XDM archive
    """
    request = etree.Element(f"{{{_LCM}}}SubmitObjectsRequest", nsmap={"lcm": _LCM, "rim": _RIM})
    writer = _Request(add(request, _rim("RegistryObjectList")), document)
    writer.entry(body, format_of(document, content), uri)
    writer.submission_set()
    writer.associations()
    return serialised(request)


class _Request:
    """One request while it is written; ids are derived from the document's, so the same document has the same."""

    def __init__(self, objects: Element, document: Document) -> None:
        self.objects = objects
        self.document = document
        self.space = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:uuid:{document.id}")
        self.entry_id = f"urn:uuid:{document.id}"
        self.set_id = self._id("submission set")
        self.made = 0

    def entry(self, body: bytes, format_code: Coding | None, uri: str) -> None:
        """The document entry."""
        document = self.document
        status = _STATUSES[document.availability]
        element = add(
            self.objects, _rim("ExtrinsicObject"), id=self.entry_id, lid=self.entry_id,
            objectType=_ENTRY, status=status, mimeType=MEDIA,
        )  # fmt: skip
        digest = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        _slot(element, "creationTime", slots.utc(document.created_at))
        _slot(element, "hash", digest)
        _slot(element, "languageCode", document.language)
        _slot(element, "legalAuthenticator", slots.person(document.legal_authenticator))
        _slot(element, "serviceStartTime", slots.utc(document.service_start))
        _slot(element, "serviceStopTime", slots.utc(document.service_end))
        _slot(element, "size", str(len(body)))
        _slot(element, "sourcePatientId", slots.source_patient_id(document.patient))
        _slot(element, "sourcePatientInfo", *slots.source_patient_info(document.patient))
        _slot(
            element,
            "urn:ihe:iti:xds:2013:referenceIdList",
            *map(slots.reference_id, cda_header.orders_of(document)),
        )
        _slot(element, "URI", uri)
        _said(element, "Name", document.title)
        _said(element, "Description", document.comments)
        for author in document.authors:
            self._author(element, self.entry_id, _SCHEMES["author"], author)
        codes: list[tuple[str, Coding | None]] = [
            ("classCode", slots.first(document.class_code)),
            *(("confidentialityCode", slots.first(item)) for item in document.confidentiality),
            *(("eventCodeList", slots.first(item)) for item in document.event_codes),
            ("formatCode", format_code),
            ("healthcareFacilityTypeCode", slots.first(document.facility_type)),
            ("practiceSettingCode", slots.first(document.practice_setting)),
            ("typeCode", slots.first(document.type_code)),
        ]
        for name, code in codes:
            self._code(element, self.entry_id, _SCHEMES[name], code)
        unique = slots.unique_id(cda_header.unique_id(document))
        self._external(element, self.entry_id, _SCHEMES, "XDSDocumentEntry.uniqueId", unique)
        patient = slots.patient_id(document.patient)
        self._external(element, self.entry_id, _SCHEMES, "XDSDocumentEntry.patientId", patient)

    def submission_set(self) -> None:
        """The submission set."""
        document = self.document
        element = add(
            self.objects, _rim("RegistryPackage"), id=self.set_id, status=f"{_STATUS}:Approved"
        )
        _slot(element, "submissionTime", slots.instant(document.source.received_at))
        _said(element, "Name", document.title)
        if document.sender is not None:
            self._author(element, self.set_id, _SET_SCHEMES["author"], document.sender)
        self._code(element, self.set_id, _SET_SCHEMES["contentTypeCode"], content_type(document))
        values = {
            "uniqueId": systems.of_uuid(str(uuid.uuid5(self.space, "submission"))),
            "sourceId": source_id(document),
            "patientId": slots.patient_id(document.patient),
        }
        for name, value in values.items():
            self._external(element, self.set_id, _SET_SCHEMES, f"XDSSubmissionSet.{name}", value)
        add(
            self.objects, _rim("Classification"), id=self._next(), classifiedObject=self.set_id,
            classificationNode=_SET, objectType=f"{_OBJECT}:Classification",
        )  # fmt: skip

    def associations(self) -> None:
        """The entry in its set, and what it replaces, appends, transforms or signs."""
        member = self._association(_MEMBER, self.set_id, self.entry_id)
        _slot(member, "SubmissionSetStatus", "Original")
        for relation in self.document.relations:
            if target := target_of(relation):
                self._association(_ASSOCIATIONS[relation.kind], self.entry_id, target)

    def _association(self, kind: str, source: str, target: str) -> Element:
        return add(
            self.objects, _rim("Association"), id=self._next(), associationType=kind,
            sourceObject=source, targetObject=target, objectType=f"{_OBJECT}:Association",
        )  # fmt: skip

    def _author(self, parent: Element, owner: str, scheme: str, author: Author) -> None:
        values = {
            "authorPerson": slots.person(author),
            "authorInstitution": slots.institution(author.organization),
            "authorRole": slots.role(author),
            "authorSpecialty": slots.speciality(author),
        }
        if any(values.values()):
            element = self._classification(parent, owner, scheme)
            for name, value in values.items():
                _slot(element, name, value)

    def _code(self, parent: Element, owner: str, scheme: str, code: Coding | None) -> None:
        if code is None:
            return
        element = self._classification(parent, owner, scheme, code.code)
        _slot(element, "codingScheme", slots.scheme(code))
        _said(element, "Name", code.display)

    def _classification(self, parent: Element, owner: str, scheme: str, code: str = "") -> Element:
        element = add(
            parent, _rim("Classification"), id=self._next(), classificationScheme=scheme,
            classifiedObject=owner, objectType=f"{_OBJECT}:Classification",
        )  # fmt: skip
        element.set("nodeRepresentation", "")
        put(element, "nodeRepresentation", code)
        return element

    def _external(
        self, parent: Element, owner: str, schemes: dict[str, str], name: str, value: str
    ) -> None:
        if not value:
            return
        element = add(
            parent, _rim("ExternalIdentifier"), id=self._next(), registryObject=owner,
            identificationScheme=schemes[name.partition(".")[2]], value=value,
            objectType=f"{_OBJECT}:ExternalIdentifier",
        )  # fmt: skip
        _said(element, "Name", name)

    def _id(self, name: str) -> str:
        return f"urn:uuid:{uuid.uuid5(self.space, name)}"

    def _next(self) -> str:
        self.made += 1
        return self._id(f"object {self.made}")


def _rim(name: str) -> str:
    return f"{{{_RIM}}}{name}"


def _slot(parent: Element, name: str, *values: str) -> None:
    """A slot with the values that are there, unless there is none."""
    found = [value for value in values if value]
    if found:
        slot = add(parent, _rim("Slot"))
        put(slot, "name", name)
        holder = add(slot, _rim("ValueList"))
        for value in found:
            add(holder, _rim("Value"), value)


def _said(parent: Element, name: str, text: str) -> None:
    if text:
        add(add(parent, _rim(name)), _rim("LocalizedString"), value=text)
