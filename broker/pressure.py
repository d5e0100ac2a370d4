"""Whether there is room for more: senders are told "not now" before anything is lost. For the gateway.

Three bounds: room on the disks that this process writes to, messages that are received and not settled, bytes that
wait for their commit. The first two are looked at now and then, off the event loop; what is refused for them is
taken again, without anybody's help, when there is a tenth more room than the bound asks for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from broker.database.engine import reading
from broker.errors import TransientError
from broker.records import lanes
from broker.telemetry import Telemetry

DISK = "pressure.disk"
BACKLOG = "pressure.backlog"
_EVERY = 1.0
_RELIEF = 1.1
"""How much more room than the bound asks for opens the intake again: it does not open and shut with every message."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least free bytes of each disk, most unsettled messages; 0 looks at neither."""

    min_free_bytes: int = 0
    max_backlog: int = 0


class Pressure:
    """Looks at disks and backlog; `reason` says why nothing more is taken in (a reason code), or is empty."""

    def __init__(
        self, engine: Engine, folders: Sequence[Path], bounds: Bounds, telemetry: Telemetry
    ) -> None:
        self._engine = engine
        self._folders = [*folders, *_database_folder(engine)]
        self._bounds = bounds
        self._telemetry = telemetry
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pressure", daemon=True)
        self.reason = ""

    def start(self) -> None:
        """Look once, and go on looking on a thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look now. What cannot be looked at is no reason: whoever writes there will say so."""
        before = self.reason
        relief = _RELIEF if before else 1.0
        found = ""
        if self._bounds.min_free_bytes and self._free() < self._bounds.min_free_bytes * relief:
            found = DISK
        elif self._bounds.max_backlog and self._backlog() * relief > self._bounds.max_backlog:
            found = BACKLOG
        self.reason = found
        if found and found != before:
            self._telemetry.emit("intake_shut", reason=found)
        elif before and not found:
            self._telemetry.emit("intake_opened", reason=before)

    def _free(self) -> int:
        room = [1 << 62]
        for folder in self._folders:
            try:
                found = os.statvfs(folder)
            except OSError:
                continue
            room.append(found.f_bavail * found.f_frsize)
        return min(room)

    def _backlog(self) -> int:
        try:
            with reading(self._engine) as connection:
                return lanes.unsettled(connection).messages
        except TransientError:
            return 0

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            self.look()


def _database_folder(engine: Engine) -> list[Path]:
    """Where SQLite keeps its file; PostgreSQL says itself when it has no room."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return []
    return [Path(engine.url.database).absolute().parent]
