"""Retention: archive what is old enough, then prune it, stage by stage; by whole months. For the scheduler and the command.

What is not settled keeps its month alive and stops nothing else. One process does it at a time; it may die anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from broker import archiving, fault_points
from broker.archive.shelf import Shelf
from broker.audit import trail
from broker.database import partitions, space
from broker.database.engine import reading, writing
from broker.database.locks import HeldLock
from broker.errors import PermanentError, SetupError, TransientError
from broker.records import archiving as shelves
from broker.records import pruning
from broker.records.archiving import Shelved
from broker.settings_tables import Retention
from broker.telemetry import Telemetry
from broker.unpacking import unpack
from broker.values import month_of

_KEYS_AT_ONCE = 20_000


@dataclass(slots=True)
class Report:
    """What a run did: archives made, (archive, stage) pruned, messages that stay by month, archives that refused."""

    archived: list[Shelved] = field(default_factory=list)
    pruned: list[tuple[str, str]] = field(default_factory=list)
    left: dict[int, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    gives_back: bool = True


@dataclass(frozen=True, slots=True)
class Keeper:
    """Archives and prunes one installation. `progress` is told what it is at, and how far."""

    engine: Engine
    shelf: Shelf
    retention: Retention
    telemetry: Telemetry
    clock: Callable[[], datetime]
    is_stopped: Callable[[], bool] = lambda: False
    progress: Callable[[str, int], None] = lambda *_: None

    def run(self) -> Report:
        """Do what is due. Raises: TransientError("archive.running") when another process is at it, and what it meets."""
        report = Report(gives_back=space.gives_back(self.engine))
        if self.retention.archives_after is None:
            return report
        held = HeldLock(self.engine, "archive")
        if not held.acquire():
            raise TransientError("archive.running", where="archive")
        try:
            with writing(self.engine) as connection:
                partitions.ensure(connection, self.clock())
            self._archive(report)
            self._prune(report)
        finally:
            held.release()
        if report.pruned:
            space.give_back(self.engine, self.is_stopped)
        return report

    def _archive(self, report: Report) -> None:
        assert self.retention.archives_after is not None
        unpack(self.engine, "scheduler")
        end = month_of(self.clock() - self.retention.archives_after)
        with reading(self.engine) as connection:
            month = shelves.first_month(connection)
        while month is not None and month < end and not self.is_stopped():
            for made, left in archiving.archive_month(
                self.engine, self.shelf, month, self.clock,
                is_stopped=self.is_stopped, progress=self.progress,
            ):  # fmt: skip
                if left:
                    report.left[month] = report.left.get(month, 0) + left
                if made is not None:
                    report.archived.append(made)
                    self.telemetry.emit_many("archived", made.messages)
            with reading(self.engine) as connection:
                month = shelves.months_after(connection, month)

    def _prune(self, report: Report) -> None:
        bodies, deliveries, messages = self.retention.bounds
        for stage, bound in (
            ("messages", messages),
            ("deliveries", deliveries),
            ("bodies", bodies),
        ):
            if not bound:
                continue
            with reading(self.engine) as connection:
                due = shelves.shelved(
                    connection,
                    f"{stage}_pruned_at IS NULL AND month < :end",
                    end=month_of(self.clock() - bound),
                )
            for month in sorted({one.month for one in due}):
                if self.is_stopped():
                    return
                self._prune_month(stage, month, [o for o in due if o.month == month], report)

    def _prune_month(self, stage: str, month: int, due: Sequence[Shelved], report: Report) -> None:
        """Prune the archives of a month whose files are as they were written; others are left, and named."""
        sound = [one for one in due if self._is_sound(one, report)]
        # A partition holds deliveries for messages of earlier months too: with an archive amiss, none is dropped whole.
        if not report.refused and self._drop_partitions(stage, month):
            return
        for one in sound:
            self._take_out(stage, one)
        if stage == "messages":
            for table in pruning.KEYS:
                self._forget_keys(table, month)
        if self.is_stopped():
            return
        for one in sound:
            self._done(stage, one)
            report.pruned.append((one.name, stage))
            self.telemetry.emit_many("pruned", one.messages, stage=stage)

    def _is_sound(self, one: Shelved, report: Report) -> bool:
        try:
            archiving.expect(self.shelf, one)
        except (PermanentError, SetupError) as error:
            report.refused[one.name] = error.code
            self.telemetry.emit("retention_stopped", code=error.code)
            return False
        return True

    def _drop_partitions(self, stage: str, month: int) -> bool:
        """Drop whole partitions of the month; true when stopped in between."""
        with reading(self.engine) as connection:
            whole = pruning.whole_partitions(connection, stage, month)
        for name in whole:
            if self.is_stopped():
                return True
            self.progress(name, 0)
            partitions.drop(self.engine, name)
            fault_points.reach("prune.dropped")
        return False

    def _take_out(self, stage: str, one: Shelved) -> None:
        for kind in pruning.STAGES[stage]:
            with reading(self.engine) as connection:
                spans = shelves.spans(connection, one.name, kind)
            for first, last in pruning.runs(spans):
                if self.is_stopped():
                    return
                with writing(self.engine) as connection:
                    pruning.take_out(connection, stage, kind, first, last)
                fault_points.reach("prune.committed")
                self.progress(one.name, last - first + 1)

    def _forget_keys(self, table: str, month: int) -> None:
        after: int | None = 0
        while after is not None and not self.is_stopped():
            with writing(self.engine) as connection:
                after = pruning.forget_keys(connection, table, month, after, _KEYS_AT_ONCE)

    def _done(self, stage: str, one: Shelved) -> None:
        now = self.clock()
        with writing(self.engine) as connection:
            stages = pruning.STAGES if stage == "messages" else (stage,)
            for each in stages:
                shelves.pruned(connection, one.name, each, now)
            trail.write(connection, [archiving.entry("pruned", one, now, stage)], now)
