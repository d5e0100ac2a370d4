"""Durable intake: many connections wait for one commit, then all are answered.

Nothing is acknowledged before its bytes are committed with the audit entry "received". While a commit runs, whatever
arrives gathers for the next one: an idle broker answers at once, a busy one pays its commit per batch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from threading import Lock
from time import perf_counter
from typing import Literal, cast
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine, QueuePool
from sqlalchemy.util import greenlet_spawn

from broker.audit import trail
from broker.contracts import Work
from broker.database import partitions, sequences, together
from broker.database.engine import writing
from broker.envelope import Envelope, Peer, Receipt
from broker.errors import ParseError, TransientError
from broker.events import words
from broker.glance import Glance, glance
from broker.records import lanes, messages, partners, tallies
from broker.telemetry import Telemetry
from broker.values import MessageId, Seq, State, month_of, sha256, uuid7

OnConflict = Literal["accept", "hold", "refuse"]

_RETRY_AFTER = timedelta(seconds=5)
_FLUSH_EVERY = timedelta(seconds=1)
_MOMENT_SECONDS = 0.001
_WORTH_ANOTHER = 16
_LONG_BYTES = 2 * 1024 * 1024

_Answer = tuple[Receipt, Work | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one commit and of what may wait for it."""

    max_batch: int = 500
    max_batch_bytes: int = 32 * 1024 * 1024
    max_pending: int = 20_000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class _Arrival:
    envelope: Envelope
    glance: Glance
    answered: asyncio.Future[Receipt] = field(repr=False)
    sha256: bytes = b""
    identity: tuple[int, int] = (0, 0)
    """What decides on duplicates: who sent it under which id, and with which bytes."""

    def identify(self) -> None:
        """Digest the bytes; on the commit thread, which the event loop need not wait for."""
        self.sha256 = sha256(self.envelope.body)
        digest = int.from_bytes(self.sha256[:8], "big", signed=True)
        key = messages.control_key(self.envelope.source, self.glance.control_id, digest)
        self.identity = (key, digest)


