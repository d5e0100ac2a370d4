"""The queue on RabbitMQ: confirmed publishing in batches, partitions with one active reader, a ladder of delays.

The thread that owns a `RabbitQueue` never touches a socket. A thread of the queue's own runs the connections, one
to publish and one a topic to read: heartbeats go on while the owner works for minutes, many confirms are awaited at
once, and an alarm that makes RabbitMQ stop reading from publishers does not stop acknowledgements.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from queue import Empty

from broker.contracts import Lease, QueueOptions, QueuePlugin, Work
from broker.errors import CarnetError, PermanentError, SetupError, TransientError
from queues import topology
from queues.holding import Holding, Message, Taken
from queues.packing import MAX_WORK, pack
from queues.rabbitmq_link import Loop, nodes_of
from queues.rabbitmq_publisher import Publisher, Send
from queues.rabbitmq_reader import Event, Reader

RETURN_SECONDS = 30.0
"""Longest that work is kept back which could be neither delayed nor parked."""


class RabbitQueue:
    """A `broker.contracts.Queue` over RabbitMQ, for the one thread that made it."""

    def __init__(self, url: str, options: QueueOptions) -> None:
        self._options = options
        self._nodes = nodes_of(url, options)
        self._loop = Loop()
        self._publisher = Publisher(self._loop, self._nodes, options)
        self._topics: dict[str, _Topic] = {}

    def put(self, topic: str, work: Sequence[Work]) -> None:
        exchange = topology.work_exchange(self._options)
        self._publish(topic, exchange, work)

    def take(self, topic: str, limit: int, wait: timedelta) -> Lease | None:
        """As the contract says. Raises: TransientError after `wait` while RabbitMQ is away; SetupError when its
        queues were declared with other arguments."""
        known = self._topics.get(topic)
        if known is None:
            known = self._topics[topic] = _Topic(
                Reader(self._loop, self._nodes, self._options, topic), self._loop
            )
        taken = known.take(limit, wait)
        return RabbitLease(self, topic, known, taken) if taken else None

    def depth(self, topic: str) -> int:
        """Messages ready on all partitions: each carries one id or many, so this is a lower bound. 0 is exact, but
        for work in hand and work that is delayed."""
        return self._publisher.ask(topic, "depth")

    def purge(self, topic: str) -> None:
        """Empties the partitions and what is here unread. Delayed work shares its rungs with other topics; it comes."""
        self._publisher.ask(topic, "purge")
        if topic in self._topics:
            self._topics[topic].discard()

    def close(self) -> None:
        links = [self._publisher.link, *(topic.reader.link for topic in self._topics.values())]
        self._loop.end(links)

    def delay(self, topic: str, work: Sequence[Work], after: timedelta) -> None:
        rung = topology.rung_for(self._options.delays, after)
        self._publish(topic, topology.delay_name(self._options, rung), work)

    def park(self, topic: str, work: Sequence[Work], reason: str) -> None:
        self._publish(topic, topology.parked_name(self._options), work, reason)

    def _publish(self, topic: str, exchange: str, work: Sequence[Work], reason: str = "") -> None:
        sends = [
            Send(
                exchange,
                topology.routing_key(topic, partition),
                pack(group[start : start + MAX_WORK]),
                reason,
            )
            for partition, group in topology.by_partition(work, self._options.partitions).items()
            for start in range(0, len(group), MAX_WORK)
        ]
        if sends:
            self._publisher.publish(topic, sends)


class RabbitLease:
    """A `broker.contracts.Lease`: a message is acknowledged when the last of its ids is settled."""

    def __init__(self, queue: RabbitQueue, topic: str, known: _Topic, taken: Taken) -> None:
        self.work: Sequence[Work] = taken.work
        self._queue = queue
        self._topic = topic
        self._known = known
        self._taken = taken

    def done(self, ids: Iterable[int]) -> None:
        self._known.finish(self._taken.settle(ids))

    def again(self, ids: Iterable[int], after: timedelta) -> None:
        self._move(ids, after, lambda work: self._queue.delay(self._topic, work, after))

    def park(self, ids: Iterable[int], reason: str) -> None:
        pause = timedelta(seconds=RETURN_SECONDS)
        self._move(ids, pause, lambda work: self._queue.park(self._topic, work, reason))

    def _move(
        self, ids: Iterable[int], pause: timedelta, publish: Callable[[list[Work]], None]
    ) -> None:
        work = self._taken.find(ids)
        numbers = [item.id for item in work]
        try:
            publish(work)
        except TransientError:
            # Neither lost nor spinning: the whole message comes back after a pause, and the ledger knows what is done.
            self._known.finish(self._taken.settle(numbers, returns=True), pause)
            raise
        self._known.finish(self._taken.settle(numbers))


class _Topic:
    """The owner's side of one topic: what its reader delivered and is held."""

    def __init__(self, reader: Reader, loop: Loop) -> None:
        self.reader = reader
        self._loop = loop
        self._holding = Holding()
        self._generation = 0
        self._error: CarnetError | None = None
        loop.call(reader.open)

    def take(self, limit: int, wait: timedelta) -> Taken | None:
        deadline = time.monotonic() + wait.total_seconds()
        self._absorb()
        while not self._holding.is_waiting:
            left = deadline - time.monotonic()
            if left <= 0 or isinstance(self._error, SetupError):
                if self._error:
                    raise self._error
                return None
            self._absorb(left)
        return self._holding.take(limit)

    def finish(self, messages: Iterable[Message], pause: timedelta = timedelta()) -> None:
        self._absorb()
        generation = self._generation
        finished = list(messages)
        returning = self._holding.finish(message for message in finished if message.returns)
        done = self._holding.finish(message for message in finished if not message.returns)
        if done:
            self._loop.call(lambda: self.reader.acknowledge(generation, done))
        if returning:
            seconds = min(pause.total_seconds(), RETURN_SECONDS)
            self._loop.call(lambda: self.reader.give_back(generation, returning, seconds))

    def discard(self) -> None:
        self._absorb()
        generation, tags = self._generation, self._holding.release()
        self._loop.call(lambda: self.reader.acknowledge(generation, tags))

    def _absorb(self, wait: float = 0.0) -> None:
        """Note everything that arrived; wait up to `wait` seconds for the first of it."""
        try:
            event = (
                self.reader.events.get(timeout=wait) if wait else self.reader.events.get_nowait()
            )
            while True:
                self._note(event)
                event = self.reader.events.get_nowait()
        except Empty:
            return

    def _note(self, event: Event) -> None:
        if event.generation != self._generation or event.error:
            self._holding.forget()
            self._generation = event.generation
        self._error = event.error
        if event.body is not None:
            try:
                self._holding.arrive(event.tag, event.partition, event.body)
            except PermanentError:
                self._loop.call(lambda: self.reader.refuse(event.generation, event.tag))
        elif event.partition >= 0:
            tags = self._holding.release(event.partition)
            self._loop.call(lambda: self.reader.give_back(event.generation, tags, 0.0))


QUEUE = QueuePlugin(
    name="rabbitmq",
    summary="RabbitMQ quorum queues: for several processes or machines",
    schemes=("amqp", "amqps"),
    open=RabbitQueue,
)
