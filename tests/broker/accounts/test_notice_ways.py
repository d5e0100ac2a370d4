"""To whom a notice goes and how, or why to nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.accounts.notices import KINDS, Facts, Later, Person, Suppressed, Way, judge
from broker.errors import SetupError
from broker.notice_texts import FIELDS, LANGUAGES, Templates

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
ALL = ("mail", "letter", "webhook")
HOLDER = Person(1, "holder@example.org")
PARENT = Person(2, "parent@example.org")
ACCESS = Facts("first_access", "active", HOLDER)
TEMPLATES = Path(__file__).parents[3] / "mappings" / "notices"


def test_not_01_a_first_access_goes_to_the_holder_by_mail() -> None:
    assert judge(ACCESS, ALL, NOW) == Way("mail", (HOLDER,))


def test_not_05_without_an_address_an_access_is_told_by_no_letter() -> None:
    nobody = replace(ACCESS, state="open_unactivated", holder=Person(1))

    assert judge(nobody, ALL, NOW) == Suppressed("NOT-05")


def test_a_letter_goes_out_for_the_life_cycle_where_there_is_no_address_or_mail_was_refused() -> None:  # fmt: skip
    informed = Facts("informed", "informed", Person(1))

    assert judge(informed, ALL, NOW) == Way("letter", (Person(1),))
    refused = replace(informed, holder=HOLDER, tried=("mail",))
    assert judge(refused, ALL, NOW) == Way("letter", (HOLDER,))


def test_not_04_nothing_is_said_of_a_document_the_patient_may_not_see_yet() -> None:
    opens = NOW + timedelta(days=20)
    hidden = Facts("new_document", "active", HOLDER, visible_from=opens)

    assert judge(hidden, ALL, NOW) == Later(opens)
    assert judge(hidden, ALL, opens) == Way("mail", (HOLDER,))


def test_vis_02_the_neutral_notice_goes_out_unless_the_document_was_shown_meanwhile() -> None:
    hidden = Facts("neutral", "active", HOLDER, visible_from=NOW + timedelta(days=16))

    assert judge(hidden, ALL, NOW) == Way("mail", (HOLDER,))
    assert judge(replace(hidden, visible_from=NOW), ALL, NOW) == Suppressed("visible_already")
    assert judge(replace(hidden, is_current=False), ALL, NOW) == Suppressed("document_gone")


def test_not_06_a_minors_secret_act_goes_to_nobody_and_another_to_the_parents() -> None:
    of_child = replace(ACCESS, holders=(PARENT,))

    assert judge(of_child, ALL, NOW) == Way("mail", (PARENT,))
    assert judge(replace(of_child, is_secret=True), ALL, NOW) == Suppressed("NOT-06")
    hidden = replace(of_child, kind="new_document", is_secret=True)
    assert judge(hidden, ALL, NOW) == Suppressed("NOT-04")


def test_emg_04_the_declared_medecin_traitant_is_told_by_secure_mail_alone() -> None:
    told = Facts(
        "emergency_traitant", "active", HOLDER, traitant="ps|899900000037",
        traitant_mail="anne@medecin.example", actor="ps|899900000029",
    )  # fmt: skip
    channels = (*ALL, "mssante")

    assert judge(told, channels, NOW) == Way("mssante", (Person(1, "anne@medecin.example"),))
    assert judge(told, ALL, NOW) == Suppressed("no_channel")
    assert judge(replace(told, traitant_mail=""), channels, NOW) == Suppressed("no_mssante")
    assert judge(replace(told, traitant=""), channels, NOW) == Suppressed("no_traitant")
    own = replace(told, actor="ps|899900000037")
    assert judge(own, channels, NOW) == Suppressed("own_access")


def test_after_death_and_deletion_nobody_is_written_to_but_of_the_deletion() -> None:
    assert judge(replace(ACCESS, is_dead=True), ALL, NOW) == Suppressed("deceased")
    assert judge(replace(ACCESS, state="deleted"), ALL, NOW) == Suppressed("deleted")
    done = Facts("deleted", "deleted", HOLDER)
    assert judge(done, ALL, NOW) == Way("mail", (HOLDER,))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_pat_10_a_template_is_filled_with_nothing_of_a_document(kind: str, language: str) -> None:
    given = {name: f"<{name}>" for name in FIELDS}

    text = Templates(TEMPLATES).text(kind, language, given)

    assert text.subject
    assert "$" not in text.body
    assert text.body.startswith("<greeting>\n\n")
    assert ("<code>" in text.body) == (kind in ("informed", "code"))


def test_a_template_that_asks_for_a_title_is_refused(tmp_path: Path) -> None:
    for language in LANGUAGES:
        (tmp_path / language).mkdir()
        for kind in KINDS:
            (tmp_path / language / f"{kind}.txt").write_text("Subject\n\n$title\n")
    (tmp_path / "letter.html").write_text("$paragraphs")

    with pytest.raises(SetupError):
        Templates(tmp_path)
