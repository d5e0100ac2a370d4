"""Words for the tests of queues: a place that queues are opened on, work to carry, and waits with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pika

from broker.contracts import Lease, Queue, QueueOptions, QueuePlugin, Work
from broker.values import Lane
from queues import topology

OPTIONS = QueueOptions(
    partitions=4,
    delays=tuple(timedelta(milliseconds=number) for number in (200, 1000, 60_000)),
    delivery_limit=50,
)


@dataclass
class Place:
    """Where the queues of one test live: one installation, opened by several consumers."""

    kind: str
    url: str
    entry: str
    plugin: QueuePlugin
    options: QueueOptions
    opened: list[Queue] = field(default_factory=list)

    def open(self, consumer: int = 0, consumers: int = 1) -> Queue:
        queue = self.plugin.open(
            self.url, replace(self.options, consumer=consumer, consumers=consumers)
        )
        self.opened.append(queue)
        return queue

    def close(self, queue: Queue) -> None:
        self.opened.remove(queue)
        queue.close()


PROJECT = Path(__file__).resolve().parent.parent.parent


def delete_all(
    url: str, options: QueueOptions, topics: tuple[str, ...] = ("inbound", "outbound.lab")
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    queues = [*topology.common_queues(options)]
    for topic in topics:
        queues.extend(topology.presence_queue(options, topic, consumer) for consumer in range(2))
        queues.extend(topology.partition_queues(options, topic))
    for queue in queues:
        channel.queue_delete(queue.name)
    for exchange in topology.exchanges(options):
        channel.exchange_delete(exchange.name)
    connection.close()


def some(count: int, *, lanes: int = 10, first: int = 1) -> list[Work]:
    return [Work(number, Lane(number % lanes + 1)) for number in range(first, first + count)]


def ids_of(lease: Lease) -> list[int]:
    return [work.id for work in lease.work]


def take(queue: Queue, limit: int = 100, *, topic: str = "inbound", seconds: float = 20) -> Lease:
    """A lease that must come."""
    lease = queue.take(topic, limit, timedelta(seconds=seconds))
    assert lease is not None, "nothing came in time"
    return lease


def nothing(queue: Queue, *, topic: str = "inbound", seconds: float = 0.3) -> bool:
    return queue.take(topic, 10, timedelta(seconds=seconds)) is None


def drain(queue: Queue, expected: int, *, limit: int = 500, topic: str = "inbound") -> list[int]:
    """Take and finish until `expected` different ids came; gives them in the order they came."""
    found: list[int] = []
    seen: set[int] = set()
    while len(seen) < expected:
        lease = take(queue, limit, topic=topic)
        found.extend(ids_of(lease))
        seen.update(ids_of(lease))
        lease.done(ids_of(lease))
    return found


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether `holds` becomes true before the deadline; each question is itself work, so this does not spin idly."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
    return False
