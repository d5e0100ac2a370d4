"""When a destination is left alone, and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.circuit import Circuit, CircuitPolicy

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
POLICY = CircuitPolicy(failures=3, pause=timedelta(seconds=10), max_pause=timedelta(seconds=30))


def circuit(policy: CircuitPolicy = POLICY, chance: float = 0.0) -> Circuit:
    return Circuit(policy, lambda: chance)


def test_it_opens_at_the_given_number_of_failures_in_a_row_and_says_so_once() -> None:
    one = circuit()

    assert [one.failed(NOW) for _ in range(5)] == [False, False, True, False, False]
    assert one.is_open


def test_the_pause_grows_with_each_failed_trial_up_to_its_longest() -> None:
    one = circuit()
    waits = []
    for _ in range(6):
        one.failed(NOW)
        waits.append(one.wait(NOW).total_seconds())

    assert waits == [0, 0, 10, 20, 30, 30]


def test_after_the_pause_one_is_tried_and_an_answer_closes_it() -> None:
    one = circuit()
    for _ in range(3):
        one.failed(NOW)

    assert not one.wait(NOW + timedelta(seconds=10))
    assert one.is_open
    assert one.succeeded()
    assert (one.is_open, one.failures, one.succeeded()) == (False, 0, False)


def test_no_number_of_failures_opens_one_that_is_switched_off() -> None:
    one = circuit(CircuitPolicy(failures=0))

    assert not any(one.failed(NOW) for _ in range(100))


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 0.999))
def test_it_is_open_exactly_after_so_many_failures_without_an_answer(
    outcomes: list[bool], chance: float
) -> None:
    one = circuit(chance=chance)
    in_a_row = 0
    for is_good in outcomes:
        if is_good:
            one.succeeded()
            in_a_row = 0
        else:
            one.failed(NOW)
            in_a_row += 1

    assert one.is_open == (in_a_row >= 3)
    assert timedelta(0) <= one.wait(NOW) <= POLICY.max_pause
    assert bool(one.wait(NOW)) == one.is_open


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": -1},
        {"pause": timedelta(0)},
        {"pause": timedelta(minutes=9), "max_pause": timedelta(minutes=1)},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        CircuitPolicy(**wrong)  # type: ignore[arg-type]


def test_one_that_was_left_open_is_tried_at_once_and_says_only_that_it_closes() -> None:
    one, other = circuit(), circuit()
    one.resume(7)
    other.resume(7)

    assert one.is_open
    assert one.wait(NOW) == timedelta(0)
    assert not one.failed(NOW)
    assert one.wait(NOW) > timedelta(0)
    assert other.succeeded()
    assert not other.is_open
