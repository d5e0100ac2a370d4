"""The queue in a table of the ledger's own database: nothing to install, durable as the ledger is.

A row carries the claim checks of one `put` for one partition. One reader has a partition (`embedded_readers`) and
remembers which rows it holds: taking reads, and only putting and settling write, one transaction each. So no row
is locked or marked, and `FOR UPDATE SKIP LOCKED` has nothing to skip.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from broker.contracts import Lease, QueueOptions, QueuePlugin, Work
from broker.errors import PermanentError, SetupError, TransientError
from queues.embedded_readers import (
    CHANGE,
    READERS_OF,
    Change,
    Readership,
    Statements,
    metadata,
    readers,
)
from queues.holding import Holding, Message, Taken
from queues.packing import MAX_WORK, pack
from queues.topology import by_partition, own_partitions

SQLITE_BUSY_SECONDS = 30
PAUSES = (0.005, 0.025)
"""Seconds between two looks at an empty table: at first, and after a while."""

PAGE_ROWS = 16
PARKED = -1
"""The partition of parked work: nobody reads it."""

_CREATION_LOCK = 0x6361726E6574  # any number that no other part of Carnet locks

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
        self._database = _Database(url)
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

    def __init__(self, database: _Database, options: QueueOptions, name: str) -> None:
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


class _Database:
    """One connection to the database of the ledger, and the fates of its failures."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._reads = self._engine.execution_options(
            **({"queue_reads": True} if self._is_sqlite else {"isolation_level": "AUTOCOMMIT"})
        )
        self._is_prepared = False
        self._ahead: float | None = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One durable transaction. Raises: TransientError when it may not have happened."""
        with self._fates():
            self._prepare()
            with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One statement, without a transaction around it. Raises: TransientError."""
        with self._fates():
            self._prepare()
            with self._reads.connect() as connection:
                yield connection

    def now(self) -> float:
        """The database's time, in seconds since 1970: several machines share it."""
        if self._is_sqlite:
            return time.time()
        if self._ahead is None:
            with self.reading() as connection:
                clock = float(connection.execute(_CLOCK).scalar_one())
            self._ahead = clock - time.monotonic()
        return time.monotonic() + self._ahead

    def look(self, topic: str, partitions: int) -> tuple[float, list[Any]]:
        self._ahead = None
        now = self.now()
        with self.reading() as connection:
            found = list(connection.execute(READERS_OF, {"of_topic": topic}))
        if len(found) < partitions:
            with self.writing() as connection:
                self._lock(connection)
                known = {
                    row.partition for row in connection.execute(READERS_OF, {"of_topic": topic})
                }
                for partition in sorted(set(range(partitions)) - known):
                    connection.execute(insert(readers), _nobody(topic, partition))
            return self.look(topic, partitions)
        return now, sorted(
            (row for row in found if row.partition < partitions), key=lambda row: row.partition
        )

    def change(self, changes: Sequence[Change]) -> list[bool]:
        with self.writing() as connection:
            return [connection.execute(CHANGE, values).rowcount == 1 for values in changes]

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        if not self._is_prepared:
            with self._engine.begin() as connection:
                self._lock(connection)
                metadata.create_all(connection)
            self._is_prepared = True

    def _lock(self, connection: Connection) -> None:
        # SQLite has one writer at a time anyway.
        if not self._is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})

    @contextmanager
    def _fates(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            # The table may have been dropped by hand; the ledger puts back what it held.
            self._is_prepared = False
            raise TransientError(
                "queue.unavailable", where="queue", reason=type(error.orig).__name__
            ) from error


_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")


def _nobody(topic: str, partition: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "owner": "", "until": 0.0, "is_wanted": 0}


def _open(url: str) -> Engine:
    try:
        address = make_url(url.removeprefix("embedded+"))
    except ArgumentError as error:
        raise _unusable("not a database address") from error
    if address.get_backend_name() == "sqlite":
        return _open_sqlite(address)
    if address.get_backend_name() == "postgresql":
        return create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=1,
            max_overflow=0,
            connect_args={"options": "-c synchronous_commit=on"},
        )
    raise _unusable("neither SQLite nor PostgreSQL")


def _open_sqlite(address: URL) -> Engine:
    if not address.database or address.database == ":memory:":
        raise _unusable("SQLite needs a file: several processes share it")
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        address,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that later writes can fail with SQLITE_BUSY at once; an immediate one waits.
        if not connection.get_execution_options().get("queue_reads"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _unusable(reason: str) -> SetupError:
    return SetupError(
        "queue.url",
        where="queue.url",
        reason=reason,
        hint="embedded+sqlite:///data/carnet.db or embedded+postgresql+psycopg://user@host/name",
    )


QUEUE = QueuePlugin(
    name="embedded",
    summary="a table of the ledger's database: for one machine, nothing to install",
    schemes=("embedded+sqlite", "embedded+postgresql", "embedded+postgresql+psycopg"),
    open=EmbeddedQueue,
)
