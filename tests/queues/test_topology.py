from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.contracts import QueueOptions, Work
from broker.values import Lane
from queues import topology

OPTIONS = QueueOptions(partitions=4, delays=(timedelta(seconds=1), timedelta(seconds=30)))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**53), st.integers(1, 64))
def test_a_lane_has_one_partition(lane: int, number: int, partitions: int) -> None:
    first = topology.partition_of(Work(number, Lane(lane or 1)), partitions)
    second = topology.partition_of(Work(number + 1, Lane(lane or 1)), partitions)

    assert first == second
    assert 0 <= first < partitions


def test_work_without_a_lane_is_spread_by_its_id() -> None:
    groups = topology.by_partition((Work(number, Lane(0)) for number in range(1, 41)), 4)

    assert {partition: len(work) for partition, work in groups.items()} == {
        0: 10,
        1: 10,
        2: 10,
        3: 10,
    }


@given(st.integers(1, 20), st.integers(1, 8))
def test_every_partition_is_some_consumers_own_and_only_one_s(
    partitions: int, consumers: int
) -> None:
    owned = [
        partition
        for consumer in range(consumers)
        for partition in topology.own_partitions(
            QueueOptions(partitions=partitions, consumer=consumer, consumers=consumers)
        )
    ]

    assert sorted(owned) == list(range(partitions))


def test_a_delay_is_the_smallest_rung_that_is_long_enough_or_the_longest() -> None:
    waits = [timedelta(0), timedelta(seconds=1), timedelta(seconds=2), timedelta(days=1)]

    rungs = [topology.rung_for(OPTIONS.delays, wait).total_seconds() for wait in waits]

    assert rungs == [1, 1, 30, 30]


def test_partition_queues_lose_nothing_by_default_settings() -> None:
    (first, *_) = topology.partition_queues(OPTIONS, "inbound")

    assert first.name == "carnet.inbound.0"
    assert first.arguments == {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": 1_000_000,
        "x-dead-letter-exchange": "carnet.parked",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_the_delay_belongs_to_the_queue_and_work_comes_back_under_its_own_key() -> None:
    rung = next(
        queue for queue in topology.common_queues(OPTIONS) if queue.name == "carnet.delay.30000ms"
    )

    assert rung.arguments["x-message-ttl"] == 30_000
    assert rung.arguments["x-dead-letter-exchange"] == "carnet.work"
    assert "x-dead-letter-routing-key" not in rung.arguments
