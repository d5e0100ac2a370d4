"""The state machine as data: every state with every event, each edge by its id, and the days it counts by."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.accounts import codes, days, machine
from broker.accounts.days import PARIS
from broker.accounts.machine import EVENTS, STATES, TABLE, Moment, Refusal, outside, steps
from broker.accounts.words import TRANSITION_WORDS

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)

EDGES = {
    "inform": {"presumed": "T1", "not_eligible": "T1"},
    "oppose": {"informed": "T2", "presumed": "T7", "open_unactivated": "T7", "active": "T7"},
    "window_ends": {"informed": "T3"},
    "activate": {"informed": "T4", "presumed": "T5", "open_unactivated": "T5"},
    "renew_code": {"presumed": "T5b", "informed": "T5b", "open_unactivated": "T5b"},
    "reopen": {"opposed": "T6", "closed": "T11"},
    "close": {"presumed": "T7", "open_unactivated": "T7", "active": "T7", "suspended": "T7"},
    "death": {
        "presumed": "T8", "informed": "T8", "open_unactivated": "T8", "active": "T8", "suspended": "T8",
        "opposed": "T8", "closed": "T8",
    },
    "suspend": {"presumed": "T9", "open_unactivated": "T9", "active": "T9"},
    "suspension_ends": {"suspended": "T10"},
    "object": {"suspended": "T10a"},
    "resume": {"suspended": "T10b"},
    "archive_ends": {"closed": "T12", "opposed": "T12"},
    "ask_deletion": dict.fromkeys(machine.ALIVE, "T13"),
    "delete": dict.fromkeys(machine.ALIVE, "T13"),
    "attach": dict.fromkeys(machine.ALIVE, "M2"),
    "detach": dict.fromkeys(machine.ALIVE, "M6"),
    "come_of_age": dict.fromkeys(machine.ALIVE, "M5"),
}  # fmt: skip
"""Written by hand beside the table of the product: event -> state -> id."""


def moment(**due: datetime) -> Moment:
    return Moment(NOW, due)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_each_state_takes_exactly_the_events_of_the_table(state: str, event: str) -> None:
    due = {} if event not in machine.TIMED.values() else dict.fromkeys(machine.TIMED, LONG_AGO)

    found = steps(state, event, moment(**due))

    expected = EDGES[event].get(state)
    if expected is None:
        assert found == Refusal("account.no_transition")
    else:
        assert isinstance(found, tuple)
        assert [edge.id for edge in found] == [expected]


def test_every_event_of_the_machine_is_in_the_table_by_hand() -> None:
    assert set(EDGES) == set(EVENTS)


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        pytest.param("not_eligible", "inform", "informed", id="T1"),
        pytest.param("informed", "oppose", "opposed", id="T2"),
        pytest.param("informed", "window_ends", "open_unactivated", id="T3"),
        pytest.param("informed", "activate", "active", id="T4"),
        pytest.param("open_unactivated", "activate", "active", id="T5"),
        pytest.param("open_unactivated", "renew_code", "open_unactivated", id="T5b"),
        pytest.param("opposed", "reopen", "active", id="T6"),
        pytest.param("active", "close", "closed", id="T7"),
        pytest.param("active", "death", "closed", id="T8"),
        pytest.param("active", "suspend", "suspended", id="T9"),
        pytest.param("suspended", "suspension_ends", "closed", id="T10"),
        pytest.param("suspended", "object", "suspended", id="T10a"),
        pytest.param("suspended", "resume", "active", id="T10b"),
        pytest.param("closed", "reopen", "active", id="T11"),
        pytest.param("closed", "archive_ends", "deleted", id="T12"),
        pytest.param("active", "delete", "deleted", id="T13"),
        pytest.param("active", "attach", "active", id="M2"),
        pytest.param("active", "come_of_age", "active", id="M5"),
        pytest.param("active", "detach", "active", id="M6"),
    ],
)
def test_an_edge_leads_where_its_id_says(before: str, event: str, after: str) -> None:
    assert TABLE[before, event].leads_to(before) == after


def test_t3b_who_cannot_be_given_a_space_stays_informed() -> None:
    found = steps("informed", "window_ends", Moment(NOW, {"T3": LONG_AGO}, cannot_open=True))

    assert found == (machine.T3B,)
    assert machine.T3B.leads_to("informed") == "informed"


@pytest.mark.parametrize(
    ("state", "event", "name"),
    [
        ("informed", "window_ends", "T3"),
        ("suspended", "suspension_ends", "T10"),
        ("closed", "archive_ends", "T12"),
        ("active", "delete", "T13"),
        ("active", "come_of_age", "M5"),
    ],
)
def test_nothing_happens_by_the_clock_before_its_time(state: str, event: str, name: str) -> None:
    tomorrow = NOW + timedelta(microseconds=1)

    assert steps(state, event, moment(**{name: tomorrow})) == Refusal("account.not_due")
    assert isinstance(steps(state, event, moment(**{name: NOW})), tuple)


def test_an_opposition_on_day_42_counts_and_one_on_day_43_closes_what_silence_opened() -> None:
    sent = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
    ends = days.window_ends(sent, PARIS)
    last_moment = ends - timedelta(microseconds=1)

    on_day_42 = steps("informed", "oppose", Moment(last_moment, {"T3": ends}))
    on_day_43 = steps("informed", "oppose", Moment(ends, {"T3": ends}))

    assert days.day_of(last_moment, PARIS) == date(2026, 3, 2) + timedelta(days=42)
    assert [edge.id for edge in on_day_42] == ["T2"]  # type: ignore[union-attr]
    assert [edge.id for edge in on_day_43] == ["T3", "T7"]  # type: ignore[union-attr]


def test_after_death_or_the_archive_nothing_is_reopened() -> None:
    assert steps("closed", "reopen", Moment(NOW, {}, is_dead=True)) == Refusal("account.deceased")
    assert steps("closed", "reopen", moment(T12=NOW)) == Refusal("account.too_late")
    for event in ("object", "resume"):
        assert steps("suspended", event, moment(T10=NOW)) == Refusal("account.too_late")


@given(
    st.lists(st.sampled_from(EVENTS), max_size=30),
    st.sampled_from(STATES),
)
def test_from_deleted_nothing_leads_away(events: list[str], start: str) -> None:
    state = start
    due = dict.fromkeys(machine.TIMED, LONG_AGO)
    for event in events:
        found = steps(state, event, moment(**due))
        after = state
        for edge in found if isinstance(found, tuple) else ():
            after = edge.leads_to(after)
        assert state != "deleted" or after == "deleted"
        state = after


def test_each_transition_has_words_in_both_languages() -> None:
    ids = {edge.id for edge in machine.TRANSITIONS}

    assert ids <= TRANSITION_WORDS.keys()
    assert all(english and french for english, french in TRANSITION_WORDS.values())


# --- the days -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "opens"),
    [
        ("2026-03-02T23:30+01:00", "2026-04-14T00:00+02:00"),  # over the change to summer time
        ("2026-10-01T00:00+02:00", "2026-11-13T00:00+01:00"),  # over the change to winter time
        ("2026-03-02T22:59+00:00", "2026-04-14T00:00+02:00"),  # still the 2nd in Paris
        ("2026-03-02T23:01+00:00", "2026-04-15T00:00+02:00"),  # the 3rd in Paris
        ("2028-01-20T12:00+01:00", "2028-03-03T00:00+01:00"),  # 29 February is one of the 42
        ("2026-12-15T12:00+01:00", "2027-01-27T00:00+01:00"),
    ],
)
def test_the_window_ends_at_midnight_of_day_43(sent: str, opens: str) -> None:
    found = days.window_ends(datetime.fromisoformat(sent), PARIS)

    assert found == datetime.fromisoformat(opens)


@pytest.mark.parametrize(
    ("closed", "last"),
    [
        ("2028-02-29T12:00+01:00", date(2038, 2, 28)),
        ("2026-11-30T23:59+01:00", date(2036, 11, 30)),
        ("2026-02-28T12:00+01:00", date(2036, 2, 28)),
    ],
)
def test_the_archive_lasts_ten_years_and_a_leap_day_ends_on_the_28th(closed: str, last: date) -> None:  # fmt: skip
    ends = days.archive_ends(datetime.fromisoformat(closed), PARIS)

    assert days.day_of(ends, PARIS) == last + timedelta(days=1)
    assert days.day_of(ends - timedelta(microseconds=1), PARIS) == last


@pytest.mark.parametrize(
    ("asked", "last"),
    [
        ("2026-11-30T10:00+01:00", date(2027, 2, 28)),
        ("2027-11-30T10:00+01:00", date(2028, 2, 29)),
        ("2026-01-15T10:00+01:00", date(2026, 4, 15)),
    ],
)
def test_a_deletion_is_late_after_three_months(asked: str, last: date) -> None:
    late = days.deletion_deadline(datetime.fromisoformat(asked), PARIS)

    assert days.day_of(late - timedelta(microseconds=1), PARIS) == last


@pytest.mark.parametrize(
    ("born", "of_age"),
    [
        (date(2008, 11, 10), "2026-11-10T00:00+01:00"),
        (date(2008, 2, 29), "2026-02-28T00:00+01:00"),
        (date(2008, 7, 1), "2026-07-01T00:00+02:00"),
        (
            date(2008, 3, 29),
            "2026-03-29T00:00+01:00",
        ),  # the day of the change: midnight is before it
    ],
)
def test_m5_parents_access_ends_at_midnight_of_the_18th_birthday(born: date, of_age: str) -> None:
    assert days.of_age(born, PARIS) == datetime.fromisoformat(of_age)


# --- the code -----------------------------------------------------------------------------------------------------

KEY = b"k" * 32


def kept(tries: int = 0, serial: str = "0123 4567") -> codes.Kept:
    code = codes.code_of(KEY, 7, 1)
    until = NOW + timedelta(days=42)
    return codes.Kept(
        1, codes.code_digest(KEY, 7, code), codes.serial_digest(KEY, 7, serial), until, tries
    )


def test_a_code_is_right_with_its_card_however_it_is_typed() -> None:
    code = codes.code_of(KEY, 7, 1).lower().replace("-", " ").replace("0", "o")

    assert codes.judge(kept(), KEY, 7, code, "01234567", NOW) == "right"


def test_a_code_is_wrong_without_its_card_of_another_patient_or_number() -> None:
    code = codes.code_of(KEY, 7, 1)

    assert codes.judge(kept(), KEY, 7, code, "01234568", NOW) == "wrong"
    assert codes.judge(kept(), KEY, 8, code, "01234567", NOW) == "wrong"
    assert codes.judge(kept(), KEY, 7, codes.code_of(KEY, 7, 2), "01234567", NOW) == "wrong"


def test_a_code_ends_with_its_time_or_after_five_wrong_attempts() -> None:
    code = codes.code_of(KEY, 7, 1)

    assert codes.judge(kept(), KEY, 7, code, "01234567", NOW + timedelta(days=42)) == "expired"
    assert codes.judge(kept(tries=5), KEY, 7, code, "01234567", NOW) == "locked"
    assert codes.judge(None, KEY, 7, code, "01234567", NOW) == "none"


# --- how it looks from outside ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "former", "status", "attached"),
    [
        ("informed", False, "INEXISTANT", False),
        ("informed", True, "ACTIF", False),
        ("opposed", False, "INEXISTANT", False),
        ("opposed", True, "FERME", False),
        ("not_eligible", False, "INEXISTANT", False),
        ("deleted", True, "INEXISTANT", False),
        ("open_unactivated", False, "ACTIF", True),
        ("active", True, "ACTIF", True),
        ("suspended", False, "FERME", True),
        ("closed", False, "FERME", True),
    ],
)
def test_the_external_status_of_each_state(
    state: str, former: bool, status: str, attached: bool
) -> None:
    assert outside(state, former) == machine.Outside(status, attached)  # type: ignore[arg-type]
