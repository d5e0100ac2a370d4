"""The golden tests beside the mappings: every message with an `.expect.yaml` maps to what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import golden_tests
from broker.mapping.catalogue import MappingSet, load

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
CASES = list(golden_tests.cases([MAPPINGS]))


@pytest.fixture(scope="module")
def mapping_set() -> MappingSet:
    return load(MAPPINGS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_becomes_what_its_golden_file_says(
    case: golden_tests.Case, mapping_set: MappingSet
) -> None:
    assert golden_tests.run(mapping_set, case).differences == []


def test_there_are_golden_tests_for_every_mapping_that_writes(mapping_set: MappingSet) -> None:
    tested = {case.writer for case in CASES if isinstance(case.expected, str)}

    assert {one.path for one in mapping_set.outbound.values()} == tested


def test_there_are_golden_tests_for_every_hl7v2_mapping(mapping_set: MappingSet) -> None:
    tested = {case.expected.mapping for case in CASES if not isinstance(case.expected, str)}

    assert {name for name in mapping_set.mappings if name.startswith("hl7v2/")} <= tested
