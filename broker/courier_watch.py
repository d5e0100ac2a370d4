"""Keeps one destination's courier at work: one that ends by an error of its own is started again alone, later and later.

The other destinations of the role do not notice. A new courier reads what the old one left in its journal, as after a
crash, so nothing is sent twice that need not be. It is said when a courier fails, and when it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Engine

from broker.database.engine import reading, writing
from broker.errors import CarnetError
from broker.records import destinations
from broker.telemetry import Telemetry

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)


class Run(Protocol):
    """A courier's `run`."""

    def __call__(self, stop: threading.Event, going: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Hired:
    """A courier and the queue it was given: `run` closes all but that."""

    run: Run
    close: Callable[[], None]


class CourierWatch:
    """One thread, one destination, one courier after the other until `stop` is set.

    Made on the thread that starts the role, where wrong settings still end it.
    """

    def __init__(
        self,
        name: str,
        hire: Callable[[], Hired],
        engine: Engine,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        first_pause: timedelta = FIRST_PAUSE,
    ) -> None:
        """Raises: SetupError when the destination cannot be made as it is set up."""
        self.name = name
        self._hire = hire
        self._engine = engine
        self._telemetry = telemetry
        self._clock = clock
        self._first_pause = first_pause
        self._pause = first_pause
        self._is_failing = False
        self._began = clock()
        self._next: Hired | None = hire()

    def run(self, stop: threading.Event) -> None:
        """Returns when `stop` is set."""
        with suppress(Exception), reading(self._engine) as connection:
            # What a process before said to have failed is to be said to be back.
            self._is_failing = destinations.has_failed(connection, self.name)
        while not stop.is_set():
            try:
                hired = self._next or self._hire()
                self._next = None
                self._began = self._clock()
                try:
                    hired.run(stop, self._going)
                finally:
                    hired.close()
            except Exception as error:  # noqa: BLE001 - the top of a thread
                self._failed(error)
                stop.wait(self._pause.total_seconds())
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if self._next is not None:
            self._next.close()

    def _failed(self, error: Exception) -> None:
        self._is_failing = True
        code = error.code if isinstance(error, CarnetError) else "courier.failed"
        self._telemetry.emit(
            "destination_failed", destination=self.name, code=code, error=type(error).__name__
        )
        self._note(lambda connection: destinations.failed(
            connection, self.name, code, self._clock()
        ))  # fmt: skip

    def _going(self) -> None:
        """A turn of the courier went well; it counts when it has run for as long as it was left alone before."""
        if not self._is_failing or self._clock() - self._began < self._pause / 2:
            return
        self._is_failing = False
        self._pause = self._first_pause
        self._telemetry.emit("destination_back", destination=self.name)
        self._note(lambda connection: destinations.back(connection, self.name, self._clock()))

    def _note(self, what: Callable[..., None]) -> None:
        """For `carnet status`. Nothing that goes wrong here may end the watch: this is the top of a thread."""
        with suppress(Exception), writing(self._engine) as connection:
            what(connection)