class Intake:
    """One per gateway process. `accept` runs on the event loop, commits one batch after the other."""

    def __init__(
        self,
        engine: Engine,
        *,
        writer: str,
        zone: ZoneInfo,
        key: bytes,
        on_conflict: Callable[[str], OnConflict],
        hand_over: Callable[[Sequence[Work]], None],
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        limits: Limits = Limits(),
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._zone = zone
        self._key = key
        self._on_conflict = on_conflict
        self._hand_over = hand_over
        self._telemetry = telemetry
        self._clock = clock
        self._limits = limits
        self._pending: list[_Arrival] = []
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake-commit")
        self._loop: asyncio.AbstractEventLoop
        # Two commits on their way where the database lets the loop go on: one is prepared while the other is written.
        self._room = asyncio.Semaphore(1 if engine.dialect.name == "sqlite" else 2)
        self._running: set[asyncio.Task[None]] = set()
        self._in_hand = 0
        self._active = 1
        self._moment: asyncio.TimerHandle | None = None
        self._sharing = Lock()
        self._refused: Counter[tuple[int, str, str]] = Counter()
        self._month = 0
        self._flows: Counter[tuple[str, str]] = Counter()
        self._latest: dict[str, datetime] = {}
        self._flushed = clock()

    def accept(self, envelope: Envelope) -> asyncio.Future[Receipt]:
        """Take one message in: the future is done when it is on the disk, or was refused and not kept."""
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        if len(envelope.body) > self._limits.max_bytes:
            future.set_result(self._refuse(envelope, "size.exceeded", "message"))
        elif len(self._pending) >= self._limits.max_pending or self._closing:
            future.set_result(self._refuse(envelope, "intake.busy", "intake", later=True))
        else:
            try:
                seen = glance(envelope, self._key)
            except ParseError as error:
                future.set_result(self._refuse(envelope, error.code, error.where))
                return future
            self._pending.append(_Arrival(envelope, seen, future))
            self._pending_bytes += len(envelope.body)
            self._await_more()
        return future

    async def run(self) -> None:
        """Commit what gathers, until closed and empty."""
        self._loop = asyncio.get_running_loop()
        ticking = self._loop.create_task(self._tick())
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            if self._pending and (not self._running or len(self._pending) >= _WORTH_ANOTHER):
                await self._commit_next()
                self._await_more()
            elif self._running:
                continue
            elif self._clock() - self._flushed >= _FLUSH_EVERY:
                await self._loop.run_in_executor(self._thread, self._flush_alone)
        ticking.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await self._loop.run_in_executor(self._thread, self._flush_alone)

    def close(self) -> None:
        """Refuse newcomers and let `run` finish what is in hand."""
        self._closing = True
        self._wake.set()

    def stop(self) -> None:
        """Release the thread, after `run` has returned."""
        self._thread.shutdown(wait=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_EVERY.total_seconds())
            self._wake.set()

    def _await_more(self) -> None:
        """Commit when all who sent lately wait again, or a moment after the first.

        Those who were just answered are about to send again: one commit for all of them beats one for the quickest
        and another for the rest. Many are two halves, one sending while the other is written. A sender that is alone
        never waits.
        """
        expected = self._active if self._active < 2 * _WORTH_ANOTHER else self._active // 2
        if len(self._pending) >= expected or self._closing:
            self._wake.set()
        elif self._pending and self._moment is None:
            self._moment = self._loop.call_later(_MOMENT_SECONDS, self._wake.set)

    async def _commit_next(self) -> None:
        """Begin the next commit; returns when its numbers are reserved, so that the one after it has higher ones."""
        if self._moment is not None:
            self._moment.cancel()
            self._moment = None
        await self._room.acquire()
        batch = self._next_batch()
        self._in_hand += len(batch)
        reserved: asyncio.Future[None] = self._loop.create_future()
        task = self._loop.create_task(self._see_through(batch, reserved))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, len(batch)))
        await reserved

    def _ended(self, task: asyncio.Task[None], count: int) -> None:
        self._active = self._in_hand + len(self._pending)
        self._in_hand -= count
        self._running.discard(task)
        self._room.release()
        self._await_more()

    async def _see_through(self, batch: Sequence[_Arrival], reserved: asyncio.Future[None]) -> None:
        def pass_on() -> None:
            if not reserved.done():
                reserved.set_result(None)

        try:
            answers = await self._commit_or_refuse(batch, pass_on)
        finally:
            pass_on()
        work = []
        for arrival, (receipt, todo) in zip(batch, answers, strict=True):
            if not arrival.answered.done():
                arrival.answered.set_result(receipt)
            if todo is not None:
                work.append(todo)
        if work:
            self._hand_over(work)

    def _next_batch(self) -> list[_Arrival]:
        batch = self._pending[: self._limits.max_batch]
        if self._pending_bytes > self._limits.max_batch_bytes:
            sizes = accumulate(len(arrival.envelope.body) for arrival in batch)
            fitting = sum(size <= self._limits.max_batch_bytes for size in sizes)
            batch = batch[: max(1, fitting)]
        self._pending = self._pending[len(batch) :]
        self._pending_bytes -= sum(len(arrival.envelope.body) for arrival in batch)
        return batch

    def _refuse(self, envelope: Envelope, code: str, where: str, *, later: bool = False) -> Receipt:
        day = messages.day_of(self._clock(), self._zone)
        with self._sharing:
            self._refused[(day, envelope.source, "refused_at_door")] += 1
        self._telemetry.emit("refused_at_door", source=envelope.source, code=code, where=where)
        return Receipt(
            outcome="refused",
            code=code,
            where=where,
            text=words(code).en,
            retry_after=_RETRY_AFTER if later else None,
        )

    async def _commit_or_refuse(
        self, batch: Sequence[_Arrival], reserved: Callable[[], None]
    ) -> list[_Answer]:
        """Commit a batch; where the database is away all are told to come back, where one is at fault only that one.

        A commit whose outcome was lost is tried again once: what it did store is then found and answered as stored.
        """
        try:
            return await self._commit(batch, reserved)
        except TransientError:
            pass
        except Exception as error:  # noqa: BLE001 - the top of a commit: nothing was promised yet
            if len(batch) == 1:
                self._telemetry.emit(
                    "intake_failed", source=batch[0].envelope.source, error=type(error).__name__
                )
                return [(self._refuse(batch[0].envelope, "internal", "intake", later=True), None)]
            return [
                answer
                for arrival in batch
                for answer in await self._commit_or_refuse([arrival], reserved)
            ]
        try:
            return await self._commit(batch, reserved)
        except TransientError as error:
            self._telemetry.emit(
                "database_unavailable", code=error.code, where=error.where, count=len(batch)
            )
            return [
                (self._refuse(one.envelope, error.code, error.where, later=True), None)
                for one in batch
            ]

    async def _commit(
        self, batch: Sequence[_Arrival], reserved: Callable[[], None]
    ) -> list[_Answer]:
        """Commit on the event loop, which goes on while the database works; else on a thread.

        A thread beside a busy loop has both wait for the interpreter at every turn. It is for what blocks: SQLite, a
        connection or a partition still to be made, and bodies that take long to digest.
        """
        if (
            self._engine.dialect.name != "sqlite"
            and cast(QueuePool, self._engine.pool).checkedin()
            and month_of(self._clock()) == self._month
            and sum(len(arrival.envelope.body) for arrival in batch) < _LONG_BYTES
        ):
            return await greenlet_spawn(self._store, batch, together.give_way, reserved)

        def passed_on() -> None:
            self._loop.call_soon_threadsafe(reserved)

        return await self._loop.run_in_executor(
            self._thread, self._store, batch, together.block, passed_on
        )

    # --- on the event loop or on the thread; two batches may be on their way at once ----------------------------

    def _store(
        self, batch: Sequence[_Arrival], wait: together.Wait, reserved: Callable[[], None]
    ) -> list[_Answer]:
        now = self._clock()
        begun = perf_counter()
        if month_of(now) != self._month:
            with writing(self._engine) as connection:
                partitions.ensure(connection, now)
        for arrival in batch:
            arrival.identify()
        with (
            self._refusals() as refused,
            together.writing_together(self._engine, wait) as connection,
        ):
            # The lock on the counter row orders gateways: what another one committed is seen by the look-up behind
            # it, so a message that reaches two gateways at once is still filed once.
            wanted = [arrival.identity for arrival in batch]
            numbers, found = together.ask(
                connection,
                [
                    sequences.reservation(connection, "message", len(batch), now),
                    messages.probe(connection, wanted),
                ],
            )
            first = int(numbers[0][0]) - len(batch) + 1
            reserved()
            known = messages.known(connection, wanted, found)
            rows, receipts = self._sort_out(batch, known, first, now)
            duplicates = Counter(
                arrival.envelope.source
                for arrival, receipt in zip(batch, receipts, strict=True)
                if receipt.duplicate
            )
            self._write(connection, rows, duplicates, refused, now)
        self._month = month_of(now)
        self._telemetry.observe("commit_seconds", perf_counter() - begun, stage="intake")
        self._telemetry.observe("batch_messages", len(batch), stage="intake")
        done = self._clock()
        waited: dict[str, list[float]] = {}
        for arrival in batch:
            seconds = (done - arrival.envelope.received_at).total_seconds()
            waited.setdefault(arrival.envelope.source, []).append(seconds)
        for source, all_seconds in waited.items():
            self._telemetry.observe_many("answer_seconds", all_seconds, source=source)
        work = {row.id: Work(row.seq, row.lane) for row in rows if row.state == State.RECEIVED}
        return [
            (receipt, None if receipt.duplicate else work.get(MessageId(receipt.message_id)))
            for receipt in receipts
        ]

    def _flush(self, connection: Connection, now: datetime) -> None:
        """Write rates and last receptions, once a second rather than once a commit.

        They are graphs, not the balance: a crash may lose the last second of them. The tallies lose nothing.
        """
        with self._sharing:
            flows, self._flows = self._flows, Counter()
            latest, self._latest = self._latest, {}
            self._flushed = now
        tallies.flow(connection, flows, now, self._writer)
        partners.received(connection, latest, self._writer)

    def _flush_alone(self) -> None:
        """Write what no commit took along: the rates of a burst that ended, and refusals at the door."""
        now = self._clock()
        if not (self._flows or self._refused):
            self._flushed = now
            return
        with (
            suppress(TransientError),
            self._refusals() as refused,
            writing(self._engine) as connection,
        ):
            tallies.tally(connection, refused, self._writer)
            self._flush(connection, now)

    @contextmanager
    def _refusals(self) -> Iterator[Counter[tuple[int, str, str]]]:
        """What was refused since the last commit, to be counted by this one; kept for the next when it fails."""
        with self._sharing:
            taken, self._refused = self._refused, Counter()
        try:
            yield taken
        except BaseException:
            with self._sharing:
                self._refused.update(taken)
            raise

    def _sort_out(
        self,
        batch: Sequence[_Arrival],
        known: dict[tuple[int, int], messages.Known],
        first: int,
        now: datetime,
    ) -> tuple[list[messages.Received], list[Receipt]]:
        """Which arrivals are new, which are duplicates, which collide; in the order they came."""
        rows: list[messages.Received] = []
        receipts: list[Receipt] = []
        day = messages.day_of(now, self._zone)
        here: dict[tuple[int, int], messages.Received] = {}
        ids_here: dict[tuple[str, str], Seq] = {}
        for number, arrival in enumerate(batch):
            before = known.get(arrival.identity)
            twin = here.get(arrival.identity)
            if twin is not None:
                receipts.append(_accepted(twin.id, twin.received_at, duplicate=True))
                continue
            if before is not None and before.same_bytes:
                receipts.append(_accepted(before.id, before.received_at, duplicate=True))
                continue
            source, control_id = arrival.envelope.source, arrival.glance.control_id
            collides = (
                before.seq if before is not None else ids_here.get((source, control_id or ""))
            )
            policy: OnConflict = self._on_conflict(source) if collides is not None else "accept"
            if collides is not None:
                self._telemetry.emit("conflict", source=source, policy=policy)
            if policy == "refuse":
                receipts.append(self._refuse(arrival.envelope, "control_id.conflict", "MSH-10"))
                continue
            row = _row(arrival, Seq(first + number), day, collides, held=policy == "hold")
            rows.append(row)
            here[arrival.identity] = row
            if control_id is not None:
                ids_here[(source, control_id)] = row.seq
            receipts.append(_accepted(row.id, row.received_at, duplicate=False))
        return rows, receipts

    def _write(
        self,
        connection: Connection,
        rows: Sequence[messages.Received],
        duplicates: Counter[str],
        refused: Counter[tuple[int, str, str]],
        now: datetime,
    ) -> None:
        messages.store(connection, rows, now)
        lanes.block(
            connection,
            [
                (row.lane, "held", row.seq, now, row.reason, None)
                for row in rows
                if row.state == State.HELD
            ],
        )
        counts = Counter(refused)
        flows: Counter[tuple[str, str]] = Counter()
        for row in rows:
            counts[(row.day, row.source, "received")] += 1
            counts[(row.day, row.source, tallies.FATES_BY_STATE[row.state])] += 1
            flows[(row.source, "received")] += 1
            flows[(row.source, "bytes")] += len(row.body)
            flows[(row.source, tallies.latency_measure("answer", now - row.received_at))] += 1
        with self._sharing:
            self._flows.update(flows)
            self._latest.update({row.source: row.received_at for row in rows})
        day = messages.day_of(now, self._zone)
        for source, n in duplicates.items():
            counts[(day, source, "duplicate_answered")] += n
            self._telemetry.emit_many("duplicate_answered", n, source=source)
        tallies.tally(connection, counts, self._writer)
        if now - self._flushed >= _FLUSH_EVERY:
            self._flush(connection, now)
        for source, n in Counter(row.source for row in rows).items():
            self._telemetry.emit_many("received", n, source=source)
        trail.write(
            connection,
            [
                trail.Entry(
                    act="received",
                    at=row.received_at,
                    actor_kind="machine",
                    actor=row.source,
                    subject=row.id,
                    control_id=row.control_id,
                    outcome=row.reason,
                )
                for row in rows
            ],
            now,
        )


