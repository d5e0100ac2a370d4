"""The INS: its key on published vectors, and what is not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.identity import ins

# Computed by the published formula; the first three stand in official samples too.
VECTORS = [
    ("2790351215189", "89"),
    ("2600588154002", "33"),
    ("1460263220001", "96"),
    ("1841263220001", "43"),
    ("255022A004012", "84"),
    ("255022B004012", "14"),
    ("2550299352001", "08"),
]


@pytest.mark.parametrize(("matricule", "key"), VECTORS)
def test_published_numbers_are_valid_with_their_key_only(matricule: str, key: str) -> None:
    assert ins.is_valid(matricule + key)
    assert not any(
        ins.is_valid(f"{matricule}{other:02d}") for other in range(100) if other != int(key)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "27707279035121518989",
        "279035121518989 ",
        "2790351215189",
        "979035121518989",
        "255022C00401284",
    ],
)
def test_other_layouts_are_not_valid(text: str) -> None:
    assert not ins.is_valid(text)


@given(st.sampled_from(VECTORS), st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(vector: tuple[str, str], place: int, step: int) -> None:
    text = vector[0] + vector[1]
    if not text[place].isdigit():
        return
    wrong = text[:place] + str((int(text[place]) + step) % 10) + text[place + 1 :]

    assert not ins.is_valid(wrong)


def test_test_and_production_authorities_have_one_kind_but_differ() -> None:
    assert ins.kind(ins.NIR) == ins.kind(ins.TEST) == "INS-NIR"
    assert ins.kind(ins.NIA) == "INS-NIA"
    assert ins.kind("1.2.250.1.213.1.4.13") == ""
    assert [ins.is_test(oid) for oid in (ins.NIR, ins.NIA, ins.TEST, ins.DEMONSTRATION)] == [
        False,
        False,
        True,
        True,
    ]
