"""Receive stored messages again, in their order, each in its patient's lane: one run of `carnet messages replay`.

A run walks the numbers it chose at its beginning, so what is received meanwhile, its own replays above all, is never
among them. How far it got is committed with the rows it made: whoever starts the same selection again after a stop,
a kill or a power cut goes on behind the last of them. What a replay does to the record is said in `broker.replayed`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Engine

from broker.acts import WRITER, Act
from broker.audit import trail
from broker.contracts import Work
from broker.database import partitions
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.records import messages, replaying
from broker.records.replaying import Candidate, Run
from broker.values import SETTLED, State, month_of

REPLAYABLE = (State.FILED, State.DELIVERED_ONLY, State.FILTERED, State.SKIPPED)
AT_ONCE = 200
"""Messages of one transaction, at most."""
MOST_IDS = 10_000
_WAIT_SECONDS = 0.5


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is chosen: a range of time narrowed by filters, or ids. `type` is MSH-9 or its beginning (`ORU`)."""

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    type: str | None = None
    state: str | None = None
    mapping_set: str | None = None
    ids: tuple[str, ...] = ()

    def takes(self, one: Candidate) -> bool:
        """Whether the filters leave a message of the range."""
        return (
            (self.since is None or one.received_at >= self.since)
            and (self.until is None or one.received_at < self.until)
            and (self.source is None or one.source == self.source)
            and (self.type is None or _is_type(one.type, self.type))
            and (self.state is None or one.state.name.lower() == self.state)
            and (self.mapping_set is None or _is_set(one.mapping_set, self.mapping_set))
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """The numbers a selection lies within: `low` to `top`; of ids their numbers, `missing` those that are not there."""

    low: int
    top: int
    seqs: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a walk: messages to take, those left with the reason in a word, and the last number looked at."""

    chosen: Sequence[Candidate]
    left: Sequence[tuple[Candidate, str]]
    position: int


@dataclass(slots=True)
class Replayed:
    """What a run did: how many messages it received again, how many it left and why (with the first few ids)."""

    run: int
    taken: int = 0
    left: Counter[str] = field(default_factory=Counter)
    left_ids: dict[str, list[str]] = field(default_factory=dict)
    is_over: bool = False

    def leave(self, name: str, why: str) -> None:
        self.left[why] += 1
        if len(ids := self.left_ids.setdefault(why, [])) < 5:
            ids.append(name)


# --- choosing -----------------------------------------------------------------------------------------------------


def walk(engine: Engine, selection: Selection, now: datetime) -> Walk:
    """Where a selection lies. Raises: SetupError where it names neither a time nor ids."""
    with reading(engine) as connection:
        if selection.ids:
            found = replaying.seqs_of(connection, selection.ids)
            seqs = tuple(sorted(found.values()))
            missing = tuple(name for name in selection.ids if name not in found)
            return Walk(seqs[0] if seqs else 1, seqs[-1] if seqs else 0, seqs, missing)
        if selection.since is None:
            raise no_range()
        of = replaying.span(connection, selection.since, selection.until or now)
    return Walk(of.low, of.top)


def no_range() -> SetupError:
    """That a selection names neither a time nor ids: nobody means the whole ledger."""
    return SetupError(
        "usage.replay",
        where="--since",
        reason="from when on, or which messages",
        hint="add --since 2026-11-23T08:00, --day 2026-11-23, or message ids",
    )


def pages(engine: Engine, selection: Selection, over: Walk, after: int) -> Iterator[Page]:
    """The messages of a walk above the number `after`, in the order they came; a short transaction a page."""
    if selection.ids:
        left = [seq for seq in over.seqs if seq > after]
        for some in _groups(left, replaying.WINDOW):
            with reading(engine) as connection:
                yield _page(replaying.by_seq(connection, some), selection, some[-1])
        return
    while after < over.top:
        with reading(engine) as connection:
            found = replaying.window(connection, after, over.top, source=selection.source)
        after = found[-1].seq if len(found) == replaying.WINDOW else over.top
        yield _page(found, selection, after)


def _page(found: Sequence[Candidate], selection: Selection, position: int) -> Page:
    # Replays in a range of time are not asked for: their originals are.
    wanted = [one for one in found if selection.takes(one) and (selection.ids or not one.is_replay)]
    verdicts = [(one, against(one)) for one in wanted]
    return Page(
        [one for one, why in verdicts if not why],
        [(one, why) for one, why in verdicts if why],
        position,
    )


def against(one: Candidate) -> str:
    """Why a message is not received again, in a word; empty where nothing is against it."""
    if one.is_replay:
        return "is_replay"
    if one.state < SETTLED:
        return "unsettled"
    if one.state in REPLAYABLE:
        return ""
    return "parked" if one.state == State.PARKED else "discarded"


T = TypeVar("T")


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _is_type(found: str, wanted: str) -> bool:
    return found.upper() == wanted.upper() or found.upper().startswith(f"{wanted.upper()}^")


def _is_set(found: str | None, wanted: str) -> bool:
    """Rows keep the beginning of a hash; either may be the longer."""
    return bool(found) and (found or "").startswith(wanted[: len(found or "")])


# --- a run --------------------------------------------------------------------------------------------------------


def begin(
    engine: Engine, selection: Selection, act: Act, *, delivers: bool
) -> tuple[Run, Walk, bool]:
    """The run of a selection: a new one, or the one of the same selection that was not brought to its end.

    Returns it, the numbers it walks, and whether it goes on. Raises: SetupError.
    """
    text = msgspec.json.encode(selection).decode()
    over = walk(engine, selection, act.at)
    with writing(engine) as connection:
        run = replaying.unfinished(connection, text, delivers=delivers)
        if run is not None:
            entry = act.entry("replay_started", f"replay:{run.number}", "goes_on")
            trail.write(connection, [entry], act.at)
            return run, Walk(run.low, run.top, over.seqs, over.missing), True
        run = replaying.begin(
            connection, text, delivers=delivers, low=over.low, top=over.top, by=act.by, now=act.at
        )
        shown = msgspec.to_builtins(selection) | {"delivers": delivers}
        if selection.ids:
            shown["ids"] = len(selection.ids)
        entry = act.entry("replay_started", f"replay:{run.number}", None, **shown)
        trail.write(connection, [entry], act.at)
    return run, over, False


class Replayer:
    """Takes one run to its end, or as far as it is let.

    `gate` says why nothing more is received for now (a reason code, or empty), `hand_over` tells the queue,
    `progress` is told the number looked at last. `rate` is messages a second.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        zone: ZoneInfo,
        rate: float,
        gate: Callable[[], str],
        hand_over: Callable[[Sequence[Work]], None],
        progress: Callable[[int, str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._zone = zone
        self._rate = rate
        self._gate = gate
        self._hand_over = hand_over
        self._progress = progress
        self._clock = clock
        self._month = 0

    def run(
        self, run: Run, selection: Selection, over: Walk, act: Act, stop: threading.Event
    ) -> Replayed:
        """Receive what is chosen until `stop` is set; each transaction is whole. Raises: TransientError."""
        done = Replayed(run.number)
        position = run.position
        size = max(1, min(AT_ONCE, int(self._rate)))
        for name in over.missing if run.position < run.low else ():
            done.leave(name, "missing")
        begun = time.monotonic()
        for page in pages(self._engine, selection, over, position):
            for one, why in page.left:
                done.leave(one.id, why)
            for some in _groups(page.chosen, size):
                if not self._may_go_on(begun + done.taken / self._rate, position, stop):
                    return done
                position = self._receive(run, position, some, act)
                done.taken += len(some)
                self._progress(position, "")
            self._progress(page.position, "")
            if stop.is_set():
                return done
        now = self._clock()
        with writing(self._engine) as connection:
            replaying.end(connection, run.number, now)
            total = run.replayed + done.taken
            entry = act.entry("replay_ended", f"replay:{run.number}", None, replayed=total)
            trail.write(connection, [entry], now)
        done.is_over = True
        return done

    def _may_go_on(self, due: float, position: int, stop: threading.Event) -> bool:
        """Wait for the next batch's time, and for room; False where the run is to stop."""
        while not stop.is_set():
            reason = self._gate()
            wait = due - time.monotonic()
            if not reason and wait <= 0:
                return True
            self._progress(position, reason)
            stop.wait(_WAIT_SECONDS if reason else min(wait, _WAIT_SECONDS))
        return False

    def _receive(self, run: Run, position: int, some: Sequence[Candidate], act: Act) -> int:
        now = self._clock()
        if month_of(now) != self._month:
            with writing(self._engine) as connection:
                partitions.ensure(connection, now)
            self._month = month_of(now)
        with writing(self._engine) as connection:
            if not replaying.advance(connection, run.number, position, some[-1].seq, len(some)):
                raise SetupError(
                    "replay.elsewhere",
                    where=f"replay:{run.number}",
                    reason="another process takes this run on",
                    hint="let it; or stop it, and start this again",
                )
            day = messages.day_of(now, self._zone)
            made = replaying.receive(connection, some, run.number, day=day, now=now, writer=WRITER)
            trail.received(connection, [(made[0][1], made[-1][1])], len(made))
            entries = [
                act.entry("replayed", name, None, replay_of=one.id, run=run.number)
                for one, _, name in made
            ]
            trail.write(connection, entries, now)
        self._hand_over([Work(seq, one.lane) for one, seq, _ in made])
        return int(some[-1].seq)
