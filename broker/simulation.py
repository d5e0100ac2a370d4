"""Realistic synthetic French traffic of invented patients: for `carnet simulate`, the benchmark and the tests. Pure.

The same seed gives the same messages, byte for byte; control ids, report numbers and document ids are unique within a
run when `run` differs from other runs sent to the same broker. `messages` mixes kinds as a hospital group sends them;
`adt`, `oru` and `adt_sequence` are fast: each patient's message is built once, then only its numbers change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from broker import simulation_cda as cda
from broker import simulation_fhir as fhir
from broker import simulation_hl7v2 as hl7v2
from broker.simulation_cda import Title
from broker.simulation_hl7v2 import Analysis, Header, Stay
from broker.simulation_length import grain, told
from broker.simulation_people import BIOLOGIST, PHYSICIAN, RADIOLOGIST, SITE_OID, Person, person

HL7V2 = "x-application/hl7-v2+er7"
CDA = "application/cda+xml"
FHIR = "application/fhir+json"

MIX: Mapping[str, float] = {"adt": 0.55, "oru": 0.30, "mdm": 0.08, "cda": 0.04, "fhir": 0.03}
"""Shares of kinds. A hospital's interface engine sees ten to twenty ADT a stay and far fewer documents."""

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_SLOT = "@CONTROL-ID@"

