"""One connection of pika's and the thread that runs it: opened, lost, opened again after a pause.

pika's home, with `rabbitmq_publisher` and `rabbitmq_reader`: nothing of it is seen elsewhere, and its exceptions become ours here.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from broker.contracts import QueueOptions
from broker.errors import CarnetError, SetupError, TransientError
from queues import topology

HEARTBEAT_SECONDS = 30
"""A dead peer is noticed after at most twice this, whatever the owner is doing."""

PAUSES = (0.1, 5.0)
"""Shortest and longest pause before a connection is tried again."""

_PRECONDITION_FAILED = 406


class Loop:
    """A thread that runs pika's loop; started with the first thing to do."""

    def __init__(self) -> None:
        self.ioloop = IOLoop()
        self.connections: list[Any] = []
        # Each lost connection would be six lines of pika's with addresses; ours is one event, told by who waits.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._thread = threading.Thread(
            target=self.ioloop.start, name="carnet-rabbitmq", daemon=True
        )

    def call(self, action: Callable[[], None]) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self.ioloop.add_callback_threadsafe(lambda: _guarded(action))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.ioloop.call_later(seconds, lambda: _guarded(action))

    def end(self, links: Sequence[Link]) -> None:
        """Close the connections, politely for up to 2 seconds, and end the thread."""
        if self._thread.ident is not None and self._thread.is_alive():
            deadline = time.monotonic() + 2

            def begin() -> None:
                for link in links:
                    link.end()
                wait()

            def wait() -> None:
                if time.monotonic() < deadline and not all(
                    one.is_closed for one in self.connections
                ):
                    self.ioloop.call_later(0.005, wait)
                else:
                    self.ioloop.stop()

            self.call(begin)
            self._thread.join(5)
        self.ioloop.close()


def _guarded(action: Callable[[], None]) -> None:
    try:
        action()
    except AMQPError:
        # The channel or connection is closing under this action; its loss is told to who waits, elsewhere.
        return


class Link:
    """One connection and its one channel; opened when asked, and not again before a pause has passed.

    nodes: how to reach each node of the cluster; after a loss the next of them is tried
    """

    def __init__(
        self,
        loop: Loop,
        nodes: Sequence[pika.ConnectionParameters],
        on_open: Callable[[Any], None],
        on_lost: Callable[[CarnetError], None],
    ) -> None:
        self.connection: Any = None
        self.error: CarnetError | None = None
        self._loop = loop
        self._nodes = nodes
        self._node = 0
        self._on_open = on_open
        self._on_lost = on_lost
        self._failures = 0
        self._retry_at = 0.0
        self._is_ended = False

    @property
    def pause(self) -> float:
        """Seconds until `open` may succeed."""
        return max(0.0, self._retry_at - time.monotonic()) + 0.001

    def open(self) -> bool:
        """Whether it is open, or being opened."""
        if self.connection is None and not self._is_ended and time.monotonic() >= self._retry_at:
            self.connection = SelectConnection(
                self._nodes[self._node],
                on_open_callback=self._on_connected,
                on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed,
                custom_ioloop=self._loop.ioloop,
            )
            self._loop.connections = [one for one in self._loop.connections if not one.is_closed]
            self._loop.connections.append(self.connection)
        return self.connection is not None

    def end(self) -> None:
        """Drop the connection, and never open another."""
        self._is_ended = True
        self.drop(away("closed"))

    def drop(self, error: CarnetError) -> None:
        if self.connection is None:
            return
        connection, self.connection = self.connection, None
        self.error = error
        shortest, longest = PAUSES
        rounds = self._failures // len(self._nodes)
        pause = min(longest, shortest * 2**rounds) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._failures = min(self._failures + 1, 10 * len(self._nodes))
        self._node = (self._node + 1) % len(self._nodes)
        self._retry_at = time.monotonic() + pause
        if connection.is_open:
            connection.close()
        self._on_lost(error)

    def _on_connected(self, connection: Any) -> None:
        if connection is self.connection:
            connection.channel(on_open_callback=self._on_channel)
        else:
            connection.close()

    def _on_channel(self, channel: Any) -> None:
        if channel.connection is not self.connection:
            return
        channel.add_on_close_callback(self._on_channel_closed)
        self._on_open(channel)

    def proved(self, _frame: Any) -> None:
        """The channel answered, so all that was declared before the question was accepted."""
        self._failures = 0
        self.error = None

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if channel.connection is self.connection:
            self.drop(_fate(reason))

    def _on_closed(self, connection: Any, reason: Exception | str) -> None:
        if connection is self.connection:
            self.drop(_fate(reason))


def nodes_of(url: str, options: QueueOptions) -> list[pika.ConnectionParameters]:
    """How to reach each node of `amqp://user:password@host:port,host:port/vhost`.

    Each consumer begins with another node, so that a cluster's nodes share the connections.
    Raises: SetupError when it is not such an address.
    """
    try:
        nodes = [_parameters(one, options) for one in _addresses(url)]
    except (ValueError, TypeError, AMQPError) as error:
        raise SetupError(
            "queue.url",
            where="queue.url",
            reason="not an AMQP address",
            hint="amqp://user:password@host:5672/%2F, or host:5672,host:5672 for the nodes of a cluster",
        ) from error
    first = options.consumer % len(nodes)
    return nodes[first:] + nodes[:first]


def _addresses(url: str) -> list[str]:
    """One address a node; what stands before and after the hosts belongs to each."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    return [f"{scheme}://{user}{at}{host}{slash}{path}" for host in hosts.split(",")]


def _parameters(url: str, options: QueueOptions) -> pika.ConnectionParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.socket_timeout = 5
    parameters.stack_timeout = 10
    parameters.client_properties = {
        "connection_name": f"{options.prefix} {options.consumer}/{options.consumers}"
    }
    return parameters


def _fate(reason: Exception | str) -> CarnetError:
    if (
        isinstance(reason, ChannelClosedByBroker)
        and reason.reply_code == _PRECONDITION_FAILED
        and "inequivalent" in reason.reply_text
    ):
        return SetupError(
            "queue.topology",
            where="queue",
            reason="RabbitMQ has a queue of this name with other arguments",
            hint="delete it (the ledger puts its work back), or set the former partitions, delays and limit",
        )
    return away(type(reason).__name__)


def away(reason: str) -> TransientError:
    return TransientError("queue.unavailable", where="queue", reason=reason)


def declare_common(channel: Any, options: QueueOptions) -> None:
    for exchange in topology.exchanges(options):
        channel.exchange_declare(exchange.name, exchange.kind, durable=True)
    declare(channel, topology.common_queues(options))


def prove(channel: Any, options: QueueOptions, proved: Callable[[Any], None]) -> None:
    """Call `proved` once all that was declared before is accepted."""
    channel.queue_declare(topology.parked_name(options), passive=True, callback=proved)


def declare(channel: Any, queues: Iterable[topology.QueueDeclaration]) -> None:
    """Without awaiting an answer: what follows on the channel comes after, and a refusal closes the channel."""
    for queue in queues:
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        channel.queue_bind(queue.name, queue.exchange, queue.routing_key)
