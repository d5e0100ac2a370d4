"""The golden tests beside the mappings: every message with an `.expect.yaml` maps to what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from broker.errors import MappingError
from broker.mapping import golden
from broker.mapping.catalogue import MappingSet, load
from broker.mapping.run import Context, ids_from
from broker.parsing import cda, fhir, hl7v2

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
EXPECTATIONS = sorted(MAPPINGS.rglob("*.tests/*.expect.yaml"))


@pytest.fixture(scope="module")
def mapping_set() -> MappingSet:
    return load(MAPPINGS)


def _message(expectation: Path) -> Any:
    stem = expectation.name.removesuffix(".expect.yaml")
    for suffix, parse in ((".hl7", hl7v2.parse), (".xml", cda.parse), (".json", fhir.parse)):
        path = expectation.with_name(stem + suffix)
        if path.is_file():
            return parse(path.read_bytes())
    raise AssertionError(f"no message beside {expectation.name}")


@pytest.mark.parametrize("path", EXPECTATIONS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_message_becomes_what_its_golden_file_says(path: Path, mapping_set: MappingSet) -> None:
    expected = golden.read(path.read_text(encoding="utf-8"), path.name)
    context = Context(document_id=ids_from("0"), parsers={"cda": cda.parse})

    if expected.rejected:
        with pytest.raises(MappingError, match=f"^{re.escape(expected.rejected)}:"):
            mapping_set.apply(_message(path), context)
        return

    mapped = mapping_set.apply(_message(path), context, coverage=expected.unread is not None)

    assert golden.differences(expected, mapped) == []


def test_there_are_golden_tests_for_every_hl7v2_mapping(mapping_set: MappingSet) -> None:
    tested = {golden.read(p.read_text(encoding="utf-8"), p.name).mapping for p in EXPECTATIONS}

    assert {name for name in mapping_set.mappings if name.startswith("hl7v2/")} <= tested
