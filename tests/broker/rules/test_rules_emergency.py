"""EMG and NOT: emergency access and who is told; one test a rule, named by it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.access import snapshot
from broker.rules import decide, notices
from broker.rules.notices import Addressee
from tests.broker.rules.cast import (
    DISCHARGE,
    FOLDER,
    HOLDER,
    NOW,
    PARENT,
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


def test_emg_04_holder_and_medecin_traitant_are_informed_afterwards() -> None:
    told = notices.of_access(GLASS, Addressee(has_traitant=True), NOW, is_first=True)

    assert [(one.to, one.when, one.rule) for one in told] == [
        ("holder", "now", "EMG-04"),
        ("medecin_traitant", "now", "EMG-04"),
    ]


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


def test_not_01_the_first_access_of_a_professional_is_told_at_once() -> None:
    (one,) = notices.of_access(physician(), Addressee(preference="first"), NOW, is_first=True)

    assert (one.to, one.when, one.rule, one.due) == ("holder", "now", "NOT-01", NOW)


@pytest.mark.parametrize(
    ("preference", "when"), [("daily", "daily"), ("each", "now"), ("first", "never")]
)
def test_not_02_further_sessions_as_the_holder_prefers_daily_by_default(
    preference: notices.Preference, when: str
) -> None:
    (one,) = notices.of_access(physician(), Addressee(preference=preference), NOW, is_first=False)

    assert (one.when, one.rule) == (when, "NOT-02")
    assert Addressee().preference == "daily"


def test_not_03_a_new_document_is_told_without_its_content() -> None:
    (one,) = notices.of_document(Addressee(), NOW, NOW, hidden_from_reps=False)

    assert (one.kind, one.rule) == ("document", "NOT-03")
    assert set(one.__struct_fields__) == {"to", "when", "kind", "rule", "due"}


def test_not_04_what_is_not_visible_yet_is_not_told_but_for_the_neutral_notice() -> None:
    (one,) = notices.of_document(Addressee(), NOW, NOW + timedelta(days=30), hidden_from_reps=False)
    (reps,) = notices.of_document(
        Addressee(is_minor=True, has_representatives=True), NOW, NOW, hidden_from_reps=True
    )

    assert (one.kind, one.rule, one.due) == ("neutral", "VIS-02", NOW + timedelta(weeks=2))
    assert (reps.to, reps.when) == ("holder", "never")


def test_not_05_without_an_address_it_stays_in_the_history() -> None:
    (one,) = notices.of_access(physician(), Addressee(has_address=False), NOW, is_first=True)

    assert (one.when, one.rule) == ("never", "NOT-05")


def test_not_06_a_minors_secrets_never_go_to_the_parents_address() -> None:
    to = Addressee(is_minor=True, has_representatives=True)
    secret = physician(mode="connexion_secrete")

    told = (
        *notices.of_access(secret, to, NOW, is_first=True),
        *notices.of_document(to, NOW, NOW, hidden_from_reps=True),
    )
    assert [(one.to, one.when) for one in told] == [("holder", "never")] * 2
    (usual,) = notices.of_access(physician(), to, NOW, is_first=True)
    assert usual.to == "representatives"


def test_nobody_is_told_of_refusals_or_of_their_own_looks() -> None:
    assert notices.of_access(physician(), Addressee(), NOW, is_first=True, is_allowed=False) == ()
    assert notices.of_access(HOLDER, Addressee(), NOW, is_first=True) == ()
    assert notices.of_access(PARENT, Addressee(), NOW, is_first=True) == ()
