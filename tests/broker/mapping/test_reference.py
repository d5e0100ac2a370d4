"""The reference page and the schemas are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.mapping import language_schema, reference

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "current"),
    [
        (reference.PAGE, reference.page()),
        (reference.SCHEMA, reference.schema()),
        (reference.MAPPING_SCHEMA, language_schema.text()),
    ],
)
def test_the_committed_page_is_current(name: str, current: str) -> None:
    committed = (ROOT / name).read_text(encoding="utf-8")

    assert committed == current, "run: python -m broker.mapping.reference"
