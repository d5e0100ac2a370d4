"""`mapping test` finds what changed, and `--update` writes just that: the rest of the file stays as a person wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import HEAD
from hypothesis import given
from hypothesis import strategies as st

from broker import golden_tests
from broker.errors import SetupError
from broker.mapping import golden_update
from broker.mapping.catalogue import load
from broker.mapping.problems import Problems
from broker.mapping.strict_yaml import Block, Text
from broker.mapping.strict_yaml import load as load_yaml

MESSAGE = "MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5\rPID|||123||DUPONT^JEAN||19800102|M\rZZZ|9\r"
RULES = """document:
  title: PID-5.2
  language: PID-8
"""
EXPECTED = """# A person wrote this.
mapping: example
documents: 2   # wrong on purpose
expect:
  title: MARIE   # her name
  language: M
  kind: gone
absent:
  - language
  - authors
unread:
  - PID-3
"""
UPDATED = """# A person wrote this.
mapping: {name}
documents: '1'   # wrong on purpose
expect:
  title: JEAN   # her name
  language: M
absent:
  - authors
  - kind
unread:
{unread}
"""


def _case(tmp_path: Path, expected: str, rules: str = RULES) -> golden_tests.Case:
    (tmp_path / "a.yaml").write_text(HEAD + rules)
    tests = tmp_path / "a.tests"
    tests.mkdir(exist_ok=True)
    (tests / "01.hl7").write_text(MESSAGE)
    (tests / "01.expect.yaml").write_text(expected)
    (case,) = golden_tests.cases([tmp_path])
    return case


def test_an_update_changes_what_differs_and_leaves_the_rest(tmp_path: Path) -> None:
    case = _case(tmp_path, EXPECTED)
    outcome = golden_tests.run(load(tmp_path), case)
    assert outcome.mapped is not None

    after = golden_update.updated(EXPECTED, "01.expect.yaml", outcome.mapped, outcome.rejected)

    unread = "\n".join(f"  - {path}" for path in sorted(outcome.mapped.unread))
    assert "PID-7" in outcome.mapped.unread
    assert after == UPDATED.format(name=outcome.mapped.mapping, unread=unread)
    again = golden_tests.run(load(tmp_path), _case(tmp_path, after))
    assert again.differences == []


def test_a_rule_that_was_removed_fails_by_the_field_nobody_reads_any_more(tmp_path: Path) -> None:
    case = _case(tmp_path, "expect: {}\n")
    before = golden_tests.run(load(tmp_path), case).mapped
    assert before is not None
    expected = "unread:\n" + "".join(f"  - {path}\n" for path in before.unread)

    outcome = golden_tests.run(load(tmp_path), _case(tmp_path, expected))
    assert outcome.differences == []
    less = _case(tmp_path, expected, "document:\n  title: PID-5.2\n")

    assert golden_tests.run(load(tmp_path), less).differences == ["unread: PID-8"]


def test_a_message_that_is_refused_now_is_no_update(tmp_path: Path) -> None:
    case = _case(
        tmp_path,
        "expect:\n  title: JEAN\n",
        RULES + "  set_id:\n    from: PID-39\n    required: true\n",
    )
    outcome = golden_tests.run(load(tmp_path), case)

    assert outcome.rejected == "mapping.required"
    assert outcome.differences == ["rejected: mapping.required at PID-39"]
    with pytest.raises(ValueError, match="rejected with mapping.required"):
        golden_update.updated("expect: {}\n", "x", outcome.mapped, outcome.rejected)


def test_an_expectation_without_a_message_is_an_error_of_the_set(tmp_path: Path) -> None:
    _case(tmp_path, "expect: {}\n")
    (tmp_path / "a.tests" / "02.expect.yaml").write_text("expect: {}\n")

    with pytest.raises(SetupError, match="no message beside it: 02 with"):
        list(golden_tests.cases([tmp_path]))


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\r\t")
    )
)
def test_a_quoted_value_reads_back_as_it_was(value: str) -> None:
    root = load_yaml(f"a: {golden_update.quoted(value)}\n", "x", problems := Problems())

    assert problems.found == []
    assert isinstance(root, Block)
    written = root.items["a"]
    assert isinstance(written, Text)
    assert written.value == value
    assert written.place.line == 1
