"""What the DMP requires of XDS metadata, and what is worked out for it from a document. For `xds`.

Source: the DMP's cardinalities of the document entry and submission set as CI-SIS publishes them; TRE_R209 (ANS) for
contentTypeCode; IHE format codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from broker.document import Coded, Coding, Document, Relation
from broker.writing import cda, cda_body, cda_header, systems
from broker.writing import xds_slots as slots

_FORMATS = "1.3.6.1.4.1.19376.1.2.3"
_SCANNED = {
    "application/pdf": Coding(
        code="urn:ihe:iti:xds-sd:pdf:2008", system=_FORMATS, display="PDF dans un CDA niveau 1"
    ),
    "text/plain": Coding(
        code="urn:ihe:iti:xds-sd:text:2008", system=_FORMATS, display="Texte dans un CDA niveau 1"
    ),
}
"""The formats of the level 1 documents we make ourselves (IHE format codes)."""

_ACTIVITIES = "1.2.250.1.213.2.2"
_INPATIENT = Coding(code="03", system=_ACTIVITIES, display="Hospitalisation complète")
_OUTPATIENT = Coding(code="07", system=_ACTIVITIES, display="Consultation soins externes")
_CONTENT_TYPES = {
    "I": _INPATIENT, "IMP": _INPATIENT, "ACUTE": _INPATIENT, "NONAC": _INPATIENT, "O": _OUTPATIENT,
    "AMB": _OUTPATIENT, "E": _OUTPATIENT, "EMER": _OUTPATIENT,
    "R": Coding(code="19", system=_ACTIVITIES, display="Traitement et cure ambulatoire"),
    "N": Coding(code="97", system=_ACTIVITIES),
}  # fmt: skip
"""contentTypeCode (TRE_R209) of a class of encounter, as the volet for transmission in HL7v2 proposes it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An attribute the DMP requires, and the place in the document where nothing can be found for it."""

    attribute: str
    place: str


def missing(document: Document) -> list[Missing]:
    """What the DMP requires and the document does not have, in the order of the metadata."""
    entry = [
        ("patientId", "patient.identifiers", slots.patient_id(document.patient)),
        ("sourcePatientId", "patient.identifiers", slots.source_patient_id(document.patient)),
        ("authorPerson", "authors", any(map(slots.person, document.authors))),
        ("legalAuthenticator", "legal_authenticator", slots.person(document.legal_authenticator)),
        ("classCode", "class_code", _coded(document.class_code)),
        ("typeCode", "type_code", _coded(document.type_code)),
        ("confidentialityCode", "confidentiality", any(map(_coded, document.confidentiality))),
        ("formatCode", "format_code", _coded(document.format_code) or _scanned(document)),
        ("healthcareFacilityTypeCode", "facility_type", _coded(document.facility_type)),
        ("practiceSettingCode", "practice_setting", _coded(document.practice_setting)),
        ("creationTime", "created_at", slots.utc(document.created_at)),
        ("serviceStartTime", "service_start", slots.utc(document.service_start)),
        ("languageCode", "language", document.language),
        ("title", "title", document.title),
        ("uniqueId", "unique_id", systems.is_oid(slots.unique_id(cda_header.unique_id(document)))),
    ]
    submission = [
        ("authorPerson", "sender", slots.person(document.sender)),
        ("contentTypeCode", "encounters", content_type(document)),
        ("sourceId", "source.facility", source_id(document)),
        ("submissionTime", "source.received_at", slots.instant(document.source.received_at)),
    ]
    found = [Missing(f"DocumentEntry.{name}", place) for name, place, value in entry if not value]
    found += [
        Missing(f"SubmissionSet.{name}", place) for name, place, value in submission if not value
    ]
    for number, relation in enumerate(document.relations):
        if not target_of(relation).startswith("urn:uuid:"):
            found.append(Missing("Association.targetObject", f"relations[{number}].target"))
    return found


def format_of(document: Document, content: Callable[[str], bytes]) -> Coding | None:
    """formatCode: the document's own; of a level 1 document made here, the one its body has."""
    own = slots.first(document.format_code)
    if own is not None or cda.original(document, content) is not None:
        return own
    return _scanned(document)


def content_type(document: Document) -> Coding | None:
    """contentTypeCode of the first encounter, by its class."""
    classes = document.encounters[0].class_ if document.encounters else None
    codes = (one.code for one in (classes.codings if classes else ()))
    return next((_CONTENT_TYPES[code] for code in codes if code in _CONTENT_TYPES), None)


def source_id(document: Document) -> str:
    """The OID of who sends: the facility, else the application; empty when neither has one."""
    for item in (document.source.facility, document.source.application):
        names = (item.oid, item.value) if item else ()
        found = next((name for name in names if systems.is_oid(name)), "")
        if found:
            return found
    return ""


def target_of(relation: Relation) -> str:
    """The document a relation names: the UUID of its entry, else the URN of its unique id."""
    if relation.target is None:
        return ""
    found = systems.instance(relation.target)
    if not found.root:
        return relation.target.value
    if systems.is_oid(found.root):
        return f"urn:oid:{slots.unique_id(relation.target)}"
    return f"urn:uuid:{found.root.lower()}"


def _scanned(document: Document) -> Coding | None:
    alone = cda_body.alone(document)
    return _SCANNED.get(alone.media_type) if alone else None


def _coded(item: Coded | None) -> bool:
    code = slots.first(item)
    return code is not None and bool(slots.scheme(code))
