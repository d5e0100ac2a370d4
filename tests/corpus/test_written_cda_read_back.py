"""Every document of the corpus, written as CDA and read again: the same patient, the same results.

Two things are not expected back. A report that is no laboratory's has no template by which the mappings know it. A
number whose unit CDA cannot hold (blanks in it) comes back as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from broker.document import Coded, Document, Observation, Patient, Quantity
from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.writing import cda, cda_people
from broker.writing.cda_results import is_laboratory
from broker.writing.own_records import own_records
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

pytestmark = [
    pytest.mark.corpus_full,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus is not beside the project"),
]

GIVEN = Given(message_id=MESSAGE_ID, source="corpus", sha256="00" * 32)
Pair = tuple[str, Document, Document]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return list(_pairs(Mapper(load(PROJECT / "mappings"))))


def _pairs(mapper: Mapper) -> Iterator[Pair]:
    """(file, document, what was read of its CDA) of every document that is written anew."""
    for path in files(CORPUS):
        try:
            bodies = messages_in(mapper, path.read_bytes())
        except CarnetError:
            continue
        for body in bodies:
            reading = mapper.read(body, GIVEN)
            content = {**reading.attachments, GIVEN.sha256: body}.__getitem__
            for document in reading.documents:
                if cda.original(document, content) is None:
                    again = mapper.read(cda.to_bytes(document, content), GIVEN)
                    assert again.failure is None, (path.name, str(again.failure))
                    yield path.name, document, again.documents[0]


def test_there_are_enough_documents_to_compare(pairs: list[Pair]) -> None:
    assert len(pairs) > 1000
    assert sum(len(list(observations(document))) for _, document, _ in pairs) > 5000


def test_the_patient_comes_back(pairs: list[Pair]) -> None:
    differences = [
        (name, what)
        for name, document, again in pairs
        for what in ("identifiers", "names", "sex", "birth")
        if _patient(document.patient, what) != _patient(again.patient, what, written=True)
    ]

    assert differences == []


def test_results_come_back(pairs: list[Pair]) -> None:
    differences = []
    for name, document, again in pairs:
        if not all(is_laboratory(report) for report in document.reports):
            continue
        if _depth(document) > _READ_DEPTH:
            continue
        mine, theirs = list(observations(own_records(document))), list(observations(again))
        if len(mine) != len(theirs):
            differences.append((name, "how many"))
        for one, other in zip(mine, theirs, strict=False):
            differences += [(name, what) for what in _differences(one, other)]

    assert differences == []


_READ_DEPTH = 4
"""So deep are results within results read from a CDA; answers of a questionnaire stand deeper (one document)."""


def _depth(document: Document) -> int:
    """How deep results stand within results."""

    def below(items: tuple[Observation, ...]) -> int:
        return max((1 + below(item.components) for item in items), default=0)

    tops = [report.observations for report in document.reports] + [document.observations]
    return max(map(below, tops), default=0)


def observations(document: Document) -> Iterator[Observation]:
    """Every observation in a report or outside, components behind the one they belong to."""

    def flat(items: tuple[Observation, ...]) -> Iterator[Observation]:
        for item in items:
            yield item
            yield from flat(item.components)

    for report in document.reports:
        yield from flat(report.observations)
    yield from flat(document.observations)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _patient(patient: Patient | None, what: str, *, written: bool = False) -> Any:
    if patient is None:
        return [] if what in ("identifiers", "names") else ""
    if what == "identifiers":
        leaving = patient.identifiers if written else cda_people.identifiers_of(patient)
        return list(dict.fromkeys(_plain(item.value) for item in leaving if item.value))
    if what == "names":
        return sorted(
            (_plain(name.family), _plain(" ".join(name.given)))
            for name in patient.names
            if name.family or any(name.given)
        )
    if what == "sex":
        return "" if patient.sex == "unknown" else patient.sex
    return patient.birth_date.value[:10] if patient.birth_date else ""


def _codes(item: Coded | None) -> set[str]:
    codes = {one.code for one in item.codings if one.code} if item else set()
    return {code for code in codes if not any(char.isspace() for char in code)}


def _differences(one: Observation, other: Observation) -> Iterator[str]:
    if _codes(one.code) != _codes(other.code):
        yield "code"
    if [_codes(flag) for flag in one.flags] != [_codes(flag) for flag in other.flags]:
        yield "flags"
    if one.value is None:
        return
    if other.value is None:
        yield "value"
    elif one.value.quantity is not None:
        yield from _quantities(one.value.quantity, other)
    elif one.value.text is not None and _plain(one.value.text) != _plain(other.value.text or ""):
        yield "text"
    elif one.value.coded is not None and _codes(one.value.coded) != _codes(other.value.coded):
        yield "coded value"


def _quantities(mine: Quantity, other: Observation) -> Iterator[str]:
    assert other.value is not None
    unit = mine.ucum or mine.unit
    found = other.value.range
    if any(char.isspace() for char in unit):
        if other.value.text != f"{mine.value} {unit}":
            yield "text of a number"
    elif mine.comparator and found is not None:
        bound = found.low or found.high or Quantity()
        if (bound.comparator, bound.value) != (mine.comparator, mine.value):
            yield "bound"
    else:
        theirs = other.value.quantity or Quantity()
        if (theirs.value, theirs.unit) != (mine.value, unit):
            yield "quantity"
