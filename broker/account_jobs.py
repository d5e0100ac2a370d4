"""What happens to spaces by the clock: what is due is found by its date, and brought in batches. For the scheduler.

A stop in between loses nothing: what was not committed is still due.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Engine

from broker.account_acts import AT_ONCE, Accounts
from broker.accounts.days import PARIS
from broker.accounts.machine import TIMED
from broker.contracts import Work
from broker.database.engine import reading
from broker.reconcile import mirror
from broker.records import account_rows
from broker.records.account_moves import CLOCK
from broker.telemetry import Telemetry


class Put(Protocol):
    """Tells the queue of messages that are received again."""

    def __call__(self, work: Sequence[Work]) -> None: ...


class AccountJobs:
    """The jobs of one scheduler."""

    def __init__(
        self,
        engine: Engine,
        accounts: Accounts,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        put: Put,
    ) -> None:
        self._engine = engine
        self._accounts = accounts
        self._telemetry = telemetry
        self._clock = clock
        self._put = put

    def move(self) -> int:
        """Bring what is due to its spaces; returns how many transitions were made. Raises: TransientError.

        A space that refuses (its state has changed) keeps its date and is met again; it does not stop the others.
        """
        now, made = self._clock(), 0
        position: tuple[datetime, int] | None = None
        while True:
            with reading(self._engine) as connection:
                found = account_rows.due(connection, now, AT_ONCE, after=position)
            if not found:
                return made
            made += self._bring([(number, name) for number, name, _ in found], now)
            position = (found[-1][2], found[-1][0])

    def _bring(self, found: Sequence[tuple[int, str]], now: datetime) -> int:
        by_name: dict[str, list[int]] = defaultdict(list)
        for number, name in found:
            by_name[name].append(number)
        made = 0
        for name in sorted(by_name):
            done = self._accounts.bring(by_name[name], TIMED[name], CLOCK, now)
            made += len(done.steps)
            if done.work:
                self._put(done.work)
            if done.steps:
                self._telemetry.emit_many("account_moved", len(done.steps), transition=name)
            if done.left:
                self._telemetry.emit_many("account_stuck", len(done.left), transition=name)
        return made

    def check(self) -> int:
        """Whether accesses, lines the patient sees and notices agree, today and yesterday; how many patients not."""
        today = self._clock().astimezone(PARIS).date()
        gaps = 0
        for day in (today - timedelta(days=1), today):
            with reading(self._engine) as connection:
                for finding in mirror(connection, day.year * 10_000 + day.month * 100 + day.day):
                    gaps += finding.found or 0
        if gaps:
            self._telemetry.emit("mirror_gap", patients=gaps)
        return gaps
