"""The contracts between the broker and its plug-ins: sources, destinations, queues, and the record of a plug-in.

Each Protocol's docstring is the contract: who calls it, from which thread, how often, what may be raised and what
the caller does then. `tests/adapters/test_contract.py` and `tests/queues/test_contract.py` hold every
implementation to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from broker.envelope import Envelope, Receipt
from broker.values import Lane

Accept = Callable[[Envelope], Awaitable[Receipt]]
"""The broker's intake, as a source sees it: awaits durability, then returns. It never raises for a bad message:
that is a refused Receipt. Many may be in flight at once; their order of call is their order in the ledger."""

INBOUND = "inbound"
"""The topic of what was received and not filed yet."""

RECIPIENT = "recipient"
"""Where an error is of one recipient alone: in a mail server's answer to RCPT."""

Notice = Callable[[str, dict[str, Any]], None]
"""How an adapter reports an event of `broker.events` by name (connection opened, refused at the door). Cheap,
thread-safe, never raises. No health data in the fields."""


class Source(Protocol):
    """Listens, polls or watches, and hands what arrives to `accept`.

    Called once by the gateway, on its event loop. `run` returns only when cancelled; what is in hand is answered
    before it returns. It may raise SetupError before the first message (port taken, folder missing).
    """

    async def run(self, accept: Accept) -> None: ...

    @property
    def address(self) -> str:
        """Where it listens once running (`mllp://127.0.0.1:2575`); empty before."""
        ...


class Destination(Protocol):
    """Takes one message outward.

    Called by a courier, one thread per destination, one call at a time. Returns a Receipt with `outcome`
    accepted; raises TransientError (surely not taken: again later), AmbiguousError (perhaps taken: nobody knows)
    or PermanentError (taken note of and refused: park). Opens its connection on first use, keeps it, and is
    closed once.
    """

    def deliver(self, envelope: Envelope) -> Receipt: ...
    def close(self) -> None: ...


@runtime_checkable
class Verifiable(Protocol):
    """A destination that can be asked whether it has a message, where nobody knows if it arrived.

    Called as `deliver` is, with the envelope that may have been delivered. Returns the receipt of what the partner
    has, or None: it has no such message. Raises TransientError when the question could not be asked or was not
    answered.
    """

    def verify(self, envelope: Envelope) -> Receipt | None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """A claim check: the number of a ledger row (or of a delivery) and its lane. No health data, ever."""

    id: int
    lane: Lane


class Lease(Protocol):
    """A batch of work held by one consumer. Each id is settled exactly once, by the thread that took the lease;
    ids left unsettled when the connection ends come back to somebody."""

    work: Sequence[Work]

    def done(self, ids: Iterable[int]) -> None: ...
    def again(self, ids: Iterable[int], after: timedelta) -> None: ...
    def park(self, ids: Iterable[int], reason: str) -> None: ...


class Queue(Protocol):
    """Carries claim checks by topic (`inbound`, `outbound.<destination>`); the ledger knows the truth.

    At least once, roughly in order within a lane. One thread owns an instance. `put` returns when the work is
    durable (confirmed) and raises TransientError when it may not be; callers then rely on the ledger's sweep.
    `take` waits up to `wait` and returns None when nothing came; work of one lane goes to one consumer at a time.
    `depth` is the work ready and not leased, as an estimate for the sweep and for `carnet status`.
    `purge` empties a topic (tests and `carnet doctor`); the ledger puts the work back.
    """

    def put(self, topic: str, work: Sequence[Work]) -> None: ...
    def take(self, topic: str, limit: int, wait: timedelta) -> Lease | None: ...
    def depth(self, topic: str) -> int: ...
    def purge(self, topic: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PerRecipient:
    """A destination that is owed each document once for each recipient it names.

    address: the mail address that a text is, always in the same letters; empty where it is none
    domains: those an address may be of, or below (`mssante.fr`), in lower case; never empty
    most: recipients of one document, at most; of a document that names more, none is written to
    """

    address: Callable[[str], str]
    domains: tuple[str, ...]
    most: int

    def takes(self, address: str) -> bool:
        """Whether an address is of one of the domains, or below one."""
        domain = address.rpartition("@")[2]
        return any(domain == one or domain.endswith(f".{one}") for one in self.domains)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A plug-in for one protocol, registered under the entry point group `carnet.adapters`.

    `source_settings` and `destination_settings` are msgspec Structs (kw_only, forbid_unknown_fields); every field
    has an entry in the class docstring's `Fields:` block, from which come `carnet explain` and the reference page.
    `verifiable` says by which settings a destination is made that is `Verifiable`; empty where there are none.
    `per_recipient` says of a destination's settings whether it is owed a document once a recipient, None: it is not.
    Its envelopes have the address under the key `recipient`; an error whose `where` is RECIPIENT is then that
    address's alone, and no sign that the partner is away.
    The factories get the configured name, the settings object, and (sources) a Notice; secrets are already resolved.
    """

    name: str
    summary: str
    source_settings: type[Any] | None = None
    destination_settings: type[Any] | None = None
    source: Callable[[str, Any, Notice], Source] | None = None
    destination: Callable[[str, Any], Destination] | None = None
    verifiable: str = ""
    per_recipient: Callable[[Any], PerRecipient | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class QueuePlugin:
    """A queue, registered under the entry point group `carnet.queues`; chosen by the scheme of `[queue] url`.

    `open(url, options)` gives an instance for one thread: `options.consumer`/`consumers` say which consumer of how
    many this is, so that partitions spread; `options.partitions` how many partitions a topic has.
    """

    name: str
    summary: str
    schemes: tuple[str, ...]
    open: Callable[[str, QueueOptions], Queue]


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a queue is opened. `prefix` keeps several installations (and tests) apart on one RabbitMQ."""

    prefix: str = "carnet"
    partitions: int = 8
    consumer: int = 0
    consumers: int = 1
    delays: tuple[timedelta, ...] = field(
        default=tuple(timedelta(seconds=s) for s in (1, 5, 30, 120, 600, 3600))
    )
    delivery_limit: int = 1_000_000
