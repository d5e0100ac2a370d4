"""Acts on spaces: an event for some or many, with its trail, in one transaction a batch. For commands and the clock.

Documents that waited are received again in the same transaction, as replays, so that the lanes, the balance and the
trail of messages hold for them as for any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine

from broker.access import particulars
from broker.accounts import codes, days
from broker.accounts.codes import Kept, Verdict
from broker.acts import WRITER
from broker.audit import trail
from broker.contracts import Work
from broker.database import partitions
from broker.database.engine import writing
from broker.records import account_holders, account_moves, account_rows, messages, replaying
from broker.records.account_moves import By, Moved
from broker.records.account_rows import Space, Step
from broker.replay import REPLAYABLE

AT_ONCE = 200
"""Spaces of one transaction."""


@dataclass(slots=True)
class Result:
    """What was done: steps, spaces left with the reason, messages received again (as work) and messages dropped."""

    steps: list[Step] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    dropped: int = 0

    def add(self, other: Result) -> None:
        """Take what another batch did."""
        self.steps += other.steps
        self.left |= other.left
        self.work += other.work
        self.dropped += other.dropped


class _TakenBack(Exception):  # noqa: N818 - not an error
    """Ends the transaction of a dry run."""


class Accounts:
    """The acts of one process. `key` is the installation's key of digests, `zone` that of the site's days."""

    def __init__(self, engine: Engine, *, key: bytes, zone: ZoneInfo) -> None:
        self._engine = engine
        self._key = key
        self._zone = zone

    def bring(
        self,
        numbers: Sequence[int],
        event: str,
        by: By,
        now: datetime,
        *,
        born: Mapping[int, date] | None = None,
        change: Mapping[int, Mapping[str, object]] | None = None,
    ) -> Result:
        """Bring an event to spaces, `AT_ONCE` a transaction. Raises: TransientError; what was committed stays."""
        done = Result()
        for at in range(0, len(numbers), AT_ONCE):
            with writing(self._engine) as connection:
                some = numbers[at : at + AT_ONCE]
                done.add(self._bring(connection, some, event, by, now, born=born, change=change))
        return done

    def would(self, numbers: Sequence[int], event: str, now: datetime) -> Result:
        """What an event would do: done, looked at, and taken back."""
        done = Result()
        for at in range(0, len(numbers), AT_ONCE):
            try:
                with writing(self._engine) as connection:
                    some = numbers[at : at + AT_ONCE]
                    moved = account_moves.move(connection, some, event, By("dry run"), now)
                    done.steps += moved.steps
                    done.left |= moved.left
                    done.dropped += len(moved.dropped)
                    raise _TakenBack
            except _TakenBack:
                continue
        return done

    def inform(
        self,
        numbers: Sequence[int],
        by: By,
        now: datetime,
        *,
        mail: str = "",
        language: str = "",
        card: str = "",
    ) -> Result:
        """T1: the letter goes out, the six weeks begin, and the code is valid as long."""
        done = Result()
        for at in range(0, len(numbers), AT_ONCE):
            with writing(self._engine) as connection:
                some = numbers[at : at + AT_ONCE]
                spaces = account_rows.load(connection, some, lock=True)
                change = {
                    number: {
                        **self._with_code(space, now, card),
                        **({"mail": mail} if mail else {}),
                        **({"language": language} if language else {}),
                    }
                    for number, space in spaces.items()
                }
                done.add(self._bring(connection, some, "inform", by, now, change=change))
        return done

    def renew_code(self, number: int, by: By, now: datetime) -> Result:
        """T5b: another code, the one before is void."""
        with writing(self._engine) as connection:
            spaces = account_rows.load(connection, [number], lock=True)
            change = {n: self._with_code(space, now, "") for n, space in spaces.items()}
            return self._bring(connection, [number], "renew_code", by, now, change=change)

    def activate(
        self,
        number: int,
        code: str,
        card: str,
        by: By,
        now: datetime,
        *,
        is_identified: bool = False,
    ) -> tuple[Result, Verdict]:
        """T4, T5: with the code and the card's serial number, or identified otherwise (FranceConnect).

        A wrong attempt is counted and stands in the trail, whatever else fails.
        """
        with writing(self._engine) as connection:
            space = account_rows.load(connection, [number], lock=True).get(number)
            if space is None:
                return Result(left={number: "account.unknown_patient"}), "none"
            verdict: Verdict = "right"
            if not is_identified:
                verdict = codes.judge(space.code, self._key, number, code, card, now)
            if verdict != "right":
                self._note_try(connection, space, verdict, by, now)
                return Result(left={number: f"account.code_{verdict}"}), verdict
            return self._bring(connection, [number], "activate", by, now), verdict

    def attach(self, child: int, parent: int, born: date, by: By, now: datetime) -> Result:
        """M2: a child's space is reached from a parent's, up to the 18th birthday (M5)."""
        with writing(self._engine) as connection:
            known = account_rows.load(connection, [child, parent])
            if len(known) < 2 or child == parent:
                return Result(left={child: "account.unknown_patient"})
            if now >= days.of_age(born, days.PARIS):
                return Result(left={child: "account.of_age"})
            if not account_holders.attach(connection, child, parent, now):
                return Result(left={child: "account.attached_already"})
            by = By(by.actor, by.actor_kind, by.channel, by.reason or f"patient:{parent}")
            return self._bring(connection, [child], "attach", by, now, born={child: born})

    def detach(self, child: int, parent: int, by: By, now: datetime) -> Result:
        """M6: a parent is detached by decision."""
        with writing(self._engine) as connection:
            if not account_holders.detach(connection, [child], now, "M6", parent=parent):
                return Result(left={child: "account.not_attached"})
            return self._bring(connection, [child], "detach", by, now)

    def _with_code(self, space: Space, now: datetime, card: str) -> dict[str, object]:
        number = (space.code.number if space.code else space.events) + 1
        serial = codes.serial_digest(self._key, space.patient, card) or space.card
        made = codes.code_of(self._key, space.patient, number)
        digest = codes.code_digest(self._key, space.patient, made)
        until = days.window_ends(now, days.PARIS)
        return {"code": Kept(number, digest, serial, until, 0), "card": serial}

    def _note_try(
        self, connection: Connection, space: Space, verdict: Verdict, by: By, now: datetime
    ) -> None:
        if verdict == "wrong" and space.code is not None:
            kept = space.code
            tried = Kept(kept.number, kept.digest, kept.serial, kept.valid_until, kept.tries + 1)
            after = [replace(space, code=tried)]
            account_rows.store(connection, {space.patient: space}, after, now)
        entry = trail.Entry(
            act="activation_refused",
            at=now,
            actor_kind=by.actor_kind,
            actor=by.actor,
            subject=f"patient:{space.patient}",
            patient=space.patient,
            outcome=f"account.code_{verdict}",
            software="carnet",
            details=particulars(channel=by.channel, rule="R.1111-32"),
        )
        trail.write(connection, [entry], now)

    # --- one transaction ----------------------------------------------------------------------------------------

    def _bring(
        self,
        connection: Connection,
        numbers: Collection[int],
        event: str,
        by: By,
        now: datetime,
        *,
        born: Mapping[int, date] | None = None,
        change: Mapping[int, Mapping[str, object]] | None = None,
    ) -> Result:
        moved = account_moves.move(connection, numbers, event, by, now, born=born, change=change)
        work = self._receive_again(connection, moved.released, by, now)
        trail.write(connection, _entries(moved, by, now), now)
        return Result(moved.steps, moved.left, work, len(moved.dropped))

    def _receive_again(
        self, connection: Connection, seqs: Sequence[int], by: By, now: datetime
    ) -> list[Work]:
        if not seqs:
            return []
        partitions.ensure(connection, now)
        chosen = [
            one
            for one in replaying.by_seq(connection, seqs)
            if one.state in REPLAYABLE and not one.is_replay
        ]
        if not chosen:
            return []
        low, top = int(chosen[0].seq), int(chosen[-1].seq)
        selection = msgspec.json.encode({"waited": len(chosen)}).decode()
        run = replaying.begin(
            connection, selection, delivers=True, low=low, top=top, by=by.actor, now=now
        )
        replaying.advance(connection, run.number, run.position, top, len(chosen))
        replaying.end(connection, run.number, now)
        day = messages.day_of(now, self._zone)
        made = replaying.receive(connection, chosen, run.number, day=day, now=now, writer=WRITER)
        trail.received(connection, [(made[0][1], made[-1][1])], len(made))
        entries = [
            trail.Entry(
                act="replayed",
                at=now,
                actor_kind=by.actor_kind,
                actor=by.actor,
                subject=str(name),
                patient=one.person,
                software="carnet",
                details=msgspec.json.encode({"replay_of": str(one.id), "run": run.number}).decode(),
            )
            for one, _, name in made
        ]
        trail.write(connection, entries, now)
        return [Work(int(seq), one.lane) for one, seq, _ in made]


def _entries(moved: Moved, by: By, now: datetime) -> list[trail.Entry]:
    """One entry a transition, and one a message whose documents are not filed for it."""
    entries = [
        trail.Entry(
            act="account_moved",
            at=now,
            actor_kind=step.actor_kind,
            actor=step.actor,
            motive=step.reason or None,
            subject=f"patient:{step.patient}",
            patient=step.patient,
            outcome=step.transition,
            software="carnet",
            details=particulars(
                **{"from": step.before}, to=step.after, channel=step.channel, rule=step.rule
            ),
        )
        for step in moved.steps
    ]
    entries += [
        trail.Entry(
            act="wait_dropped",
            at=now,
            actor_kind=by.actor_kind,
            actor=by.actor,
            subject=name,
            software="carnet",
        )
        for _, name in moved.dropped
    ]
    return entries
