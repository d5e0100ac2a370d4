"""MAT and LIFE: professions by types, versioned by date, and the state of the space; one test a rule."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from broker.document import Document
from broker.errors import SetupError
from broker.rules import decide
from broker.rules.tables import read_csv
from tests.broker.rules.cast import (
    DISCHARGE,
    FOLDER,
    HOLDER,
    NOW,
    RULES,
    Paper,
    Person,
    in_team,
    physician,
    podiatrist,
    rule,
    somebody,
)

PERSON = in_team()
ROWS = [row for _, row in read_csv(FOLDER / "access-matrix.csv")]


def with_cell(tmp_path: Path, day: str, access: str = "O") -> decide.Rules:
    """The rules with the podiatrist's discharge report another way from a day on."""
    folder = tmp_path / "rules"
    shutil.copytree(FOLDER, folder)
    path = folder / "access-matrix.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    changed = f"PEDICURE_PODOLOGUE,G15:80,{DISCHARGE},CR hospitalier (séjour),10,{access},annex,test,high,,{day}"
    body = [lines[0] + ",valid_from", *(line + "," for line in lines[1:]), changed]
    path.write_text("\n".join(body) + "\n", encoding="utf-8")
    return decide.load(folder)


def test_mat_01_the_whole_matrix_decides_as_the_csv_says() -> None:
    groups = {row["profession_group"] for row in ROWS}
    types = {row["type_code"] for row in ROWS}
    assert (len(groups), len(types), len(ROWS)) == (26, 102, 26 * 102)

    for row in ROWS:
        viewer = somebody(row["profession_group"], responsible="899900000029")
        made = RULES.reading(viewer, PERSON, Paper(type_code=row["type_code"]), NOW)
        assert made.allowed is (row["access"] == "O"), (row["profession_group"], row["type_code"])
        assert made.rule.startswith("MAT-")


def test_mat_02_what_is_in_force_is_named_in_each_decision() -> None:
    made = RULES.reading(somebody("G15_60"), PERSON, Paper(), NOW)

    assert (made.rule, made.matrix_version) == ("MAT-02", RULES.matrix.version)
    assert "2023-10-26" in made.matrix_version


def test_mat_03_physicians_read_everything_but_the_certificate_of_residence() -> None:
    closed = [
        code
        for code in RULES.matrix.types
        if not RULES.reading(physician(), PERSON, Paper(type_code=code), NOW).allowed
    ]

    assert closed == ["ATTEST-RESID"]


def test_mat_04_the_matrix_governs_reading_only() -> None:
    for code in ("ATTEST-RESID", "UNKNOWN"):
        assert not rule(podiatrist(), PERSON, Paper(type_code=code))[0]
    assert RULES.filing(Person(), Document(id="x"), NOW).allowed


@pytest.mark.parametrize(
    ("profession", "type_code"),
    [("G15_80", None), ("G15_10", "X-LOCAL"), ("G15_77", DISCHARGE), ("", DISCHARGE)],
)
def test_mat_05_what_the_matrix_does_not_know_is_closed(
    profession: str, type_code: str | None
) -> None:
    assert rule(somebody(profession), PERSON, Paper(type_code=type_code)) == (False, "MAT-05")


def test_mat_06_a_trainee_reads_like_the_profession_they_train_for() -> None:
    for code in ("10", "40", "50", "60", "70", "80"):
        trainee, trained = somebody(f"G16_{code}"), somebody(f"G15_{code}")
        for type_code in RULES.matrix.types:
            paper = Paper(type_code=type_code)
            assert rule(trainee, PERSON, paper) == rule(trained, PERSON, paper)


def test_mat_07_one_changed_cell_changes_decisions_from_its_day_on_only(tmp_path: Path) -> None:
    rules = with_cell(tmp_path, "2027-01-01")
    eve = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)
    day = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)

    before = rules.reading(podiatrist(), PERSON, Paper(), eve)
    after = rules.reading(podiatrist(), PERSON, Paper(), day)

    assert (before.allowed, before.rule) == (False, "MAT-08")
    assert (after.allowed, after.rule) == (True, "MAT-02")
    assert after.matrix_version == f"{before.matrix_version}@2027-01-01"
    others = [
        (row["profession_group"], row["type_code"])
        for row in ROWS
        for viewer in [somebody(row["profession_group"], responsible="899900000029")]
        if rules.reading(viewer, PERSON, Paper(type_code=row["type_code"]), eve).allowed
        is not rules.reading(viewer, PERSON, Paper(type_code=row["type_code"]), day).allowed
    ]
    assert others == [("PEDICURE_PODOLOGUE", DISCHARGE)]


