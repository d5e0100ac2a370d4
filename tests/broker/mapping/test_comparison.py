"""Two sets are compared by what they make of a message: every difference is told once, and nothing else is."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.document import Coded, Coding, Document, Issue
from broker.mapping.comparison import Change, Seen, changes

TITLES = st.lists(st.sampled_from(["A", "B", "C"]), max_size=5)


def _seen(*titles: str) -> Seen:
    return Seen([Document(id="1", title=title) for title in titles])


@given(TITLES)
def test_what_is_the_same_has_no_difference(titles: list[str]) -> None:
    assert changes(_seen(*titles), _seen(*titles)) == []


@given(TITLES, TITLES)
def test_what_is_not_the_same_has_one_and_as_many_come_as_go(
    one: list[str], other: list[str]
) -> None:
    kinds = Counter(
        change.kind
        for change in changes(_seen(*one), _seen(*other))
        if change.path.endswith(".title")
    )

    assert bool(kinds) == (one != other)
    assert len(one) - kinds["removed"] + kinds["added"] == len(other)


def test_one_that_was_put_between_leaves_the_others_as_they_are() -> None:
    found = changes(_seen("A", "C"), _seen("A", "B", "C"))

    assert Change("added", "documents[2].title", new="B") in found
    assert {change.kind for change in found} == {"added"}
    assert all(change.path.startswith("documents[2].") for change in found)


def test_a_value_that_changed_keeps_its_place_and_loses_it_in_its_group() -> None:
    (change,) = changes(_seen("A", "B"), _seen("A", "C"))

    assert change == Change("changed", "documents[2].title", "B", "C")
    assert change.group == ("changed", "documents.title")


def test_where_a_set_lies_and_the_lines_of_its_rules_are_no_difference() -> None:
    def made_by(folder: str, line: int) -> Seen:
        coding = Coding(code="F", translated_by=f"{folder}/tables/sex.csv")
        return Seen(
            [Document(id="1", mapping=f"{folder}@1", type_code=Coded(codings=(coding,)))],
            issues=[
                Issue(severity="warning", code="unmapped-code", rule=f"a.yaml:{line}:3", source_path="PID-8")
            ],
        )  # fmt: skip

    assert changes(made_by("mappings", 4), made_by("next", 9)) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Seen(unread=["PID-7"]), Seen(), Change("removed", "unread PID-7")),
        (Seen(), Seen(refusal="mapping.required PID-3"),
         Change("added", "refusal", new="mapping.required PID-3")),
        (Seen(), Seen(issues=[Issue(severity="error", code="bad-date", source_path="PID-7")]),
         Change("added", "issue error bad-date PID-7")),
        (Seen(mapping="a"), Seen(mapping="b"), Change("changed", "mapping", "a", "b")),
    ],
)  # fmt: skip
def test_issues_losses_and_refusals_are_differences(old: Seen, new: Seen, expected: Change) -> None:
    assert changes(old, new) == [expected]


def test_a_change_shows_no_value_where_it_is_grouped() -> None:
    (change,) = changes(_seen("Secret"), _seen("Other"))

    assert "Secret" not in msgspec.json.encode(change.group).decode()
