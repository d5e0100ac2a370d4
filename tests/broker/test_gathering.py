"""How long is rested between two batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.gathering import COMPANY_SECONDS, ENOUGH_COMPANY, MOMENT_SECONDS, Company, Gathering
from queues.rabbitmq_reader import PREFETCH


def test_a_small_batch_is_followed_by_a_rest_that_is_some_times_as_long() -> None:
    assert Gathering(0.2, 4, batch=250).rest(1, worked=0.005) == 0.02


def test_no_rest_is_longer_than_it_may_be() -> None:
    assert Gathering(0.2, 4, batch=250).rest(64, worked=0.1) == 0.2


def test_where_work_piles_up_there_is_no_rest() -> None:
    assert Gathering(0.2, 4, batch=250).rest(65, worked=0.1) == 0.0
    # What a queue has ready for one reader of one partition, with a pile behind it.
    assert Gathering(0.2, 4, batch=250).rest(PREFETCH, worked=0.1) == 0.0


def test_a_full_batch_is_a_pile_however_few_it_may_hold() -> None:
    assert Gathering(0.2, 4, batch=50).rest(50, worked=0.1) == 0.0
    assert Gathering(0.2, 4, batch=1).rest(1, worked=0.1) == 0.0
    assert Gathering(0.2, 4, batch=50).rest(49, worked=0.1) == 0.2


def test_a_small_batch_behind_a_large_one_is_no_trickle_yet() -> None:
    gathering = Gathering(0.2, 4, batch=250)

    rests = [gathering.rest(taken, worked=0.01) for taken in (80, 5, 80, 3, 2)]

    assert rests == [0.0, 0.0, 0.0, 0.0, 0.04]


@given(st.lists(st.integers(1, 250), min_size=1), st.floats(0, 10), st.floats(0, 1))
def test_a_rest_is_never_negative_nor_longer_than_the_longest(
    taken: list[int], worked: float, most: float
) -> None:
    gathering = Gathering(most, 4, batch=250)

    assert all(0 <= gathering.rest(one, worked) <= most for one in taken)


def _company(between: float, messages: int = 100) -> Company:
    company = Company()
    for n in range(messages):
        company.came(n * between)
    return company


def test_a_message_waits_for_company_where_others_are_likely_to_come() -> None:
    assert _company(0.004).patience(3, is_hurried=False) == (ENOUGH_COMPANY, COMPANY_SECONDS)


def test_it_waits_no_longer_than_a_moment_where_nobody_is_likely_to_come() -> None:
    assert _company(0.1).patience(1, is_hurried=False) == (1, MOMENT_SECONDS)


def test_nobody_in_a_hurry_waits_for_the_sake_of_others() -> None:
    assert _company(0.004).patience(3, is_hurried=True) == (3, MOMENT_SECONDS)


def test_the_first_ones_after_a_pause_do_not_wait() -> None:
    company = _company(0.004)

    company.came(60.0)

    assert company.patience(1, is_hurried=False) == (1, MOMENT_SECONDS)


def test_the_first_message_of_all_does_not_wait() -> None:
    assert _company(0.004, messages=1).patience(1, is_hurried=False) == (1, MOMENT_SECONDS)
