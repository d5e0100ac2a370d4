"""A message that was read goes at once, with its bytes and its trees: none of it waits for a collector to find it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from broker import simulation
from broker.mapper import Given, Mapper
from broker.mapping import catalogue
from broker.mapping.run import Coverage

PROJECT = Path(__file__).resolve().parents[3]
SAMPLES = sorted(
    path for path in (PROJECT / "samples").iterdir() if path.suffix in (".hl7", ".xml", ".json")
)
GIVEN = Given("019a0000-0000-7000-8000-000000000000", source="ward", received_at="2026-11-23T10:00:00+01:00", sha256="0" * 64)  # fmt: skip


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(catalogue.load(PROJECT / "mappings"))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _left_by(mapper: Mapper, body: bytes, coverage: Coverage) -> int:
    """Objects that only a collector frees, of the second reading: the first one also compiles and remembers."""
    for one in mapper.messages_in(body):
        mapper.read(one, GIVEN, coverage=coverage)
    gc.collect()
    for one in mapper.messages_in(body):
        mapper.read(one, GIVEN, coverage=coverage)
    return gc.collect()


@pytest.mark.parametrize("coverage", [False, "fast", True])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
@pytest.mark.usefixtures("no_collector")
def test_a_sample_leaves_no_cycle(mapper: Mapper, path: Path, coverage: Coverage) -> None:
    assert _left_by(mapper, path.read_bytes(), coverage) == 0


@pytest.mark.parametrize("coverage", ["fast", True])
@pytest.mark.parametrize("kind", ["adt", "oru", "mdm", "cda", "fhir"])
@pytest.mark.usefixtures("no_collector")
def test_a_message_of_each_kind_leaves_no_cycle(
    mapper: Mapper, kind: str, coverage: Coverage
) -> None:
    traffic = simulation.messages(mix={kind: 1.0}, patients=3, run="left", document_bytes=20_000)

    left = [_left_by(mapper, one.body, coverage) for one in islice(traffic, 3)]

    assert left == [0, 0, 0]
