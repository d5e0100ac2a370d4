"""The queue in a table of the ledger's own database: nothing to install, durable as the ledger is.

A row carries the claim checks of one `put` for one partition. One reader has a partition (`embedded_readers`) and
remembers which rows it holds: taking reads, and only putting and settling write, one transaction each. So no row
is locked or marked, and `FOR UPDATE SKIP LOCKED` has nothing to skip.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from broker.contracts import Lease, QueueOptions, QueuePlugin, Work
from broker.errors import PermanentError, TransientError
from queues.embedded_database import Database
from queues.embedded_readers import (
    Readership,
    Statements,
    metadata,
)
from queues.holding import Holding, Message, Taken
from queues.packing import MAX_WORK, pack
from queues.topology import by_partition, own_partitions

PAUSES = (0.005, 0.025)
"""Seconds between two looks at an empty table: at first, and after a while."""

PAGE_ROWS = 16
PARKED = -1
"""The partition of parked work: nobody reads it."""

rows = Table(
    "carnet_queue",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("topic", Text, nullable=False),
    Column("partition", BigInteger, nullable=False),
    Column("visible_at", Double, nullable=False),
    Column("size", Integer, nullable=False),
    Column("work", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("carnet_queue_order", rows.c.topic, rows.c.partition, rows.c.id)

_VISIBLE = or_(
    rows.c.visible_at <= bindparam("now"),
    # Further away than any delay: written before the clock was set back.
    rows.c.visible_at > bindparam("latest"),
)


class EmbeddedQueue:
    """A `broker.contracts.Queue` in SQLite or PostgreSQL, for the one thread that made it."""

    def __init__(self, url: str, options: QueueOptions) -> None:
        self._options = options
        self._database = Database(url)
        self._topics: dict[str, _Topic] = {}

    def put(self, topic: str, work: Sequence[Work]) -> None:
        if work:
            new = self.rows_for(topic, work)
            with self._database.writing() as connection:
                connection.execute(insert(rows), new)

    def take(self, topic: str, limit: int, wait: timedelta) -> Lease | None:
        """As the contract says. Raises: TransientError when the database is away."""
        known = self._topics.get(topic)
        if known is None:
            known = self._topics[topic] = _Topic(self._database, self._options, self._name(topic))
        deadline = time.monotonic() + wait.total_seconds()
        pause, longest = PAUSES
        while not known.fill(limit):
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, longest)
        return EmbeddedLease(self, topic, known, known.holding.take(limit))

    def depth(self, topic: str) -> int:
        """Ids that are visible now, less those this instance holds; what other readers hold is counted."""
        known = self._topics.get(topic)
        now = self._database.now()
        question = select(func.coalesce(func.sum(rows.c.size), 0)).where(
            rows.c.topic == bindparam("topic"), rows.c.partition != PARKED, _VISIBLE
        )
        limits = {"topic": self._name(topic), "now": now, "latest": self._latest(now)}
        with self._database.reading() as connection:
            total = int(connection.execute(question, limits).scalar_one())
        return max(0, total - known.holding.size + known.holding.ready) if known else total

    def purge(self, topic: str) -> None:
        question = delete(rows).where(rows.c.topic == self._name(topic), rows.c.partition != PARKED)
        with self._database.writing() as connection:
            connection.execute(question)
        if topic in self._topics:
            self._topics[topic].holding.release()

    def close(self) -> None:
        """Give the partitions back and close. A database that is away then is left to notice by itself."""
        try:
            for known in self._topics.values():
                known.readership.release()
        except TransientError:
            return
        finally:
            self._database.close()

    def rows_for(
        self, topic: str, work: Sequence[Work], *, after: timedelta | None = None, reason: str = ""
    ) -> list[dict[str, Any]]:
        """The rows that carry `work`: to read now, after a time, or (with a reason) never."""
        groups = by_partition(work, self._options.partitions)
        visible_at = self._database.now() + after.total_seconds() if after else 0.0
        return [
            {
                "topic": self._name(topic),
                "partition": PARKED if reason else partition,
                "visible_at": visible_at,
                "size": len(part),
                "work": pack(part),
                "reason": reason,
            }
            for partition, group in groups.items()
            for start in range(0, len(group), MAX_WORK)
            if (part := group[start : start + MAX_WORK])
        ]

    def settle(
        self, known: _Topic, taken: Taken, ids: Iterable[int], new: list[dict[str, Any]]
    ) -> None:
        """One transaction: what goes on is written, what is finished is deleted."""
        numbers = list(ids)
        touched = taken.messages(numbers)
        finished = taken.settle(numbers)
        tags = known.finish(finished)
        try:
            with self._database.writing() as connection:
                if new:
                    connection.execute(insert(rows), new)
                if tags:
                    connection.execute(_DELETION, {"ids": tags})
        except TransientError:
            # The rows are still there and come back whole; the ledger knows what of them is done.
            for message in touched:
                message.returns = True
            raise

    def _name(self, topic: str) -> str:
        return f"{self._options.prefix}.{topic}"

    def _latest(self, now: float) -> float:
        return now + 2 * max(self._options.delays).total_seconds()


_DELETION = delete(rows).where(rows.c.id.in_(bindparam("ids", expanding=True)))


class EmbeddedLease:
    """A `broker.contracts.Lease`: a row is deleted when the last of its ids is settled."""

    def __init__(self, queue: EmbeddedQueue, topic: str, known: _Topic, taken: Taken) -> None:
        self.work: Sequence[Work] = taken.work
        self._queue = queue
        self._topic = topic
        self._known = known
        self._taken = taken

    def done(self, ids: Iterable[int]) -> None:
        self._queue.settle(self._known, self._taken, ids, [])

    def again(self, ids: Iterable[int], after: timedelta) -> None:
        work = self._taken.find(ids)
        delayed = self._queue.rows_for(self._topic, work, after=after)
        self._queue.settle(self._known, self._taken, [item.id for item in work], delayed)

    def park(self, ids: Iterable[int], reason: str) -> None:
        work = self._taken.find(ids)
        parked = self._queue.rows_for(self._topic, work, reason=reason)
        self._queue.settle(self._known, self._taken, [item.id for item in work], parked)


class _Topic:
    """What this instance reads and holds of one topic."""

    def __init__(self, database: Database, options: QueueOptions, name: str) -> None:
        self.holding = Holding()
        self.readership = Readership(
            name,
            own_partitions(options),
            self.holding.holds_of,
            Statements(lambda: database.look(name, options.partitions), database.change),
        )
        self._database = database
        self._longest = max(options.delays)
        self._name = name
        self._pages: dict[frozenset[int], Any] = {}

    def fill(self, limit: int) -> bool:
        """Read until a lease of `limit` could be had, or nothing more is there. Whether any could be."""
        for partition in self.readership.refresh():
            self.holding.forget(partition)
        readable = self.readership.readable
        if readable and self.holding.ready < limit:
            self._read(readable, limit)
        return self.holding.is_waiting

    def finish(self, messages: list[Message]) -> list[int]:
        """Let go of finished rows; gives those to delete."""
        self.holding.finish(message for message in messages if message.returns)
        return self.holding.finish(message for message in messages if not message.returns)

    def _read(self, readable: frozenset[int], limit: int) -> None:
        page = self._pages.get(readable)
        if page is None:
            page = self._pages[readable] = _page_of(sorted(readable))
        now = self._database.now()
        after = {f"after_{partition}": 0 for partition in readable}
        count = PAGE_ROWS + len(self.holding)
        while self.holding.ready < limit:
            values = {
                "topic": self._name,
                "now": now,
                "latest": now + 2 * self._longest.total_seconds(),
            }
            with self._database.reading() as connection:
                found = connection.execute(page, {**values, **after, "count": count}).all()
            for tag, partition, body in sorted(found):
                after[f"after_{partition}"] = tag
                if tag not in self.holding:
                    self._arrive(tag, partition, body)
            if len(found) < count:
                return
            count = min(count * 4, 1024)

    def _arrive(self, tag: int, partition: int, body: bytes) -> None:
        try:
            self.holding.arrive(tag, partition, bytes(body))
        except PermanentError as error:
            with self._database.writing() as connection:
                connection.execute(_REFUSAL, {"tag": tag, "because": error.code})


_REFUSAL = (
    update(rows)
    .where(rows.c.id == bindparam("tag"))
    .values(partition=PARKED, reason=bindparam("because"))
)


def _page_of(partitions: Sequence[int]) -> Any:
    """The first rows of each partition, in one statement that walks the index of each only as far as needed."""
    parts = [
        select(rows.c.id, rows.c.partition, rows.c.work)
        .where(
            and_(
                rows.c.topic == bindparam("topic"),
                rows.c.partition == partition,
                rows.c.id > bindparam(f"after_{partition}"),
                _VISIBLE,
            )
        )
        .order_by(rows.c.id)
        .limit(bindparam("count", type_=Integer))
        .subquery()
        for partition in partitions
    ]
    return union_all(*(select(part) for part in parts))


QUEUE = QueuePlugin(
    name="embedded",
    summary="a table of the ledger's database: for one machine, nothing to install",
    schemes=("embedded+sqlite", "embedded+postgresql", "embedded+postgresql+psycopg"),
    open=EmbeddedQueue,
)
