"""Random histories of create, file, merge, link, un-merge and renumber: un-merging everything is never having merged.

The oracle knows nothing of pointers: a second installation is told the same without the merges.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import identity_acts
from broker.database.engine import reading
from broker.records import identity_circle
from tests.broker.identity_site import a04, a40, adt, cx, oru, person, records, rows
from tests.broker.lane_site import LaneSite

pytestmark = pytest.mark.drill

PEOPLE = "ABCD"
who = st.sampled_from(PEOPLE)
pairs = st.tuples(who, who).filter(lambda pair: pair[0] != pair[1])
step = st.one_of(
    st.tuples(st.just("file"), who),
    st.tuples(st.just("report"), who),
    st.tuples(st.just("merge"), pairs),
    st.tuples(st.just("merge by command"), pairs),
    st.tuples(st.just("link"), pairs),
    st.tuples(st.just("unlink"), pairs),
    st.tuples(st.just("unmerge"), who),
    st.tuples(st.just("renumber"), who),
)


@contextmanager
def site() -> Iterator[LaneSite]:
    with tempfile.TemporaryDirectory() as folder:
        made = LaneSite(Path(folder), f"sqlite:///{folder}/carnet.db")
        yield made
        made.close()


def take(one: LaneSite, body: bytes) -> None:
    one.receive(body)
    one.work()


def body_of(n: int, what: str, whom: str | tuple[str, str]) -> bytes:
    first, second = (whom, "") if isinstance(whom, str) else whom
    if what == "file":
        return a04(str(n), cx(first))
    if what == "report":
        return oru(str(n), cx(first))
    if what == "merge":
        return a40(str(n), cx(first), cx(second))
    if what == "renumber":
        return adt("A47^ADT_A30", str(n), cx(f"{first}{n}"), prior=cx(first))
    event = "A24^ADT_A24" if what == "link" else "A37^ADT_A37"
    return adt(event, str(n), cx(first), second=cx(second))


def act(one: LaneSite, what: str, whom: str | tuple[str, str]) -> None:
    if isinstance(whom, str):
        identity_acts.unmerge(one.engine, person(one.engine, whom), one.act())
    else:
        survivor, absorbed = (person(one.engine, name) for name in whom)
        identity_acts.merge(one.engine, absorbed, survivor, one.act(what))


def roots_are_sound(one: LaneSite) -> None:
    """Every way up ends, and ends at somebody who was not merged."""
    above = {
        row.id: row.merged_into for row in rows(one.engine, "SELECT id, merged_into FROM patient")
    }
    with reading(one.engine) as connection:
        circle = identity_circle.around(connection, list(above))
    for number in above:
        seen, at = {number}, number
        while above[at] is not None:
            at = above[at]
            assert at not in seen, "a circle"
            seen.add(at)
        assert circle.root(number) == at


def unmerge_all(one: LaneSite) -> None:
    statement = "SELECT id FROM patient WHERE merged_into IS NOT NULL ORDER BY id"
    while merged := rows(one.engine, statement):
        identity_acts.unmerge(one.engine, merged[0].id, one.act())


def links(one: LaneSite) -> list[tuple[str, ...]]:
    """Links by the local numbers of whom they join."""
    name = {person(one.engine, letter): letter for letter in PEOPLE}
    found = rows(one.engine, "SELECT one, other FROM identity_link")
    return sorted(tuple(sorted((name[row.one], name[row.other]))) for row in found)


@settings(
    max_examples=10, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.lists(step, min_size=1, max_size=12))
def test_unmerging_everything_equals_never_merging_and_roots_never_cycle(
    history: list[tuple[str, str | tuple[str, str]]],
) -> None:
    with site() as merged, site() as never:
        for one in (merged, never):
            for letter in PEOPLE:
                take(one, a04(letter, cx(letter)))
        for n, (what, whom) in enumerate(history):
            if what in ("merge by command", "unmerge"):
                act(merged, what, whom)
            else:
                body = body_of(n, what, whom)
                take(merged, body)
                if what != "merge":
                    take(never, body)
            roots_are_sound(merged)

        unmerge_all(merged)

        assert records(merged.engine) == records(never.engine)
        assert links(merged) == links(never)
