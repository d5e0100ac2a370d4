"""What only RabbitMQ can do to us: restart, die, lose its queues, refuse, redeliver, carry forgeries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from broker.contracts import Queue, Work
from broker.errors import SetupError, TransientError
from broker.values import Lane
from queues import rabbitmq, topology
from queues.packing import pack
from tests.conftest import RabbitNode
from tests.queues.place import (
    OPTIONS,
    Place,
    delete_all,
    drain,
    eventually,
    ids_of,
    nothing,
    some,
    take,
)


@pytest.fixture
def place(amqp_url: str, queue_prefix: str) -> Iterator[Place]:
    options = replace(OPTIONS, prefix=queue_prefix)
    here = Place("rabbitmq", amqp_url, "queues.rabbitmq:QUEUE", rabbitmq.QUEUE, options)
    yield here
    for queue in list(here.opened):
        here.close(queue)
    delete_all(amqp_url, options)


@pytest.fixture
def surviving_place(rabbit_node: RabbitNode, queue_prefix: str) -> Iterator[Place]:
    """Its queues are left behind: RabbitMQ 3.10.8 loses its dead-letter supervisor, and with it every later
    declaration, when a queue is deleted in the second in which a restarted node elects its leader."""
    here = Place(
        "rabbitmq",
        rabbit_node.url,
        "queues.rabbitmq:QUEUE",
        rabbitmq.QUEUE,
        replace(OPTIONS, prefix=queue_prefix),
    )
    yield here
    for queue in list(here.opened):
        here.close(queue)


@contextmanager
def channel_of(url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def parked(place: Place) -> list[tuple[bytes, str]]:
    """The bodies in the parked queue with their reasons (RabbitMQ's own for what was refused)."""
    found: list[tuple[bytes, str]] = []
    with channel_of(place.url) as channel:
        while True:
            method, properties, body = channel.basic_get(
                topology.parked_name(place.options), auto_ack=True
            )
            if method is None:
                return found
            headers = properties.headers or {}
            found.append((body, headers.get("reason") or headers["x-death"][0]["reason"]))


def first_parked(place: Place) -> list[tuple[bytes, str]]:
    found: list[tuple[bytes, str]] = []

    def arrived() -> bool:
        found.extend(parked(place))
        return bool(found)

    assert eventually(arrived)
    return found


def until_it_works(action: Callable[[], object]) -> bool:
    def worked() -> bool:
        try:
            action()
        except TransientError:
            return False
        return True

    return eventually(worked, 30)


def came(queue: Queue, wanted: set[int]) -> bool:
    """Whether all `wanted` come, RabbitMQ being away now and then."""
    found: set[int] = set()

    def one_more() -> bool:
        try:
            lease = queue.take("inbound", 100, timedelta(seconds=0.5))
        except TransientError:
            return False
        if lease:
            found.update(ids_of(lease))
            lease.done(ids_of(lease))
        return wanted <= found

    return eventually(one_more, 40)


def test_f4_a_restart_and_a_kill_under_use_lose_nothing(
    surviving_place: Place, rabbit_node: RabbitNode
) -> None:
    queue = surviving_place.open()
    queue.put("inbound", some(50))
    held = take(queue, 5)

    # In this order: a queue declared in the last half second before a kill may not survive in RabbitMQ 3.10.
    rabbit_node.stop()
    began = time.monotonic()
    with pytest.raises(TransientError):
        queue.put("inbound", some(1, first=200))
    refused_in = time.monotonic() - began
    rabbit_node.start()
    assert until_it_works(lambda: queue.put("inbound", some(10, first=100)))
    rabbit_node.stop(kill=True)
    rabbit_node.start()
    assert until_it_works(lambda: queue.put("inbound", some(10, first=110)))

    assert refused_in < 5
    held.done(ids_of(held))
    assert came(queue, {*range(1, 51), *range(100, 120)})


def test_take_says_that_rabbitmq_is_away(surviving_place: Place, rabbit_node: RabbitNode) -> None:
    queue = surviving_place.open()
    assert nothing(queue)
    rabbit_node.stop()

    with pytest.raises(TransientError, match=r"queue\.unavailable"):
        queue.take("inbound", 10, timedelta(seconds=2))


def test_f6_queues_deleted_by_hand_are_made_again(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", some(20))
    assert sorted(drain(queue, 20)) == list(range(1, 21))

    delete_all(place.url, place.options)

    assert until_it_works(lambda: queue.put("inbound", some(20, first=100)))
    assert came(queue, set(range(100, 120)))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"CWK1\x00\x00\x00\x01", b"\xff" * 5000, pack([Work(1, Lane(1))])[:-1]]
)
def test_a13_a_garbled_message_is_parked_and_the_next_is_served(place: Place, body: bytes) -> None:
    queue = place.open()
    queue.put("inbound", [Work(7, Lane(1))])
    with channel_of(place.url) as channel:
        channel.basic_publish(topology.work_exchange(place.options), "inbound.1", body)
    queue.put("inbound", [Work(8, Lane(1))])

    found = drain(queue, 2)

    assert found == [7, 8]
    assert first_parked(place) == [(body, "rejected")]


def test_parked_work_carries_its_reason_and_ids_and_nothing_else(place: Place) -> None:
    queue = place.open()
    queue.put("inbound", [Work(7, Lane(3))])

    take(queue).park([7], "internal")

    assert parked(place) == [(pack([Work(7, Lane(3))]), "internal")]


def test_f5_a_message_past_its_delivery_limit_is_parked_and_not_dropped(place: Place) -> None:
    limited = replace(place, options=replace(place.options, delivery_limit=3), opened=[])
    queue = limited.open()
    queue.put("inbound", [Work(7, Lane(1))])
    name = topology.partition_name(limited.options, "inbound", 1)

    with channel_of(place.url) as channel:
        for method, _properties, _body in channel.consume(name, inactivity_timeout=2):
            if method is None:
                break
            channel.basic_nack(method.delivery_tag, requeue=True)
        channel.cancel()

    assert first_parked(place) == [(pack([Work(7, Lane(1))]), "delivery_limit")]
    limited.close(queue)


def test_other_arguments_than_those_declared_are_a_mistake_of_settings(place: Place) -> None:
    place.open().put("inbound", some(1))
    other = replace(place, options=replace(place.options, delivery_limit=7), opened=[])
    queue = other.open()

    with pytest.raises(SetupError, match=r"queue\.topology"):
        queue.put("inbound", some(1))

    other.close(queue)


@pytest.mark.parametrize("url", ["amqp://[", "amqp://host:port/x"])
def test_an_address_that_is_none_is_a_mistake_of_settings(url: str) -> None:
    with pytest.raises(SetupError, match=r"queue\.url"):
        rabbitmq.QUEUE.open(url, OPTIONS)


def test_nobody_there_is_transient_and_said_quickly() -> None:
    queue = rabbitmq.QUEUE.open("amqp://u:p@127.0.0.1:1/%2F", OPTIONS)
    began = time.monotonic()

    with pytest.raises(TransientError, match=r"queue\.unavailable"):
        queue.put("inbound", some(1))

    assert time.monotonic() - began < 5
    queue.close()


def test_a_commit_of_many_ids_is_one_message_a_partition(place: Place) -> None:
    queue = place.open()

    queue.put("inbound", some(400, lanes=100))

    assert queue.depth("inbound") == OPTIONS.partitions
