"""Reads the document entries of an XDM METADATA.XML (ebXML RIM 3 or 2.1) and says them as IHE MHD does.

Source: IHE ITI TF-3 4.2 (XDS metadata, classification schemes, HL7v2 data types in slots); IHE MHD 4.2,
DocumentReference mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from broker.parsing.cda import tree

Metadata = dict[str, Any]

_CODES = {
    "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a": "classCode",
    "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f": "confidentialityCode",
    "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4": "eventCodeList",
    "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d": "formatCode",
    "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1": "healthcareFacilityTypeCode",
    "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead": "practiceSettingCode",
    "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983": "typeCode",
}
_AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
_IDENTIFIERS = {
    "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab": "uniqueId",
    "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427": "patientId",
}
_RELATIONS = {"RPLC": "replaces", "APND": "appends", "XFRM": "transforms", "signs": "signs"}
_MANY = frozenset({"confidentialityCode", "eventCodeList"})
_LISTS = frozenset({"sourcePatientInfo", "urn:ihe:iti:xds:2013:referenceIdList"})
_GENDERS = {"M": "male", "F": "female", "O": "other", "A": "other", "U": "unknown"}
_OID = re.compile(r"[0-2](?:\.\d+)+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One document entry: its attributes by XDS name, and the folder its URI is relative to."""

    folder: str
    metadata: Metadata = field(repr=False)

    @property
    def uri(self) -> str:
        return str(self.metadata.get("URI") or "").replace("\\", "/")

    def uri_name(self) -> str:
        """Last part of the URI."""
        return self.uri.rpartition("/")[2]


def read_entries(body: bytes, folder: str) -> Iterator[Entry]:
    """The document entries of one METADATA.XML, in any RIM namespace. Raises ParseError `xml.*`."""
    root = tree(body)
    entries = {
        element.get("id", ""): Entry(folder, _entry(element))
        for element in root.iter("{*}ExtrinsicObject")
    }
    for association in root.iter("{*}Association"):
        kind = _RELATIONS.get(association.get("associationType", "").rpartition(":")[2])
        source = entries.get(association.get("sourceObject", ""))
        target = association.get("targetObject", "")
        if kind and source and target not in entries:
            source.metadata.setdefault("relations", []).append({"kind": kind, "target": target})
    yield from entries.values()


def document_reference(metadata: Metadata, media: str) -> dict[str, Any]:
    """The entry as an R4 DocumentReference with contained Patient and authors; without the content's bytes."""
    people: list[dict[str, Any]] = []
    found = {
        "masterIdentifier": _unique_id(metadata.get("uniqueId")),
        "status": _status(metadata.get("availabilityStatus")),
        "type": _concept(metadata.get("typeCode")),
        "category": [_concept(metadata["classCode"])] if "classCode" in metadata else None,
        "subject": _subject(metadata, people),
        "date": _instant(metadata.get("creationTime")),
        "author": list(_authors(metadata, people)),
        "authenticator": _practitioner(metadata.get("legalAuthenticator"), people),
        "relatesTo": [_relation(item) for item in metadata.get("relations", ())],
        "description": metadata.get("comments"),
        "securityLabel": [_concept(code) for code in metadata.get("confidentialityCode", ())],
        "content": [_content(metadata, media)],
        "context": _context(metadata),
        "contained": people,
    }
    return {"resourceType": "DocumentReference", **{k: v for k, v in found.items() if v}}


