"""Every document of the public corpus as CDA: what we write is valid, what came as CDA goes out byte for byte."""

from __future__ import annotations

import pytest

from tests.corpus.survey import CORPUS
from tests.corpus.written_cda import SCHEMA, Written, invalid_originals, survey, table

pytestmark = pytest.mark.skipif(
    not (CORPUS.is_dir() and SCHEMA.is_file()),
    reason="the public corpus and the CDA schema are not beside the project",
)


@pytest.fixture(scope="module")
def found() -> list[Written]:
    return survey()


def those(found: list[Written], *outcomes: str) -> list[str]:
    return [f"{one.file}#{one.number}: {one.why}" for one in found if one.outcome in outcomes]


def test_every_document_written_anew_is_valid(found: list[Written]) -> None:
    assert those(found, "invalid", "refused") == [], table(found)
    assert len(those(found, "written")) > 1000, table(found)


def test_every_cda_goes_out_byte_for_byte(found: list[Written]) -> None:
    assert those(found, "changed") == [], table(found)
    assert len(those(found, "original", "invalid_at_author")) > 100, table(found)


def test_every_original_that_is_not_valid_is_known_with_its_reason(found: list[Written]) -> None:
    invalid = {one.file for one in found if one.outcome == "invalid_at_author"}

    assert invalid == set(invalid_originals())
    assert all(len(reason) > 10 for reason in invalid_originals().values())
