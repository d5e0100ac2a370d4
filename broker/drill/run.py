"""One drill from beginning to end: start, send, kill at every point, wait until all is settled, stop, prove."""

from __future__ import annotations

import random
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from broker import at_rest, fault_points
from broker.database import migrate
from broker.database.engine import open_engine
from broker.drill import orders, record
from broker.drill.evidence import gather
from broker.drill.partner import Partner
from broker.drill.proof import Promise, prove
from broker.drill.site import COMMAND, PARTNER, STRICT, WORKERS, Site
from broker.drill.traffic import Traffic
from broker.errors import SetupError, TransientError
from broker.fault_points import Point
from broker.settings import Settings
from broker.unpacking import unpack

ANSWER_SECONDS = 60.0
_ALL_EVERY = 25
_LEAST_SHARE = 4
_LOOK_SECONDS = 0.05
_COUNT_SECONDS = 0.5
"""Between two looks into the database, where a reader that never leaves keeps SQLite's log from being reused."""


@dataclass(frozen=True)
class Plan:
    """What a drill does. `points` empty means every point; `rate` is messages a second over all connections.

    After `quiet_seconds` in which nothing happens it goes on: a point that is still missing cannot be reached, and what
    is still open will not be settled.
    """

    seed: int
    kills: int
    database_url: str = field(repr=False)
    queue_url: str = field(default="embedded", repr=False)
    points: Sequence[str] = ()
    connections: int = 24
    patients: int = 240
    rate: float = 60.0
    quiet_seconds: float = 90.0
    command: Sequence[str] = COMMAND

    @property
    def is_postgresql(self) -> bool:
        return self.database_url.startswith("postgresql")


@dataclass(frozen=True)
class Progress:
    """How far it is: the step in words, kills, and messages answered AA."""

    step: str
    kills: int = 0
    acknowledged: int = 0


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """What came of it, for the report: kills by point, the promises, and how long killing and all of it took."""

    plan: Plan
    kills: Mapping[str, int]
    promises: Sequence[Promise]
    began: datetime
    seconds: float
    killing_seconds: float
    figures: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        return all(promise.holds for promise in self.promises)


def run(
    plan: Plan, folder: Path, tell: Tell = lambda _: None, stop: threading.Event | None = None
) -> Outcome:
    """Run a drill in an empty folder and on an empty database; `stop` ends the killing early.

    Raises: SetupError when it cannot begin: a point that does not exist, a database in use, a broker that does not start.
    """
    points = _points(plan)
    with _empty(plan.database_url) as engine:
        return _run(plan, points, engine, folder, tell, stop or threading.Event())


def _run(
    plan: Plan,
    points: Mapping[str, Point],
    engine: Engine,
    folder: Path,
    tell: Tell,
    stop: threading.Event,
) -> Outcome:
    began, clock = datetime.now(UTC), time.monotonic()
    partners = {PARTNER: Partner(plan.seed), STRICT: Partner(plan.seed + 1)}
    site = _site(plan, folder, partners)
    orders.write(site.orders, orders.orders(plan.seed, site.processes, points, plan.kills))
    drill = _Drill(plan, points, site, tell, stop)
    try:
        tell(Progress("starting the broker"))
        site.start()
        drill.traffic.start()
        begun = time.monotonic()
        drill.kill()
        killing = time.monotonic() - begun
        drill.settle(engine)
    finally:
        drill.traffic.stop(0.0)
        if not site.has_ended():
            site.kill()
        for partner in partners.values():
            partner.close()
    tell(Progress("proving the promises", sum(drill.kills().values()), drill.traffic.acknowledged))
    # Who patients are is sealed under the keys of the drill's own site.
    at_rest.attach(engine, Settings.default(site.folder))
    facts = gather(engine, drill.traffic, partners, drill.kills(), drill.findings)
    figures = {
        "messages answered AA": drill.traffic.acknowledged,
        **dict(sorted(drill.traffic.beside.items())),
        "arrivals at the partners": sum(len(one.arrivals) for one in partners.values()),
    }
    seconds = time.monotonic() - clock
    return Outcome(plan, drill.kills(), prove(facts), began, seconds, killing, figures)


