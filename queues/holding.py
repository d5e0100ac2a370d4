"""What one consumer holds: messages that arrived, the claim checks taken from them, and which are settled. Pure.

A message (a RabbitMQ delivery or a row) carries many claim checks and is finished when all of them are. A lease
takes claim checks across messages, and may end in the middle of one; the rest goes to the next lease.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.contracts import Work
from queues.packing import unpack

Tag = int


@dataclass(slots=True)
class Message:
    """One message in hand: how many of its claim checks are not settled yet, and whether it must come back."""

    tag: Tag
    partition: int
    size: int
    left: int
    returns: bool = False


@dataclass(slots=True)
class Taken:
    """The claim checks of one lease, and the messages each came in (the same id may have come twice)."""

    work: list[Work] = field(default_factory=list)
    _messages: dict[int, list[Message]] = field(default_factory=dict)

    def add(self, work: Work, message: Message) -> None:
        known = self._messages.setdefault(work.id, [])
        if not known:
            self.work.append(work)
        known.append(message)

    def find(self, ids: Iterable[int]) -> list[Work]:
        """The unsettled claim checks among `ids`; settled or unknown ones are left out."""
        wanted = {number for number in ids if number in self._messages}
        return [work for work in self.work if work.id in wanted]

    def messages(self, ids: Iterable[int]) -> list[Message]:
        """The messages that unsettled claim checks among `ids` came in."""
        return [message for number in ids for message in self._messages.get(number, ())]

    def settle(self, ids: Iterable[int], *, returns: bool = False) -> list[Message]:
        """Settle `ids` once; gives the messages that are finished by it. `returns`: they must come back whole."""
        finished = []
        for number in ids:
            for message in self._messages.pop(number, ()):
                message.left -= 1
                message.returns |= returns
                if not message.left:
                    finished.append(message)
        return finished


class Holding:
    """Everything that arrived and is not settled, in order of arrival."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Message, deque[Work]]] = deque()
        self._messages: dict[Tag, Message] = {}

    def __contains__(self, tag: Tag) -> bool:
        return tag in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def ready(self) -> int:
        """How many claim checks the next leases could take."""
        return sum(len(rest) for _message, rest in self._waiting)

    @property
    def size(self) -> int:
        """How many claim checks the messages in hand carry, settled ones included."""
        return sum(message.size for message in self._messages.values())

    @property
    def is_waiting(self) -> bool:
        """Whether a lease could be had now."""
        return bool(self._waiting)

    def arrive(self, tag: Tag, partition: int, body: bytes) -> None:
        """Note a message. Raises PermanentError when its body is not work: it is not held then."""
        work = unpack(body)
        message = Message(tag, partition, len(work), len(work))
        self._messages[tag] = message
        self._waiting.append((message, deque(work)))

    def take(self, limit: int) -> Taken:
        """Up to `limit` claim checks, oldest arrival first."""
        taken = Taken()
        while self._waiting and len(taken.work) < limit:
            message, rest = self._waiting[0]
            while rest and len(taken.work) < limit:
                taken.add(rest.popleft(), message)
            if not rest:
                self._waiting.popleft()
        return taken

    def finish(self, messages: Iterable[Message]) -> list[Tag]:
        """Let go of finished messages; gives the tags of those that were still held (not forgotten before)."""
        mine = [message.tag for message in messages if self._messages.get(message.tag) is message]
        for tag in mine:
            del self._messages[tag]
        return mine

    def holds_of(self, partition: int) -> bool:
        return any(message.partition == partition for message in self._messages.values())

    def release(self, partition: int | None = None) -> list[Tag]:
        """Let go of what no lease has touched (of one partition); gives its tags."""
        untouched = [
            message
            for message, rest in self._waiting
            if len(rest) == message.left and partition in (None, message.partition)
        ]
        released = self.finish(untouched)
        self._waiting = deque(pair for pair in self._waiting if pair[0].tag in self._messages)
        return released

    def forget(self, partition: int | None = None) -> None:
        """Drop what is held (of one partition): it is somebody else's now, or comes again."""
        self._waiting = deque(
            pair
            for pair in self._waiting
            if partition is not None and pair[0].partition != partition
        )
        for tag in [
            tag
            for tag, held in self._messages.items()
            if partition is None or held.partition == partition
        ]:
            del self._messages[tag]
