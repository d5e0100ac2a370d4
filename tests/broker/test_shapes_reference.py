"""Every shape has its section on the reference page, with examples that give what a mapping would get."""

from __future__ import annotations

import pytest

from broker import shapes_reference
from broker.mapping.compile import SHAPE_NAMES
from broker.shapes_reference import EXAMPLES, Example, shown


def test_every_shape_has_an_example() -> None:
    assert set(EXAMPLES) == set(SHAPE_NAMES)


@pytest.mark.parametrize(
    ("name", "example"), [(name, one) for name, many in EXAMPLES.items() for one in many]
)
def test_an_example_gives_a_value(name: str, example: Example) -> None:
    assert shown(example, SHAPE_NAMES[name]) not in (None, "", {}, [])


def test_digits_stay_as_they_were_written_in_every_format() -> None:
    kind = SHAPE_NAMES["result_value"]
    found = [shown(one, kind)["quantity"]["value"] for one in EXAMPLES["result_value"][2:]]

    assert found == ["5.1", "5.10"]


def test_types_that_no_shape_reads_are_not_listed() -> None:
    page = shapes_reference.page()

    section = page.partition("## when")[2].partition("## ")[0]
    assert "TS" in section
    assert "CX" not in section
