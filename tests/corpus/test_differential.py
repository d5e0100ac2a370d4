"""What Carnet makes of an HL7v2 message agrees with what python-hl7 reads in it, field by field.

python-hl7 shares no code with us. Every message of the public corpus that it can read is read by both: identifiers,
names, birth date and sex of the patient; of every message type also how many OBR and OBX there are, and code, flags,
value and unit of each OBX: numbers as numbers, everything else as text. The differences that are right are listed one
by one, with the reason, in `differences.tsv`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hl7
import msgspec
import pytest

from broker.document import Document, Observation, ResultValue
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
PLANS = ("goal", "pathway", "variance")
"""Titles of sections that are not lines of text."""
DATES = ("TS", "DTM", "DT")
PARTS = {"CE": 6, "CWE": 9, "CNE": 9, "CX": 5, "EI": 3}
"""How many components of a value are kept: of a code, not its versions' dates; of a number, not its check digit."""


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
    yield from _patient(other, reading.documents[0])
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
    orders = [order for document in documents for order in document.orders]
    obr, obx = other.segments("OBR"), other.segments("OBX")
    if len(obr) not in ({len(reports), len(orders)} if orders else {len(reports)}):
        yield "OBR", f"{len(obr)} and {len(reports)} reports, {len(orders)} orders"
    # Those that carry a document are attachments, which have tests of their own.
    theirs = [one for one in obx if other.first(one, 2) not in ATTACHMENTS]
    ours = _observations(documents)
    if len(theirs) != len(ours):
        yield "OBX", f"{len(theirs)} and {len(ours)}"
        return
    for number, segment in enumerate(theirs, 1):
        at, nearest = _nearest(other, segment, ours)
        ours.pop(at)
        for place, difference in nearest:
            yield f"OBX[{number}]-{place}", difference


def _nearest(
    other: Independent, obx: Any, ours: Sequence[Observation]
) -> tuple[int, list[tuple[int, str]]]:
    """The observation that differs least, usually the next one: the model may keep findings in another order."""
    best: tuple[int, list[tuple[int, str]]] = (0, list(_result(other, obx, ours[0])))
    for at, one in enumerate(ours[1:], 1):
        if not best[1]:
            break
        differences = list(_result(other, obx, one))
        if len(differences) < len(best[1]):
            best = (at, differences)
    return best


def _observations(documents: Sequence[Document]) -> list[Observation]:
    """Every finding of a message, wherever the model keeps it: sections are the lines of a document in text."""
    found: list[Observation] = []
    for document in documents:
        found += [one for report in document.reports for one in report.observations]
        found += document.observations
        found += [one for given in document.immunizations for one in given.observations]
        found += [
            Observation(code=one.code, value=ResultValue(text=one.narrative))
            for one in document.sections
            if one.title not in PLANS
        ]
    return found


def _result(other: Independent, obx: Any, observation: Observation) -> Iterator[tuple[int, str]]:
    codings = observation.code.codings if observation.code else ()
    code = other.first(obx, 3)
    if code and code not in [coding.code for coding in codings]:
        yield 3, f"{code} and {[coding.code for coding in codings]}"
    value, kind = observation.value, other.first(obx, 2)
    sent = "" if other.field(obx, 5) == NULL else other.field(obx, 5).strip()
    if sent and value is None:
        yield 5, f"{kind} is not there"
    elif sent and value is not None:
        yield from _value(other, obx, kind, value)
    unit = other.first(obx, 6)
    quantity = value.quantity if value else None
    if unit and quantity is not None and unit not in (quantity.unit, quantity.ucum):
        yield 6, f"{unit} and {quantity.unit}"
    if value is not None and not observation.status:
        return  # a line of a document in text: flags are those of results
    flags = [coding.code for flag in observation.flags for coding in flag.codings]
    for parts in other.repetitions(obx, 8):
        if parts[0] and parts[0] not in flags:
            yield 8, f"{parts[0]} and {flags}"


def _value(
    other: Independent, obx: Any, kind: str, value: ResultValue
) -> Iterator[tuple[int, str]]:
    """A number as a number; of anything else, every component that was sent is there as text."""
    if kind == "NM":
        sent = other.field(obx, 5).strip()
        if value.quantity is None or value.quantity.value != sent.lstrip("+"):
            yield 5, f"{sent} and {value.quantity.value if value.quantity else value.text}"
        return
    if kind in DATES and value.when is not None and value.when.value:
        sent = re.split(r"[+-]", other.first(obx, 5))[0]
        if re.sub(r"\D", "", sent) != re.sub(r"\D", "", value.when.value):
            yield 5, f"{sent} and {value.when.value}"
        return
    ours = _words(" ".join(_leaves(msgspec.to_builtins(value))))
    for parts in other.repetitions(obx, 5):
        for part in parts[: PARTS.get(kind)]:
            missing = _words(part) - ours
            if missing:
                yield 5, f"{sorted(missing)[:5]} of {kind} are not there"
                return


def _words(text: str) -> set[str]:
    """The words and numbers of a text."""
    return set(re.findall(r"\w+", text.lower()))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield str(value)


def _explained() -> dict[tuple[str, str], str]:
    with EXPLAINED.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return {(row[0], row[1]): row[2] for row in rows if row}