def patient_keys_of(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """The (root, extension) of the entry's patient: patientId, then sourcePatientId."""
    keys = [_cx(metadata.get(name)) for name in ("patientId", "sourcePatientId")]
    return tuple(dict.fromkeys(key for key in keys if key[1]))


def _entry(element: etree._Element) -> Metadata:
    out: Metadata = {"entryUUID": element.get("id", ""), "mimeType": element.get("mimeType", "")}
    for child in element.iterchildren(etree.Element):
        kind = _local(child)
        if kind == "Slot":
            values = _values(child)
            name = child.get("name", "")
            out[name] = values if name in _LISTS else "".join(values)
        elif kind == "Name":
            out["title"] = _localized(child)
        elif kind == "Description":
            out["comments"] = _localized(child)
        elif kind == "Classification":
            _classify(out, child)
        elif kind == "ExternalIdentifier":
            name = _IDENTIFIERS.get(child.get("identificationScheme", ""), "")
            out[name or _localized(child)] = child.get("value", "")
    out["availabilityStatus"] = element.get("status", "").rpartition(":")[2]
    return {name: value for name, value in out.items() if name and value}


def _classify(out: Metadata, element: etree._Element) -> None:
    scheme = element.get("classificationScheme", "")
    slots = {slot.get("name", ""): _values(slot) for slot in element.iter("{*}Slot")}
    if scheme == _AUTHOR:
        out.setdefault("authors", []).append(slots)
        return
    name = _CODES.get(scheme)
    if name is None:
        return
    code = {
        "code": element.get("nodeRepresentation", ""),
        "system": "".join(slots.get("codingScheme", [])),
        "display": _localized(element),
    }
    if name in _MANY:
        out.setdefault(name, []).append(code)
    else:
        out[name] = code


def _values(slot: etree._Element) -> list[str]:
    return [(value.text or "").strip() for value in slot.iter("{*}Value") if value.text]


def _localized(element: etree._Element) -> str:
    for child in element.iter("{*}LocalizedString"):
        return child.get("value", "").strip()
    return ""


def _local(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _unique_id(value: str | None) -> dict[str, str] | None:
    """XDS uniqueId: an OID, or `root^extension`, or a URI."""
    if not value:
        return None
    root, caret, extension = value.partition("^")
    if caret and extension:
        return {"system": _uri(root), "value": extension}
    return {"system": "urn:ietf:rfc:3986", "value": _uri(value)}


def _uri(value: str) -> str:
    return f"urn:oid:{value}" if _OID.fullmatch(value) else value


def _status(status: str | None) -> str:
    return "superseded" if status == "Deprecated" else "current"


def _concept(code: dict[str, str] | None) -> dict[str, Any] | None:
    if not code:
        return None
    found = {"system": _uri(code["system"]), "code": code["code"], "display": code["display"]}
    return {"coding": [{name: value for name, value in found.items() if value}]}


def _instant(digits: str | None) -> str:
    """XDS times are UTC digits cut at their precision (IHE ITI TF-3 table 4.2.3.1.7-2)."""
    text = re.sub(r"\D", "", digits or "")[:14]
    if len(text) < 4:
        return ""
    date = "-".join(part for part in (text[:4], text[4:6], text[6:8]) if part)
    if len(text) < 12:
        return date
    return f"{date}T{text[8:10]}:{text[10:12]}:{text[12:14] or '00'}Z"


_ESCAPE = re.compile(r"\\([EFRST])\\")
_ESCAPED = {"E": "\\", "F": "|", "R": "~", "S": "^", "T": "&"}


def _plain(component: str) -> str:
    """A component of an HL7v2 value in a slot, its delimiters unescaped (HL7 v2.5.1 §2.7)."""
    return _ESCAPE.sub(lambda found: _ESCAPED[found[1]], component)


def _cx(value: str | None) -> tuple[str, str]:
    """(assigning authority OID, id) of a CX in a slot: `id^^^&oid&ISO`; `&` escaped twice occurs."""
    parts = (value or "").replace("&amp;", "&").split("^")
    authority = parts[3].split("&") if len(parts) > 3 else []
    root = authority[1] if len(authority) > 1 else (authority[0] if authority else "")
    return root, _plain(parts[0].strip())


def _subject(metadata: Metadata, contained: list[dict[str, Any]]) -> dict[str, str] | None:
    patient = {"resourceType": "Patient", "id": "patient", **_demographics(metadata)}
    identifiers = [
        {"system": _uri(root), "value": value} for root, value in patient_keys_of(metadata)
    ]
    if identifiers:
        patient["identifier"] = identifiers
    if len(patient) == 2:
        return None
    contained.append(patient)
    return {"reference": "#patient"}


def _demographics(metadata: Metadata) -> dict[str, Any]:
    """sourcePatientInfo: one PID field a value, `PID-5|family^given`."""
    fields = dict(
        value.split("|", 1) for value in metadata.get("sourcePatientInfo", ()) if "|" in value
    )
    out: dict[str, Any] = {}
    if name := fields.get("PID-5"):
        out["name"] = [_name(name.split("~")[0].split("^"))]
    if birth := _instant(fields.get("PID-7", "")[:8]):
        out["birthDate"] = birth
    if sex := fields.get("PID-8"):
        out["gender"] = _GENDERS.get(sex.strip().upper(), "unknown")
    if address := fields.get("PID-11"):
        out["address"] = [_address(address.split("~")[0].split("^"))]
    return out


def _name(parts: list[str]) -> dict[str, Any]:
    """XPN order: family, given, further given, suffix, prefix."""
    family, *others = (*parts, "", "", "", "", "")[:5]
    given, more, suffix, prefix = map(_plain, others)
    found = {
        "family": _plain(family.split("&")[0]),
        "given": [text for text in (given, more) if text],
        "suffix": [suffix] if suffix else [],
        "prefix": [prefix] if prefix else [],
    }
    return {name: value for name, value in found.items() if value}


def _address(parts: list[str]) -> dict[str, Any]:
    line, *others = (*parts, "", "", "", "", "", "")[:6]
    other, city, state, code, country = map(_plain, others)
    found = {
        "line": [text for text in (_plain(line.split("&")[0]), other) if text],
        "city": city,
        "state": state,
        "postalCode": code,
        "country": country,
    }
    return {name: value for name, value in found.items() if value}


def _authors(metadata: Metadata, contained: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    for number, slots in enumerate(metadata.get("authors", ()), 1):
        person = "".join(slots.get("authorPerson", [])[:1])
        institution = "".join(slots.get("authorInstitution", [])[:1])
        role: dict[str, Any] = {"resourceType": "PractitionerRole", "id": f"role{number}"}
        if reference := _practitioner(person, contained):
            role["practitioner"] = reference
        if reference := _organization(institution, contained):
            role["organization"] = reference
        if texts := [*slots.get("authorRole", []), *slots.get("authorSpecialty", [])]:
            role["code"] = [_ce(text) for text in texts]
        if len(role) > 2:
            contained.append(role)
            yield {"reference": f"#role{number}"}


def _practitioner(xcn: str | None, contained: list[dict[str, Any]]) -> dict[str, str] | None:
    """XCN: `id^family^given^more^suffix^prefix^^^&oid&ISO`; a text without carets is a name."""
    if not xcn:
        return None
    parts = xcn.split("^")
    resource: dict[str, Any] = {"resourceType": "Practitioner", "id": f"p{len(contained) + 1}"}
    if len(parts) == 1:
        resource["name"] = [{"text": xcn}]
    elif name := _name(parts[1:6]):
        resource["name"] = [name]
    if len(parts) > 1 and parts[0]:
        authority = (parts[8] if len(parts) > 8 else "").split("&")
        system = authority[1] if len(authority) > 1 else ""
        resource["identifier"] = [{"system": _uri(system), "value": _plain(parts[0])}]
    contained.append(resource)
    return {"reference": f"#{resource['id']}"}


def _organization(xon: str, contained: list[dict[str, Any]]) -> dict[str, str] | None:
    """XON: `name^^^^^&oid&ISO^^^^id`."""
    if not xon:
        return None
    parts = xon.split("^")
    resource: dict[str, Any] = {"resourceType": "Organization", "id": f"o{len(contained) + 1}"}
    if parts[0]:
        resource["name"] = _plain(parts[0])
    if len(parts) > 9 and parts[9]:
        authority = parts[5].split("&")
        system = authority[1] if len(authority) > 1 else ""
        resource["identifier"] = [{"system": _uri(system), "value": _plain(parts[9])}]
    contained.append(resource)
    return {"reference": f"#{resource['id']}"}


def _ce(text: str) -> dict[str, Any]:
    """A role or speciality: free text, or `code^display^system` (CI-SIS authorSpecialty)."""
    parts = text.split("^")
    if len(parts) < 3:
        return {"text": _plain(text)}
    code, display, system = map(_plain, parts[:3])
    return {"coding": [{"system": _uri(system), "code": code, "display": display}]}


def _relation(item: dict[str, str]) -> dict[str, Any]:
    identifier = {"system": "urn:ietf:rfc:3986", "value": item["target"]}
    return {"code": item["kind"], "target": {"identifier": identifier}}


def _content(metadata: Metadata, media: str) -> dict[str, Any]:
    attachment = {
        "contentType": media,
        "language": metadata.get("languageCode"),
        "title": metadata.get("title"),
        "creation": _instant(metadata.get("creationTime")),
    }
    content: dict[str, Any] = {"attachment": {k: v for k, v in attachment.items() if v}}
    if concept := _concept(metadata.get("formatCode")):
        content["format"] = concept["coding"][0]
    return content


def _context(metadata: Metadata) -> dict[str, Any]:
    period = {
        "start": _instant(metadata.get("serviceStartTime")),
        "end": _instant(metadata.get("serviceStopTime")),
    }
    found = {
        "event": [_concept(code) for code in metadata.get("eventCodeList", ())],
        "period": {name: value for name, value in period.items() if value},
        "facilityType": _concept(metadata.get("healthcareFacilityTypeCode")),
        "practiceSetting": _concept(metadata.get("practiceSettingCode")),
    }
    return {name: value for name, value in found.items() if value}
