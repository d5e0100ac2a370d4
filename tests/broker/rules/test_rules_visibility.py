"""VIS: who sees a document that somebody hid; one test a rule, named by it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from broker import header
from broker.document import Coded, Coding, Document
from broker.rules import decide, orders, visibility
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

MONTH = timedelta(days=30)
SOON = Paper(visible_from=NOW + MONTH, author_keys=("ps|899900000029",))
MINE = Paper(author_keys=("ps|899900000029",))


def coded(*codes: str) -> Document:
    return Document(
        id="x", confidentiality=tuple(Coded(codings=(Coding(code=code),)) for code in codes)
    )


def test_vis_00_r_and_v_are_kept_masked_and_n_is_not() -> None:
    assert header.visibility(coded("R"), NOW).masked_ps
    assert header.visibility(coded("V"), NOW).masked_ps
    assert not header.visibility(coded("N"), NOW).masked_ps


def test_vis_01_a_masked_document_is_for_its_author_and_the_holder_lifts_it() -> None:
    masked = Paper(masked_ps=True)

    assert rule(physician(), in_team(), masked) == (False, "VIS-01")
    assert rule(HOLDER, Person(), masked)[0]
    for change in ("mask", "unmask"):
        made = RULES.changing(HOLDER, Person(), masked, change, NOW)  # type: ignore[arg-type]
        assert (made.allowed, made.rule) == (True, "VIS-01")


def test_vis_02_the_patient_sees_it_a_month_after_filing() -> None:
    filed = datetime(2026, 1, 31, 8, tzinfo=UTC)
    opens = header.visibility(coded("INVISIBLE_PATIENT"), filed).visible_from
    paper = Paper(visible_from=opens)

    assert opens == datetime(2026, 2, 28, 8, tzinfo=UTC)
    assert rule(HOLDER, Person(), paper, opens - timedelta(microseconds=1)) == (False, "VIS-02")
    assert rule(HOLDER, Person(), paper, opens) == (True, "HOLD-01")


def test_vis_03_showing_is_possible_any_time_and_hiding_again_is_not() -> None:
    author = physician()

    assert RULES.changing(author, Person(), SOON, "show_patient", NOW).allowed
    again = RULES.changing(author, Person(), MINE, "hide_patient", NOW)
    assert (again.allowed, again.rule) == (False, "VIS-03")


def test_vis_03_a_message_that_changes_only_the_visibility_hides_nothing_again() -> None:
    seen = orders.Standing(False, NOW - MONTH, False)
    asked = header.visibility(coded("INVISIBLE_PATIENT"), NOW)

    assert orders.carried(seen, asked, NOW, only_visibility=True).visible_from <= NOW
    assert orders.carried(seen, asked, NOW, only_visibility=False).visible_from > NOW


def test_vis_03_a_replacement_opens_nothing_in_passing() -> None:
    hidden = orders.Standing(False, NOW + timedelta(days=9), True)
    bare = header.visibility(coded("N"), NOW)

    kept = orders.carried(hidden, bare, NOW, only_visibility=False)
    assert (kept.visible_from, kept.hidden_from_reps) == (NOW + timedelta(days=9), True)
    shown = orders.carried(hidden, bare, NOW, only_visibility=True)
    assert (shown.visible_from, shown.hidden_from_reps) == (NOW, False)


def test_vis_04_representatives_do_not_see_it_and_opening_is_for_good() -> None:
    hidden = Paper(hidden_from_reps=True, author_keys=("ps|899900000029",))

    assert rule(PARENT, child(), hidden) == (False, "VIS-04")
    assert rule(HOLDER, child(), hidden)[0]
    assert RULES.changing(HOLDER, child(), hidden, "show_representatives", NOW).rule == "VIS-04"
    back = RULES.changing(physician(), child(), MINE, "hide_representatives", NOW)
    assert (back.allowed, back.rule) == (False, "VIS-04")
    opened = orders.Standing(False, NOW - MONTH, False)
    asked = header.visibility(coded("INVISIBLE_REPRESENTANTS_LEGAUX"), NOW)
    assert not orders.carried(opened, asked, NOW, only_visibility=True).hidden_from_reps


def test_vis_05_both_masks_at_once_are_refused_until_the_switch_allows_them() -> None:
    both = coded("MASQUE_PS", "INVISIBLE_PATIENT")
    allowing = decide.load(FOLDER, {"cumulated_masks": True})

    refused = RULES.filing(Person(), both, NOW)
    assert (refused.allowed, refused.rule) == (False, "VIS-05")
    assert allowing.filing(Person(), both, NOW).allowed
    assert RULES.changing(HOLDER, Person(), SOON, "mask", NOW).rule == "VIS-05"
    assert RULES.changing(physician(), Person(), SOON, "mask", NOW).rule == "VIS-05"


def marks(**given: object) -> tuple[str, ...]:
    usual = {
        "visible_from": None,
        "hidden_from_reps": False,
        "is_minor": False,
        "class_code": "10",
        "type_code": "34112-3",
        "now": NOW,
    }
    return visibility.marks(**(usual | given))  # type: ignore[arg-type]


def test_vis_06_a_reader_is_warned_not_to_disclose_it() -> None:
    assert marks() == ()
    assert marks(visible_from=NOW + MONTH) == ("VIS-06",)
    assert marks(hidden_from_reps=True, is_minor=True) == ("VIS-06",)
    assert marks(hidden_from_reps=True) == ()


def test_vis_07_what_the_patient_expressed_is_shown_as_such() -> None:
    assert "VIS-07" in marks(class_code="90")


def test_vis_08_at_eighteen_the_code_has_no_more_effect() -> None:
    hidden = Paper(hidden_from_reps=True)
    of_age = child(born=date(2008, 11, 10))

    assert rule(PARENT, of_age, hidden) == rule(PARENT, of_age, Paper()) == (False, "VIS-08")
    assert rule(HOLDER, of_age, hidden)[0]
    guarded = child("representation/person//", born=date(1950, 1, 1))
    assert rule(PARENT, guarded, hidden) == (True, "ADU-01")
    assert RULES.changing(HOLDER, of_age, MINE, "hide_representatives", NOW).rule == "VIS-08"


def test_vis_09_the_short_forms_of_hl7v2_mean_the_same() -> None:
    short = coded("INVISIBLE_REP_LEGAUX")

    assert header.visibility(short, NOW).hidden_from_reps
    assert RULES.filing(Person(), short, NOW).inputs["codes"] == ("INVISIBLE_REPRESENTANTS_LEGAUX",)


def test_vis_10_directives_are_pointed_out_to_physicians_who_read_them() -> None:
    directives = Paper(type_code="EXPPAT_3")

    assert "VIS-10" in marks(class_code="90", type_code="EXPPAT_3")
    assert "VIS-10" not in marks(class_code="90", type_code="EXPPAT_2")
    assert rule(physician(), in_team(), directives)[0]


def test_a_patients_own_mask_survives_a_replacement() -> None:
    masked = orders.Standing(True, NOW - MONTH, False, by_patient=True)
    by_sender = orders.Standing(True, NOW - MONTH, False)
    bare = header.visibility(coded("N"), NOW)

    assert orders.carried(masked, bare, NOW, only_visibility=True).masked_ps
    assert not orders.carried(by_sender, bare, NOW, only_visibility=True).masked_ps
    assert orders.carried(by_sender, bare, NOW, only_visibility=False).masked_ps
