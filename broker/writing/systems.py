"""The OIDs that CDA and XDS demand, for identifiers and codes the model knows by key, URI or OID. For the writers.

The numbers are those of `mappings/tables/systems.csv` (a test compares them) and of the HL7 v3 and v2 code systems,
whose canonical URIs carry their names. French national ids: CI-SIS "Structuration minimale des documents de santé",
IdNat (professional, `8` + RPPS, `0` + ADELI) and Struct_IdNat (structure, `1` + FINESS, `3` + SIRET).
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from broker.document import Coding, Identifier

URI = "urn:ietf:rfc:3986"
PROFESSIONALS = "1.2.250.1.71.4.2.1"
STRUCTURES = "1.2.250.1.71.4.2.2"
CONFIDENTIALITY = "2.16.840.1.113883.5.25"
INTERPRETATION = "2.16.840.1.113883.5.83"
MASKING = "1.2.250.1.213.1.1.4.13"
PROFESSIONS = "1.2.250.1.213.1.1.4.5"
LOINC = "2.16.840.1.113883.6.1"

INS = {
    "ins_nir": "1.2.250.1.213.1.4.8",
    "ins_nia": "1.2.250.1.213.1.4.9",
    "ins_nir_test": "1.2.250.1.213.1.4.10",
    "ins_nir_demo": "1.2.250.1.213.1.4.11",
}
_INS_OIDS = frozenset(INS.values())
_INS_TYPES = frozenset({"INS", "INS-C", "INS-NIR", "INS-NIA"})

CODE_SYSTEMS = {
    "http://loinc.org": LOINC,
    "http://snomed.info/sct": "2.16.840.1.113883.6.96",
    "http://unitsofmeasure.org": "2.16.840.1.113883.6.8",
    "http://hl7.org/fhir/sid/icd-10": "2.16.840.1.113883.6.3",
    "http://hl7.org/fhir/sid/icd-10-fr": "1.2.250.1.213.2.6",
    "http://hl7.org/fhir/sid/icd-10-cm": "2.16.840.1.113883.6.90",
    "http://hl7.org/fhir/sid/icd-9-cm": "2.16.840.1.113883.6.103",
    "http://www.whocc.no/atc": "2.16.840.1.113883.6.73",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "2.16.840.1.113883.6.88",
    "http://hl7.org/fhir/sid/cvx": "2.16.840.1.113883.12.292",
    "http://hl7.org/fhir/sid/ndc": "2.16.840.1.113883.6.69",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode": "2.16.840.1.113883.5.4",
    "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender": "2.16.840.1.113883.5.1",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality": CONFIDENTIALITY,
    "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus": "2.16.840.1.113883.5.2",
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation": INTERPRETATION,
    "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument": MASKING,
}
"""Code systems by canonical URI."""

_NAMES = {
    LOINC: "LOINC",
    "2.16.840.1.113883.6.96": "SNOMED CT",
    CONFIDENTIALITY: "Confidentiality",
    INTERPRETATION: "ObservationInterpretation",
}
_TABLE = re.compile(r"http://terminology\.hl7\.org/CodeSystem/v2-0*(\d{1,4})")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Id:
    """An instance identifier of HL7 v3: `root` is an OID or UUID, or empty where no authority has one."""

    root: str
    extension: str
    authority: str = ""


def is_oid(text: str) -> bool:
    """An OID of at least two arcs without leading zeros."""
    return _OID.fullmatch(text) is not None


def of_uuid(ident: str) -> str:
    """The OID every UUID has, `2.25` and its value as an integer. Source: ITU-T X.667 §7."""
    return f"2.25.{uuid.UUID(ident).int}"


def is_ins(item: Identifier) -> bool:
    """A national identity, by whichever of its names it came."""
    return (
        item.system in INS
        or item.oid in _INS_OIDS
        or item.kind in _INS_TYPES
        or item.type_code in _INS_TYPES
    )


def instance(item: Identifier) -> Id:
    """An identifier with the root its authority has; French professionals and structures in their long form."""
    if national := _national(item):
        return national
    if item.system in ("", URI) and (bare := _bare(item.value)):
        return Id(bare, "")
    names = (INS.get(item.system, ""), item.oid, item.system, item.uri)
    root = next((found for name in names if (found := _bare(name))), "")
    authority = item.authority_name
    if not root and not authority:
        authority = item.uri or item.system
    return Id(root, item.value, authority)


def code_system(coding: Coding) -> str:
    """The OID of a coding's system; empty when it has none that CDA could write."""
    for name in (coding.system, coding.system_as_received):
        if found := CODE_SYSTEMS.get(name) or _bare(name):
            return found
        if table := _TABLE.fullmatch(name):
            return f"2.16.840.1.113883.12.{table[1]}"
    return ""


def code_system_name(coding: Coding, oid: str) -> str:
    """A name for people; for a system without OID, what the sender called it."""
    if oid:
        return _NAMES.get(oid, "")
    return coding.system_as_received or coding.system


def _bare(name: str) -> str:
    """The OID or UUID of a name, with or without its URN; otherwise nothing."""
    plain = name.removeprefix("urn:oid:").removeprefix("urn:uuid:")
    return plain if _OID.fullmatch(plain) or _UUID.fullmatch(plain) else ""


def _national(item: Identifier) -> Id | None:
    value = item.value
    kind = item.system or item.kind.lower()
    if kind == "rpps":
        return Id(PROFESSIONALS, f"8{value}" if len(value) == 11 else value)
    if kind == "adeli":
        return Id(PROFESSIONALS, f"0{value}" if len(value) == 9 else value)
    if kind == "idnat_ps":
        return Id(PROFESSIONALS, value)
    if kind == "finess":
        return Id(STRUCTURES, f"1{value}" if len(value) == 9 else value)
    if kind == "siret":
        return Id(STRUCTURES, f"3{value}" if len(value) == 14 else value)
    return Id(STRUCTURES, value) if kind == "idnat_struct" else None
