"""Durable intake: many connections wait for one commit, then all are answered.

Nothing is acknowledged before its bytes are committed with the audit entry "received" (by `reception`). While a commit
runs, whatever arrives gathers for the next one: an idle broker answers at once, a busy one pays its commit per batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, QueuePool
from sqlalchemy.util import greenlet_spawn

from broker import fault_points
from broker.contracts import Work
from broker.database import together
from broker.envelope import Envelope, Receipt
from broker.errors import ParseError, TransientError
from broker.gathering import ENOUGH_COMPANY, Company
from broker.glance import glance
from broker.reception import FLUSH_EVERY, Answer, Arrival, OnConflict, Reception
from broker.telemetry import Telemetry
from broker.values import month_of

_LONG_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one commit and of what may wait for it."""

    max_batch: int = 500
    max_batch_bytes: int = 32 * 1024 * 1024
    max_pending: int = 20_000
    max_pending_bytes: int = 256 * 1024 * 1024
    max_bytes: int = 64 * 1024 * 1024


class Intake:
    """One per gateway process. `accept` and `run` belong to one event loop."""

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
        pressure: Callable[[], str] = str,
    ) -> None:
        """`pressure` says why nothing more may be taken in now (a reason code), or nothing."""
        self._engine = engine
        self._reception = Reception(
            engine,
            writer=writer,
            zone=zone,
            key=key,
            on_conflict=on_conflict,
            telemetry=telemetry,
            clock=clock,
        )
        self._key = key
        self._hand_over = hand_over
        self._telemetry = telemetry
        self._clock = clock
        self._limits = limits
        self._pressure = pressure
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake-commit")
        self._pending: list[Arrival] = []
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._moment: asyncio.TimerHandle | None = None
        self._company = Company()
        self._is_hurried = False
        """Whether one of those that wait is of a sender who waits for nothing but the answer."""
        self._closing = False
        # Two commits on their way where the database lets the loop go on: one is prepared while the other is written.
        self._room = asyncio.Semaphore(1 if engine.dialect.name == "sqlite" else 2)
        self._running: set[asyncio.Task[None]] = set()
        self._in_hand = 0
        self._active = 1

    def accept(self, envelope: Envelope) -> asyncio.Future[Receipt]:
        """Take one message in: the future is done when it is on the disk, or was refused and not kept."""
        loop = self._here()
        future: asyncio.Future[Receipt] = loop.create_future()
        if len(envelope.body) > self._limits.max_bytes:
            future.set_result(self._reception.refuse(envelope, "size.exceeded", "message"))
        elif len(self._pending) >= self._limits.max_pending or self._closing:
            future.set_result(self._reception.refuse(envelope, "intake.busy", "intake", later=True))
        elif reason := self._why_not_now():
            future.set_result(self._reception.refuse(envelope, reason, "intake", later=True))
        else:
            try:
                seen = glance(envelope, self._key)
            except ParseError as error:
                future.set_result(self._reception.refuse(envelope, error.code, error.where))
                return future
            fault_points.reach("intake.read")
            self._pending.append(Arrival(envelope, seen, future))
            self._pending_bytes += len(envelope.body)
            self._company.came(loop.time())
            if envelope.hurried and not self._is_hurried:
                self._is_hurried = True
                self._wait_no_longer()
            self._await_more()
        return future

    def notice(self, name: str, fields: dict[str, Any]) -> None:
        """What sources report (`broker.contracts.Notice`); any thread."""
        self._reception.notice(name, fields)

    def _why_not_now(self) -> str:
        if self._pending_bytes > self._limits.max_pending_bytes:
            return "pressure.memory"
        return self._pressure()

    async def run(self) -> None:
        """Commit what gathers, until closed and empty."""
        loop = self._here()
        ticking = loop.create_task(self._tick())
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            if self._pending and (not self._running or len(self._pending) >= ENOUGH_COMPANY):
                await self._commit_next()
                self._await_more()
            elif self._running:
                continue
            elif self._reception.is_flush_due:
                await loop.run_in_executor(self._thread, self._reception.flush)
        ticking.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await loop.run_in_executor(self._thread, partial(self._reception.flush, is_last=True))

    def _here(self) -> asyncio.AbstractEventLoop:
        """The loop of this intake; asked for once, since asking is a system call."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def close(self) -> None:
        """Refuse newcomers and let `run` finish what is in hand."""
        self._closing = True
        self._wake.set()

    def stop(self) -> None:
        """Release the thread, after `run` has returned."""
        self._thread.shutdown(wait=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY.total_seconds())
            self._wake.set()

    def _await_more(self) -> None:
        """Commit when enough wait, or a while after the first.

        Senders in a hurry who were just answered are about to send again: one commit for all of them beats one for the
        quickest and another for the rest, so a moment is waited for those. Many are two halves, one sending while the
        other is written. Where nobody is in a hurry and others are likely to come, they are waited for a while longer.
        A sender that is alone never waits.
        """
        enough, wait = self._company.patience(
            self._share(self._active), is_hurried=self._is_hurried
        )
        if len(self._pending) >= enough or self._closing:
            self._wake.set()
        elif self._pending and self._moment is None:
            self._moment = self._here().call_later(wait, self._moment_over)

    def _wait_no_longer(self) -> None:
        if self._moment is not None:
            self._moment.cancel()
            self._moment = None

    def _moment_over(self) -> None:
        self._moment = None
        self._wake.set()

    def _share(self, senders: int = 0) -> int:
        """How many of those who send at the same time make one commit: all, or half where that is enough for two."""
        senders = senders or self._in_hand + len(self._pending)
        return senders if senders < 2 * ENOUGH_COMPANY else -(-senders // 2)

    async def _commit_next(self) -> None:
        """Begin the next commit; returns when its numbers are reserved, so that the one after it has higher ones."""
        self._wait_no_longer()
        await self._room.acquire()
        batch = self._next_batch()
        self._in_hand += len(batch)
        loop = self._here()
        reserved: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(self._see_through(batch, reserved))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, len(batch)))
        await reserved

    def _ended(self, task: asyncio.Task[None], count: int) -> None:
        self._active = self._in_hand + len(self._pending)
        self._in_hand -= count
        self._running.discard(task)
        self._room.release()
        self._await_more()

    async def _see_through(self, batch: Sequence[Arrival], reserved: asyncio.Future[None]) -> None:
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

    def _next_batch(self) -> list[Arrival]:
        batch = self._pending[: min(self._limits.max_batch, self._share())]
        if self._pending_bytes > self._limits.max_batch_bytes:
            sizes = accumulate(len(arrival.envelope.body) for arrival in batch)
            fitting = sum(size <= self._limits.max_batch_bytes for size in sizes)
            batch = batch[: max(1, fitting)]
        self._pending = self._pending[len(batch) :]
        self._is_hurried = any(arrival.envelope.hurried for arrival in self._pending)
        self._pending_bytes -= sum(len(arrival.envelope.body) for arrival in batch)
        return batch

    async def _commit_or_refuse(
        self, batch: Sequence[Arrival], reserved: Callable[[], None]
    ) -> list[Answer]:
        """Commit a batch; where the database is away all are told to come back, where one is at fault only that one."""
        try:
            return await self._commit_twice(batch, reserved)
        except TransientError as error:
            self._telemetry.emit(
                "database_unavailable", code=error.code, where=error.where, count=len(batch)
            )
            return [self._not_now(one, error.code, error.where) for one in batch]
        except Exception as error:  # noqa: BLE001 - the top of a commit: nothing was promised yet
            if len(batch) == 1:
                self._telemetry.emit(
                    "intake_failed", source=batch[0].envelope.source, error=type(error).__name__
                )
                return [self._not_now(batch[0], "internal", "intake")]
        # One at a time; the next commit has its numbers behind the last of them.
        return [
            answer
            for arrival in batch
            for answer in await self._commit_or_refuse([arrival], lambda: None)
        ]

    def _not_now(self, arrival: Arrival, code: str, where: str) -> Answer:
        return self._reception.refuse(arrival.envelope, code, where, later=True), None

    async def _commit_twice(
        self, batch: Sequence[Arrival], reserved: Callable[[], None]
    ) -> list[Answer]:
        """A commit whose outcome was lost is tried again once: what it did store is then found and answered as stored."""
        try:
            return await self._commit(batch, reserved)
        except TransientError:
            # Connections may have to be made anew, which takes long where the server does not answer.
            return await self._commit(batch, reserved, beside=True)

    async def _commit(
        self, batch: Sequence[Arrival], reserved: Callable[[], None], *, beside: bool = False
    ) -> list[Answer]:
        """Commit on the event loop, which goes on while the database works; else on a thread.

        A thread beside a busy loop has both wait for the interpreter at every turn. It is for what blocks: SQLite, a
        connection or a partition still to be made, and bodies that take long to digest; and what is tried `beside` it.
        """
        if (
            not beside
            and self._engine.dialect.name != "sqlite"
            and cast(QueuePool, self._engine.pool).checkedin()
            and month_of(self._clock()) == self._reception.month
            and sum(len(arrival.envelope.body) for arrival in batch) < _LONG_BYTES
        ):
            return await greenlet_spawn(self._reception.store, batch, together.give_way, reserved)

        loop = self._here()

        def passed_on() -> None:
            loop.call_soon_threadsafe(reserved)

        return await loop.run_in_executor(
            self._thread, self._reception.store, batch, together.block, passed_on
        )
