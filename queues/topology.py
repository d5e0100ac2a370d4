"""Names and arguments of everything Carnet declares in RabbitMQ, and who reads what. Pure.

One direct exchange spreads work over partition queues; a ladder of delay queues returns it later; one queue keeps
what was parked or refused. Every argument below was declared and used on RabbitMQ 3.10.8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from broker.contracts import QueueOptions, Work

Arguments = dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
    """One durable queue, its arguments, and the binding through which work reaches it."""

    name: str
    arguments: Arguments
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class ExchangeDeclaration:
    """One durable exchange."""

    name: str
    kind: str


def work_exchange(options: QueueOptions) -> str:
    return f"{options.prefix}.work"


def parked_name(options: QueueOptions) -> str:
    """The queue of parked and refused work, and the exchange in front of it."""
    return f"{options.prefix}.parked"


def delay_name(options: QueueOptions, rung: timedelta) -> str:
    """The queue of one rung of the ladder (`carnet.delay.30000ms`), and the exchange in front of it."""
    return f"{options.prefix}.delay.{_milliseconds(rung)}ms"


def partition_name(options: QueueOptions, topic: str, partition: int) -> str:
    return f"{options.prefix}.{routing_key(topic, partition)}"


def routing_key(topic: str, partition: int) -> str:
    return f"{topic}.{partition}"


def presence_queue(options: QueueOptions, topic: str, consumer: int) -> QueueDeclaration:
    """A queue that carries nothing: who consumes it is there. RabbitMQ counts only the active reader of a queue with
    a single active one, so whether another stands in line must be asked elsewhere. It goes when nobody used it."""
    name = f"{options.prefix}.here.{topic}.{consumer}"
    return QueueDeclaration(
        name, {"x-queue-type": "quorum", "x-expires": 60_000}, work_exchange(options), name
    )


def exchanges(options: QueueOptions) -> Iterator[ExchangeDeclaration]:
    yield ExchangeDeclaration(work_exchange(options), "direct")
    yield ExchangeDeclaration(parked_name(options), "fanout")
    for rung in options.delays:
        yield ExchangeDeclaration(delay_name(options, rung), "fanout")


def common_queues(options: QueueOptions) -> Iterator[QueueDeclaration]:
    """The queues that all topics share: parked, and the rungs of the ladder."""
    parked = parked_name(options)
    yield QueueDeclaration(parked, {"x-queue-type": "quorum"}, parked, "")
    for rung in options.delays:
        name = delay_name(options, rung)
        yield QueueDeclaration(name, _delay_arguments(options, rung), name, "")


def partition_queues(options: QueueOptions, topic: str) -> Iterator[QueueDeclaration]:
    for partition in range(options.partitions):
        yield QueueDeclaration(
            partition_name(options, topic, partition),
            _partition_arguments(options),
            work_exchange(options),
            routing_key(topic, partition),
        )


def partition_of(work: Work, partitions: int) -> int:
    """A lane has one partition; work without a lane has no order to keep and is spread by its id."""
    return (work.lane or work.id) % partitions


def by_partition(work: Iterable[Work], partitions: int) -> dict[int, list[Work]]:
    groups: dict[int, list[Work]] = {}
    for item in work:
        groups.setdefault(partition_of(item, partitions), []).append(item)
    return groups


def own_partitions(options: QueueOptions) -> Sequence[int]:
    """The partitions this consumer reads at once; for the others it stands by."""
    return range(options.consumer, options.partitions, options.consumers)


def rung_for(delays: Sequence[timedelta], after: timedelta) -> timedelta:
    """The smallest rung that is long enough, or the longest there is."""
    return min((rung for rung in delays if rung >= after), default=max(delays))


def _partition_arguments(options: QueueOptions) -> Arguments:
    return {
        "x-queue-type": "quorum",
        # One reader at a time, so that a lane has one reader at a time.
        "x-single-active-consumer": True,
        # Left out, some versions drop a message after 20 redeliveries and others never do.
        "x-delivery-limit": options.delivery_limit,
        "x-dead-letter-exchange": parked_name(options),
        **_SAFE_DEAD_LETTERING,
    }


def _delay_arguments(options: QueueOptions, rung: timedelta) -> Arguments:
    return {
        "x-queue-type": "quorum",
        # RabbitMQ expires only at the head, so the delay belongs to the queue and never to the message.
        "x-message-ttl": _milliseconds(rung),
        # No routing key of its own: work comes back under the one it was published with.
        "x-dead-letter-exchange": work_exchange(options),
        **_SAFE_DEAD_LETTERING,
    }


# Dead-lettering is at-most-once unless asked otherwise, and at-least-once is refused unless overflow rejects.
_SAFE_DEAD_LETTERING: Arguments = {
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def _milliseconds(duration: timedelta) -> int:
    return max(1, round(duration / timedelta(milliseconds=1)))
