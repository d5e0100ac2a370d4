"""Says that a source fell silent, and that it is back: for the scheduler. Each is said once, whoever restarts meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from broker.database.engine import reading, writing
from broker.records import silence
from broker.telemetry import Telemetry

EVERY = timedelta(minutes=5)
"""How often sources are looked at."""


class Silence:
    """Looks at the configured sources, by what is usual of each (`records.silence`)."""

    def __init__(
        self,
        engine: Engine,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        sources: Collection[str],
        zone: ZoneInfo,
    ) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._clock = clock
        self._sources = frozenset(sources)
        self._zone = zone

    def look(self) -> None:
        """Find who fell silent, and who is back. Raises: TransientError when the database is away."""
        now = self._clock()
        with reading(self._engine) as connection:
            last = silence.last_received(connection)
            said = silence.said(connection)
            asked = {
                source: at
                for source, at in last.items()
                if source in self._sources and source not in said
            }
            missed = silence.missed(connection, asked, now, self._zone)
        back = {source for source, one in said.items() if last[source] > one.since}
        gone = said.keys() - self._sources
        if not (missed or back or gone):
            return
        with writing(self._engine) as connection:
            silence.say(connection, {source: last[source] for source in missed}, now)
            silence.take_back(connection, back | gone, now)
        for source, usual in sorted(missed.items()):
            seconds = int((now - last[source]).total_seconds())
            self._telemetry.emit("source_silent", source=source, seconds=seconds, count=usual.count)
        for source in sorted(back - gone):
            seconds = int((last[source] - said[source].since).total_seconds())
            self._telemetry.emit("source_back", source=source, seconds=seconds)
