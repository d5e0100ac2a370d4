"""EMG: emergency access; one test a rule, named by it. Who is told stands with the notices."""

from __future__ import annotations

from datetime import timedelta

from broker.access import snapshot
from broker.rules import decide
from tests.broker.rules.cast import (
    DISCHARGE,
    FOLDER,
    NOW,
    RULES,
    Paper,
    Person,
    physician,
    podiatrist,
    rule,
    said,
    somebody,
)

GLASS = physician(mode="bris_de_glace", motive="found unconscious")
CALL = physician(mode="centre_15", motive="call 4711")
PAPER = Paper()
BLOCKED = Person(consents=said(("block", "ps|899900000029", "blocked")))


def test_emg_01_bris_de_glace_needs_a_health_professional_and_a_typed_reason() -> None:
    assert rule(GLASS, Person(), PAPER) == (True, "MAT-03")
    assert rule(physician(mode="bris_de_glace", motive="  "), Person(), PAPER) == (False, "EMG-01")
    social = somebody("R94:41", mode="bris_de_glace", motive="fell")
    assert rule(social, Person(), PAPER) == (False, "EMG-01")


def test_emg_02_centre_15_is_for_the_regulating_physician_and_asks_no_authorisation() -> None:
    assert rule(CALL, Person(), PAPER)[0]
    assert rule(podiatrist(mode="centre_15", motive="call"), Person(), PAPER) == (False, "EMG-02")


def test_emg_03_each_mode_is_opposed_by_itself() -> None:
    no_glass = Person(consents=said(("emergency", "bris_de_glace", "opposed")))
    no_call = Person(consents=said(("emergency", "centre_15", "opposed")))

    assert rule(GLASS, no_glass, PAPER) == (False, "EMG-03")
    assert rule(CALL, no_glass, PAPER)[0]
    assert rule(CALL, no_call, PAPER) == (False, "EMG-03")
    assert rule(GLASS, no_call, PAPER)[0]


def test_emg_05_a_block_holds_in_bris_de_glace_by_a_switch_and_never_in_centre_15() -> None:
    loose = decide.load(FOLDER, {"block_holds_in_emergency": False})

    assert rule(GLASS, BLOCKED, PAPER) == (False, "ACC-05")
    assert loose.reading(GLASS, BLOCKED, PAPER, NOW).allowed
    assert rule(CALL, BLOCKED, PAPER)[0]
    assert not loose.reading(physician(), BLOCKED, PAPER, NOW).allowed


def test_emg_06_matrix_and_masks_hold_in_an_emergency() -> None:
    foot = podiatrist(mode="bris_de_glace", motive="found unconscious")

    assert rule(GLASS, Person(), Paper(masked_ps=True)) == (False, "VIS-01")
    assert rule(foot, Person(), Paper(type_code=DISCHARGE)) == (False, "MAT-08")


def test_emg_07_the_mode_stays_with_the_session_and_its_decisions() -> None:
    made = RULES.reading(GLASS, Person(), PAPER, NOW)

    assert made.inputs["viewer"]["mode"] == "bris_de_glace"
    assert '"mode":"bris_de_glace"' in snapshot(GLASS)


def test_emg_08_the_session_ends_after_four_hours_and_leaves_no_authorisation() -> None:
    begun = physician(mode="bris_de_glace", motive="found unconscious", session=NOW)

    assert rule(begun, Person(), PAPER, NOW + timedelta(hours=3, minutes=59))[0]
    assert rule(begun, Person(), PAPER, NOW + timedelta(hours=4)) == (False, "EMG-08")
    assert rule(physician(), Person(), PAPER, NOW + timedelta(minutes=1)) == (False, "CON-04")


def test_emg_09_the_mode_is_the_viewers_and_oppositions_are_asked_of_the_space() -> None:
    from_message = Person(consents=said(("filing", "", "INO"), ("consultation", "", "IC")))

    assert RULES.reading(GLASS, from_message, PAPER, NOW).inputs.get("oppositions", {}) == {}
    modes = {
        RULES.reading(one, Person(), PAPER, NOW).inputs["viewer"]["mode"] for one in (GLASS, CALL)
    }
    assert modes == {"bris_de_glace", "centre_15"}
