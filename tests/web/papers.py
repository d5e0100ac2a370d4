"""Invented documents with everything that the API serves in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from broker.document import (
    Allergy,
    Appointment,
    Attachment,
    Author,
    Coded,
    Coding,
    Document,
    Encounter,
    Identifier,
    Immunization,
    Medication,
    Observation,
    Organization,
    Person,
    PersonName,
    Problem,
    Quantity,
    Report,
    ResultValue,
    When,
)
from tests.broker.records import record
from tests.web.site import CONSULTATION, INS, INS_OID

LOINC = "http://loinc.org"
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def coded(code: str, display: str = "", system: str = LOINC) -> Coded:
    return Coded(codings=(Coding(code=code, system=system, display=display),))


def when(at: datetime) -> When:
    return When(value=at.strftime("%Y-%m-%dT%H:%M:%S"), offset="+00:00")


def letter(number: int = 0, type_code: str = CONSULTATION, **more: Any) -> Document:
    """A clinical letter written `number` hours after START."""
    at = START + timedelta(hours=number)
    author = Author(
        person=Person(
            identifiers=(Identifier(value="899900000777", oid="1.2.250.1.71.4.2.1", system="rpps"),),
            name=PersonName(family="MODELE", given=("Paul",)),
            role_code=coded("G15_10/SM26", "Médecin", "1.2.250.1.213.1.1.4.5"),
        ),
        organization=Organization(name="Hôpital d'essai"),
    )  # fmt: skip
    return record.paper(
        f"Lettre {number}",
        type_code=type_code,
        unique_id=more.pop("unique_id", f"1.2.250.1.999.9.{number}.{type_code.replace('-', '')}"),
        at=at,
        **{
            "created_at": when(at),
            "class_code": coded("10", "Compte rendu", "1.2.250.1.213.1.1.4.1"),
            "authors": (author,),
            "language": "fr-FR",
        }
        | more,
    )


def with_bytes(number: int, held: Attachment, **more: Any) -> Document:
    return letter(number, attachments=(held,), **more)


def structured(number: int = 0, type_code: str = CONSULTATION, **more: Any) -> Document:
    """A letter with a report of two results, a stay, and one of each kind of record."""
    at = when(START + timedelta(hours=number))
    results = tuple(
        Observation(
            id=f"obs-{n}",
            status="final",
            code=coded(code, display),
            value=ResultValue(quantity=Quantity(value=value, unit=unit, ucum=unit)),
            observed_at=at,
        )
        for n, (code, display, value, unit) in enumerate(
            (("718-7", "Hémoglobine", "13.10", "g/dL"), ("2345-7", "Glucose", "0.95", "g/L")), 1
        )
    )
    return letter(
        number,
        type_code,
        reports=(
            Report(
                id="rep-1",
                status="final",
                code=coded("58410-2", "Hémogramme"),
                collected_at=at,
                issued_at=at,
                requester=Person(name=PersonName(family="PRESCRIT", given=("Anne",))),
                observations=results,
            ),
        ),
        encounters=(Encounter(id="enc-1", status="finished", class_=coded("IMP", system="http://terminology.hl7.org/CodeSystem/v3-ActCode"), start=at),),
        immunizations=(Immunization(id="imm-1", status="completed", vaccine=coded("J07BB02", "Grippe", "http://www.whocc.no/atc"), occurred_at=at),),
        medications=(Medication(id="med-1", kind="prescribed", status="active", product=coded("C07AB03", "Aténolol", "http://www.whocc.no/atc")),),
        allergies=(Allergy(id="all-1", code=coded("91936005", "Pénicilline", "http://snomed.info/sct"), clinical_status="active"),),
        problems=(Problem(id="pro-1", code=coded("38341003", "Hypertension", "http://snomed.info/sct"), clinical_status="active", onset=at),),
        appointments=(Appointment(id="app-1", status="booked", start=at, end=when(START + timedelta(hours=number, minutes=30))),),
        **more,
    )  # fmt: skip


SUBJECT = f"urn:oid:{INS_OID}|{INS}"