# LOINC, label, middle, spread, decimals, UCUM unit, range
_PANEL = (
    ("718-7", "Hémoglobine", 13.8, 1.6, 1, "g/dL", "12.0-16.0"),
    ("789-8", "Érythrocytes", 4.6, 0.5, 2, "10*6/uL", "3.80-5.90"),
    ("4544-3", "Hématocrite", 41.0, 4.0, 1, "%", "37.0-50.0"),
    ("787-2", "VGM", 89.0, 5.0, 0, "fL", "80-100"),
    ("785-6", "TCMH", 30.0, 2.0, 1, "pg", "27.0-32.0"),
    ("786-4", "CCMH", 33.5, 1.2, 1, "g/dL", "31.0-36.0"),
    ("6690-2", "Leucocytes", 7.2, 2.4, 2, "10*3/uL", "4.00-10.00"),
    ("751-8", "Polynucléaires neutrophiles", 4.2, 1.5, 2, "10*3/uL", "1.80-7.50"),
    ("731-0", "Lymphocytes", 2.1, 0.7, 2, "10*3/uL", "1.00-4.00"),
    ("742-7", "Monocytes", 0.5, 0.2, 2, "10*3/uL", "0.20-1.00"),
    ("711-2", "Polynucléaires éosinophiles", 0.2, 0.1, 2, "10*3/uL", "0.00-0.50"),
    ("704-7", "Polynucléaires basophiles", 0.04, 0.03, 2, "10*3/uL", "0.00-0.20"),
    ("777-3", "Plaquettes", 250.0, 70.0, 0, "10*3/uL", "150-400"),
    ("2951-2", "Sodium", 140.0, 3.0, 0, "mmol/L", "136-145"),
    ("2823-3", "Potassium", 4.2, 0.5, 1, "mmol/L", "3.5-5.1"),
    ("2075-0", "Chlorures", 102.0, 3.0, 0, "mmol/L", "98-107"),
    ("14682-9", "Créatinine", 72.0, 18.0, 0, "umol/L", "45-104"),
    ("14749-6", "Glucose", 5.2, 0.9, 1, "mmol/L", "3.9-6.1"),
    ("1988-5", "Protéine C réactive", 4.0, 6.0, 1, "mg/L", "0.0-5.0"),
    ("1742-6", "ALAT", 28.0, 14.0, 0, "U/L", "7-56"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One synthetic message: its kind (`adt`, `oru`, `mdm`, `cda`, `fhir`), media type, body, control id, patient."""

    kind: str
    media: str
    body: bytes
    control_id: str
    patient: int

    def __repr__(self) -> str:
        return f"Sample({self.kind}, {self.media}, {len(self.body)} bytes)"


def messages(
    seed: int = 0,
    mix: Mapping[str, float] = MIX,
    *,
    patients: int = 5_000,
    run: str = "S",
    start: datetime = START,
    document_bytes: int = 0,
) -> Iterator[Sample]:
    """Traffic without end. `mix` gives the shares of kinds; they need not add up to one.

    document_bytes: about how large letters and imaging reports are (CDA, before base64); a few KB when 0
    """
    chance = random.Random(seed)  # noqa: S311 synthetic traffic is no secret
    kinds, weights = list(mix), list(mix.values())
    at, number = start, 0
    while True:
        number += 1
        at += timedelta(seconds=chance.expovariate(1))
        kind = chance.choices(kinds, weights)[0]
        index = chance.randrange(patients)
        control = f"{run}{number:09d}"
        second = at.replace(microsecond=0)
        yield _sample(kind, index, control, number, second, chance, run, document_bytes)


def adt(
    n: int, *, patients: int = 1_000, run: str = "A", start: datetime = START
) -> Iterator[bytes]:
    """`n` ADT messages in UTF-8, A01 and A08 in turn, over `patients` patients."""
    templates = [
        _adt_template(index, event, start) for index in range(patients) for event in ("A01", "A08")
    ]
    return _numbered(templates, n, run)


def oru(
    n: int, obx: int = 20, *, patients: int = 1_000, run: str = "O", start: datetime = START
) -> Iterator[bytes]:
    """`n` laboratory results with `obx` lines each, in UTF-8, over `patients` patients; each is a report of its own."""
    templates = [_oru_template(index, obx, start) for index in range(patients)]
    return _numbered(templates, n, run)


def adt_sequence(
    updates: int, *, patients: int = 50, run: str = "Q", start: datetime = START
) -> Iterator[tuple[int, int, bytes]]:
    """(patient, number, message): for each patient an A01 and then `updates` A08, round by round.

    The number stands in PV1-3.3, the bed: filed in order, the last bed of each patient is `updates`.
    """
    for number in range(updates + 1):
        for index in range(patients):
            who = person(index)
            header = Header(f"{run}{index:05d}-{number:05d}", start + timedelta(seconds=number))
            stay = Stay(f"{index:06d}", start, place=f"CHIR^201^{number}")
            yield index, number, hl7v2.adt("A08" if number else "A01", who, header, stay).encode()


def analyses(chance: random.Random, count: int = 20) -> list[Analysis]:
    """`count` plausible results of a blood count and chemistry; more than the panel repeats it."""
    found: list[Analysis] = []
    for number in range(count):
        code, label, middle, spread, decimals, unit, normal = _PANEL[number % len(_PANEL)]
        value = max(0.0, chance.gauss(middle, spread))
        low, _, high = normal.partition("-")
        flag = "L" if value < float(low) else "H" if value > float(high) else "N"
        found.append(Analysis(code, label, f"{value:.{decimals}f}", unit, normal, flag))
    return found


def _sample(
    kind: str,
    index: int,
    control: str,
    number: int,
    at: datetime,
    chance: random.Random,
    run: str,
    document_bytes: int,
) -> Sample:
    who = person(index)
    stay = Stay(
        f"{index:06d}",
        at - timedelta(days=1),
        place=f"CHIR^{chance.randint(100, 399)}^{chance.choice('12')}",
    )
    title = Title(_oid(run, number, 1), _oid(run, number, 2), "", at)
    if kind == "adt":
        event = chance.choices(("A01", "A08", "A03"), (3, 5, 2))[0]
        text = hl7v2.adt(event, who, Header(control, at), stay)
        return Sample(kind, HL7V2, text.encode(), control, index)
    if kind == "oru":
        header = Header(control, at, application="SIL", facility="LABO_DEMO")
        text = hl7v2.oru(who, header, stay, analyses(chance))
        return Sample(kind, HL7V2, text.encode(), control, index)
    if kind == "mdm":
        text = _mdm(who, control, at, stay, title, told(chance, document_bytes))
        return Sample(kind, HL7V2, text.encode(), control, index)
    if kind == "cda":
        named = Title(title.id, title.set_id, "Radiographie du thorax", at)
        done = at - timedelta(hours=1)
        # The report is a PDF in base64: four characters for three bytes.
        picture = grain(chance, document_bytes * 3 // 4)
        text = cda.imaging(who, RADIOLOGIST, named, done, _imaging_lines(who), picture)
        return Sample(kind, CDA, text.encode(), control, index)
    if kind == "fhir":
        named = Title(title.id, title.set_id, "Consultation de suivi", at)
        body = fhir.document(who, PHYSICIAN, named, "Évolution favorable.", analyses(chance, 3))
        return Sample(kind, FHIR, body, control, index)
    raise ValueError(f"unknown kind of traffic: {kind}")


def _mdm(who: Person, control: str, at: datetime, stay: Stay, title: Title, more: list[str]) -> str:
    named = Title(title.id, title.set_id, "Lettre de liaison à la sortie", at)
    words = " ".join(["Suites simples. Retour à domicile.", *more])
    text = cda.discharge(who, PHYSICIAN, named, (stay.at, at), words)
    orders = hl7v2.document_orders(
        cda.DISCHARGE, text, PHYSICIAN, who, obx_type="CWE", media="text"
    )
    header = Header(control, at, application="DPI")
    return hl7v2.mdm("T02", who, header, stay, cda.DISCHARGE, title.id, orders)


def _imaging_lines(who: Person) -> list[str]:
    return [
        "Compte rendu d'imagerie (patient inventé)",
        f"{who.family} {who.given[0]}",
        "Radiographie du thorax de face.",
        "Conclusion : pas d'anomalie.",
    ]


def _oid(run: str, number: int, kind: int) -> str:
    """An OID of its own for each document of a run (at most 64 characters, no extension)."""
    return f"{SITE_OID}.1.{int.from_bytes(run.encode()[:8], 'big')}.{kind}.{number}"


def _adt_template(index: int, event: str, at: datetime) -> list[bytes]:
    text = hl7v2.adt(event, person(index), Header(_SLOT, at), Stay(f"{index:06d}", at))
    return text.encode().split(_SLOT.encode())


def _oru_template(index: int, obx: int, at: datetime) -> list[bytes]:
    chance = random.Random(index)  # noqa: S311 synthetic traffic is no secret
    header = Header(_SLOT, at, application="SIL", facility="LABO_DEMO")
    text = hl7v2.oru(person(index), header, Stay(f"{index:06d}", at), analyses(chance, obx))
    return text.encode().split(_SLOT.encode())


def _numbered(templates: list[list[bytes]], n: int, run: str) -> Iterator[bytes]:
    for number in range(n):
        yield f"{run}{number:09d}".encode().join(templates[number % len(templates)])


__all__ = [
    "BIOLOGIST", "CDA", "FHIR", "HL7V2", "MIX", "PHYSICIAN", "RADIOLOGIST", "Sample",
    "adt", "adt_sequence", "analyses", "messages", "oru", "person",
]  # fmt: skip
