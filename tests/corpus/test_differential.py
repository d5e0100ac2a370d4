"""What Carnet makes of an HL7v2 message agrees with what python-hl7 reads in it, field by field.

python-hl7 shares no code with us. Every message of the public corpus that it can read is read by both: identifiers,
names, birth date and sex of the patient; in ORU^R01 also how many OBR and OBX there are, and code, flags, numeric value
and its unit of each OBX, and that every other value is there at all. The differences that are right are listed one by one, with the reason, in `differences.tsv`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hl7
import pytest

from broker.document import Document, Observation
from broker.mapper import Given, Mapper, Reading
from broker.mapping.catalogue import load
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the public corpus is not beside the project"
)

EXPLAINED = Path(__file__).with_name("differences.tsv")
NULL = '""'
SEXES = {
    "": "unknown", "M": "male", "F": "female", "U": "unknown", "O": "other", "A": "other", "N": "other",
    "MALE": "male", "FEMALE": "female", "1": "male", "2": "female", "W": "female",
}  # fmt: skip
"""HL7 table 0001, and what senders of the corpus write instead."""

ATTACHMENTS = ("ED", "RP")


class Independent:
    """The fields of one message as python-hl7 sees them, unescaped, nothing else done to them."""

    def __init__(self, text: str) -> None:
        self._message = hl7.parse(text)
        self.separators = text[4:8]

    def segments(self, name: str) -> list[Any]:
        return [segment for segment in self._message if str(segment[0]) == name]

    def field(self, segment: Any, number: int) -> str:
        try:
            return str(segment[number])
        except IndexError:
            return ""

    def first(self, segment: Any, number: int) -> str:
        """The first component of the first repetition."""
        return self.repetitions(segment, number)[0][0]

    def repetitions(self, segment: Any, number: int) -> list[list[str]]:
        """Each repetition as its components, of which only the first subcomponent is looked at."""
        component, repetition, _, sub = self.separators
        return [
            [self._plain(part.split(sub)[0]) for part in one.split(component)]
            for one in self.field(segment, number).split(repetition)
        ]

    def _plain(self, text: str) -> str:
        plain = self._message.unescape(text) if self.separators[2] in text else text
        return "" if plain == NULL else str(plain).strip()


def test_patients_and_results_agree_with_an_independent_reader() -> None:
    mapper = Mapper(load(PROJECT / "mappings"))
    given = Given(message_id=MESSAGE_ID, source="corpus")
    found: dict[tuple[str, str], str] = {}
    compared = 0
    for name, body in _messages(mapper):
        reading = mapper.read(body, given)
        if not reading.documents:
            continue
        document = reading.documents[0]
        try:
            other = Independent(
                _text(body, document.source.charset_used if document.source else "")
            )
        except (hl7.ParseException, AssertionError, IndexError, ValueError):
            continue
        if len(other.segments("PID")) != 1:
            continue
        compared += 1
        for place, difference in _differences(other, reading):
            found[name, place] = difference

    explained = _explained()
    assert compared > 800
    assert {key: text for key, text in found.items() if key not in explained} == {}
    assert {key for key in explained if key not in found} == set()


def _messages(mapper: Mapper) -> Iterator[tuple[str, bytes]]:
    for path in files(CORPUS):
        if path.relative_to(CORPUS).parts[0] == "hl7v2":
            for number, body in enumerate(messages_in(mapper, path.read_bytes())):
                yield f"{path.relative_to(CORPUS / 'hl7v2').as_posix()}#{number}", body


def _text(body: bytes, charset: str) -> str:
    """The message as python-hl7 takes it; its decoding is ours, which has tests of its own."""
    try:
        text = body.decode(charset or "utf-8")
    except UnicodeDecodeError:
        text = body.decode("cp1252", "replace")
    return re.sub(r"[\r\n]+", "\r", text.lstrip("\ufeff \r\n\t")).strip() + "\r"


def _differences(other: Independent, reading: Reading) -> Iterator[tuple[str, str]]:
    document = reading.documents[0]
    yield from _patient(other, document)
    (msh,) = other.segments("MSH")[:1]
    kind = other.repetitions(msh, 9)[0]
    if kind[:2] == ["ORU", "R01"]:
        yield from _results(other, reading.documents)


def _patient(other: Independent, document: Document) -> Iterator[tuple[str, str]]:
    (pid,) = other.segments("PID")
    patient = document.patient
    if patient is None:
        yield "PID", "no patient"
        return
    values = {identifier.value for identifier in patient.identifiers}
    for parts in other.repetitions(pid, 3):
        if parts[0] and parts[0] not in values:
            yield "PID-3", f"{parts[0]} is not in {values}"
    names = [(name.family, " ".join(name.given)) for name in patient.names]
    for parts in other.repetitions(pid, 5):
        family, given = parts[0], parts[1] if len(parts) > 1 else ""
        same = [ours for ours in names if ours[0] == family and ours[1].startswith(given)]
        if (family or given) and not same:
            yield "PID-5", f"{family}^{given} is not in {names}"
    born = other.first(pid, 7)
    ours = patient.birth_date.value.replace("-", "") if patient.birth_date else ""
    if born[:8] != ours[:8]:
        yield "PID-7", f"{born} and {ours}"
    sex = other.first(pid, 8)
    if SEXES.get(sex.upper()) != (patient.sex or "unknown"):
        yield "PID-8", f"{sex} and {patient.sex}"


def _results(other: Independent, documents: Sequence[Document]) -> Iterator[tuple[str, str]]:
    reports = [report for document in documents for report in document.reports]
    obr, obx = other.segments("OBR"), other.segments("OBX")
    if len(obr) != len(reports):
        yield "OBR", f"{len(obr)} and {len(reports)}"
    ours = [one for report in reports for one in report.observations]
    # Those that carry a document are attachments, which have tests of their own.
    theirs = [one for one in obx if other.field(one, 2) not in ATTACHMENTS]
    if len(theirs) != len(ours):
        yield "OBX", f"{len(theirs)} and {len(ours)}"
        return
    for number, (segment, observation) in enumerate(zip(theirs, ours, strict=True), 1):
        for place, difference in _result(other, segment, observation):
            yield f"OBX[{number}]-{place}", difference


def _result(other: Independent, obx: Any, observation: Observation) -> Iterator[tuple[int, str]]:
    codings = observation.code.codings if observation.code else ()
    code = other.first(obx, 3)
    if code and code not in [coding.code for coding in codings]:
        yield 3, f"{code} and {[coding.code for coding in codings]}"
    value, kind = observation.value, other.field(obx, 2)
    sent = "" if other.field(obx, 5) == NULL else other.field(obx, 5).strip()
    if sent and value is None:
        yield 5, f"{kind} is not there"
    quantity = value.quantity if value else None
    if kind == "NM" and sent and (quantity is None or quantity.value != sent.lstrip("+")):
        yield 5, f"{sent} and {quantity.value if quantity else None}"
    unit = other.first(obx, 6)
    if unit and quantity is not None and unit not in (quantity.unit, quantity.ucum):
        yield 6, f"{unit} and {quantity.unit}"
    flags = [coding.code for flag in observation.flags for coding in flag.codings]
    for parts in other.repetitions(obx, 8):
        if parts[0] and parts[0] not in flags:
            yield 8, f"{parts[0]} and {flags}"


def _explained() -> dict[tuple[str, str], str]:
    with EXPLAINED.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return {(row[0], row[1]): row[2] for row in rows if row}
