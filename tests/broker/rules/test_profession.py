"""The matrix as data: codes to groups, cells, versions, and what is wrong in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from broker.errors import SetupError
from broker.rules import profession, tables

FOLDER = Path(__file__).parents[3] / "mappings" / "rules"
MATRIX = profession.load(FOLDER)


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("G15_10/SM26", "MEDECIN"),
        ("G15:80", "PEDICURE_PODOLOGUE"),
        ("10", "MEDECIN"),
        ("G16_10", "MEDECIN"),
        ("G16:50", "SAGE_FEMME"),
        ("G15_21/A", "PHARMACIEN_OFFICINE"),
        ("G15_21/H", "PHARMACIEN_PUI"),
        ("G15_21", ""),
        ("R94:45", "SOCIAL"),
        ("R85:330", "COORDINATION"),
        ("R85:366", "AUTRE"),
        ("A00:SECRETARIAT_MEDICAL", "SECRETARIAT"),
        ("MEDECIN", "MEDECIN"),
        ("G15_93", ""),
        ("DROP TABLE", ""),
        ("", ""),
    ],
)
def test_a_code_belongs_to_its_group(code: str, group: str) -> None:
    assert MATRIX.group_of(code) == group


def test_every_group_has_a_cell_for_every_type() -> None:
    assert set(MATRIX.cells) == {(group, code) for group in MATRIX.names for code in MATRIX.types}


def test_every_cell_names_a_rule_that_has_words() -> None:
    words = {(row["rule"], row["outcome"]) for _, row in tables.read_csv(FOLDER / "rules.csv")}

    assert {
        (cell.rule, "allow" if cell.is_open else "deny") for cell in MATRIX.cells.values()
    } <= words


def test_a_missing_cell_is_closed() -> None:
    assert MATRIX.allows("MEDECIN", "nothing") == profession.Cell("N", "derived", "MAT-05")


def test_a_damaged_folder_is_named_by_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(FOLDER, folder)
    matrix = folder / "access-matrix.csv"
    lines = matrix.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[4] = lines[4].replace(",O,", ",maybe,")
    matrix.write_text("".join(lines), encoding="utf-8")

    with pytest.raises(SetupError, match=r"access-matrix\.csv:5"):
        profession.load(folder)


def test_a_folder_without_a_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(FOLDER, folder)
    (folder / "manifest.toml").write_text('rules_version = "1"\n', encoding="utf-8")

    with pytest.raises(SetupError, match=r"manifest\.toml"):
        profession.load(folder)
