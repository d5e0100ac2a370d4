"""Reads FHIR resources and Bundles, JSON or XML, into plain dictionaries with their references indexed.

Source: FHIR R4 (4.0.1) and R4B (4.3.0), JSON and XML representations; Bundle, "Resolving references in Bundles".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import msgspec
from lxml import etree

from broker.errors import ParseError
from broker.parsing.cda import INS_OIDS, MAX_BYTES, tree
from broker.parsing.fhir_types import element_table

Resource = dict[str, Any]

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
MAX_VALUES = 1_000_000

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ELEMENTS = element_table()
_EVERYWHERE = {
    "extension": (True, "Extension"),
    "modifierExtension": (True, "Extension"),
    "contained": (True, "Resource"),
    "meta": (False, "Meta"),
    "text": (False, "Narrative"),
}
_OLDER = frozenset(
    [
        "BodySite",
        "Conformance",
        "DataElement",
        "DeviceComponent",
        "DiagnosticOrder",
        "EligibilityRequest",
        "EligibilityResponse",
        "ExpansionProfile",
        "ImagingManifest",
        "ImagingObjectSelection",
        "MedicationOrder",
        "Order",
        "OrderResponse",
        "ProcedureRequest",
        "ProcessRequest",
        "ProcessResponse",
        "ReferralRequest",
        "Sequence",
        "ServiceDefinition",
    ]
)
_OLDER_ELEMENTS = {
    "DocumentReference": frozenset({"class", "created", "indexed"}),
    "Patient": frozenset({"animal"}),
    "Encounter": frozenset({"incomingReferral"}),
    "DiagnosticReport": frozenset({"codedDiagnosis", "image"}),
    "Observation": frozenset({"related", "comment", "comments"}),
    "Condition": frozenset({"assertedDate", "context", "dateRecorded"}),
    "Procedure": frozenset({"notDone", "context"}),
    "Immunization": frozenset({"notGiven", "vaccinationProtocol"}),
}
_NEWER_ELEMENTS = {
    "Encounter": frozenset({"actualPeriod", "plannedStartDate"}),
    "DocumentReference": frozenset({"modality", "bodySite", "version"}),
    "MedicationStatement": frozenset({"medication"}),
    "MedicationRequest": frozenset({"medication"}),
    "Appointment": frozenset({"recurrenceId"}),
}
_VERSIONS = {"3": "STU3", "4": "R4", "5": "R5"}
_VERSION = re.compile(r"fhirVersion\s*=\s*\"?(\d)\.(\d)")


@dataclass(frozen=True, slots=True)
class FhirMessage:
    """One resource, or one Bundle with its entries.

    resource: the outermost resource; numbers with a decimal point are Decimal with their digits
    entries: the resources of the Bundle, nested Bundles included, or the resource itself
    index: by fullUrl, by `Type/id`, and contained ones by (id of the containing dict, `#id`)
    version_guess: `R4`, or `STU3` or `R5` when a field or the media type tells so
    """

    resource: Resource = field(repr=False)
    entries: list[Resource] = field(repr=False)
    index: dict[Any, Resource] = field(repr=False)
    body: bytes = field(repr=False)
    version_guess: str = "R4"
    format_name: str = "fhir-r4"

    def resolve(self, reference: str, owner: Resource | None = None) -> Resource | None:
        """The resource a reference of `owner` points to; None when it is not in the message.

        A conditional reference (`Patient?identifier=system|value`, FHIR R4 "transaction") that nothing in the message
        answers gives a resource with that identifier and nothing else: it is all that is known.
        """
        if reference.startswith("#"):
            return self.index.get((id(owner), reference))
        if "?identifier=" in reference:
            return self._conditional(reference)
        plain = reference.partition("/_history/")[0]
        return self.index.get(plain) or self.index.get("/".join(plain.split("/")[-2:]))

    def _conditional(self, reference: str) -> Resource | None:
        kind, _, query = reference.rpartition("/")[2].partition("?identifier=")
        system, bar, value = unquote(query.partition("&")[0]).rpartition("|")
        if not value:
            return None
        wanted = {"system": system, "value": value} if bar else {"value": value}
        for entry in self.entries:
            if entry["resourceType"] == kind and any(
                isinstance(item, dict) and wanted.items() <= item.items()
                for item in _list(entry.get("identifier"))
            ):
                return entry
        return {"resourceType": kind, "identifier": [wanted]}


def parse(body: bytes, media: str = "") -> FhirMessage:
    """Read one FHIR resource or Bundle.

    Raises: ParseError `fhir.malformed` (JSON, with the byte), `xml.*` (XML, with the line), `fhir.no_resource`,
    `fhir.too_large`, `fhir.too_many_values`, `fhir.too_deep`, `fhir.version` (declared, and none that is read).
    """
    return message(_read(body), body, media)


def message(resource: Resource, body: bytes, media: str = "") -> FhirMessage:
    """The message of a resource that is already a dictionary; `body` is what it was read from."""
    entries = list(_entries(resource))
    return FhirMessage(resource, entries, _index(resource, entries), body, _version(entries, media))


def split(body: bytes) -> list[bytes]:
    """The resources of a file that holds several, one after the other (NDJSON and its kin); usually one."""
    if not _SEAM.search(body) or _reads_whole(body):
        return [body]
    try:
        return list(_pieces(body.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        return [body]


def patient_keys(body: bytes) -> tuple[tuple[str, str], ...]:
    """The (system, value) of the identifiers of the first Patient, INS first; `urn:oid:` is left out of systems.

    A message without a Patient may name its subject by identifier. For intake, which computes the lane. Empty
    when there is none or the bytes are not FHIR.
    """
    try:
        entries = list(_entries(_read(body)))
    except ParseError:
        return ()
    patient = next(_patients(entries), None)
    named = patient.get("identifier") if patient is not None else list(_named_subjects(entries))
    keys = [_identifier_key(item) for item in _list(named)]
    keys = [key for key in keys if key[1]]
    keys.sort(key=lambda key: key[0] not in INS_OIDS)
    return tuple(dict.fromkeys(keys))


_SEAM = re.compile(rb"\}\s*\{")


def _read(body: bytes) -> Resource:
    if len(body) > MAX_BYTES:
        raise ParseError("fhir.too_large", reason=f"more than {MAX_BYTES} bytes")
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    resource = _from_xml(body) if text[:1] == b"<" or b"\x00" in body[:4] else _from_json(text)
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise ParseError("fhir.no_resource", where="resourceType", reason="not a FHIR resource")
    return resource


def _from_json(text: bytes) -> Any:
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise ParseError("fhir.too_many_values", reason=f"more than {MAX_VALUES} values")
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        where = f"byte {at[1]}" if at else "end"
        raise ParseError("fhir.malformed", where=where, reason="not JSON") from None
    except (ArithmeticError, ValueError):
        raise ParseError("fhir.malformed", reason="a number or text that is not JSON") from None
    except RecursionError:
        raise ParseError("fhir.too_deep", reason="nested too deeply") from None


def _reads_whole(body: bytes) -> bool:
    try:
        _read(body)
    except ParseError:
        return False
    return True


def _pieces(text: str) -> Any:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        _, end = decoder.raw_decode(text, at)
        yield text[at:end].encode()
        at = end


def _entries(resource: Resource) -> Any:
    if resource.get("resourceType") != "Bundle":
        yield resource
        return
    for entry in _list(resource.get("entry")):
        inner = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("resourceType"), str):
            yield from _entries(inner)


def _index(resource: Resource, entries: list[Resource]) -> dict[Any, Resource]:
    index: dict[Any, Resource] = {}
    for entry in entries:
        _index_one(index, entry)
    _index_full_urls(index, resource)
    return index


def _index_one(index: dict[Any, Resource], resource: Resource) -> None:
    if identity := resource.get("id"):
        index.setdefault(f"{resource['resourceType']}/{identity}", resource)
    for inner in _list(resource.get("contained")):
        if isinstance(inner, dict) and inner.get("id"):
            index[id(resource), f"#{str(inner['id']).lstrip('#')}"] = inner


def _index_full_urls(index: dict[Any, Resource], bundle: Resource) -> None:
    if bundle.get("resourceType") != "Bundle":
        return
    for entry in _list(bundle.get("entry")):
        inner = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(inner, dict):
            continue
        if isinstance(url := entry.get("fullUrl"), str):
            index.setdefault(url, inner)
            index.setdefault("/".join(url.split("/")[-2:]), inner)
        _index_full_urls(index, inner)


def _version(entries: list[Resource], media: str) -> str:
    if declared := _VERSION.search(media):
        if declared[1] not in _VERSIONS:
            raise ParseError(
                "fhir.version",
                where="fhirVersion",
                reason="not R4, R4B, R5 or STU3; ask the sender for R4",
            )
        return _VERSIONS[declared[1]]
    for entry in entries:
        kind = entry["resourceType"]
        if kind in _OLDER or not _OLDER_ELEMENTS.get(kind, frozenset()).isdisjoint(entry):
            return "STU3"
        if not _NEWER_ELEMENTS.get(kind, frozenset()).isdisjoint(entry):
            return "R5"
    return "R4"


def _patients(entries: list[Resource]) -> Any:
    for entry in entries:
        if entry["resourceType"] == "Patient":
            yield entry
    for entry in entries:
        for inner in _list(entry.get("contained")):
            if isinstance(inner, dict) and inner.get("resourceType") == "Patient":
                yield inner


def _named_subjects(entries: list[Resource]) -> Any:
    """Identifiers of a subject that is only referred to: `Reference.identifier`, or `Patient?identifier=`."""
    for entry in entries:
        for name in ("subject", "patient"):
            subject = entry.get(name)
            if not isinstance(subject, dict):
                continue
            yield from _list(subject.get("identifier"))
            _, found, query = str(subject.get("reference") or "").partition("Patient?identifier=")
            if found:
                system, _, value = unquote(query.partition("&")[0]).rpartition("|")
                yield {"system": system, "value": value}


def _identifier_key(identifier: Any) -> tuple[str, str]:
    if not isinstance(identifier, dict):
        return "", ""
    system, value = identifier.get("system"), identifier.get("value")
    return str(system or "").removeprefix("urn:oid:"), str(value or "").strip()


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _from_xml(body: bytes) -> Resource:
    root = tree(body)
    if not str(root.tag).startswith(f"{{{FHIR}}}"):
        raise ParseError("fhir.no_resource", where="root", reason="not a FHIR resource")
    return _resource(root)


def _resource(element: etree._Element) -> Resource:
    kind = _name(element)
    return {"resourceType": kind, **_content(element, kind)}


def _content(element: etree._Element, kind: str) -> Resource:
    """The children of an element as the JSON form has them (FHIR R4, "JSON representation of resources")."""
    known, out = _ELEMENTS.get(kind, {}), dict[str, Any]()
    if (identity := element.get("id")) is not None:
        out["id"] = identity
    if (url := element.get("url")) is not None:
        out["url"] = url
    for child in element.iterchildren(etree.Element):
        name = _name(child)
        repeats, inner = known.get(name) or _EVERYWHERE.get(name, (False, ""))
        _put(out, name, _value(child, inner), _aside(child), repeats)
    return out


def _value(element: etree._Element, kind: str) -> Any:
    if element.tag == f"{{{XHTML}}}div":
        return etree.tostring(element, encoding="unicode", with_tail=False)
    if kind == "Resource" or _holds_resource(element):
        inner = next(element.iterchildren(etree.Element), None)
        return _resource(inner) if inner is not None else None
    text = element.get("value")
    if text is not None:
        return _primitive(text, kind)
    return _content(element, kind) or None


def _holds_resource(element: etree._Element) -> bool:
    return _name(element) == "resource" and len(element) == 1 and _name(element[0])[:1].isupper()


def _primitive(text: str, kind: str) -> Any:
    """A number or boolean by its type; text that is none stays as written, for the mapping to say so."""
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    try:
        if kind == "integer":
            return int(text)
        if kind == "decimal":
            return Decimal(text)
    except ArithmeticError:
        return text
    except ValueError:
        return text
    return text


def _aside(element: etree._Element) -> Resource | None:
    """Id and extensions of a primitive, which JSON keeps in a property of their own (`_birthDate`)."""
    if element.get("value") is None or (not len(element) and element.get("id") is None):
        return None
    return _content(element, "") or None


def _put(out: Resource, name: str, value: Any, aside: Resource | None, repeats: bool) -> None:
    if value is None and aside is None:
        return
    if not repeats and name not in out:
        out[name] = value
        if aside:
            out[f"_{name}"] = aside
        return
    before = out.get(name)
    values = before if isinstance(before, list) else [] if before is None else [before]
    values.append(value)
    out[name] = values
    if aside or f"_{name}" in out:
        asides = _list(out.get(f"_{name}"))
        out[f"_{name}"] = [*asides, *([None] * (len(values) - 1 - len(asides))), aside]


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
