"""The publisher: one channel that awaits many confirms at once, and answers questions about queues.

`publish` and `ask` are called by the owner of the queue; all else happens on the loop's thread (`rabbitmq_link`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika

from broker.contracts import QueueOptions
from broker.errors import CarnetError, TransientError
from queues import topology
from queues.holding import Tag
from queues.packing import MEDIA
from queues.rabbitmq_link import Link, Loop, away, declare, declare_common, prove

CONFIRM_SECONDS = 10.0

_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Send:
    """One message to publish; `reason` is the code with which it was parked."""

    exchange: str
    routing_key: str
    body: bytes
    reason: str = ""


class Publisher:
    """Publishes and asks. `publish` and `ask` are for the owner; all else happens on the loop's thread."""

    def __init__(
        self, loop: Loop, nodes: Sequence[pika.ConnectionParameters], options: QueueOptions
    ) -> None:
        self.link = Link(loop, nodes, self._on_open, self._on_lost)
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

        declare_common(channel, self._options)
        declare(channel, topology.partition_queues(self._options, topic))
        prove(channel, self._options, proceed)

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


def _properties(send: Send) -> Any:
    headers = {"reason": send.reason} if send.reason else None
    return pika.BasicProperties(content_type=MEDIA, delivery_mode=_PERSISTENT, headers=headers)
