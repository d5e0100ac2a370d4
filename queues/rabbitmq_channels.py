"""What is said on a channel: a publisher that awaits many confirms at once, and a reader of one topic.

Both live on the loop's thread (see `rabbitmq_link`); what an owner may call from its own thread says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import pika

from broker.contracts import QueueOptions
from broker.errors import CarnetError, TransientError
from queues import topology
from queues.holding import Tag
from queues.packing import MEDIA
from queues.rabbitmq_link import Link, Loop, away

CONFIRM_SECONDS = 10.0
PREFETCH = 20
"""Messages unacknowledged a partition. More would wait here past RabbitMQ's 30 minutes for an acknowledgement."""

STAND_BY_SECONDS = 2.0
YIELD_SECONDS = 15.0

_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Event:
    """What a reader tells its owner: a delivery, a partition to give up, a connection made, or one lost."""

    generation: int
    partition: int = -1
    tag: Tag = 0
    body: bytes | None = None
    error: CarnetError | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """One message to publish; `reason` is the code with which it was parked."""

    exchange: str
    routing_key: str
    body: bytes
    reason: str = ""


class _Job:
    """Something an owner waits for: so many answers, or a failure."""

    def __init__(self, topic: str, answers: int, start: Callable[[Any, _Job], None]) -> None:
        self.topic = topic
        self.start = start
        self.total = 0
        self.is_returned = False
        self.error: CarnetError | None = None
        self.over = threading.Event()
        self._left = answers

    def answer(self, amount: int = 0) -> None:
        self.total += amount
        self._left -= 1
        if self._left <= 0:
            self.over.set()

    def fail(self, error: CarnetError) -> None:
        self.error = error
        self.over.set()


