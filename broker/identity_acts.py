"""What a person decides about identities: merge, un-merge, take back a move, link, unlink, say that two are different.

Each act first says what it would do (`Effect`), and does exactly that in one transaction with its journal and trail.
Un-merging leaves both records as if the merge had never been, and says who saw them as one meanwhile.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from broker.acts import Act
from broker.audit import trail
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.identity import matching
from broker.records import (
    document_moves,
    identity_candidates,
    identity_circle,
    identity_journal,
    patients,
)
from broker.records.identity_circle import Circle
from broker.records.identity_journal import ACTS, Change, Crossing, Look, Said
from broker.records.patients import PatientRow


@dataclass(frozen=True, slots=True)
class Effect:
    """What an act does, or did: the persons of either side, the records as rules see them afterwards.

    `problem` is a reason code why it cannot be done. `since` and `looks` say of an un-merge from when on the two were
    one, and who saw them so; `given_back` are documents that messages of the other side had changed. Of a move taken back,
    `documents` are those that go back, and looks are those at them where they did not belong.
    """

    act: str
    absorbed: tuple[int, ...] = ()
    survivors: tuple[int, ...] = ()
    after: tuple[PatientRow, ...] = ()
    problem: str = ""
    since: datetime | None = None
    looks: tuple[Look, ...] = ()
    given_back: tuple[Crossing, ...] = ()
    documents: tuple[str, ...] = ()


def merge(
    engine: Engine, absorbed: int, survivor: int, act: Act, *, dry_run: bool = False
) -> Effect:
    """Make the record of `absorbed` part of the record of `survivor`.

    Raises: SetupError("identity.unknown") where one of them does not exist.
    """
    with _opened(engine, dry_run) as connection:
        first = 0 if dry_run else identity_journal.lock(connection, 1, act.at)
        circle = _around(connection, absorbed, survivor)
        gone, stays = circle.root(absorbed), circle.root(survivor)
        one, other = circle.members(absorbed), circle.members(survivor)
        rows = patients.load(connection, circle.persons)
        if gone == stays:
            return Effect("merge", one, other, problem="identity.merged_already")
        known = patients.ins_of(connection, circle.persons)
        if matching.two_ins(pair for person in (*one, *other) for pair in known.get(person, ())):
            return Effect("merge", one, other, problem="identity.two_ins")
        after = identity_circle.together(rows, (*one, *other), stays)
        effect = Effect("merge", one, other, (after,))
        if not dry_run:
            change = Change("merge", gone, _said(act), other=stays, absorbed=one, survivors=other)
            _write(connection, first, change, act)
            identity_candidates.merged(connection, one, other, by=act.by, now=act.at)
    return effect


def unmerge(engine: Engine, person: int, act: Act, *, dry_run: bool = False) -> Effect:
    """Take a person out of the record it was merged into, with all who were merged into it.

    Raises: SetupError("identity.unknown") where it does not exist.
    """
    with _opened(engine, dry_run) as connection:
        first = 0 if dry_run else identity_journal.lock(connection, 1, act.at)
        circle = _around(connection, person)
        above = circle.above(person)
        if above is None:
            return Effect("unmerge", circle.members(person), problem="identity.not_merged")
        everybody = circle.members(person)
        gone = circle.below(person)
        stays = tuple(one for one in everybody if one not in gone)
        made = identity_journal.merge_of(connection, person)
        since = made.at if made is not None else act.at
        looks = identity_journal.looks(connection, everybody, since, act.at)
        crossings = identity_journal.crossings(connection, gone, stays, made.n if made else 0)
        rows = patients.load(connection, everybody)
        after = (
            identity_circle.together(rows, gone, person),
            identity_circle.together(rows, stays, circle.root(person)),
        )
        effect = Effect("unmerge", gone, stays, after, "", since, tuple(looks), tuple(crossings))
        if not dry_run:
            details = {
                "since": since.isoformat(),
                "looks": len(looks),
                "given_back": [one.document for one in crossings],
            }
            change = Change(
                "unmerge", person, _said(act), other=above, absorbed=gone, survivors=stays,
                reverts=made.n if made is not None else None, details=details,
            )  # fmt: skip
            identity_journal.give_back(connection, crossings)
            identity_candidates.parted(connection, gone, stays)
            _write(connection, first, change, act)
    return effect


def link(
    engine: Engine,
    one: int,
    other: int,
    act: Act,
    *,
    take_back: bool = False,
    dry_run: bool = False,
) -> Effect:
    """Show two patients together, or no longer; they stay two, and are filed separately.

    Raises: SetupError("identity.unknown") where one of them does not exist.
    """
    with _opened(engine, dry_run) as connection:
        first = 0 if dry_run else identity_journal.lock(connection, 1, act.at)
        _around(connection, one, other)
        is_linked = other in identity_journal.linked(connection, [one])
        word = "unlink" if take_back else "link"
        if one == other or is_linked != take_back:
            problem = "identity.not_linked" if take_back else "identity.linked_already"
            return Effect(word, (one,), (other,), problem=problem)
        rows = identity_circle.load(connection, [one, other])
        effect = Effect(word, (one,), (other,), tuple(rows.values()))
        if not dry_run:
            change = Change("unlink" if take_back else "link", one, _said(act), other=other)
            _write(connection, first, change, act)
            if not take_back:
                identity_candidates.decide(
                    connection, one, other, "linked", by=act.by, because=act.why, now=act.at
                )
    return effect


def unmove(engine: Engine, number: int, act: Act, *, dry_run: bool = False) -> Effect:
    """Take back a move (A43, A44, A45) by its number in the journal: identifiers and documents go back to whom they were
    taken from. What was filed for either since stays where it was filed.
    """
    with _opened(engine, dry_run) as connection:
        first = 0 if dry_run else identity_journal.lock(connection, 1, act.at)
        made = identity_journal.event(connection, number)
        if made is None or made.kind != "move" or made.other is None:
            return Effect("unmove", problem="identity.not_a_move")
        if identity_journal.is_reverted(connection, made):
            return Effect("unmove", problem="identity.unmoved_already")
        placed = [document_moves.Placed(name, person) for name, person in made.details["documents"]]
        owners = {(system, value): person for system, value, person in made.details["owners"]}
        there = document_moves.still_at(connection, placed, made.other)
        named = patients.find(connection, owners)
        if len(there) < len(placed) or any(named.get(pair) != made.other for pair in owners):
            return Effect("unmove", (made.patient,), (made.other,), problem="identity.move_stale")
        moved = {one.id for one in placed}
        members = identity_circle.around(connection, [made.other]).members(made.other)
        looks = [
            replace(look, read=read)
            for look in identity_journal.looks(connection, members, made.at, act.at)
            if (read := tuple(one for one in look.read if one[0] in moved)) or look.listed
        ]
        rows = identity_circle.load(connection, [made.patient, made.other])
        effect = Effect(
            "unmove", (made.patient,), (made.other,), tuple(rows.values()), "", made.at, tuple(looks),
            documents=tuple(one.id for one in placed),
        )  # fmt: skip
        if not dry_run:
            document_moves.move_back(connection, placed, made.other)
            patients.give_keys(connection, owners)
            details = {"looks": len(looks), "documents": made.details["documents"]}
            change = Change(
                "unmove", made.patient, _said(act), other=made.other, reverts=made.n, details=details
            )  # fmt: skip
            _write(connection, first, change, act)
    return effect


def different(engine: Engine, one: int, other: int, act: Act) -> bool:
    """Say of a pair of candidates that they are two people; False where the pair is not on the list."""
    with writing(engine) as connection:
        is_known = identity_candidates.decide(
            connection, one, other, "different", by=act.by, because=act.why, now=act.at
        )
        if is_known:
            entry = act.entry("candidate_decided", f"patient:{one}", "different", other=other)
            trail.write(connection, [entry], act.at)
    return is_known


def _opened(engine: Engine, dry_run: bool) -> AbstractContextManager[Connection]:
    return reading(engine) if dry_run else writing(engine)


def _around(connection: Connection, *persons: int) -> Circle:
    circle = identity_circle.around(connection, persons)
    if missing := set(persons) - circle.persons:
        raise SetupError(
            "identity.unknown",
            where=f"patient {min(missing)}",
            reason="no such patient",
            hint="carnet patient find",
        )
    return circle


def _said(act: Act) -> Said:
    return Said("operator", act.by, act.why or None)


def _write(connection: Connection, first: int, change: Change, act: Act) -> None:
    identity_journal.write(connection, first, [change], act.at)
    entry = trail.Entry(
        act=ACTS[change.kind],
        at=act.at,
        actor_kind="operator",
        actor=act.by,
        subject=f"patient:{change.patient}",
        motive=act.why or None,
        patient=change.other,
        software="carnet",
    )
    trail.write(connection, [entry], act.at)
