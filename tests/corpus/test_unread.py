"""Nothing that a message of the public corpus says goes unread without a reviewed reason."""

from __future__ import annotations

import pytest

from tests.corpus.survey import CORPUS
from tests.corpus.unread import Reviewed, Unread, counted, reviewed, unread, without_reason

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the public corpus is not beside the project"
)


@pytest.fixture(scope="module")
def found() -> list[Unread]:
    return unread()


def test_every_unread_path_has_a_reviewed_reason(found: list[Unread]) -> None:
    assert without_reason(found, reviewed()) == []


def test_every_row_is_needed_and_counts_what_it_stands_for(found: list[Unread]) -> None:
    rows = reviewed()

    assert [(row, row.count) for row in rows] == counted(found, rows)
    assert all(row.count for row in rows)


def test_every_reason_says_something() -> None:
    assert [row for row in reviewed() if len(row.reason.split()) < 4] == []


def test_a_row_covers_repetitions_and_patterns_literally() -> None:
    row = Reviewed("hl7v2/*", "PID-7[2]", 1, "x")

    assert row.covers("hl7v2/fr/adt", "PID-7[2]")
    assert not row.covers("hl7v2/fr/adt", "PID-72")
    assert not row.covers("cda/document", "PID-7[2]")