class Publisher:
    """Publishes and asks. `publish` and `ask` are for the owner; all else happens on the loop's thread."""

    def __init__(
        self, loop: Loop, parameters: pika.ConnectionParameters, options: QueueOptions
    ) -> None:
        self.link = Link(loop, parameters, self._on_open, self._on_lost)
        self._loop = loop
        self._options = options
        self._channel: Any = None
        self._jobs: dict[int, _Job] = {}
        self._unconfirmed: dict[Tag, _Job] = {}
        self._published = 0
        self._topics: set[str] = set()
        self._is_blocked = False

    def publish(self, topic: str, sends: Sequence[Send]) -> None:
        """Returns when every message is confirmed. Raises: TransientError when one may not be."""

        def start(channel: Any, job: _Job) -> None:
            for send in sends:
                self._published += 1
                self._unconfirmed[self._published] = job
                channel.basic_publish(
                    send.exchange, send.routing_key, send.body, _properties(send), mandatory=True
                )

        job = self._run(_Job(topic, len(sends), start))
        if job.is_returned:
            # A queue was deleted under us: it has been declared again since.
            job = self._run(_Job(topic, len(sends), start))
        if job.is_returned:
            raise TransientError("queue.unroutable", where=topic, reason="a queue is missing")

    def ask(self, topic: str, what: str) -> int:
        queues = list(topology.partition_queues(self._options, topic))

        def start(channel: Any, job: _Job) -> None:
            for queue in queues:
                self._ask_one(
                    channel, queue, what, lambda frame: job.answer(frame.method.message_count)
                )

        return self._run(_Job(topic, len(queues), start)).total

    @staticmethod
    def _ask_one(channel: Any, queue: topology.QueueDeclaration, what: str, callback: Any) -> None:
        if what == "purge":
            channel.queue_purge(queue.name, callback=callback)
        else:
            channel.queue_declare(
                queue.name, durable=True, arguments=queue.arguments, callback=callback
            )

    def _run(self, job: _Job) -> _Job:
        self._loop.call(lambda: self._submit(job))
        if not job.over.wait(CONFIRM_SECONDS):
            error = away("no confirmation in time")
            self._loop.call(lambda: self.link.drop(error))
            raise error
        if job.error:
            raise job.error
        return job

    def _submit(self, job: _Job) -> None:
        if self._is_blocked:
            job.fail(away("RabbitMQ has stopped publishers (memory or disk alarm)"))
        elif self._channel is None and not self.link.open():
            job.fail(self.link.error or away("not connected"))
        else:
            self._jobs[id(job)] = job
            if self._channel is not None:
                self._start(job)

    def _start(self, job: _Job) -> None:
        if job.topic in self._topics:
            job.start(self._channel, job)
        else:
            self._declare(job.topic, lambda: job.start(self._channel, job))
        for key in [key for key, known in self._jobs.items() if known.over.is_set()]:
            del self._jobs[key]

    def _declare(self, topic: str, then: Callable[[], None]) -> None:
        # pika keeps declarations back while it awaits an answer, but never a publish: so await the last of them.
        channel = self._channel

        def proceed(_frame: Any) -> None:
            if channel is self._channel:
                self._topics.add(topic)
                then()

        _declare_common(channel, self._options)
        _declare(channel, topology.partition_queues(self._options, topic))
        _prove(channel, self._options, proceed)

    def _on_open(self, channel: Any) -> None:
        self._channel = channel
        self._published = 0
        self._topics.clear()
        # A channel that was given up may still speak; what it says is not about what is published now.
        channel.add_on_return_callback(self._on_returned)
        connection = self.link.connection
        connection.add_on_connection_blocked_callback(
            lambda *_told: self._on_blocked(channel, is_blocked=True)
        )
        connection.add_on_connection_unblocked_callback(
            lambda *_told: self._on_blocked(channel, is_blocked=False)
        )
        channel.confirm_delivery(
            lambda frame: self._on_confirmed(channel, frame), callback=self.link.proved
        )
        for job in list(self._jobs.values()):
            self._start(job)

    def _on_lost(self, error: CarnetError) -> None:
        self._channel = None
        self._is_blocked = False
        self._unconfirmed.clear()
        self._fail_all(error)

    def _fail_all(self, error: CarnetError) -> None:
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.fail(error)

    def _on_confirmed(self, channel: Any, frame: Any) -> None:
        if channel is not self._channel:
            return
        last = frame.method.delivery_tag
        tags = [last]
        if frame.method.multiple:
            # Confirms come in order, so the first tags of the dictionary are the oldest.
            tags = []
            for tag in self._unconfirmed:
                if tag > last:
                    break
                tags.append(tag)
        for tag in tags:
            job = self._unconfirmed.pop(tag, None)
            if job and isinstance(frame.method, pika.spec.Basic.Ack):
                job.answer()
            elif job:
                job.fail(away("RabbitMQ could not store a message"))

    def _on_returned(self, channel: Any, _method: Any, _properties: Any, _body: bytes) -> None:
        if channel is not self._channel:
            return
        # A return comes before the confirm of the same message, which is among the oldest unconfirmed; all
        # jobs in flight publish again rather than guess which. Twice is allowed, never is not.
        self._topics.clear()
        for job in self._unconfirmed.values():
            job.is_returned = True

    def _on_blocked(self, channel: Any, *, is_blocked: bool) -> None:
        if channel is self._channel:
            self._is_blocked = is_blocked
            if is_blocked:
                self._fail_all(away("RabbitMQ has stopped publishers (memory or disk alarm)"))


class Reader:
    """Subscribes to one topic's partitions and passes on what comes. Lives on the loop's thread; only `events` is
    read by the owner."""

    def __init__(
        self, loop: Loop, parameters: pika.ConnectionParameters, options: QueueOptions, topic: str
    ) -> None:
        self.link = Link(loop, parameters, self._on_open, self._on_lost)
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
        _declare_common(channel, self._options)
        _declare(channel, self._queues)
        _prove(channel, self._options, self.link.proved)
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
        _declare(self._channel, [queue])
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


def _declare_common(channel: Any, options: QueueOptions) -> None:
    for exchange in topology.exchanges(options):
        channel.exchange_declare(exchange.name, exchange.kind, durable=True)
    _declare(channel, topology.common_queues(options))


def _prove(channel: Any, options: QueueOptions, proved: Callable[[Any], None]) -> None:
    """Call `proved` once all that was declared before is accepted."""
    channel.queue_declare(topology.parked_name(options), passive=True, callback=proved)


def _declare(channel: Any, queues: Iterable[topology.QueueDeclaration]) -> None:
    """Without awaiting an answer: what follows on the channel comes after, and a refusal closes the channel."""
    for queue in queues:
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        channel.queue_bind(queue.name, queue.exchange, queue.routing_key)


def _properties(send: Send) -> Any:
    headers = {"reason": send.reason} if send.reason else None
    return pika.BasicProperties(content_type=MEDIA, delivery_mode=_PERSISTENT, headers=headers)
