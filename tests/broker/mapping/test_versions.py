"""Ranges of versions: numbers are compared as numbers, a missing part is zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mapping.versions import allows, is_range

_VERSION = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(
    lambda parts: ".".join(map(str, parts))
)


@pytest.mark.parametrize(
    ("wanted", "version", "is_allowed"),
    [
        (">=1.2 <2", "1.10.0", True),
        (">=1.2 <2", "1.1.9", False),
        (">=1.2 <2", "2.0.0", False),
        ("1.2", "1.2.0", True),
        ("= 1.2", "1.2.1", False),
        (">1.2", "1.2.1", True),
    ],
)
def test_a_range_allows_what_it_says(wanted: str, version: str, is_allowed: bool) -> None:
    assert allows(wanted, version) is is_allowed


@pytest.mark.parametrize("text", ["latest", "", ">=", "1.x", "~1.2"])
def test_what_is_no_range_is_recognised(text: str) -> None:
    assert not is_range(text)


@given(_VERSION)
def test_a_version_is_within_itself_and_not_beyond(version: str) -> None:
    assert allows(f">={version} <={version}", version)
    assert not allows(f">{version}", version)
    assert not allows(f"<{version}", version)
