"""Several files merged by target path."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import MSH

from broker.document import Document
from broker.errors import SetupError
from broker.mapping.catalogue import load
from broker.mapping.run import Context, ids_from
from broker.mapping_sets import packed, unpacked
from broker.parsing import hl7v2

BASE = """mapping: base
version: 1.0.0
language: 1
from: hl7v2
applies_when: MSH-9.1 = 'ADT'
document:
  title: PID-3
  patient:
    names: PID-5[*]
    phones: PID-13[*]
  observations:
    each: OBX[*]
    when: OBX-11 = 'F'
    fields:
      code: OBX-3
      notes:
        - OBX-4
"""


def _site(folder: Path, rules: str) -> None:
    (folder / "base.yaml").write_text(BASE)
    head = "mapping: site\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\napplies_when: MSH-3 = 'A'\nextends:\n  - base.yaml\n"
    (folder / "site.yaml").write_text(head + rules)


def _document(folder: Path) -> Document:
    segments = [
        "PID|||three|four|N^G||||||||13",
        "OBX|1|ST|K|sub|v|||flag|||F",
        "OBX|2|ST|L|sub|v||||||P",
    ]
    message = hl7v2.parse("\r".join([MSH, *segments]).encode())
    (found,) = load(folder).apply(message, Context(document_id=ids_from("1"))).documents
    return found


def test_the_heir_wins_where_both_apply(tmp_path: Path) -> None:
    _site(tmp_path, "document:\n  title: PID-4\n")

    found = _document(tmp_path)

    assert found.mapping.name == "site"
    assert found.title == "four"


def test_each_and_when_of_an_inherited_block_stay(tmp_path: Path) -> None:
    _site(tmp_path, "document:\n  observations:\n    fields:\n      sub_id: OBX-4\n")

    (only,) = _document(tmp_path).observations

    assert only.sub_id == "sub"
    assert only.code is not None


def test_plus_appends_and_remove_takes_away(tmp_path: Path) -> None:
    _site(
        tmp_path,
        "document:\n  observations:\n    fields:\n      notes+:\n        - OBX-8\nremove:\n  - patient.phones\n",
    )

    found = _document(tmp_path)

    assert found.observations[0].notes == ("sub", "flag")
    assert found.patient is not None
    assert found.patient.phones == ()


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("remove:\n  - patient.sex\n", "E406"),
        (
            "document:\n  sections+:\n    - each: OBX[*]\n      fields:\n        title: OBX-3\n",
            "E405",
        ),
        ("document:\n  reports:\n    fields:\n      code: OBX-3\n", "E107"),
    ],
)
def test_an_override_of_what_the_base_no_longer_has_is_an_error(
    tmp_path: Path, rules: str, code: str
) -> None:
    _site(tmp_path, rules)

    with pytest.raises(SetupError, match=code):
        load(tmp_path)


def test_two_parents_do_not_undo_each_other_through_a_shared_one(tmp_path: Path) -> None:
    _site(tmp_path, "document:\n  title: PID-4\n")
    head = "version: 1.0.0\nlanguage: 1\nfrom: hl7v2\n"
    (tmp_path / "other.yaml").write_text(
        f"mapping: other\n{head}extends:\n  - base.yaml\ndocument:\n  language: = fr\n"
    )
    (tmp_path / "both.yaml").write_text(
        f"mapping: both\n{head}applies_when: MSH-3 = 'A'\nextends:\n  - site.yaml\n  - other.yaml\n"
    )

    found = _document(tmp_path)

    assert (found.mapping.name, found.title, found.language) == ("both", "four", "fr")


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    _site(tmp_path, "document:\n  title: PID-4\n")
    (tmp_path / "base.yaml").write_text(
        BASE.replace("document:", "extends:\n  - site.yaml\ndocument:", 1)
    )

    with pytest.raises(SetupError, match="E401"):
        load(tmp_path)


def _two_folders(tmp_path: Path, extends: str) -> list[Path]:
    (tmp_path / "base" / "hl7v2").mkdir(parents=True)
    (tmp_path / "site").mkdir()
    _site(tmp_path / "base" / "hl7v2", "")
    text = (tmp_path / "base" / "hl7v2" / "site.yaml").read_text()
    (tmp_path / "base" / "hl7v2" / "site.yaml").unlink()
    (tmp_path / "site" / "site.yaml").write_text(text.replace("- base.yaml", f"- {extends}"))
    return [tmp_path / "base", tmp_path / "site"]


def test_a_file_of_another_folder_of_the_set_is_named_from_the_top_of_that_folder(
    tmp_path: Path,
) -> None:
    folders = _two_folders(tmp_path, "hl7v2/base.yaml")

    assert set(load(folders).mappings) == {"base", "site"}
    assert load(unpacked(packed(folders), tmp_path / "kept")).hash == load(folders).hash


def test_a_way_from_one_folder_of_the_set_into_another_is_refused_with_the_name_to_write(
    tmp_path: Path,
) -> None:
    """It would hold here and nowhere else: a set that was activated is unpacked to other places."""
    folders = _two_folders(tmp_path, "../base/hl7v2/base.yaml")

    with pytest.raises(
        SetupError, match=r"E403(?s:.)*from the top of its folder: 'hl7v2/base.yaml'"
    ):
        load(folders)
