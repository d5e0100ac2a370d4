"""Builds FHIR R4 Bundles for `simulation` and the samples: a document, and a transaction that files one. Pure.

The document follows FHIR R4 §2.36 (Bundle.type document: a Composition first); the transaction follows IHE MHD ITI-65
and its French profile PDSm: a submission List, a DocumentReference and a Binary.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from broker.simulation_cda import Title, pdf
from broker.simulation_hl7v2 import Analysis
from broker.simulation_people import (
    INS_TEST_OID,
    IPP_OID,
    PERSON_OID,
    STRUCTURE_OID,
    Person,
    Professional,
)

CONSULTATION = ("11488-4", "CR ou fiche de consultation ou de visite")
PRESCRIPTION = ("57833-6", "Prescription de produits de santé")

_CLASSES = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
_IDENTIFIER_TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_FORMATS = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"

Json = dict[str, Any]


def document(
    who: Person, author: Professional, title: Title, text: str, analyses: Sequence[Analysis]
) -> bytes:
    """A document Bundle (a consultation report with measures) as JSON."""
    at = title.at.isoformat()
    composition: Json = {
        "resourceType": "Composition",
        "identifier": _oid(title.id),
        "status": "final",
        "type": _concept("http://loinc.org", *CONSULTATION),
        "subject": {"reference": _urn(title, 2)},
        "date": at,
        "author": [{"reference": _urn(title, 3)}],
        "title": title.title,
        "confidentiality": "N",
        "custodian": {"reference": _urn(title, 4)},
        "section": [
            {"title": "Conclusion", "text": _narrative(text)},
            {
                "title": "Mesures",
                "text": _narrative(
                    "; ".join(f"{one.label} {one.value} {one.unit}" for one in analyses)
                ),
                "entry": [{"reference": _urn(title, 10 + n)} for n in range(len(analyses))],
            },
        ],
    }
    resources = [
        (1, composition),
        (2, patient(who)),
        (3, _practitioner(author)),
        (4, _organization(author)),
        *((10 + n, _observation(title, one)) for n, one in enumerate(analyses)),
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": _oid(title.id),
        "timestamp": at,
        "entry": [{"fullUrl": _urn(title, n), "resource": resource} for n, resource in resources],
    }
    return msgspec.json.format(msgspec.json.encode(bundle), indent=2) + b"\n"


def transaction(who: Person, author: Professional, title: Title, lines: Sequence[str]) -> bytes:
    """A transaction Bundle that files a PDF (a prescription) as JSON."""
    at = title.at.isoformat()
    body = pdf(lines)
    contained = [
        {**patient(who), "id": "patient"},
        {**_practitioner(author), "id": "author"},
        {**_organization(author), "id": "organization"},
    ]
    subject = {"reference": f"Patient?identifier=urn:oid:{INS_TEST_OID}|{who.ins}"}
    submission: Json = {
        "resourceType": "List",
        "identifier": [_oid(f"{title.id}.1")],
        "status": "current",
        "mode": "working",
        "code": _concept(
            "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "submissionset", ""
        ),
        "subject": subject,
        "date": at,
        "entry": [{"item": {"reference": _urn(title, 2)}}],
    }
    reference: Json = {
        "resourceType": "DocumentReference",
        "contained": contained,
        "masterIdentifier": _oid(title.id),
        "identifier": [_oid(title.set_id)],
        "status": "current",
        "docStatus": "final",
        "type": _concept("http://loinc.org", *PRESCRIPTION),
        "category": [_concept(_CLASSES, "42", "Prescription")],
        "subject": subject,
        "date": at,
        "author": [{"reference": "#author"}],
        "authenticator": {"reference": "#author"},
        "custodian": {"reference": "#organization"},
        "securityLabel": [_concept(_CONFIDENTIALITY, "N", "normal")],
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "language": "fr-FR",
                    "url": _urn(title, 3),
                    "size": len(body),
                    "hash": _b64(hashlib.sha1(body, usedforsecurity=False).digest()),
                    "title": title.title,
                    "creation": at,
                },
                "format": {"system": _FORMATS, "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient"},
            }
        ],
        "context": {
            "period": {"start": at},
            "sourcePatientInfo": {"reference": "#patient"},
            "facilityType": _concept(
                "urn:oid:1.2.250.1.71.4.2.4", author.facility, author.facility_display
            ),
            "practiceSetting": _concept(
                "urn:oid:1.2.250.1.213.1.1.4.9", author.setting, author.setting_display
            ),
        },
    }
    binary: Json = {"resourceType": "Binary", "contentType": "application/pdf", "data": _b64(body)}
    entries = [(1, submission, "List"), (2, reference, "DocumentReference"), (3, binary, "Binary")]
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": _urn(title, n),
                "resource": resource,
                "request": {"method": "POST", "url": url},
            }
            for n, resource, url in entries
        ],
    }
    return msgspec.json.format(msgspec.json.encode(bundle), indent=2) + b"\n"


def patient(who: Person) -> Json:
    """The Patient of FR Core: INS of test and local number, birth name and used name."""
    names: list[Json] = [
        {"use": "official", "family": who.family, "given": [who.given[0], " ".join(who.given)]}
    ]
    if who.used != who.family:
        names.append({"use": "usual", "family": who.used, "given": [who.given[0]]})
    return {
        "resourceType": "Patient",
        "identifier": [
            {
                "use": "official",
                "type": _concept(_IDENTIFIER_TYPES, "INS-NIR", "NIR définitif"),
                "system": f"urn:oid:{INS_TEST_OID}",
                "value": who.ins,
            },
            {
                "use": "usual",
                "type": _concept(
                    "http://terminology.hl7.org/CodeSystem/v2-0203",
                    "PI",
                    "Patient internal identifier",
                ),
                "system": f"urn:oid:{IPP_OID}",
                "value": who.ipp,
            },
        ],
        "name": names,
        "gender": "female" if who.sex == "F" else "male",
        "birthDate": f"{who.birth[:4]}-{who.birth[4:6]}-{who.birth[6:]}",
        "address": [
            {"use": "home", "line": [who.street], "city": who.town, "postalCode": who.postal}
        ],
    }


def _practitioner(who: Professional) -> Json:
    return {
        "resourceType": "Practitioner",
        "identifier": [{"system": f"urn:oid:{PERSON_OID}", "value": who.rpps}],
        "name": [{"family": who.family, "given": [who.given]}],
        "qualification": [
            {"code": _concept("urn:oid:1.2.250.1.213.1.1.4.5", who.code, who.display)}
        ],
    }


def _organization(who: Professional) -> Json:
    return {
        "resourceType": "Organization",
        "identifier": [{"system": f"urn:oid:{STRUCTURE_OID}", "value": f"1{who.finess}"}],
        "name": who.structure,
    }


def _observation(title: Title, one: Analysis) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": _concept("http://loinc.org", one.code, one.label),
        "subject": {"reference": _urn(title, 2)},
        "effectiveDateTime": title.at.isoformat(),
        "valueQuantity": {
            "value": msgspec.Raw(one.value.encode()),
            "unit": one.unit,
            "system": "http://unitsofmeasure.org",
            "code": one.unit,
        },
    }


def _concept(system: str, code: str, display: str) -> Json:
    coding = {"system": system, "code": code}
    return {"coding": [{**coding, "display": display} if display else coding]}


def _oid(oid: str) -> Json:
    return {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{oid}"}


def _urn(title: Title, number: int) -> str:
    digest = hashlib.sha256(f"{title.id}/{number}".encode()).hexdigest()
    return f"urn:uuid:{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def _narrative(text: str) -> Json:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{safe}</p></div>',
    }


def _b64(body: bytes) -> str:
    return base64.b64encode(body).decode()
