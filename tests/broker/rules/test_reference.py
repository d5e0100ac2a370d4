"""Every rule of the list is proved by a test of its name, and has its sentences."""

from __future__ import annotations

from pathlib import Path

from broker.rules import reference
from tests.broker.rules.cast import FOLDER, RULES

TESTS = Path(__file__).parents[2]
ENTRIES = reference.catalogue(FOLDER)


def test_each_rule_of_access_has_a_test_of_its_name() -> None:
    assert len(ENTRIES) == len({one.rule for one in ENTRIES}) > 70
    tests = reference.tests_of(TESTS)
    for part in sorted({one.part for one in ENTRIES}):
        assert reference.unproved(ENTRIES, tests, part) == [], part


def test_a_rule_without_a_test_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_vis_01_x() -> None: ...\n", encoding="utf-8")

    missing = reference.unproved(ENTRIES, reference.tests_of(tmp_path), "rules")
    assert "VIS-01" not in missing
    assert "VIS-02" in missing


def test_tests_bear_the_names_of_rules_that_exist() -> None:
    known = {one.rule for one in ENTRIES}

    strangers = {
        rule
        for rule in reference.tests_of(TESTS)
        if rule.partition("-")[0] in {name.partition("-")[0] for name in known}
    } - known
    assert strangers == set()


def test_every_text_names_the_place_it_comes_from() -> None:
    for (rule, _), row in RULES.sentences.items():
        assert row["source"], rule
    assert all(one.source and one.statement for one in ENTRIES)
