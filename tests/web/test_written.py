"""What was written before is shown again as it was, to whom it may be shown, and gives way to what is newer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from broker.web.written import Shelf, written
from tests.broker.records import record
from tests.web import papers
from tests.web.site import CONSULTATION, DISCHARGE, Site

steps = st.lists(
    st.tuples(st.sampled_from(["keep", "wait"]), st.integers(0, 20), st.integers(0, 3_000)),
    max_size=60,
)


@given(steps)
def test_a_shelf_answers_what_was_kept_and_holds_no_more_than_it_may(
    given_steps: list[tuple[str, int, int]],
) -> None:
    now = [0.0]
    shelf = Shelf(10_000, keep_seconds=100, clock=lambda: now[0])
    kept: dict[int, tuple[float, str]] = {}
    for act, key, size in given_steps:
        if act == "wait":
            now[0] += size // 20  # whole seconds: differences are exact
            continue
        one = written({"resourceType": "List", "id": f"{key}.{now[0]}", "note": "x" * size})
        is_news = not shelf.find([key])
        shelf.keep([(key, (one,))])
        if is_news:
            kept[key] = now[0], one.id
        assert shelf.bytes <= 10_000

    found = shelf.find(list(kept))
    for key, (at, number) in kept.items():
        if key in found:
            assert [one.id for one in found[key]] == [number]
            assert now[0] - at < 100
    assert shelf.find([999]) == {}


def test_what_is_larger_than_the_shelf_is_not_kept() -> None:
    shelf = Shelf(0)
    shelf.keep([("a", (written({"resourceType": "List", "id": "1"}),))])

    assert shelf.find(["a"]) == {}
    assert shelf.bytes == 0


def told(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["resource"] for one in bundle.get("entry", [])]


def test_a_page_is_the_same_the_second_time_and_opens_nothing_again(site: Site) -> None:
    patient = site.person()
    site.put(patient, *(papers.letter(n, unique_id=f"1.2.{n}") for n in range(5)))
    asked = {"patient": site.reference(patient)}
    site.search("Patient", site.physician(), _id=site.reference(patient).partition("/")[2])

    with site.statements() as first:
        once = site.search("DocumentReference", site.physician(), **asked)
    with site.statements() as second:
        again = site.search("DocumentReference", site.physician(), **asked)
    by_another = site.search("DocumentReference", site.physician(sub="899900000037"), **asked)

    assert len(told(once)) == 5
    assert told(once) == told(again) == told(by_another)
    assert any("document_payload" in one for one in first)
    assert not any("document_payload" in one for one in second)
    assert site.count("audit_entry") >= 3


def test_what_becomes_hidden_is_not_shown_because_it_was_before(site: Site) -> None:
    patient = site.person()
    letters = [papers.letter(n, DISCHARGE if n else CONSULTATION, unique_id=f"1.2.{n}") for n in range(3)]  # fmt: skip
    site.put(patient, *letters)
    asked = {"patient": site.reference(patient)}
    assert len(site.ids("DocumentReference", site.physician(), **asked)) == 3

    seen = site.ids("DocumentReference", site.podiatrist(), **asked)
    with site.engine.begin() as connection:
        connection.execute(
            text("UPDATE document SET availability = 'deleted' WHERE id = :id"),
            {"id": letters[0].id},
        )
    after = site.ids("DocumentReference", site.physician(), **asked)

    assert seen == [letters[0].id]
    assert letters[0].id not in after
    assert len(after) == 2


def test_a_document_that_was_replaced_says_so_though_it_was_written_before(site: Site) -> None:
    patient = site.person()
    letter = papers.letter(1)
    site.put(patient, letter)
    asked = {"patient": site.reference(patient), "status": "current,superseded"}
    before = told(site.search("DocumentReference", site.physician(), **asked))
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE document SET availability = 'superseded'"))
    after = told(site.search("DocumentReference", site.physician(), **asked))

    assert [one["status"] for one in before] == ["current"]
    assert [one["status"] for one in after] == ["superseded"]


def test_marks_are_those_of_who_reads(site: Site) -> None:
    """A professional is told that the patient does not see it yet; tomorrow it is not said any more (VIS-06)."""
    patient = site.person()
    site.put(patient, papers.letter(1))
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE document SET visible_from = :later"), {"later": int((record.NOW + timedelta(days=365_000)).timestamp() * 1_000_000)})  # fmt: skip
    asked = {"patient": site.reference(patient)}
    marked = told(site.search("DocumentReference", site.physician(), **asked))
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE document SET visible_from = filed_at"))
    plain = told(site.search("DocumentReference", site.physician(), **asked))

    assert [tag["code"] for tag in marked[0]["meta"]["tag"]] == ["VIS-06"]
    assert "tag" not in plain[0]["meta"]
