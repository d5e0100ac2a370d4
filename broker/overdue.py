"""Finds answers that should have come by now: for the scheduler. They are said once, and stay awaited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from broker.database.engine import writing
from broker.records import expectations
from broker.telemetry import Telemetry

AT_ONCE = 1_000
"""Expectations of one transaction."""


class Overdue:
    """Marks what is past due, round by round, and says how many of each destination: one event each."""

    def __init__(self, engine: Engine, telemetry: Telemetry, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._clock = clock

    def find(self) -> Counter[str]:
        """How many answers of each destination became overdue. Raises: TransientError when the database is away."""
        now, found = self._clock(), Counter[str]()
        looked_at = AT_ONCE
        while looked_at == AT_ONCE:
            with writing(self._engine) as connection:
                looked_at, some = expectations.fall_due(connection, now, AT_ONCE)
            found.update(some)
        for destination, n in sorted(found.items()):
            self._telemetry.emit("answer_overdue", destination=destination, count=n)
        return found
