"""Spaces in rows, on both databases: each transition by its id, its due dates, its notices, its trail."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from broker.accounts import codes
from broker.database.engine import reading, writing
from broker.records import account_holders, account_rows, patients
from broker.rules import consent
from tests.broker.accounts_site import BY, KEY, Spaces
from tests.broker.records import record


@pytest.fixture
def spaces(empty_ledger: Engine) -> Spaces:
    return Spaces(empty_ledger)


def test_t1_t3_silence_for_six_weeks_opens_the_space(spaces: Spaces) -> None:
    (number,) = spaces.people(1)

    spaces.inform(number)
    assert spaces.state(number) == "informed"
    spaces.later(days=42, hours=6, minutes=59)
    assert spaces.state(number) == "informed"
    spaces.skip(minutes=1)
    spaces.jobs.move()

    assert (spaces.state(number), spaces.column(number)) == ("open_unactivated",) * 2
    assert spaces.history(number) == ["T1", "T3"]
    assert spaces.told(number) == ["informed", "opened"]
    assert spaces.space(number).due == {}
    acts = spaces.rows("SELECT act, outcome, actor FROM audit_entry ORDER BY n")
    assert [tuple(row) for row in acts] == [
        ("account_moved", "T1", "jd"), ("account_moved", "T3", "scheduler"),
    ]  # fmt: skip


def test_t2_an_opposition_in_the_window_is_obeyed_and_has_a_receipt(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number)

    spaces.skip(days=42)
    spaces.bring(number, "oppose")
    spaces.later(days=30)

    assert spaces.history(number) == ["T1", "T2"]
    assert spaces.told(number) == ["informed", "opposed"]
    refusal = consent.against_filing(spaces.column(number), False, "")
    assert refusal is not None
    assert refusal.reason == "account.opposed"


def test_t3_t7_an_opposition_after_the_window_is_a_closing_with_an_archive(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number)

    spaces.skip(days=43)
    spaces.bring(number, "oppose")

    assert spaces.history(number) == ["T1", "T3", "T7"]
    assert set(spaces.space(number).due) == {"T12"}


def test_t3b_without_an_ins_nobody_is_given_a_space_and_it_is_said_once(spaces: Spaces) -> None:
    (number,) = spaces.people(1, has_ins=False)
    spaces.inform(number)

    spaces.later(days=43)
    spaces.later(days=1)

    assert spaces.state(number) == "informed"
    assert spaces.history(number) == ["T1", "T3b", "T3b"]
    assert spaces.told(number) == ["informed", "not_opened"]


@pytest.mark.parametrize(("wait", "name"), [(10, "T4"), (50, "T5")])
def test_t4_t5_the_code_and_the_card_activate(spaces: Spaces, wait: int, name: str) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, card="0123456789")
    spaces.later(days=wait)
    if name == "T5":
        spaces.accounts.renew_code(number, BY, spaces.now)
    kept = spaces.space(number).code
    assert kept is not None
    code = codes.code_of(KEY, number, kept.number)

    _, wrong = spaces.accounts.activate(number, code, "999", BY, spaces.now)
    _, right = spaces.accounts.activate(number, code, "0123456789", BY, spaces.now)

    assert (wrong, right) == ("wrong", "right")
    assert spaces.state(number) == "active"
    assert spaces.history(number)[-1] == name
    stored = spaces.rows("SELECT code_digest, card_digest FROM account")[0]
    assert code not in str(stored)
    assert "0123456789" not in str(stored)
    refused = spaces.rows("SELECT outcome FROM audit_entry WHERE act = 'activation_refused'")
    assert [row.outcome for row in refused] == ["account.code_wrong"]


def test_t5b_after_five_wrong_attempts_only_a_new_code_helps(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number)
    first = codes.code_of(KEY, number, spaces.space(number).code.number)  # type: ignore[union-attr]

    verdicts = [spaces.accounts.activate(number, "X", "", BY, spaces.now)[1] for _ in range(6)]
    spaces.accounts.renew_code(number, BY, spaces.now)
    _, old = spaces.accounts.activate(number, first, "", BY, spaces.now)
    second = codes.code_of(KEY, number, spaces.space(number).code.number)  # type: ignore[union-attr]
    _, new = spaces.accounts.activate(number, second, "", BY, spaces.now)

    assert verdicts == ["wrong"] * 5 + ["locked"]
    assert (old, new) == ("wrong", "right")


def test_t6_who_opposed_may_have_a_space_at_any_time(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number)
    spaces.bring(number, "oppose")

    spaces.skip(days=900)
    spaces.bring(number, "reopen")

    assert spaces.state(number) == "active"
    assert spaces.history(number) == ["T1", "T2", "T6"]


def test_t7_t11_t12_an_archive_comes_back_within_ten_years_and_is_deleted_after(spaces: Spaces) -> None:  # fmt: skip
    one, other = spaces.people(2)
    for number in (one, other):
        record.put(spaces.engine, number, record.paper(f"de {number}"), now=spaces.now)
        spaces.bring(number, "close")

    spaces.later(days=9 * 365)
    spaces.bring(one, "reopen")
    spaces.later(days=2 * 365)

    assert (spaces.state(one), spaces.state(other)) == ("active", "deleted")
    left = spaces.rows(
        "SELECT d.patient, d.availability, p.id IS NOT NULL AS there FROM document d "
        "LEFT JOIN document_payload p ON p.id = d.id ORDER BY d.patient"
    )
    assert [(r.patient, r.availability, bool(r.there)) for r in left] == [
        (one, "current", True), (other, "deleted", False),
    ]  # fmt: skip
    traits = patients.traits_of(spaces.engine, other)
    assert traits is not None
    assert traits.names == ()


def test_t8_death_closes_and_nobody_reopens(spaces: Spaces) -> None:
    (number,) = spaces.people(1)

    spaces.bring(number, "death")
    left = spaces.bring(number, "reopen").left

    assert (spaces.state(number), left) == ("closed", {number: "account.deceased"})
    assert spaces.told(number) == []


def test_t9_t10_a_suspension_ends_in_a_closing_after_six_weeks(spaces: Spaces) -> None:
    one, other = spaces.people(2)
    for number in (one, other):
        spaces.bring(number, "suspend")

    spaces.skip(days=41)
    spaces.bring(other, "resume")
    spaces.later(days=2)

    assert (spaces.state(one), spaces.state(other)) == ("closed", "active")
    assert spaces.history(one) == ["T9", "T10"]
    assert spaces.history(other) == ["T9", "T10b"]


def test_t13_an_express_request_is_done_at_the_next_look_and_confirmed(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    record.put(spaces.engine, number, record.paper(), now=spaces.now)

    spaces.bring(number, "ask_deletion")
    assert spaces.state(number) == "presumed"
    spaces.later(minutes=1)

    assert spaces.state(number) == "deleted"
    assert spaces.told(number) == ["deleted", "deletion_requested"]
    assert spaces.rows("SELECT count(*) AS n FROM document_payload")[0].n == 0
    assert consent.against_reading(spaces.column(number)) is not None


def test_m1_m2_m5_m6_a_child_is_reached_from_its_parents_spaces_until_18(spaces: Spaces) -> None:
    child, mother, father = spaces.people(3)
    born = date(2008, 7, 1)

    spaces.inform(child)
    for parent in (mother, father):
        spaces.accounts.attach(child, parent, born, BY, spaces.now)
    spaces.accounts.detach(child, father, BY, spaces.now + timedelta(days=1))
    spaces.skip_to(datetime(2026, 6, 30, 21, 59, 59, tzinfo=UTC))
    spaces.jobs.move()

    def acts_for(parent: int, at: datetime) -> bool:
        with reading(spaces.engine) as connection:
            return account_holders.represents(connection, parent, child, at)

    assert (acts_for(mother, spaces.now), acts_for(father, spaces.now)) == (True, False)
    birthday = datetime(2026, 6, 30, 22, 0, tzinfo=UTC)
    assert not acts_for(mother, birthday)
    spaces.later(seconds=1)
    assert not acts_for(mother, spaces.now)
    assert spaces.history(child) == ["T1", "M2", "M2", "M6", "T3", "M5"]
    assert spaces.state(child) == "open_unactivated"
    assert "adult" in spaces.told(child)


def test_m3_each_child_is_opposed_for_alone(spaces: Spaces) -> None:
    first, second = spaces.people(2)
    for child in (first, second):
        spaces.inform(child)

    spaces.bring(first, "oppose")

    assert (spaces.state(first), spaces.state(second)) == ("opposed", "informed")


def test_a_message_that_closes_a_space_is_a_transition_of_it(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    closing = patients.NewConsent(
        number, "account", "FERME", "ward", "message", spaces.now, account="closed"
    )

    with writing(spaces.engine) as connection:
        patients.add_consents(connection, [closing], spaces.now)

    assert (spaces.state(number), spaces.history(number)) == ("closed", ["T7"])
    assert set(spaces.space(number).due) == {"T12"}


def test_what_refuses_one_space_stops_no_other(spaces: Spaces) -> None:
    one, other = spaces.people(2)
    spaces.bring(one, "close")

    done = spaces.accounts.bring([one, other, 999], "close", BY, spaces.now)

    assert [step.patient for step in done.steps] == [other]
    assert done.left == {one: "account.no_transition", 999: "account.unknown_patient"}


def test_a_dry_run_changes_nothing(spaces: Spaces) -> None:
    (number,) = spaces.people(1)

    done = spaces.accounts.would([number], "close", spaces.now)

    assert [step.transition for step in done.steps] == ["T7"]
    assert (spaces.state(number), spaces.history(number)) == ("presumed", [])


def test_the_job_goes_on_where_it_was_stopped(spaces: Spaces, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    numbers = spaces.people(450)
    spaces.accounts.inform(numbers, BY, spaces.now)
    spaces.skip(days=60)
    bring, batches = spaces.accounts.bring, []

    class Killed(BaseException):
        """As SIGKILL between two batches."""

    def dies(*given: object, **more: object) -> object:
        if len(batches) == 1:
            raise Killed
        batches.append(1)
        return bring(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(spaces.accounts, "bring", dies)
    with pytest.raises(Killed):
        spaces.jobs.move()
    opened = spaces.rows("SELECT count(*) AS n FROM account WHERE state = 'open_unactivated'")[0].n
    monkeypatch.undo()
    rest = spaces.jobs.move()

    assert (opened, rest) == (200, 250)
    twice = spaces.rows("SELECT count(*) AS n FROM account_event WHERE transition = 'T3'")[0].n
    assert twice == 450
    assert spaces.jobs.move() == 0


def test_due_dates_are_listed_in_pages(spaces: Spaces) -> None:
    numbers = spaces.people(5)
    spaces.accounts.inform(numbers, BY, spaces.now)
    far = spaces.now + timedelta(days=99)

    with reading(spaces.engine) as connection:
        first = account_rows.due(connection, far, 3)
        rest = account_rows.due(connection, far, 3, after=(first[-1][2], first[-1][0]))

    assert [number for number, _, _ in first + rest] == numbers