class _Drill:
    """A drill under way."""

    def __init__(
        self,
        plan: Plan,
        points: Mapping[str, Point],
        site: Site,
        tell: Tell,
        stop: threading.Event,
    ) -> None:
        self.findings: list[str] = []
        """What was not as it should be, beside the promises."""
        self.traffic = Traffic(
            site.port,
            seed=plan.seed,
            run="D",
            connections=plan.connections,
            patients=plan.patients,
            rate=plan.rate,
        )
        self._plan = plan
        self._points = points
        self._site = site
        self._tell = tell
        self._stop = stop
        self._chance = random.Random(plan.seed)  # noqa: S311 - chance, not a secret
        self._all_killed = 0

    def kills(self) -> dict[str, int]:
        """Kills so far, by point."""
        counts = Counter(point for _, point in orders.carried_out(self._site.orders))
        counts[orders.ALL_PROCESSES] = self._all_killed
        return {name: counts[name] for name in self._points}

    def kill(self) -> None:
        """Wait until enough processes died at each point, and kill all of them together now and then."""
        # A point that is rarely passed should not make the drill endless: each gets a quarter of an equal share.
        share = max(1, self._plan.kills // (_LEAST_SHARE * len(self._points)))
        before, moved, all_due = 0, time.monotonic(), self._chance.randint(1, _ALL_EVERY)
        while not self._stop.wait(_LOOK_SECONDS):
            counts = self.kills()
            total = sum(counts.values())
            self._say("killing", total)
            if total > before:
                before, moved = total, time.monotonic()
            is_enough = total >= self._plan.kills
            if is_enough and min(counts.values()) >= share:
                break
            if time.monotonic() - moved > self._plan.quiet_seconds:
                self.findings.append(f"nothing died for {self._plan.quiet_seconds:.0f} s")
                break
            if self._site.has_ended():
                self.findings.append("the broker ended by itself while it was drilled")
                break
            if orders.ALL_PROCESSES in counts and (
                total >= all_due or len(counts) == 1 or (is_enough and self._all_killed < share)
            ):
                if not self._kill_all():
                    break
                all_due = total + self._chance.randint(_ALL_EVERY // 2, 2 * _ALL_EVERY)
        (self._site.orders / fault_points.OVER).touch()

    def _kill_all(self) -> bool:
        """Kill supervisor and roles at once, and start again; whether it came up."""
        self._stop.wait(self._chance.random())
        self._site.kill()
        self._all_killed += 1
        try:
            self._site.start()
        except SetupError as error:
            self.findings.append(f"after all processes were killed: {error.reason}")
            return False
        return True

    def settle(self, engine: Engine) -> None:
        """Finish what is in hand, wait until nothing moves, and ask the broker to end."""
        self._say("waiting for the last answers")
        if not self.traffic.stop(ANSWER_SECONDS):
            self.findings.append(
                f"a message was not answered AA within {ANSWER_SECONDS:.0f} s of the last kill"
            )
        moved, least = time.monotonic(), (0, 0)
        while (left := _unsettled(engine)) != (0, 0) and not self._site.has_ended():
            if left is not None and left != least:
                moved, least = time.monotonic(), left
                self._say(f"waiting: {left[0]} messages and {left[1]} deliveries are open")
            if time.monotonic() - moved > self._plan.quiet_seconds:
                self.findings.append(
                    f"{least[0]} messages and {least[1]} deliveries stay open and do not move"
                )
                break
            time.sleep(_COUNT_SECONDS)
        if self._site.has_ended():
            self.findings.append("the broker ended by itself")
            return
        try:
            code = self._site.stop()
        except subprocess.TimeoutExpired:
            self.findings.append("the broker did not end at SIGTERM")
        else:
            self.findings += [f"the broker ended with exit code {code}"] if code else []

    def _say(self, step: str, kills: int | None = None) -> None:
        total = sum(self.kills().values()) if kills is None else kills
        self._tell(Progress(step, total, self.traffic.acknowledged))


def _site(plan: Plan, folder: Path, partners: Mapping[str, Partner]) -> Site:
    site = Site(
        folder,
        plan.database_url,
        plan.queue_url,
        f"drill-{secrets.token_hex(4)}",
        {name: partner.port for name, partner in partners.items()},
        workers=WORKERS if plan.is_postgresql else 1,
        command=plan.command,
    )
    site.write()
    return site


def _points(plan: Plan) -> dict[str, Point]:
    try:
        points = orders.passable(plan.points, is_postgresql=plan.is_postgresql)
    except ValueError as error:
        raise SetupError("usage.point", where="--points", reason=str(error)) from error
    if not points:
        raise SetupError(
            "usage.point", where="--points", reason="no process passes them on this set-up"
        )
    return points


@contextmanager
def _empty(url: str) -> Iterator[Engine]:
    """A database that holds nothing yet. Raises: SetupError for any other: a drill never touches what is there."""
    engine = open_engine(url)
    try:
        _expect_nothing(engine)
        yield engine
    finally:
        engine.dispose()


def _expect_nothing(engine: Engine) -> None:
    try:
        found = migrate.revision(engine)
    except Exception as error:
        raise SetupError(
            "database.unreachable",
            where="--database",
            reason=f"the database does not answer ({type(error).__name__})",
            hint="check the address; the database must exist and be empty",
        ) from error
    if found is not None:
        raise SetupError(
            "drill.database_in_use",
            where="--database",
            reason="there is a ledger in this database already",
            hint="create an empty database for the drill, and drop it afterwards",
        )


def _unsettled(engine: Engine) -> tuple[int, int] | None:
    """What still moves; None where the database is too busy to say."""
    try:
        unpack(engine, "drill")
        return record.unsettled(engine)
    except TransientError:
        return None
