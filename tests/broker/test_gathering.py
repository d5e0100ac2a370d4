"""How long is rested between two batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.gathering import Gathering
from queues.rabbitmq_reader import PREFETCH


def test_a_small_batch_is_followed_by_a_rest_that_leaves_it_a_fifth_of_the_time() -> None:
    assert Gathering(0.2).rest(1, worked=0.005) == 0.02


def test_no_rest_is_longer_than_it_may_be() -> None:
    assert Gathering(0.2).rest(64, worked=0.1) == 0.2


def test_where_work_piles_up_there_is_no_rest() -> None:
    assert Gathering(0.2).rest(65, worked=0.1) == 0.0
    # What a queue has ready for one reader of one partition, with a pile behind it.
    assert Gathering(0.2).rest(PREFETCH, worked=0.1) == 0.0


def test_a_small_batch_behind_a_large_one_is_no_trickle_yet() -> None:
    gathering = Gathering(0.2)

    rests = [gathering.rest(taken, worked=0.01) for taken in (80, 5, 80, 3, 2)]

    assert rests == [0.0, 0.0, 0.0, 0.0, 0.04]


@given(st.lists(st.integers(1, 250), min_size=1), st.floats(0, 10), st.floats(0, 1))
def test_a_rest_is_never_negative_nor_longer_than_the_longest(
    taken: list[int], worked: float, most: float
) -> None:
    gathering = Gathering(most)

    assert all(0 <= gathering.rest(one, worked) <= most for one in taken)
