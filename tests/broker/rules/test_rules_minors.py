"""MIN, ADU: minors, representatives, protected adults; one test a rule, named by it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from broker.access import shown_to
from broker.document import Coded, Coding, Delivery, Document, Patient, When
from broker.rules import decide, disclosure, minors
from broker.rules.holder import Mandate
from tests.broker.rules.cast import (
    FOLDER,
    HOLDER,
    NOW,
    PARENT,
    RULES,
    Paper,
    Person,
    child,
    in_team,
    physician,
    rule,
)

PAPER = Paper()
SECRET = physician(mode="connexion_secrete")


def of_child(*codes: str, orders: Delivery | None = None, born: str = "2012-04-02") -> Document:
    return Document(
        id="x",
        confidentiality=tuple(Coded(codings=(Coding(code=code),)) for code in codes),
        patient=Patient(birth_date=When(value=born)),
        delivery=orders,
    )


def test_min_01_a_parent_reads_for_the_minor_and_a_stranger_does_not() -> None:
    assert rule(PARENT, child(), PAPER) == (True, "MIN-01")
    assert rule(PARENT, child("ended/all//"), PAPER) == (False, "HOLD-01")
    assert rule(PARENT, Person(born=date(2012, 1, 1)), PAPER) == (False, "HOLD-01")
    assert rule(PARENT, child(born=None), PAPER) == (False, "VIS-08")


def test_min_02_a_minor_objects_under_five_articles() -> None:
    assert "L.1111-5" in minors.articles(FOLDER)
    assert len(minors.articles(FOLDER)) == 5


def test_min_03_a_minor_hides_a_document_from_the_representatives() -> None:
    made = RULES.changing(HOLDER, child(), PAPER, "hide_representatives", NOW)

    assert (made.allowed, made.rule) == (True, "MIN-03")
    assert rule(PARENT, child(), Paper(hidden_from_reps=True)) == (False, "VIS-04")


def test_min_04_a_secret_connection_is_about_a_minor_and_files_nothing_in_the_open() -> None:
    secret = Delivery(secret_connection=True)
    hidden = of_child("INVISIBLE_REP_LEGAUX", orders=secret)

    assert rule(SECRET, in_team(born=date(2012, 4, 2)), PAPER)[0]
    assert rule(SECRET, in_team(), PAPER) == (False, "MIN-04")
    assert RULES.filing(Person(), hidden, NOW).allowed
    assert RULES.filing(Person(), of_child("N", orders=secret), NOW).rule == "MIN-04"
    adult = of_child("INVISIBLE_REP_LEGAUX", orders=secret, born="1979-05-28")
    assert RULES.filing(Person(), adult, NOW).rule == "MIN-04"


def test_min_05_the_ages_are_parameters() -> None:
    strict = decide.load(FOLDER, {"secret_age": 15})
    later = decide.load(FOLDER, {"majority": 21})

    assert strict.reading(SECRET, in_team(born=date(2012, 4, 2)), PAPER, NOW).rule == "MIN-05"
    assert strict.reading(SECRET, in_team(born=date(2011, 4, 2)), PAPER, NOW).allowed
    assert later.reading(PARENT, child(born=date(2006, 1, 1)), PAPER, NOW).allowed
    secret = of_child("INVISIBLE_REP_LEGAUX", orders=Delivery(secret_connection=True))
    assert strict.filing(Person(), secret, NOW).rule == "MIN-05"


def test_min_06_filing_for_a_minor_demands_an_explicit_choice_where_it_is_switched_on() -> None:
    asking = decide.load(FOLDER, {"explicit_choice_for_minors": True})

    assert asking.filing(Person(), of_child("N"), NOW).rule == "MIN-06"
    assert asking.filing(Person(), of_child("N", orders=Delivery(dmp=True)), NOW).allowed
    assert asking.filing(Person(), of_child("INVISIBLE_REP_LEGAUX"), NOW).allowed
    assert asking.filing(Person(), of_child("N", born="1979-05-28"), NOW).allowed
    assert RULES.filing(Person(), of_child("N"), NOW).allowed


def test_min_07_the_trace_of_a_secret_connection_is_not_for_representatives() -> None:
    assert "representatives" not in shown_to(SECRET)
    assert "auditor" in shown_to(SECRET)
    line = {"is_own_action": False, "is_denied": False, "is_secret": True, "may_see_document": True}
    assert not disclosure.shows("representatives", **line)
    assert disclosure.shows("auditor", **line)
    assert disclosure.shows("representatives", **(line | {"is_secret": False}))


@pytest.mark.parametrize(
    ("mandate", "expected"),
    [
        ("representation/person/2026-01-01/2026-11-10", (True, "ADU-01")),
        ("representation/person/2026-11-11/", (False, "ADU-01")),
        ("representation/person//2026-11-09", (False, "ADU-01")),
        ("representation/property//", (False, "ADU-01")),
        ("assistance/person//", (False, "ADU-01")),
        ("ended/all//", (False, "HOLD-01")),
    ],
)
def test_adu_01_a_mandate_has_a_scope_and_an_end(mandate: str, expected: tuple[bool, str]) -> None:
    assert rule(PARENT, child(mandate, born=date(1950, 1, 1)), PAPER) == expected
    assert str(Mandate.parse(mandate)) == mandate


def test_adu_02_carers_have_no_access() -> None:
    assert rule(PARENT, child("carer/person//"), PAPER) == (False, "ADU-02")


def test_vis_08_the_parents_access_ends_at_midnight_in_paris() -> None:
    person = child(born=date(2008, 7, 14))
    before = datetime(2026, 7, 13, 21, 59, tzinfo=UTC)
    after = datetime(2026, 7, 13, 22, 0, tzinfo=UTC)

    assert rule(PARENT, person, PAPER, before)[0]
    assert rule(PARENT, person, PAPER, after) == (False, "VIS-08")


@pytest.mark.parametrize("text", ["", "parent", "king/all//", "parent/moon//", "parent/all/soon/"])
def test_a_mandate_that_makes_no_sense_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Mandate.parse(text)
