"""Data types that hold other data types: EIP, NDL, PRL, SPS; their parts keep their own structure."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import document


def test_a_pair_of_identifiers_is_not_an_identifier_and_its_authority(tmp_path: Path) -> None:
    rules = "document:\n  reference_ids:\n    - SPM-2.1\n    - SPM-2.2\n  unique_id: SPM-2\n"

    found = document(tmp_path, rules, "SPM|1|P-1&WARD^F-1&LAB")

    assert [(i.value, i.system) for i in found.reference_ids] == [("P-1", "WARD"), ("F-1", "LAB")]
    assert found.unique_id is not None
    assert (found.unique_id.value, found.unique_id.system) == ("P-1", "WARD")


def test_of_a_pair_without_placer_the_filler_is_the_identifier(tmp_path: Path) -> None:
    found = document(tmp_path, "document:\n  unique_id: SPM-2\n", "SPM|1|^F-1&LAB")

    assert found.unique_id is not None
    assert (found.unique_id.value, found.unique_id.system) == ("F-1", "LAB")


@pytest.mark.parametrize(
    "sent", ["10000000000&MARTIN&Anne^202403090735", "10000000000^MARTIN^Anne"]
)
def test_the_person_of_an_ndl_is_read_in_both_ways_senders_write_it(
    tmp_path: Path, sent: str
) -> None:
    found = document(tmp_path, "document:\n  authors:\n    each: OBR-32\n    fields:\n      person: .\n",
                     f"OBR|1{'|' * 31}{sent}")  # fmt: skip

    (author,) = found.authors
    assert author.person is not None
    assert author.person.name is not None
    assert author.person.identifiers[0].value == "10000000000"
    assert (author.person.name.family, author.person.name.given) == ("MARTIN", ("Anne",))


def test_the_observation_a_result_hangs_on_keeps_its_coding(tmp_path: Path) -> None:
    found = document(
        tmp_path, "document:\n  type_code: OBR-26.1\n", f"OBR|1{'|' * 25}600-7&Culture&LN^1"
    )

    assert found.type_code is not None
    assert [(c.code, c.display) for c in found.type_code.codings] == [("600-7", "Culture")]
