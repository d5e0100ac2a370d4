"""The golden tests beside the mappings: every message with an `.expect.yaml` maps to what it says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from broker import golden_tests
from broker.mapping import proved
from broker.mapping.catalogue import MappingSet, examine, load

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


def test_the_set_that_is_taken_as_proved_is_the_one_that_is_proved_here() -> None:
    found = examine(MAPPINGS)
    if os.environ.get("CARNET_RENEW_GOLDENS"):
        place = Path(proved.__file__)
        place.write_text(place.read_text(encoding="utf-8").replace(proved.SHIPPED, found.hash))

    assert found.problems.found == []
    assert found.hash == proved.SHIPPED, "CARNET_RENEW_GOLDENS=1 writes it into broker/mapping/proved.py"  # fmt: skip


def test_there_are_golden_tests_for_every_mapping_that_writes(mapping_set: MappingSet) -> None:
    tested = {case.writer for case in CASES if isinstance(case.expected, str)}

    assert {one.path for one in mapping_set.outbound.values()} == tested


def test_there_are_golden_tests_for_every_hl7v2_mapping(mapping_set: MappingSet) -> None:
    tested = {case.expected.mapping for case in CASES if not isinstance(case.expected, str)}

    assert {name for name in mapping_set.mappings if name.startswith("hl7v2/")} <= tested


def test_a_rule_that_is_taken_away_is_noticed_by_what_is_no_longer_read(tmp_path: Path) -> None:
    """Take the rule of one field out of a mapping: its golden tests name the place that is newly unread."""
    mappings = tmp_path / "mappings"
    shutil.copytree(MAPPINGS, mappings)
    visit = mappings / "hl7v2" / "fr" / "visit.yaml"
    text = visit.read_text(encoding="utf-8")
    assert "      admission_type: PV1-4\n" in text
    visit.write_text(text.replace("      admission_type: PV1-4\n", ""), encoding="utf-8")
    changed = load(mappings)

    told = [
        line
        for case in golden_tests.cases([mappings])
        for line in golden_tests.run(changed, case).differences
    ]

    assert any("unread" in line and "PV1-4" in line for line in told), told