def _accepted(message_id: str, received_at: datetime, *, duplicate: bool) -> Receipt:
    return Receipt(
        outcome="accepted",
        code="accepted",
        message_id=message_id,
        first_received_at=received_at,
        duplicate=duplicate,
    )


@lru_cache(maxsize=1024)
def _peer(peer: Peer) -> str:
    text = msgspec.json.encode(peer).decode()
    return "" if text == "{}" else text


def _row(
    arrival: _Arrival, seq: Seq, day: int, collides: Seq | None, *, held: bool
) -> messages.Received:
    envelope, seen = arrival.envelope, arrival.glance
    key, digest = arrival.identity
    return messages.Received(
        seq=seq,
        id=MessageId(uuid7(envelope.received_at)),
        source=envelope.source,
        received_at=envelope.received_at,
        day=day,
        kind=envelope.kind,
        format=seen.format,
        media=envelope.media,
        type=seen.type,
        version=seen.version,
        charset_declared=seen.charset,
        body=envelope.body,
        sha256=arrival.sha256,
        digest=digest,
        key=key,
        control_id=seen.control_id,
        sender=seen.sender,
        peer=_peer(envelope.peer),
        transport_keys=msgspec.json.encode(envelope.keys).decode() if envelope.keys else None,
        lane=seen.lane,
        answer_code="accepted",
        state=State.HELD if held else State.RECEIVED,
        reason="control_id.conflict_held" if held else None,
        conflicts_with=collides,
    )
