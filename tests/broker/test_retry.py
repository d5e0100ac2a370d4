"""Backoff grows, stays within its bounds, and ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.retry import Policy, delay, gives_up

POLICIES = st.builds(
    Policy,
    base=st.timedeltas(timedelta(milliseconds=1), timedelta(minutes=1)),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    max_delay=st.timedeltas(timedelta(minutes=1), timedelta(days=1)),
    max_age=st.timedeltas(timedelta(0), timedelta(days=7)),
    max_attempts=st.integers(0, 100),
)
CHANCES = st.floats(0, 1, exclude_max=True)


@given(POLICIES, st.integers(1, 10_000), CHANCES)
def test_a_delay_lies_between_nothing_and_the_longest(
    policy: Policy, attempt: int, chance: float
) -> None:
    wait = delay(policy, attempt, lambda: chance)

    assert timedelta(0) <= wait <= policy.max_delay


@given(POLICIES, st.integers(1, 200), CHANCES)
def test_delays_never_shrink_from_one_attempt_to_the_next(
    policy: Policy, attempt: int, chance: float
) -> None:
    assert delay(policy, attempt, lambda: chance) <= delay(policy, attempt + 1, lambda: chance)


@given(POLICIES, st.integers(1, 100), CHANCES)
def test_jitter_takes_off_at_most_its_share(policy: Policy, attempt: int, chance: float) -> None:
    full = delay(policy, attempt, lambda: 0)

    assert delay(policy, attempt, lambda: chance) >= full * (1 - policy.jitter) - timedelta(
        microseconds=1
    )


def test_the_first_delays_are_base_times_powers_of_the_factor() -> None:
    policy = Policy(base=timedelta(seconds=2), factor=3, jitter=0, max_delay=timedelta(seconds=50))

    waits = [delay(policy, attempt, lambda: 0.9).total_seconds() for attempt in range(1, 6)]

    assert waits == [2, 6, 18, 50, 50]


@given(POLICIES, st.integers(0, 200), st.timedeltas(timedelta(0), timedelta(days=30)))
def test_whoever_gave_up_does_not_begin_again_later(
    policy: Policy, attempts: int, age: timedelta
) -> None:
    if gives_up(policy, attempts, age):
        assert gives_up(policy, attempts + 1, age)
        assert gives_up(policy, attempts, age + timedelta(hours=1))


def test_zero_means_without_limit() -> None:
    policy = Policy(max_age=timedelta(0), max_attempts=0)

    assert not gives_up(policy, 10**9, timedelta(days=36500))


def test_age_and_attempts_each_end_it() -> None:
    policy = Policy(max_age=timedelta(hours=1), max_attempts=3)

    assert not gives_up(policy, 2, timedelta(minutes=59))
    assert gives_up(policy, 3, timedelta(0))
    assert gives_up(policy, 1, timedelta(hours=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": timedelta(0)},
        {"factor": 0.9},
        {"jitter": 1.1},
        {"max_delay": timedelta(seconds=1)},
        {"max_attempts": -1},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)  # type: ignore[arg-type]
