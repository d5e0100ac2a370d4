"""The contract of `broker.contracts.Queue`, held against every queue."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from datetime import timedelta
from itertools import pairwise

import pytest

from broker.contracts import Work
from broker.values import Lane
from tests.queues.place import PROJECT, Place, drain, eventually, ids_of, nothing, some, take


def test_what_was_put_is_there_after_closing_and_opening(place: Place) -> None:
    first = place.open()
    first.put("inbound", some(20))
    place.close(first)

    found = drain(place.open(), 20)

    assert sorted(found) == list(range(1, 21))


def test_what_is_done_never_comes_again(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(5))
    drain(queue, 5)
    place.close(queue)

    again = place.open()

    assert nothing(again, seconds=1)
    assert again.depth("inbound") == 0


def test_a_lease_keeps_to_its_limit_and_the_rest_comes_next(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(25, lanes=1))

    leases = [take(queue, 10) for _ in range(3)]

    assert [len(lease.work) for lease in leases] == [10, 10, 5]
    assert sorted(number for lease in leases for number in ids_of(lease)) == list(range(1, 26))


def test_order_within_a_lane_is_the_order_of_putting(place: Place) -> None:
    queue = place.open()
    for start in range(1, 301, 30):
        queue.put("inbound", some(30, lanes=7, first=start))

    found = drain(queue, 300, limit=40)

    for lane in range(7):
        numbers = [number for number in found if number % 7 == lane]
        assert all(one < other for one, other in pairwise(numbers))


def test_a_lane_keeps_its_number_on_the_way(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(1, Lane(-(2**63))), Work(2**52, Lane(2**63 - 1)), Work(3, Lane(0))])

    lanes: dict[int, int] = {}
    while len(lanes) < 3:
        lanes |= {work.id: work.lane for work in take(queue).work}

    assert lanes == {1: -(2**63), 2**52: 2**63 - 1, 3: 0}


def test_topics_do_not_mix(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(3))
    queue.put("outbound.lab", some(2, first=10))

    outward = drain(queue, 2, topic="outbound.lab")

    assert sorted(outward) == [10, 11]
    assert sorted(drain(queue, 3)) == [1, 2, 3]


def test_take_gives_none_when_nothing_came(place: Place) -> None:
    queue = place.open()
    began = time.monotonic()

    lease = queue.take("inbound", 10, timedelta(milliseconds=200))

    assert lease is None
    assert 0.19 <= time.monotonic() - began < 5


def test_work_put_aside_comes_again_after_its_delay_and_not_before(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(1, Lane(1)), Work(2, Lane(1))])
    lease = take(queue)
    began = time.monotonic()
    lease.again([1], timedelta(seconds=1))
    lease.done([2])

    second = take(queue)

    assert ids_of(second) == [1]
    assert 0.9 <= time.monotonic() - began < 4


def test_short_delays_do_not_wait_for_long_ones(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(1, Lane(1)), Work(2, Lane(1))])
    lease = take(queue)
    lease.again([1], timedelta(seconds=60))
    lease.again([2], timedelta(milliseconds=200))

    assert ids_of(take(queue)) == [2]


def test_parked_work_never_comes_again(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(1, Lane(1)), Work(2, Lane(1))])
    lease = take(queue)
    lease.park([1], "internal")
    lease.done([2])
    place.close(queue)

    assert nothing(place.open(), seconds=1)


def test_settling_twice_or_settling_strange_ids_changes_nothing(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(2, lanes=1))
    lease = take(queue)

    lease.done([1, 2])
    lease.done([1, 2, 99])
    lease.again([1, 99], timedelta(milliseconds=200))
    lease.park([2, 99], "internal")

    assert nothing(queue, seconds=1)


def test_the_same_id_put_twice_is_settled_once(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(1, Lane(1))])
    queue.put("inbound", [Work(1, Lane(1)), Work(2, Lane(1))])
    drain(queue, 2)
    place.close(queue)

    assert place.open().depth("inbound") == 0


def test_depth_is_nothing_when_empty_and_something_when_not(place: Place) -> None:
    queue = place.open()
    empty = queue.depth("inbound")
    queue.put("inbound", some(40))

    full = queue.depth("inbound")

    assert empty == 0
    assert 1 <= full <= 40


def test_purge_empties_a_topic_and_it_can_be_used_again(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(40))

    queue.purge("inbound")

    assert queue.depth("inbound") == 0
    assert nothing(queue, seconds=1)
    queue.put("inbound", some(3, first=100))
    assert sorted(drain(queue, 3)) == [100, 101, 102]


def test_putting_nothing_is_nothing(place: Place) -> None:
    queue = place.open()

    queue.put("inbound", [])

    assert queue.depth("inbound") == 0


def test_what_a_killed_consumer_held_comes_to_another(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(12))
    command = [
        sys.executable,
        "-m",
        "tests.queues.consumer",
        place.entry,
        place.url,
        place.options.prefix,
        "inbound",
        "6",
    ]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as consumer:
        assert consumer.stdout is not None
        held = [int(number) for number in consumer.stdout.readline().split()]
        consumer.kill()

    found = drain(queue, 12)

    assert held
    assert sorted(found) == list(range(1, 13))


def test_two_consumers_share_the_work_and_never_hold_the_same_lane(place: Place) -> None:
    first, second = place.open(0, 2), place.open(1, 2)
    assert nothing(first, seconds=0.1)
    assert nothing(second, seconds=0.1)
    place.open().put("inbound", some(400, lanes=16))

    found: set[int] = set()
    shares = [0, 0]
    deadline = time.monotonic() + 30
    while len(found) < 400 and time.monotonic() < deadline:
        leases = [
            queue.take("inbound", 20, timedelta(milliseconds=100)) for queue in (first, second)
        ]
        lanes = [{work.lane for work in lease.work} if lease else set() for lease in leases]
        assert not lanes[0] & lanes[1]
        for index, lease in enumerate(leases):
            if lease:
                shares[index] += len(lease.work)
                found.update(ids_of(lease))
                lease.done(ids_of(lease))

    assert found == set(range(1, 401))
    assert all(share > 100 for share in shares)


def test_a_stand_by_takes_over_when_a_consumer_leaves(place: Place) -> None:
    first, second = place.open(0, 2), place.open(1, 2)
    assert nothing(first, seconds=0.1)
    assert nothing(second, seconds=0.1)
    first.put("inbound", some(40))
    place.close(first)

    assert sorted(drain(second, 40)) == list(range(1, 41))


def test_a_consumer_that_returns_gets_its_partitions_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queues.rabbitmq_reader.YIELD_SECONDS", 1.0)
    second = place.open(1, 2)
    second.put("inbound", some(16, lanes=4))
    drain(second, 16)

    first = place.open(0, 2)
    numbers = iter(range(100, 100_000))

    def first_got_work() -> bool:
        second.put(
            "inbound", [Work(number, Lane(number)) for number in (next(numbers) for _ in range(8))]
        )
        leases = [
            queue.take("inbound", 50, timedelta(milliseconds=100)) for queue in (first, second)
        ]
        for lease in leases:
            if lease:
                lease.done(ids_of(lease))
        return leases[0] is not None

    assert eventually(first_got_work)


def test_a_hundred_thousand_ids_come_through_with_flat_memory(place: Place) -> None:
    queue = place.open()
    for start in range(1, 100_001, 5000):
        queue.put("inbound", some(5000, lanes=1000, first=start))
    seen = bytearray(100_001)
    peaks = []
    tracemalloc.start()
    count = 0
    while count < 100_000:
        lease = take(queue, 500)
        for work in lease.work:
            count += not seen[work.id]
            seen[work.id] = 1
        lease.done(ids_of(lease))
        peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert max(peaks) < 64_000_000
    assert peaks[-1] < 8_000_000
    assert eventually(lambda: queue.depth("inbound") == 0)