def test_mat_07_old_decisions_replay_unchanged_under_the_later_matrix(tmp_path: Path) -> None:
    old = RULES.reading(podiatrist(), PERSON, Paper(), NOW)
    later = with_cell(tmp_path, "2027-01-01")

    again = later.replay(msgspec.json.decode(msgspec.json.encode(old.inputs)))
    assert (again.allowed, again.rule, again.matrix_version, again.inputs) == (
        old.allowed,
        old.rule,
        old.matrix_version,
        old.inputs,
    )


@pytest.mark.parametrize(("day", "access"), [("soon", "O"), ("2027-01-01", "X")])
def test_a_cell_that_makes_no_sense_is_named_with_its_line(
    tmp_path: Path, day: str, access: str
) -> None:
    with pytest.raises(SetupError, match=r"access-matrix\.csv:2654"):
        with_cell(tmp_path, day, access)


def test_mat_08_the_press_answer_stands_in_one_column_that_is_easily_swapped() -> None:
    press = [row for row in ROWS if row["status"] == "press"]

    assert {"PEDICURE_PODOLOGUE"} <= {row["profession_group"] for row in press}
    assert rule(podiatrist(), PERSON, Paper()) == (False, "MAT-08")
    swapped = RULES.supposing("PEDICURE_PODOLOGUE", DISCHARGE, "O")
    assert swapped.reading(podiatrist(), PERSON, Paper(), NOW).allowed
    assert not RULES.reading(podiatrist(), PERSON, Paper(), NOW).allowed


def test_mat_09_secretaries_act_under_a_professional_who_answers_for_them() -> None:
    bare = somebody("R85:331")
    named = somebody("R85:331", responsible="899900000029")
    opened = RULES.supposing("SECRETARIAT", "11488-4", "O")

    assert rule(bare, PERSON, Paper()) == (False, "MAT-09")
    assert rule(named, PERSON, Paper()) == (False, "MAT-09")
    assert opened.reading(named, PERSON, Paper(type_code="11488-4"), NOW).allowed
    assert not opened.reading(bare, PERSON, Paper(type_code="11488-4"), NOW).allowed


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        ("not_eligible", False),
        ("informed", False),
        ("opposed", False),
        ("open_unactivated", True),
        ("active", True),
        ("suspended", False),
        ("closed", False),
        ("deleted", False),
    ],
)
def test_life_a_space_is_fed_and_read_by_its_state(state: str, is_open: bool) -> None:
    person = in_team(account=state)

    assert RULES.filing(person, now=NOW).allowed is is_open
    assert rule(physician(), person, Paper())[0] is is_open
    assert rule(HOLDER, person, Paper())[0] is is_open
    assert rule(physician(), person, Paper(author_keys=("ps|899900000029",)))[0] is is_open
    if not is_open:
        assert RULES.filing(person, now=NOW).rule == "LIFE"


def test_ret_03_the_archive_is_obtained_on_request_by_the_holder_alone() -> None:
    closed = in_team(account="closed")

    assert rule(HOLDER, closed, Paper(), action="obtain") == (True, "RET-03")
    assert rule(physician(), closed, Paper(), action="obtain") == (False, "LIFE")
    assert rule(HOLDER, in_team(account="deleted"), Paper(), action="obtain") == (False, "LIFE")


def test_ret_07_the_holder_deletes_what_they_filed_and_masks_the_rest() -> None:
    own = RULES.changing(HOLDER, Person(), Paper(), "delete", NOW, by_patient=True)
    other = RULES.changing(HOLDER, Person(), Paper(), "delete", NOW)

    assert (own.allowed, own.rule) == (True, "RET-07")
    assert (other.allowed, other.rule) == (False, "RET-07")
    assert RULES.changing(HOLDER, Person(), Paper(), "mask", NOW).allowed


def test_ret_08_what_was_deleted_is_kept_for_the_trace_and_read_by_nobody() -> None:
    gone = Paper(availability="deleted", author_keys=("ps|899900000029",))

    for viewer in (physician(), HOLDER):
        assert rule(viewer, PERSON, gone) == (False, "RET-08")
    assert not RULES.changing(HOLDER, Person(), gone, "unmask", NOW).allowed


def test_the_day_begins_at_midnight_in_paris() -> None:
    made = RULES.reading(physician(), PERSON, Paper(), NOW + timedelta(seconds=1))

    assert RULES.in_force(NOW)[0] is RULES.matrix
    assert made.matrix_version == RULES.matrix.version
