"""Errors of mapping files as people read them: one golden text for all of them, and the doors of the set."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import HEAD, mapping_set

from broker.errors import SetupError
from broker.mapping.catalogue import examine, load

GOLDEN = Path(__file__).parent / "golden"


def test_every_problem_of_a_file_is_told_with_its_line_and_a_caret() -> None:
    with pytest.raises(SetupError) as caught:
        load(GOLDEN / "wrong")

    assert caught.value.reason + "\n" == (GOLDEN / "wrong.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x 1\nb: *x\n", "E004"),
        ("a: !!int 1\n", "E005"),
        ("a: 1\na: 2\n", "E007"),
        ("a: 1\n---\nb: 2\n", "E002"),
        ("- 1\n", "E003"),
        ("a: [PID-3[*]]\n", "E001"),
    ],
)
def test_yaml_outside_the_closed_dialect_is_refused(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "x.yaml").write_text(text)

    found = examine(tmp_path).problems.errors

    assert code in {problem.code for problem in found}


def test_words_that_yaml_would_convert_stay_text(tmp_path: Path) -> None:
    rules = "document:\n  title: = NO\n  language: = 01\n"

    mapping_set(tmp_path, rules)  # loads: a bool or a number would not be a text


@pytest.mark.parametrize("file", ["../outside.csv", "/etc/passwd", "missing.csv"])
def test_a_table_lies_inside_the_set(tmp_path: Path, file: str) -> None:
    (tmp_path.parent / "outside.csv").write_text("from,to\na,b\n")

    with pytest.raises(SetupError, match=r"E30[17]"):
        mapping_set(tmp_path, f"tables:\n  t: {file}\ndocument:\n  title: PID-3\n")


def test_a_table_may_not_be_a_link_out_of_the_set(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("from,to\na,b\n")
    inside = tmp_path / "set"
    inside.mkdir()
    (inside / "t.csv").symlink_to(outside)

    with pytest.raises(SetupError, match="E307"):
        mapping_set(inside, "tables:\n  t: t.csv\ndocument:\n  title: PID-3\n")


def test_the_hash_changes_with_the_rules_and_not_with_line_ends(tmp_path: Path) -> None:
    text = HEAD + "document:\n  title: PID-3\n"
    hashes = []
    for content in (text, text.replace("\n", "\r\n"), text.replace("PID-3", "PID-4")):
        (tmp_path / "a.yaml").write_bytes(content.encode())
        hashes.append(load(tmp_path).hash)

    assert hashes[0] == hashes[1] != hashes[2]
