"""`carnet patient`: merging, un-merging, linking and the list of candidates, as an operator does it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.access import Viewer
from broker.audit import trail
from broker.records import reading
from broker.rules import decide
from tests.broker.cli.command import Result, carnet
from tests.broker.identity_site import IPP, a04, adt, cx, oru, person, rows
from tests.broker.lane_site import MAPPINGS, LaneSite


class Place:
    """A site with two patients of the same strict traits."""

    def __init__(self, folder: Path) -> None:
        self.site = LaneSite(folder, f"sqlite:///{folder / 'carnet.db'}")
        self.site.receive(a04("1", cx("A")), a04("2", cx("B")), oru("3", cx("A")))
        self.site.work()
        self.a, self.b = (str(person(self.site.engine, one)) for one in "AB")

    def carnet(self, *arguments: str, stdin: str = "") -> Result:
        return carnet("patient", *arguments, "--config", str(self.site.file), stdin=stdin)

    def look(self) -> None:
        viewer = Viewer(
            kind="professional",
            id="899900000029",
            name="Dr Essai",
            profession="G15_10",
            consent="explicit",
        )
        rules = decide.load(MAPPINGS / "rules")
        reading.listing(
            self.site.engine, viewer, int(self.b), decide=rules.reading, trail=trail.write,
            now=datetime.now(UTC),
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.site.close()


def test_a_merge_is_shown_first_then_done_then_taken_back_and_names_who_looked(
    place: Place,
) -> None:
    why = ("--because", "ticket 4711", "--by", "jd", "--yes")
    would = place.carnet("merge", place.a, "--into", place.b, "--dry-run", "--json")
    assert (would.code, would.lines[0]["done"]) == (0, False)
    assert would.lines[0]["after"] == [
        {"record": int(place.b), "account": "open_unactivated", "filing_opposed": False}
    ]
    assert not rows(place.site.engine, "SELECT 1 FROM identity_event")

    did = place.carnet("merge", place.a, "--into", place.b, *why, "--json")
    again = place.carnet("merge", place.a, "--into", place.b, *why)
    place.look()
    shown = place.carnet("show", "--patient", place.a, "--json")
    parted = place.carnet("unmerge", place.a, *why, "--json")

    assert (did.code, did.lines[0]["done"], again.code) == (0, True, 1)
    assert "one record already" in again.err
    assert shown.lines[0]["persons"] == [int(place.a), int(place.b)]
    assert shown.lines[0]["record"] == int(place.b)
    (look,) = parted.lines[0]["looks"]
    assert (look["name"], look["listed"]) == ("Dr Essai", 1)
    kinds = [line["kind"] for line in place.carnet("journal", place.a, "--json").lines]
    assert kinds == ["unmerge", "merge"]
    entries = rows(
        place.site.engine,
        "SELECT act, actor, motive FROM audit_entry WHERE act LIKE 'patient_%' ORDER BY n",
    )
    assert [tuple(one) for one in entries] == [
        ("patient_merged", "jd", "ticket 4711"),
        ("patient_unmerged", "jd", "ticket 4711"),
    ]


def test_what_is_said_to_people_names_patients_by_number_only(place: Place) -> None:
    why = ("--because", "ticket 4711", "--yes")
    place.carnet("merge", place.a, "--into", place.b, *why)
    place.look()

    told = place.carnet("unmerge", place.a, *why)

    assert f"did unmerge: {place.a} and {place.b}" in told.out
    assert "1 saw the two as one since" in told.out
    assert "Dr Essai" in told.out
    assert "EXEMPLE" not in told.out
    journal = place.carnet("journal", place.a)
    assert "1 saw the wrong record" in journal.out


def test_nothing_is_done_without_a_reason_or_a_yes(place: Place) -> None:
    without = place.carnet("merge", place.a, "--into", place.b)
    unasked = place.carnet("merge", place.a, "--into", place.b, "--because", "ticket 4711")
    nobody = place.carnet("merge", place.a, "--into", "7", "--because", "x", "--yes")

    assert (without.code, unasked.code, nobody.code) == (2, 2, 2)
    assert "--because" in without.err
    assert "--yes" in unasked.err
    assert "no such patient" in nobody.err
    assert not rows(place.site.engine, "SELECT 1 FROM identity_event")


def test_links_are_made_and_taken_back(place: Place) -> None:
    why = ("--because", "ticket 4711", "--yes")
    assert place.carnet("link", place.a, "--with", place.b, *why).code == 0
    assert place.carnet("link", place.b, "--with", place.a, *why).code == 1
    found = place.carnet("find", "--system", IPP, "--json", stdin="A\n").lines[0]
    assert (found["patient"], found["linked"]) == (int(place.a), [int(place.b)])
    assert place.carnet("unlink", place.b, "--with", place.a, *why).code == 0
    assert place.carnet("unlink", place.b, "--with", place.a, *why).code == 1


def test_candidates_are_listed_until_a_person_decides(place: Place) -> None:
    listed = place.carnet("candidates", "--json")
    assert (listed.code, listed.lines[0]["why"]) == (1, "same_traits")
    assert {listed.lines[0]["one"], listed.lines[0]["other"]} == {int(place.a), int(place.b)}

    said = place.carnet("different", place.b, "--with", place.a, "--because", "twins")

    assert said.code == 0
    assert place.carnet("candidates").code == 0
    place.site.receive(a04("9", cx("A")))
    place.site.work()
    assert place.carnet("candidates").code == 0, "nobody is asked twice"


def test_an_identifier_that_nobody_has_is_a_finding(place: Place) -> None:
    assert place.carnet("find", "--system", IPP, stdin="Z\n").code == 1


def test_a_move_stands_in_the_journal_and_is_taken_back_by_its_number(place: Place) -> None:
    place.site.receive(adt("A43^ADT_A43", "7", cx("B"), prior=cx("A")))
    place.site.work()
    (line,) = place.carnet("journal", place.b, "--json").lines
    why = ("--because", "ticket 4711", "--yes")

    would = place.carnet("unmove", str(line["n"]), "--dry-run", "--json")
    told = place.carnet("unmove", str(line["n"]), *why)
    again = place.carnet("unmove", str(line["n"]), *why)

    assert (line["kind"], len(line["documents"])) == ("move", 2)
    assert (would.code, len(would.lines[0]["documents"])) == (0, 2)
    assert "2 documents go back" in told.out
    assert (told.code, again.code) == (0, 1)
    assert "taken back already" in again.err
    assert person(place.site.engine, "A") == int(place.a)
