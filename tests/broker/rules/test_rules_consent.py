"""CON and ACC: consent, care team, blocks, authors, the médecin traitant; one test a rule, named by it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from broker.access import Viewer
from broker.document import Delivery, Document
from broker.rules import decide, orders
from tests.broker.rules.cast import (
    FOLDER,
    HOLDER,
    NOW,
    RULES,
    TEAM,
    Paper,
    Person,
    in_team,
    physician,
    podiatrist,
    rule,
    said,
    somebody,
)

PAPER = Paper()
MINE = Paper(author_keys=("ps|899900000029",))


def test_con_01_consultation_needs_prior_consent_and_a_refusal_holds() -> None:
    key = "ps|899900000029"

    assert rule(physician(), Person(), PAPER) == (False, "CON-04")
    for word in ("INC", "withdrawn"):
        person = Person(consents=said(("explicit", key, word)))
        assert rule(physician(consent="explicit"), person, PAPER) == (False, "CON-01")


def test_con_02_consent_to_one_member_stands_for_the_whole_team() -> None:
    person = in_team("IC")

    assert rule(physician(), person, PAPER) == (True, "MAT-03")
    assert rule(somebody("G15_60"), person, PAPER)[0]


def test_con_03_the_initial_consent_is_of_this_team_and_this_episode() -> None:
    other = Person(
        team=((TEAM, 1),), consents=said(("consultation", "structure:990000001#V0", "IC"))
    )
    whole = Person(team=((TEAM, 1),), consents=said(("consultation", "structure:990000001", "IC")))
    nameless = Person(team=((TEAM, 1),), consents=said(("consultation", "", "IC")))

    assert rule(physician(), in_team(""), PAPER) == (False, "CON-03")
    assert rule(physician(), other, PAPER) == (False, "CON-03")
    assert rule(physician(), nameless, PAPER) == (False, "CON-03")
    assert rule(physician(), whole, PAPER)[0]


def test_con_03_between_the_arrete_and_the_ruling_it_was_presumed() -> None:
    days = {
        datetime(2023, 10, 28, 12, tzinfo=UTC): False,
        datetime(2023, 10, 29, 12, tzinfo=UTC): True,
        datetime(2025, 10, 14, 12, tzinfo=UTC): True,
        datetime(2025, 10, 15, 12, tzinfo=UTC): False,
    }

    for day, allowed in days.items():
        assert rule(physician(), in_team(""), PAPER, day)[0] is allowed


def test_con_04_outside_the_team_consent_is_of_one_consultation() -> None:
    person = Person(consents=said(("explicit", "ps|899900000029", "IC")))

    assert rule(physician(consent="explicit"), Person(), PAPER)[0]
    assert rule(physician(), person, PAPER, NOW + timedelta(hours=3, minutes=59))[0]
    assert rule(physician(), person, PAPER, NOW + timedelta(hours=4)) == (False, "CON-04")
    assert rule(podiatrist(), person, Paper(type_code="11488-4")) == (False, "CON-04")


def test_con_06_zfa_11_refused_closes_and_not_collected_opens_nothing() -> None:
    assert rule(physician(), in_team("INC"), PAPER) == (False, "CON-06")
    assert rule(physician(), in_team("withdrawn"), PAPER) == (False, "CON-06")
    assert rule(physician(), in_team(""), PAPER) == (False, "CON-03")
    general = Person(
        team=((TEAM, 1),),
        consents=said(("consultation", TEAM, "IC"))
        | said(("consultation", "", "INC"), at=NOW + timedelta(minutes=1)),
    )
    assert rule(physician(), general, PAPER, NOW + timedelta(minutes=2)) == (False, "CON-06")


def test_con_06_the_switch_presumes_consent_and_no_refusal_is_overruled_by_it() -> None:
    presumed = decide.load(FOLDER, {"presumed_team_consent": True})

    assert presumed.reading(physician(), in_team(""), PAPER, NOW).allowed
    assert presumed.reading(physician(), in_team("INC"), PAPER, NOW).rule == "CON-06"
    assert presumed.reading(physician(), Person(), PAPER, NOW).rule == "CON-04"


def test_con_07_feeding_needs_no_consent_and_an_opposition_stops_it() -> None:
    assert RULES.filing(Person(), now=NOW).allowed
    assert RULES.filing(Person(filing_opposed=True), now=NOW).rule == "CON-07"


def test_con_08_authorisations_serve_for_reading_only() -> None:
    refused = Person(consents=said(("consultation", "", "INC"), ("block", "ps|1", "blocked")))

    assert RULES.filing(refused, Document(id="x"), NOW) == RULES.filing(
        Person(), Document(id="x"), NOW
    )


def test_con_09_authorisations_change_at_any_time() -> None:
    app = Viewer(kind="application", id="vaccines")
    yes = Person(consents=said(("application", "vaccines", "read")))
    no = Person(consents=said(("application", "vaccines", "revoked")))

    assert rule(app, yes, PAPER) == (True, "CON-09")
    assert rule(app, no, PAPER) == rule(app, Person(), PAPER) == (False, "CON-09")
    soon = Paper(visible_from=NOW + timedelta(days=1))
    assert rule(app, yes, soon) == (False, "VIS-02")


def test_con_10_occupational_physicians_need_express_consent_each_time() -> None:
    company = somebody("G15_10/SM25")
    declared = in_team("IC", ("traitant", "", "ps|899900000037"))

    assert rule(company, declared, PAPER) == (False, "CON-10")
    assert rule(somebody("G15_10/SM25", consent="explicit"), Person(), PAPER)[0]


def test_acc_05_who_is_blocked_reads_nothing_authorised_or_not() -> None:
    block = ("block", "ps|899900000029", "blocked")

    assert rule(physician(), in_team("IC", block), PAPER) == (False, "ACC-05")
    assert rule(physician(), in_team("IC", block), MINE) == (False, "ACC-05")
    assert rule(podiatrist(), in_team("IC", block), Paper(type_code="11488-4"))[0]
    short = physician(id="99900000029")
    assert rule(short, in_team("IC", block), PAPER) == (False, "ACC-05")
    freed = in_team("IC", ("block", "ps|899900000029", "unblocked"))
    assert rule(physician(), freed, PAPER)[0]
    secretary = somebody("R85:331", responsible="899900000029")
    assert rule(secretary, in_team("IC", block), PAPER) == (False, "ACC-05")


def test_acc_06_the_author_reads_their_own_and_alone_deletes_or_replaces() -> None:
    masked = Paper(author_keys=("ps|899900000029",), masked_ps=True)

    assert rule(physician(), Person(), masked) == (True, "ACC-06")
    assert rule(somebody("R85:331"), Person(), Paper(author_keys=("ps|899900000037",)))[0]
    for change in ("delete", "replace"):
        assert RULES.changing(physician(), Person(), MINE, change, NOW).allowed  # type: ignore[arg-type]
        assert not RULES.changing(podiatrist(), in_team(), MINE, change, NOW).allowed  # type: ignore[arg-type]


def test_acc_07_the_declared_medecin_traitant_sees_what_is_masked() -> None:
    declared = Person(consents=said(("traitant", "", "ps|899900000029")))
    masked = Paper(masked_ps=True)

    assert rule(physician(), declared, masked) == (True, "ACC-07")
    assert rule(physician(), declared, PAPER) == (True, "MAT-03")
    assert rule(physician(), declared, Paper(type_code="ATTEST-RESID", masked_ps=True)) == (
        False,
        "MAT-03",
    )
    assert rule(physician(), in_team(), masked) == (False, "VIS-01")
    nobody = Person(consents=said(("traitant", "", "none")))
    assert rule(physician(), nobody, masked) == (False, "CON-04")


def test_acc_09_insurers_banks_and_employers_never_even_with_consent() -> None:
    for who in ("INSURER", "BANK", "EMPLOYER"):
        barred = somebody(who, consent="explicit")
        own = Paper(author_keys=("ps|899900000037",))
        assert rule(barred, in_team(), PAPER) == rule(barred, in_team(), own) == (False, "ACC-09")


def test_acc_10_what_was_hidden_that_day_can_be_shown_years_later() -> None:
    made = RULES.reading(physician(), in_team(), Paper(masked_ps=True), NOW)

    again = RULES.replay(made.inputs)
    assert again == made
    assert decide.explain(RULES, again, "operator", "en").startswith("The document is masked")


def test_acc_11_a_machine_needs_a_person_who_answers_for_it() -> None:
    machine = physician(automated=True)

    assert rule(machine, in_team(), PAPER) == (False, "ACC-11")
    named = physician(automated=True, responsible="899900000037")
    assert rule(named, in_team(), PAPER)[0]


def test_the_holder_is_asked_by_no_consent() -> None:
    assert rule(HOLDER, in_team("INC"), PAPER) == (True, "HOLD-01")


def test_an_author_may_mask_and_a_stranger_may_change_nothing() -> None:
    for change in orders.CHANGES:
        made = RULES.changing(podiatrist(), in_team(), PAPER, change, NOW)
        assert (made.allowed, made.rule) == (False, "ACC-06")
    assert RULES.changing(physician(), Person(), MINE, "mask", NOW).allowed


def test_filing_looks_at_nothing_but_what_it_keeps() -> None:
    asked = Document(id="x", delivery=Delivery(dmp=True))
    made = RULES.filing(Person(born=date(2015, 1, 1)), asked, NOW)

    assert RULES.replay(made.inputs) == made
