"""Every document of the public corpus that an outbound mapping is meant for, as HL7v2 that others can read.

`python -m tests.corpus.test_written_hl7v2` prints the totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import hl7
import msgspec
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from broker import rendering
from broker.document import Document, Observation
from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.parsing import hl7v2
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

pytestmark = [
    pytest.mark.corpus_full,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus is not beside the project"),
]
MASKS = {"MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"}
_MOST_DOCUMENTS = 3
"""Documents of one message that are looked at: some Bundles hold hundreds of the same kind."""


@dataclass
class Seen:
    """What was written, what was not, and what is wrong with it."""

    written: Counter[str] = field(default_factory=Counter)
    not_meant: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen() -> Seen:
    return survey()


def test_every_document_with_a_mapping_is_written(seen: Seen) -> None:
    assert seen.refused == []
    assert sum(seen.written.values()) > 700, seen.written


def test_python_hl7_and_hl7apy_read_every_message(seen: Seen) -> None:
    assert seen.unreadable == []


def test_every_observation_and_attachment_is_one_obx(seen: Seen) -> None:
    assert seen.miscounted == []


def test_reading_it_again_gives_the_same_patient_and_results(seen: Seen) -> None:
    assert seen.changed == []


def survey() -> Seen:
    """Write and read again every document of the corpus."""
    seen = Seen()
    mappings = load(PROJECT / "mappings")
    mapper = Mapper(mappings)
    for name, document, attachments in _documents(mapper):
        if not mappings.writers.writes(document, "hl7v2"):
            seen.not_meant[document.kind] += 1
            continue
        try:
            _, body, _ = rendering.render(mappings, document, "hl7v2", attachments.__getitem__)
        except CarnetError as error:
            seen.refused.append(f"{name}: {error}")
            continue
        _look(seen, name, document, body, mapper)
    return seen


def _documents(mapper: Mapper) -> Iterator[tuple[str, Document, dict[str, bytes]]]:
    given = Given(message_id=MESSAGE_ID, source="corpus", sha256="00" * 32)
    for path in files(CORPUS):
        name = path.relative_to(CORPUS).as_posix()
        try:
            bodies = messages_in(mapper, path.read_bytes())
        except CarnetError:
            continue
        for index, body in enumerate(bodies[:5]):
            reading = mapper.read(body, given)
            for number, document in enumerate(reading.documents[:_MOST_DOCUMENTS]):
                yield f"{name}#{index}.{number}", document, reading.attachments


def _look(seen: Seen, name: str, document: Document, body: bytes, mapper: Mapper) -> None:
    message = hl7v2.parse(body)
    kind = message.segments[0].fields[9].split("^")[0]
    seen.written[kind] += 1
    names = [segment.name for segment in message.segments]
    text = body.decode()
    try:
        theirs = [str(segment[0]) for segment in hl7.parse(text)]
        apys = [
            child.name
            for child in parse_message(
                text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False
            ).children
        ]
    except Exception as error:  # noqa: BLE001 - whatever another parser raises is the finding
        seen.unreadable.append(f"{name}: {type(error).__name__} {error}")
        return
    if not names == theirs == apys or message.repairs:
        seen.unreadable.append(f"{name}: {len(names)} {len(theirs)} {len(apys)} {message.repairs}")
    if names.count("OBX") != _expected(document, kind):
        seen.miscounted.append(f"{name}: {names.count('OBX')} not {_expected(document, kind)}")
    again = mapper.read(body, Given(message_id=MESSAGE_ID, sha256="00" * 32))
    if again.failure is not None:
        # A document in it that no inbound mapping knows stops the message that carries it, both times.
        if again.failure.where == "ClinicalDocument/templateId":
            return
        seen.changed.append(f"{name}: {again.failure}")
        return
    _compare(seen, name, document, again.documents)


def _expected(document: Document, kind: str) -> int:
    """How many OBX a document asks for."""
    if kind == "ADT":
        return len(document.observations)
    main = [a for a in document.attachments if a.role == "main"]
    masks = [one for one in document.confidentiality if {c.code for c in one.codings} & MASKS]
    files = len(main or document.attachments) + len(masks)
    if kind == "MDM":
        texts = [s for s in document.sections if s.narrative and not document.attachments]
        return files + len(texts)
    if kind != "ORU":
        return 0
    observations = [
        one for report in document.reports for one in report.observations if _says_something(one)
    ]
    observations += document.observations
    return files + len(observations) + sum(len(one.components) for one in observations)


def _says_something(one: Observation) -> bool:
    return bool(one.code or one.value or one.components)


def _compare(seen: Seen, name: str, document: Document, again: list[Document]) -> None:
    """Identifiers, names, birth date, sex, codes, values, units, flags and dates, as the inbound mappings read them."""
    if document.patient is not None and document.patient.identifiers and again:
        was, now = _person(document), _person(again[0])
        seen.changed += [
            f"{name}: {key} {was[key]} {now[key]}" for key in was if was[key] != now[key]
        ]
    if again and document.kind in ("result_report", "clinical_document"):
        was_masks, now_masks = _masks(document), set().union(*map(_masks, again))
        if not was_masks <= now_masks:
            seen.changed.append(f"{name}: masks {was_masks} {now_masks}")
    was_results = _results(document)
    now_results = [one for other in again for one in _results(other)]
    if document.kind == "result_report" and was_results != now_results[: len(was_results)]:
        pairs = list(zip(was_results, now_results, strict=False))
        # Without OBX-14 the inbound mapping takes the time of the order: nothing that was there is lost.
        wrong = [(a, b) for a, b in pairs if a != b and (a[-1] or a[:-1] != b[:-1])]
        if wrong or len(pairs) < len(was_results):
            seen.changed.append(f"{name}: {len(was_results)} {len(now_results)} {wrong[:1]}")


def _person(document: Document) -> dict[str, object]:
    patient = document.patient
    assert patient is not None
    return {
        "identifiers": list(dict.fromkeys(i.value for i in patient.identifiers)),
        "names": [(n.family, n.given[:1]) for n in patient.names if n.family and n.given],
        "birth": patient.birth_date.value if patient.birth_date else "",
        "sex": patient.sex or "unknown",
    }


def _masks(document: Document) -> set[str]:
    return {c.code for one in document.confidentiality for c in one.codings} & MASKS


def _results(document: Document) -> list[tuple[object, ...]]:
    found = [one for report in document.reports for one in report.observations]
    # A component is an OBX behind its result, and is read as a result of its own.
    flat = [part for one in (*found, *document.observations) for part in (one, *one.components)]
    return [_result(one) for one in flat if one.code and one.value]


def _result(one: Observation) -> tuple[object, ...]:
    assert one.code
    assert one.value
    amount, bounds = one.value.quantity, one.value.range
    if bounds and bool(bounds.low) != bool(bounds.high):
        comparator, amount = (">=", bounds.low) if bounds.low else ("<=", bounds.high)
        amount = amount and msgspec.structs.replace(amount, comparator=comparator)
    first = one.code.codings[0] if one.code.codings else None
    text = one.value.text
    if text is None and one.value.when:
        text = one.value.when.value or one.value.when.original
    if text is None and bounds:
        text = bounds.text
    return (
        first.code if first else one.code.text,
        (amount.comparator, amount.value, amount.unit or amount.ucum) if amount else text,
        one.value.coded.codings[0].code if one.value.coded and one.value.coded.codings else "",
        one.flags[0].codings[0].code if one.flags and one.flags[0].codings else "",
        one.observed_at.value if one.observed_at else "",
    )


if __name__ == "__main__":
    found = survey()
    for kind, count in sorted(found.written.items()):
        print(f"{kind}\t{count} written")
    for kind, count in sorted(found.not_meant.items()):
        print(f"{kind}\t{count} without an outbound mapping")
    for title in ("refused", "unreadable", "miscounted", "changed"):
        lines = getattr(found, title)
        print(f"{title}\t{len(lines)}")
        for line in lines[:40]:
            print("   ", line[:300])
