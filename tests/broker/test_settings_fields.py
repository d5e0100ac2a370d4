"""Every setting explains itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broker import plugins
from broker.retry import Policy
from broker.settings_fields import described, duration_text, summary
from broker.settings_tables import TABLES, DestinationCommon, Route, SourceCommon, When

ADAPTERS = plugins.adapters().values()
CLASSES: list[type[Any]] = [
    *TABLES.values(), SourceCommon, DestinationCommon, Policy, Route, When,
    *(a.source_settings for a in ADAPTERS if a.source_settings is not None),
    *(a.destination_settings for a in ADAPTERS if a.destination_settings is not None),
]  # fmt: skip


@pytest.mark.parametrize("settings", CLASSES, ids=lambda cls: cls.__name__)
def test_each_setting_of_the_product_has_a_meaning(settings: type[Any]) -> None:
    assert summary(settings)
    assert [one.name for one in described(settings) if not one.meaning] == []


def test_defaults_are_shown_as_the_file_writes_them() -> None:
    shown = {one.name: one.default for one in described(Policy)}

    assert shown["base"] == '"2s"'
    assert shown["max_delay"] == '"10m"'
    assert shown["max_age"] == '"3d"'
    assert shown["factor"] == "2.0"
    assert {one.name: one.default for one in described(Route)}["to"] == "required"
    assert {one.name: one.default for one in described(DestinationCommon)}["retry"].startswith(
        '{ base = "2s", '
    )


def test_a_duration_is_said_in_the_largest_unit_that_holds_it_whole() -> None:
    durations = {
        0: "0ms",
        500: "500ms",
        1_000: "1s",
        90_000: "90s",
        120_000: "2m",
        7_200_000: "2h",
        172_800_000: "2d",
    }
    for milliseconds, text in durations.items():
        assert duration_text(timedelta(milliseconds=milliseconds)) == text
