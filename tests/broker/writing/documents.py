"""Invented documents that the writers are tried on, the schema of CDA when it is at hand, and golden files."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from lxml import etree

from broker.document import (
    Address,
    Attachment,
    AttachmentRef,
    Author,
    Coded,
    Coding,
    Contact,
    Device,
    Document,
    Encounter,
    Identifier,
    Location,
    Observation,
    Organization,
    Participant,
    Patient,
    Person,
    PersonName,
    Quantity,
    Range,
    Recipient,
    Relation,
    Report,
    ResultValue,
    Source,
    Specimen,
    Telecom,
    When,
)
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load

PROJECT = Path(__file__).resolve().parents[3]
SCHEMA = PROJECT.parent / "shared" / "reference" / "cda-xsd" / "CDA_extended.xsd"
GOLDEN = Path(__file__).with_name("golden")
V3 = "{urn:hl7-org:v3}"
LOINC = "http://loinc.org"
PDF = b"%PDF-1.4 invented"
TEXT = "Compte rendu inventé.\nDeux lignes, un < et un &."


@cache
def mapper() -> Mapper:
    return Mapper(load(PROJECT / "mappings"))


def read(data: bytes) -> Document:
    """What the shipped mappings make of a written document."""
    given = Given(message_id="018f0000-0000-7000-8000-0000000000ff", source="test")
    reading = mapper().read(data, given)
    assert reading.failure is None, reading.failure
    (document,) = reading.documents
    return document


@cache
def _schema() -> etree.XMLSchema | None:
    return etree.XMLSchema(etree.parse(SCHEMA)) if SCHEMA.is_file() else None


def problems(data: bytes) -> list[str]:
    """What the CDA schema says against a document; nothing when the schema is not beside the project."""
    schema = _schema()
    if schema is None:
        return []
    schema.validate(etree.fromstring(data, etree.XMLParser(huge_tree=True)))
    return [str(error.message) for error in schema.error_log]


def same_as_golden(data: bytes, name: str) -> None:
    """Compare, indented for people, with a golden file; `CARNET_RENEW_GOLDENS=1` writes it."""
    element = etree.fromstring(data)
    etree.indent(element)
    text = etree.tostring(element, encoding="unicode") + "\n"
    path = GOLDEN / name
    if os.environ.get("CARNET_RENEW_GOLDENS") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def coded(code: str, system: str = LOINC, display: str = "", text: str = "") -> Coded:
    return Coded(codings=(Coding(code=code, system=system, display=display),), text=text)


def attachment(data: bytes, media: str, **more: Any) -> Attachment:
    return Attachment(
        sha256=hashlib.sha256(data).hexdigest(),
        sha1=hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        size=len(data),
        media_type=media,
        **more,
    )


def store(*contents: bytes) -> Any:
    """The `Content` callable over these bytes."""
    return {hashlib.sha256(data).hexdigest(): data for data in contents}.__getitem__


STORE = store(PDF, TEXT.encode())
HOSPITAL = Organization(
    identifiers=(Identifier(value="750000042", system="finess", kind="FINESS"),),
    name="Hôpital inventé",
    addresses=(Address(lines=("1 rue Inventée",), postal_code="75000", city="PARIS"),),
    telecoms=(Telecom(value="01 02 03 04 05", kind="phone", use="work"),),
)
PHYSICIAN = Person(
    identifiers=(Identifier(value="99900000011", system="rpps", kind="RPPS"),),
    name=PersonName(family="SORBIER", given=("Anne",), prefix="DR"),
    profession=coded("G15_10", "urn:oid:1.2.250.1.71.1.2.7"),
    speciality=coded("SM26", "urn:oid:1.2.250.1.71.4.2.5"),
)
PATIENT = Patient(
    identifiers=(
        Identifier(
            value="279035121518989",
            system="ins_nir_test",
            kind="INS-NIR",
            oid="1.2.250.1.213.1.4.10",
        ),
        Identifier(value="IPP-0042", system="1.2.250.1.999.2", oid="1.2.250.1.999.2", kind="PI"),
    ),
    identity_status="validated",
    names=(
        PersonName(
            family="PATIENT-INVENTÉE",
            given=("DOMINIQUE", "MARIE"),
            use="birth",
            birth_given="DOMINIQUE",
        ),
        PersonName(family="USUELLE", given=("Domi",), use="usual"),
    ),
    birth_date=When(value="1979-03-28"),
    birth_place=Address(insee_code="51215", city="DOMPREMY"),
    sex="female",
    addresses=(
        Address(
            lines=("Escalier A",),
            parts=("house_number=28", "street_name=Avenue inventée"),
            postal_code="75007",
            city="PARIS",
            country="FRANCE",
            use="home",
        ),
    ),
    phones=(Telecom(value="0647151010", kind="mobile"),),
    guardians=(Contact(name=PersonName(family="NESSI", given=("Jeanne",))),),
    contacts=(Contact(name=PersonName(family="PROCHE", given=("Paul",))),),
)

LETTER = Document(
    id="018f0000-0000-7000-8000-000000000001",
    kind="clinical_document",
    unique_id=Identifier(value="1.2.250.1.999.1.42", system="urn:ietf:rfc:3986"),
    set_id=Identifier(value="1.2.250.1.999.1.40", system="urn:ietf:rfc:3986"),
    version_number=1,
    status="final",
    title="Lettre de liaison à la sortie",
    type_code=coded("11490-0", display="Lettre de liaison à la sortie"),
    class_code=coded("10", "urn:oid:1.2.250.1.213.1.1.4.1", "Compte rendu"),
    format_code=coded("urn:ihe:iti:xds-sd:pdf:2008", "urn:oid:1.3.6.1.4.1.19376.1.2.3", "PDF"),
    facility_type=coded("SA01", "urn:oid:1.2.250.1.71.4.2.4", "Etablissement public de santé"),
    practice_setting=coded("ETABLISSEMENT", "urn:oid:1.2.250.1.213.1.1.4.9", "Etablissement"),
    event_codes=(coded("18723-7", display="Hématologie"),),
    confidentiality=(
        coded("N", "urn:oid:2.16.840.1.113883.5.25", "Normal"),
        coded("MASQUE_PS", "urn:oid:1.2.250.1.213.1.1.4.13", "Masqué aux professionnels"),
    ),
    language="fr-FR",
    created_at=When(value="2024-03-09T07:35:00", offset="+01:00"),
    service_start=When(value="2024-03-05"),
    service_end=When(value="2024-03-09T00:10", offset="+01:00"),
    patient=PATIENT,
    authors=(
        Author(
            person=PHYSICIAN,
            organization=HOSPITAL,
            function=coded("ATTPHYS", "urn:oid:2.16.840.1.113883.5.88", "Médecin traitant"),
            at=When(value="2024-03-09T07:30", offset="+01:00"),
        ),
        Author(device=Device(model="Station", software="Éditeur 1.0"), organization=HOSPITAL),
    ),
    legal_authenticator=Author(
        person=PHYSICIAN,
        organization=HOSPITAL,
        at=When(value="2024-03-09T07:35", offset="+01:00"),
    ),
    custodian=HOSPITAL,
    participants=(
        Participant(role=coded("REF", ""), person=PHYSICIAN, at=When(value="2024-03-01")),
        Participant(role=coded("PRF", ""), person=PHYSICIAN, organization=HOSPITAL),
        Participant(role=coded("AUTHEN", ""), person=PHYSICIAN, at=When(value="2024-03-09")),
        Participant(role=coded("ENT", ""), person=PHYSICIAN),
        Participant(role=coded("PCP", ""), person=PHYSICIAN),
    ),
    recipients=(Recipient(person=PHYSICIAN), Recipient(patient=True)),
    sender=Author(person=PHYSICIAN, organization=HOSPITAL),
    reference_ids=(
        Identifier(value="ACC1", system="1.2.250.1.999.5", oid="1.2.250.1.999.5", kind="AN"),
    ),
    attachments=(attachment(PDF, "application/pdf", role="main"),),
    source=Source(
        format="hl7v2",
        facility=Identifier(value="1.2.250.1.999.9", oid="1.2.250.1.999.9"),
        received_at="2024-03-09T06:36:00+00:00",
    ),
    encounters=(
        Encounter(
            identifier=Identifier(value="V1", system="1.2.250.1.999.4", oid="1.2.250.1.999.4"),
            class_=coded("IMP", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
            start=When(value="2024-03-05T09:00", offset="+01:00"),
            end=When(value="2024-03-09"),
            location=Location(name="Chirurgie"),
            participants=(
                Participant(role=coded("attending", ""), person=PHYSICIAN, organization=HOSPITAL),
            ),
        ),
    ),
)


def observation(name: str, value: ResultValue | None, **more: Any) -> Observation:
    return Observation(
        code=coded(f"{name}-1", display=f"Examen {name}"), status="final", value=value, **more
    )


def measured(value: str, **more: str) -> ResultValue:
    return ResultValue(quantity=Quantity(value=value, **more))


REPORT = Report(
    id="rep-1",
    code=coded("18719-5", display="Chimie"),
    category=coded("LAB", ""),
    status="final",
    placer_order=Identifier(value="P1", system="1.2.250.1.999.6", oid="1.2.250.1.999.6"),
    filler_order=Identifier(value="F1", system="1.2.250.1.999.7", oid="1.2.250.1.999.7"),
    collected_at=When(value="2024-03-09T08:25:00", offset="+01:00"),
    issued_at=When(value="2024-03-09T10:00:00", offset="+01:00"),
    requester=PHYSICIAN,
    performers=(Participant(role=coded("principal_interpreter", ""), person=PHYSICIAN),),
    specimens=(
        Specimen(
            id="spm-1",
            type=coded("BLD", "http://terminology.hl7.org/CodeSystem/v2-0487", "Sang"),
            collected_at=When(value="2024-03-09T08:20", offset="+01:00"),
            received_at=When(value="2024-03-09T08:45", offset="+01:00"),
        ),
    ),
    notes=("Prélèvement à jeun.",),
    conclusion="Bilan normal.\nÀ contrôler dans un an.",
    observations=(
        observation(
            "718",
            measured("1.950", unit="g/dL", ucum="g/dL"),
            flags=(
                Coded(
                    codings=(
                        Coding(code="L"),
                        Coding(
                            code="L",
                            system="http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                            display="Low",
                            role="translation",
                        ),
                    )
                ),
            ),
            reference_range=(
                Range(low=Quantity(value="12.0"), high=Quantity(value="16.0"), text="12.0-16.0"),
            ),
            observed_at=When(value="2024-03-09T08:25:00", offset="+01:00"),
            specimen="spm-1",
            notes=("Contrôlé deux fois.",),
            performing_organization=HOSPITAL,
        ),
        observation("6690", measured("7,6?", unit="G/L")),
        observation("6691", measured("7.63", unit="G/L", ucum="10*9/L")),
        observation("1988", measured("5", comparator="<", unit="mg/L", ucum="mg/L")),
        observation(
            "600", ResultValue(coded=coded("260385009", "http://snomed.info/sct", "Négatif"))
        ),
        observation("601", ResultValue(text="Absence de germe\nà 48 h & <10/mL")),
        observation("602", None, absent_reason="not-performed"),
        Observation(
            code=Coded(text="Examen local"),
            status="preliminary",
            value=ResultValue(text="fait"),
            reference_range=(Range(text="négatif"),),
        ),
    ),
)

LABORATORY = Document(
    id="018f0000-0000-7000-8000-000000000002",
    kind="result_report",
    unique_id=Identifier(value="F1"),
    status="final",
    title="Compte rendu d'examens biologiques",
    type_code=coded("11502-2", display="CR d'examens biologiques"),
    created_at=When(value="2024-03-09T10:00:00", offset="+01:00"),
    language="fr-FR",
    patient=PATIENT,
    reports=(REPORT,),
    original=AttachmentRef(sha256="00", size=1),
    source=Source(format="hl7v2", received_at="2024-03-09T09:01:00+00:00"),
)

REPLACEMENT = Document(
    id="018f0000-0000-7000-8000-000000000003",
    kind="clinical_document",
    unique_id=Identifier(value="1.2.250.1.999.1.43", system="urn:ietf:rfc:3986"),
    set_id=Identifier(value="1.2.250.1.999.1.40", system="urn:ietf:rfc:3986"),
    version_number=2,
    status="final",
    title="Lettre de liaison à la sortie",
    type_code=coded("11490-0"),
    confidentiality=(coded("N", "urn:oid:2.16.840.1.113883.5.25"),),
    created_at=When(value="2024-03-10"),
    relations=(
        Relation(
            kind="replaces",
            target=Identifier(value="1.2.250.1.999.1.42", system="urn:ietf:rfc:3986"),
        ),
        Relation(kind="appends", target=Identifier(value="1.2.250.1.999.1.7")),
        Relation(kind="signs", target=Identifier(value="1.2.250.1.999.1.8")),
    ),
    patient=PATIENT,
    authors=LETTER.authors[:1],
    attachments=(attachment(TEXT.encode(), "text/plain", role="main"),),
)


def full_of(text: str) -> Document:
    """A document with the same text wherever a text may stand."""
    code = Coded(codings=(Coding(code="c", display=text, version=text),), text=text)
    local = Identifier(value=text, system=text, authority_name=text)
    patient = Patient(
        identifiers=(local,),
        names=(
            PersonName(
                family=text, given=(text,), prefix=text, suffix=text, use="birth", birth_given=text
            ),
            PersonName(text=text),
        ),
        addresses=(Address(lines=(text,), parts=(f"street_name={text}",), city=text),),
        phones=(Telecom(value=f"0{text}", kind="phone"),),
        birth_place=Address(insee_code=text),
    )
    observation = Observation(
        code=code,
        value=ResultValue(text=text),
        flags=(code,),
        method=code,
        notes=(text,),
        reference_range=(Range(text=text),),
    )
    report = Report(
        code=code, title=text, conclusion=text, notes=(text,), observations=(observation,)
    )
    return msgspec.structs.replace(
        LABORATORY, title=text, type_code=code, patient=patient, reports=(report,)
    )
