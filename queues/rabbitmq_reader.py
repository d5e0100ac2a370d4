"""The reader of one topic: subscribes to its partitions, stands by for those of others, gives them back.

It lives on the loop's thread (`rabbitmq_link`); its owner reads only `events`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import pika

from broker.contracts import QueueOptions
from broker.errors import CarnetError
from queues import topology
from queues.holding import Tag
from queues.rabbitmq_link import Link, Loop, away, declare, declare_common, prove

PREFETCH = 100
"""Messages unacknowledged a partition. More would wait here past RabbitMQ's 30 minutes for an acknowledgement."""

STAND_BY_SECONDS = 2.0
YIELD_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Event:
    """What a reader tells its owner: a delivery, a partition to give up, a connection made, or one lost."""

    generation: int
    partition: int = -1
    tag: Tag = 0
    body: bytes | None = None
    error: CarnetError | None = None


class Reader:
    """Subscribes to one topic's partitions and passes on what comes. Lives on the loop's thread; only `events` is
    read by the owner."""

    def __init__(
        self,
        loop: Loop,
        nodes: Sequence[pika.ConnectionParameters],
        options: QueueOptions,
        topic: str,
    ) -> None:
        self.link = Link(loop, nodes, self._on_open, self._on_lost)
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._loop = loop
        self._options = options
        self._topic = topic
        self._queues = list(topology.partition_queues(options, topic))
        self._own = topology.own_partitions(options)
        self._generation = 0
        self._channel: Any = None
        self._held: dict[Tag, int] = {}
        self._active: set[int] = set()
        self._tags: dict[int, str] = {}
        self._subscriptions = 0

    def open(self) -> None:
        if not self.link.open():
            self._loop.later(self.link.pause, self.open)

    def acknowledge(self, generation: int, tags: Sequence[Tag]) -> None:
        if generation != self._generation or self._channel is None:
            return
        finished = set(tags)
        last = 0
        for tag in self._held:
            if tag not in finished:
                break
            last = tag
        if last:
            self._channel.basic_ack(last, multiple=True)
        for tag in tags:
            if self._held.pop(tag, None) is not None and tag > last:
                self._channel.basic_ack(tag)

    def give_back(self, generation: int, tags: Sequence[Tag], seconds: float) -> None:
        if seconds > 0:
            self._loop.later(seconds, lambda: self.give_back(generation, tags, 0.0))
        elif generation == self._generation and self._channel is not None:
            for tag in tags:
                if self._held.pop(tag, None) is not None:
                    self._channel.basic_nack(tag, requeue=True)

    def refuse(self, generation: int, tag: Tag) -> None:
        """To the parked queue: what cannot be read now can never be."""
        if generation == self._generation and self._channel is not None:
            self._held.pop(tag, None)
            self._channel.basic_reject(tag, requeue=False)

    def _on_open(self, channel: Any) -> None:
        self._generation += 1
        self._channel = channel
        channel.add_on_cancel_callback(lambda _frame: self._on_cancelled(channel))
        channel.basic_qos(prefetch_count=PREFETCH)
        declare_common(channel, self._options)
        declare(channel, self._queues)
        prove(channel, self._options, self.link.proved)
        if self._options.consumers > 1:
            self._announce()
        for partition in self._own:
            self._subscribe(partition)
        self.events.put(Event(self._generation))
        self._later(STAND_BY_SECONDS, self._stand_by)

    def _on_cancelled(self, channel: Any) -> None:
        if channel is self._channel:
            self.link.drop(away("a queue was deleted"))

    def _on_lost(self, error: CarnetError) -> None:
        self._channel = None
        self._held.clear()
        self._active.clear()
        self.events.put(Event(self._generation, error=error))
        self._loop.later(self.link.pause, self.open)

    def _subscribe(self, partition: int) -> None:
        generation = self._generation

        def on_message(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            if generation != self._generation or self._channel is None:
                return
            self._active.add(partition)
            self._held[method.delivery_tag] = partition
            self.events.put(Event(generation, partition, method.delivery_tag, body))

        self._active.discard(partition)
        self._subscriptions += 1
        self._tags[partition] = f"{partition}-{self._subscriptions}"
        self._channel.basic_consume(
            self._queues[partition].name,
            on_message,
            consumer_tag=self._tags[partition],
            callback=lambda _frame: None,
        )

    def _stand_by(self) -> None:
        foreign = [
            partition for partition in range(len(self._queues)) if partition not in self._own
        ]
        for partition in foreign:
            self._subscribe(partition)
        if foreign:
            self._later(YIELD_SECONDS, self._yield_back)

    def _yield_back(self) -> None:
        """Give partitions back to their own consumers, where these are there again and so next in line."""
        foreign = {partition for partition in self._active if partition not in self._own}
        for consumer in {partition % self._options.consumers for partition in foreign}:
            theirs = [
                partition
                for partition in foreign
                if partition % self._options.consumers == consumer
            ]
            self._ask_presence(consumer, theirs)
        self._later(YIELD_SECONDS, self._yield_back)

    def _ask_presence(self, consumer: int, partitions: list[int]) -> None:
        def on_answer(frame: Any) -> None:
            if frame.method.consumer_count:
                for partition in partitions:
                    self._yield_one(partition)

        queue = topology.presence_queue(self._options, self._topic, consumer)
        self._channel.queue_declare(
            queue.name, durable=True, arguments=queue.arguments, callback=on_answer
        )

    def _yield_one(self, partition: int) -> None:
        # Leases of this moment end soon; until then both may hold the lane, and the ledger's check keeps its order.
        self.events.put(Event(self._generation, partition))
        self._channel.basic_cancel(
            self._tags[partition], callback=lambda _frame: self._subscribe(partition)
        )

    def _announce(self) -> None:
        queue = topology.presence_queue(self._options, self._topic, self._options.consumer)
        declare(self._channel, [queue])
        self._channel.basic_consume(
            queue.name, lambda *_delivery: None, auto_ack=True, consumer_tag="here"
        )

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Only if the connection is then still the same one."""
        generation = self._generation

        def act() -> None:
            if generation == self._generation and self._channel is not None:
                action()

        self._loop.later(seconds, act)
