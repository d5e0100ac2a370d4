"""A source run as the gateway runs it, on an event loop of its own, so that tests can be plain blocking clients."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from broker.contracts import Source
from broker.envelope import Envelope, Receipt
from broker.telemetry import Telemetry, TelemetryError

FIRST = datetime(2026, 3, 1, 8, 30, 0, 125000, tzinfo=UTC)
DEADLINE = 15.0


def stored(envelope: Envelope) -> Receipt:
    """The receipt of a message that is durable, under an id made of its bytes."""
    number = sum(envelope.body) & 0xFFFFFFFF
    message_id = f"01937e5c-1a2b-7abc-8def-0000{number:08x}"
    return Receipt(outcome="accepted", message_id=message_id, first_received_at=FIRST)


async def _store(envelope: Envelope) -> Receipt:
    return stored(envelope)


class Gateway:
    """Runs one source in a thread; remembers what it handed over and reported."""

    def __init__(self, accept: Callable[[Envelope], Awaitable[Receipt]] = _store) -> None:
        self.envelopes: list[Envelope] = []
        self.receipts: list[Receipt] = []
        self._telemetry = Telemetry(
            role="gateway", stream=io.StringIO(), strict=True, level="debug"
        )
        self.notices: list[tuple[str, dict[str, Any]]] = []
        self.accept = accept
        self.source: Source
        self.loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._task: asyncio.Task[None] | None = None
        self._over: Future[None] | None = None
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def notice(self, event: str, fields: dict[str, Any]) -> None:
        with self._changed:
            self.notices.append((event, fields))
            try:
                self._telemetry.notice(event, fields)
            except TelemetryError as error:
                self.notices.append(("not_in_the_catalogue", {"code": str(error)}))
            self._changed.notify_all()

    def start(self, source: Source) -> Gateway:
        """Run until it listens. Raises what `run` raises before that."""
        self.source = source
        self._over = asyncio.run_coroutine_threadsafe(self._run(), self.loop)
        self.until(lambda: source.address or (self._over is not None and self._over.done()))
        if self._over.done():
            self._over.result()
        return self

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        try:
            await self.source.run(self._accept)
        except asyncio.CancelledError:
            return

    async def _accept(self, envelope: Envelope) -> Receipt:
        with self._changed:
            self.envelopes.append(envelope)
            self._changed.notify_all()
        receipt = await self.accept(envelope)
        with self._changed:
            self.receipts.append(receipt)
            self._changed.notify_all()
        return receipt

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for something to be true; fails after a deadline."""
        end = time.monotonic() + DEADLINE
        with self._changed:
            while not holds():
                assert time.monotonic() < end, f"not within {DEADLINE} s; notices: {self.notices}"
                self._changed.wait(0.02)

    def cancel(self) -> None:
        """Ask the source to stop, without waiting for it."""
        if self._task is not None:
            self.loop.call_soon_threadsafe(self._task.cancel)

    def join(self) -> None:
        """Wait until `run` has returned."""
        if self._over is not None:
            self._over.result(DEADLINE)

    def close(self) -> None:
        if self._over is not None and not self._over.done():
            self.cancel()
            self.join()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE)
        self.loop.close()
        assert not self.codes("not_in_the_catalogue")

    @property
    def port(self) -> int:
        return int(self.source.address.rsplit(":", 1)[1])

    def codes(self, event: str) -> list[str]:
        """The codes of the notices of one kind, in order."""
        return [str(fields.get("code", "")) for name, fields in self.notices if name == event]
