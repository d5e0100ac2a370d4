"""The public corpus anonymised: nobody of the original is in the result, and it maps as the original did.

`anonymised.tsv` explains every exception; `CARNET_RENEW_GOLDENS=1` writes new rows with the reason `?`, which fail
until somebody has looked at them and written the reason.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.anonymising.anonymise import anonymise
from broker.anonymising.words import Words
from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.parsing import hl7v2
from tests.corpus import identities
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files

pytestmark = [
    pytest.mark.corpus_full,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus is not beside the project"),
]

EXPLAINED = Path(__file__).with_name("anonymised.tsv")
KEY = b"the key of the test: what is left by chance depends on it"
Pair = tuple[str, bytes, bytes]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """(file, original, result) of each file that can be read."""
    words = Words(KEY)
    found = []
    for path in files(CORPUS):
        body = path.read_bytes()
        try:
            found.append((path.relative_to(CORPUS).as_posix(), body, anonymise(body, words).body))
        except CarnetError:
            continue
    return found


def test_almost_every_file_can_be_read(pairs: list[Pair]) -> None:
    assert len(pairs) >= 0.97 * len(list(files(CORPUS)))


def test_nobody_of_the_original_is_in_the_result(pairs: list[Pair]) -> None:
    found = []
    for name, body, made in pairs:
        text = identities.text(made)
        lower = text.lower()
        found += [
            ("value", name, value)
            for value in sorted(identities.values(body))
            if value.lower() in lower and identities.occurs(value, text)
        ]

    assert _unexplained("value", found) == []


def test_the_result_maps_as_the_original_did(pairs: list[Pair]) -> None:
    mapper = Mapper(load(PROJECT / "mappings"))
    found = [
        ("outcome", name, f"{index} {what}")
        for name, body, made in pairs
        for index, what in _differences(mapper, body, made)
    ]

    assert _unexplained("outcome", found) == []


def test_each_hl7v2_field_is_as_long_as_it_was(pairs: list[Pair]) -> None:
    longer = []
    for name, body, made in pairs:
        if not name.startswith("hl7v2/"):
            continue
        for old, new in zip(hl7v2.split_messages(body), hl7v2.split_messages(made), strict=True):
            longer += [f"{name} {place}" for place in _other_lengths(old, new)]

    assert longer == []


def test_every_exception_has_a_reason() -> None:
    assert [key for key, reason in _explained().items() if len(reason) < 10] == []


def _other_lengths(old: bytes, new: bytes) -> Iterator[str]:
    before, after = hl7v2.parse(old), hl7v2.parse(new)
    for one, two in zip(before.segments, after.segments, strict=True):
        for number, (text, made) in enumerate(zip(one.fields, two.fields, strict=True)):
            is_content = one.name == "OBX" and number == 5 and one.fields[2].startswith("ED")
            is_ins = "1.2.250.1.213.1.4.10" in made
            sizes = [
                len(
                    t.encode(
                        before.codec, "surrogatepass" if before.codec == "utf-8" else "replace"
                    )
                )
                for t in (text, made)
            ]
            if not is_content and not is_ins and (len(text) != len(made) or sizes[0] != sizes[1]):
                yield f"{one.name}-{number}"


def _differences(mapper: Mapper, body: bytes, made: bytes) -> Iterator[tuple[int, str]]:
    old, new = _outcomes(mapper, body), _outcomes(mapper, made)
    if len(old) != len(new):
        yield 0, f"messages {len(old)} {len(new)}"
    for index, (one, two) in enumerate(zip(old, new, strict=False)):
        for what in one:
            if one[what] != two[what]:
                yield index, what


def _outcomes(mapper: Mapper, body: bytes) -> list[dict[str, object]]:
    given = Given(message_id=MESSAGE_ID, source="corpus", sha256="00" * 32)
    readings = [mapper.read(one, given, coverage=True) for one in mapper.messages_in(body)]
    return [
        {
            "mapping": one.mapping,
            "documents": len(one.documents),
            "failure": (one.failure.code, one.failure.where) if one.failure else None,
            "unread": sorted(one.unread),
            "issues": sorted((i.severity, i.code, i.source_path) for i in one.issues),
            "repairs": one.repairs,
        }
        for one in readings
    ]


def _unexplained(kind: str, found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """What the list does not explain, and what it explains although it is gone."""
    known = _explained()
    new = [key for key in found if key not in known]
    if new and os.environ.get("CARNET_RENEW_GOLDENS") == "1":
        with EXPLAINED.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows([*key, "?"] for key in new)  # fmt: skip
    return [*new, *(key for key in known if key[0] == kind and key not in found)]


def _explained() -> dict[tuple[str, str, str], str]:
    with EXPLAINED.open(encoding="utf-8", newline="") as file:
        rows = csv.reader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {(row[0], row[1], row[2]): row[3] for row in rows if row}
