"""How long is rested between two batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.gathering import rest

LARGEST = 250


def test_a_small_batch_is_followed_by_a_rest_that_leaves_it_a_fifth_of_the_time() -> None:
    assert rest(1, LARGEST, worked=0.005, most=0.2) == 0.02


def test_no_rest_is_longer_than_it_may_be() -> None:
    assert rest(60, LARGEST, worked=0.1, most=0.2) == 0.2


def test_where_work_piles_up_there_is_no_rest() -> None:
    assert rest(63, LARGEST, worked=0.1, most=0.2) == 0.0
    assert rest(1, 1, worked=0.1, most=0.2) == 0.0


@given(st.integers(1, LARGEST), st.floats(0, 10), st.floats(0, 1))
def test_a_rest_is_never_negative_and_nothing_where_none_is_wanted(
    taken: int, worked: float, most: float
) -> None:
    assert 0 <= rest(taken, LARGEST, worked, most) <= most
