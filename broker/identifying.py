"""Whose each message of a batch is, and what it asks of identities: found, created, merged, linked, renumbered.

For the pipeline, in its transaction; a few statements a batch. A message is filed under the person its identifiers
name, for ever; merging changes which persons make up a record (ADR 0018). Messages are taken in order, so what one
says holds for those behind it. A replay changes no identity: what its original did stands in the journal.

Longer than other modules because each message must see what those before it did: one state, in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from broker.batch import InHand
from broker.database import sequences
from broker.document import Document, Patient
from broker.glance import lane_of
from broker.identity import matching, merging, moving, traits
from broker.identity.matching import Key, PatientKeys
from broker.records import (
    document_moves,
    identity_candidates,
    identity_circle,
    identity_journal,
    patients,
)
from broker.records.filing import FiledRow
from broker.records.identity_journal import Change, Said
from broker.records.patients import PatientRow
from broker.values import State

PARKED, HELD, WAITING = State.PARKED, State.HELD, State.WAITING
PLACE = "patient.identifiers"
PRIOR = "event.prior_patient.identifiers"

KeysOf = Callable[[InHand, Document, Patient | None], PatientKeys]
"""The usable keys of a patient that a document of a message names: its own, or the prior one."""

KEEP_TRAITS = frozenset(
    {
        "identity.merged", "identity.merged_already", "identity.circular", "identity.linked",
        "identity.unlinked", "identity.replayed",
    }
)  # fmt: skip
"""What was done by messages whose word on a patient's traits is not kept: undoing them must leave nothing behind."""

REPLAYED = "identity.replayed"
"""Why nothing is done by a message that is read again: what it changed then stands in the journal."""

CHANGING = frozenset({"merge", "link", "unlink", "renumber", "move"})


_Keys = tuple[
    dict[tuple[str, str], int],
    dict[int, list[tuple[str, str]]],
    list[patients.NewKey],
    dict[int, patients.NewPatient],
    set[tuple[str, str]],
]
"""Which identifiers name whom, as a batch has left it so far."""


@dataclass(slots=True)
class Wanted:
    """One document, what it asks of identities, and the keys it names its patient and the prior one by."""

    hand: InHand
    document: Document
    wish: merging.Wish
    keys: PatientKeys
    prior: PatientKeys = field(default_factory=lambda: PatientKeys(()))


class Identities:
    """The identities around one batch, kept current while it is gone through; written by `write` and `change`."""

    def __init__(
        self, connection: Connection, wanted: Sequence[Wanted], secret: bytes, now: datetime
    ) -> None:
        self._connection, self._secret, self._now = connection, secret, now
        changing = sum(one.wish in CHANGING for one in wanted)
        self._reserved = 4 * changing
        self._first_change = identity_journal.lock(connection, 4 * changing, now) if changing else 0
        pairs = {key.pair for one in wanted for key in (*one.keys.usable, *one.prior.usable)}
        self.found = patients.find(connection, pairs)
        self.circle = identity_circle.around(connection, set(self.found.values()))
        self.known_ins = patients.ins_of(connection, self.circle.persons)
        self._parted = (
            identity_journal.parted(connection, self.circle.persons) if changing else set()
        )
        self._most_new = len(wanted) + changing
        self._first = 0
        self._created: dict[int, patients.NewPatient] = {}
        self._added: list[patients.NewKey] = []
        self._taken: set[tuple[str, str]] = set()
        self._in_hand = [one.hand for one in wanted]
        self._before: tuple[InHand, _Keys] | None = None
        self.people: dict[int, PatientRow] = {}

    # --- one document after the other -----------------------------------------------------------------------------

    def take(self, one: Wanted) -> None:
        """Say whose a document is, and do what it asks."""
        hand = one.hand
        if hand.origin is not None and one.wish in CHANGING:
            hand.applied = REPLAYED
            person = merging.owner(one.keys.usable, self.found, self.circle)
        elif one.wish in CHANGING:
            person = self._change(one)
        else:
            person = self._match(one)
            if person is not None and one.wish == "unsupported" and hand.is_open:
                hand.end(PARKED, "identity.event_unsupported", "event")
        if person is not None and hand.person not in (None, person):
            hand.end(PARKED, "identity.several_patients", "patient")
        if not hand.is_open:
            self._undo(hand)
        if person is not None and hand.is_open:
            hand.person, hand.record = person, self.circle.members(person)

    def _undo(self, hand: InHand) -> None:
        """A message is followed wholly or not at all."""
        for change in hand.changes:
            if change.kind == "merge":
                self.circle.part(change.patient)
        hand.changes, hand.applied = [], None
        if self._before is not None and self._before[0] is hand:
            self._restore(self._before[1])

    def _match(self, one: Wanted) -> int | None:
        match = matching.match(one.keys, self.found, self._ins_of_records(one.keys), self.circle)
        if match.outcome == "new":
            return self._create(match.new_keys, one.document.patient)
        if match.patient is None:
            one.hand.end(HELD if match.outcome == "conflict" else PARKED, match.reason, match.place)
            return None
        self._add(match.patient, match.new_keys)
        return match.patient

    def _ins_of_records(self, keys: PatientKeys) -> dict[int, list[tuple[str, str]]]:
        """The INS of the records that keys name, by the person they name."""
        persons = {self.found[key.pair] for key in keys.usable if key.pair in self.found}
        return {
            person: [
                pair
                for member in self.circle.members(person)
                for pair in self.known_ins.get(member, ())
            ]
            for person in persons
        }

    def _change(self, one: Wanted) -> int | None:
        hand = one.hand
        if not one.keys.usable and one.wish != "renumber":
            missing = matching.match(one.keys, {})
            hand.end(PARKED, missing.reason, missing.place)
            return None
        if not one.prior.usable:
            hand.end(PARKED, "identity.prior_missing", PRIOR)
            return None
        if one.wish == "merge":
            return self._merge(one)
        if one.wish == "renumber":
            return self._renumber(one)
        if one.wish == "move":
            return self._move(one)
        return self._link(one)

    def _merge(self, one: Wanted) -> int | None:
        keys = one.keys.usable
        shared = {key.pair for key in keys}
        prior = [key for key in one.prior.usable if key.pair not in shared]
        plan = merging.plan_merge(keys, prior, self.found, self.circle, self.known_ins)
        if plan.outcome == "two_ins":
            one.hand.end(HELD, "identity.two_ins", PLACE)
            return None
        if plan.outcome == "conflict":
            one.hand.end(HELD, "identity.conflict", PLACE)
            return None
        if plan.survivor is not None and self._was_parted(plan.survivor, plan.absorbed):
            one.hand.end(HELD, "identity.parted", PRIOR)
            return None
        owner = self._owner_in(plan.survivor, keys)
        if owner is None:
            owner = self._create(
                [key for key in keys if key.pair not in self.found], one.document.patient
            )
        self._add(owner, [key for key in keys if key.pair not in self.found])
        absorbed = list(plan.absorbed)
        unknown = [key for key in prior if key.pair not in self.found]
        if unknown:
            named = merging.owner(prior, self.found, self.circle)
            if named is not None:
                self._add(named, unknown)
            else:
                event = one.document.event
                absorbed.append(self._create(unknown, event.prior_patient if event else None))
        survivor = self.circle.root(owner)
        for root in absorbed:
            change = Change(
                "merge",
                root,
                self._said(one),
                other=survivor,
                absorbed=self.circle.members(root),
                survivors=self.circle.members(survivor),
            )
            one.hand.changes.append(change)
            self.circle.merge(root, survivor)
        outcome = "merged" if absorbed else "merged_already"
        one.hand.applied = f"identity.{'circular' if plan.outcome == 'circular' else outcome}"
        return owner

    def _owner_in(self, survivor: int | None, keys: Sequence[Key]) -> int | None:
        """The person that keys name within the surviving record."""
        if survivor is None:
            return None
        mine = [
            key
            for key in keys
            if key.pair in self.found and self.circle.root(self.found[key.pair]) == survivor
        ]
        return merging.owner(mine, self.found, self.circle)

    def _was_parted(self, survivor: int, absorbed: Sequence[int]) -> bool:
        """Whether somebody un-merged these two before: what a person parted, only a person joins again."""
        return bool(self._parted) and any(
            frozenset((one, other)) in self._parted
            for root in absorbed
            for one in self.circle.members(root)
            for other in self.circle.members(survivor)
        )

    def _link(self, one: Wanted) -> int | None:
        persons = []
        event = one.document.event
        prior = event.prior_patient if event is not None else None
        for keys, who in ((one.keys.usable, one.document.patient), (one.prior.usable, prior)):
            if len(merging.roots_of(keys, self.found, self.circle)) > 1:
                one.hand.end(HELD, "identity.conflict", PLACE)
                return None
            person = merging.owner(keys, self.found, self.circle)
            if person is None:
                person = self._create([key for key in keys if key.pair not in self.found], who)
            persons.append(person)
        first, second = persons
        kind = "link" if one.wish == "link" else "unlink"
        one.hand.applied = f"identity.{kind}ed"
        if first != second:
            change = Change(
                "link" if kind == "link" else "unlink", first, self._said(one), other=second
            )
            one.hand.changes.append(change)
        return first

    def _renumber(self, one: Wanted) -> int | None:
        """Change or remove identifiers of one patient (A47). A local number that was changed still names them.

        An INS that was changed or removed names them no more: it may be somebody else's.
        """
        keys, prior = one.keys.usable, one.prior.usable
        both = (*keys, *prior)
        if len(merging.roots_of(both, self.found, self.circle)) > 1:
            one.hand.end(HELD, "identity.conflict", PLACE)
            return None
        person = merging.owner(prior, self.found, self.circle)
        person = merging.owner(keys, self.found, self.circle) if person is None else person
        local = [key for key in both if key.strength == "local"]
        kept = {key.pair for key in keys}
        gone = {key.pair for key in prior if key.strength == "ins" and key.pair not in kept}
        brought = [key for key in keys if key.strength == "ins"]
        if person is not None and gone and not brought:
            # A deletion drops NIR and NIA (PAM FR 2.11.2, A47).
            gone |= {pair for pair in self.known_ins.get(person, ()) if pair not in kept}
        mine = [
            pair
            for member in (self.circle.members(person) if person is not None else ())
            for pair in self.known_ins.get(member, ())
            if pair not in gone
        ]
        if matching.two_ins([*mine, *(key.pair for key in brought)]):
            one.hand.end(HELD, "identity.ins_differs", PLACE)
            return None
        fresh = [key for key in (*brought, *local) if key.pair not in self.found]
        if person is None:
            if not fresh:
                one.hand.end(PARKED, "identity.missing", PLACE)
                return None
            person = self._create(fresh, one.document.patient)
        else:
            self._add(person, fresh)
        removed = sorted(pair for pair in gone if self.found.get(pair) == person)
        for pair in removed:
            self._forget(person, pair)
        is_removal = bool(removed) and not brought
        one.hand.applied = "identity.ins_removed" if is_removal else "identity.renumbered"
        if removed or fresh:
            details = {"removed": removed, "added": [key.pair for key in fresh]}
            kind = "remove" if is_removal else "renumber"
            one.hand.changes.append(
                Change(
                    "remove" if kind == "remove" else "renumber",
                    person,
                    self._said(one),
                    details=details,
                )
            )
        return person

    def _move(self, one: Wanted) -> int | None:
        """Give an identifier, an account or a visit to another patient (A43, A44, A45), with what was filed under it.

        What came before for the patient it is taken from must be filed first, or it would stay behind.
        """
        hand, source = one.hand, one.hand.message.source
        if self._before is None or self._before[0] is not hand:
            self._before = (hand, self._snapshot())
        move = moving.plan(one.document, one.keys.usable, one.prior.usable, source)
        if move.reason:
            hand.end(PARKED, move.reason, move.place)
            return None
        roots = merging.roots_of(move.target, self.found, self.circle)
        others = moving.roots_from(move, self.found, self.circle)
        beside = merging.roots_of(move.source, self.found, self.circle)
        person = merging.owner(move.target, self.found, self.circle)
        if len(roots) > 1 or len(others) > 1 or (others and beside - others - roots):
            hand.end(HELD, "identity.conflict", PLACE)
            return None
        if others and others == roots:
            # Between persons of one record there is nothing to do: a visit's event is filed as any other.
            hand.applied = "identity.moved_already" if move.moved else None
            return person
        members = self.circle.members(next(iter(others))) if others else ()
        if self._stops(one, move, members, self.circle.members(person) if person else ()):
            return None
        fresh = [key for key in move.target if key.pair not in self.found]
        if person is None:
            person = self._create(fresh, one.document.patient)
        else:
            self._add(person, fresh)
        taken_from = merging.owner(move.moved or move.source, self.found, self.circle)
        owners = [(*key.pair, self.found[key.pair]) for key in move.moved if key.pair in self.found]
        self._give(person, move.moved)
        hand.applied = "identity.moved" if members else "identity.moved_nothing"
        if members and taken_from is not None:
            details = {
                "what": move.part.what,
                "pairs": sorted(move.part.pairs),
                "owners": owners,
                "persons": members,
                "documents": [],
            }
            change = Change("move", taken_from, self._said(one), other=person, details=details)
            hand.changes.append(change)
        return person

    def _stops(
        self, one: Wanted, move: moving.Move, members: Sequence[int], target: Sequence[int]
    ) -> bool:
        """Whether a move may not be done, or not yet; the message is ended then."""
        hand, seq = one.hand, one.hand.message.seq
        numbers = [key.pair for key in (*move.moved, *move.target) if key.strength == "ins"]
        numbers += [pair for member in target for pair in self.known_ins.get(member, ())]
        if matching.two_ins(numbers):
            hand.end(HELD, "identity.two_ins", PLACE)
            return True
        if not members:
            return False
        for event in identity_journal.moves_taken_back(self._connection, members):
            pairs = {(system, value) for system, value in event.details["pairs"]}
            same = event.details["what"] == move.part.what and pairs & move.part.pairs
            if same and (event.other in target or event.other is None):
                hand.end(HELD, "identity.move_taken_back", "event")
                return True
        document = one.document
        prior = document.event.prior_patient if document.event is not None else None
        lanes = {
            lane_of([(authority, number.value)], self._secret)
            for number in (prior.identifiers if prior is not None else ())
            for authority in {number.oid, number.uri, number.system, number.authority_name}
        }
        behind = document_moves.is_behind(
            self._connection, members, lanes, seq, {other.message.seq for other in self._in_hand}
        )
        stuck = {HELD: HELD, WAITING: WAITING}
        for other in self._in_hand:
            if other.message.lane in lanes and other.message.seq < seq and not behind:
                behind = stuck.get(other.verdict) if other.verdict is not None else None
        if behind is None and move.part.what != "identifiers":
            # An identifier leads what waits to the right patient by itself; an account or a visit does not.
            is_waiting = document_moves.wait_for_a_space(self._connection, members)
            behind = HELD if is_waiting else None
        if behind is not None:
            hand.end(behind, "identity.move_behind", PRIOR)
        return behind is not None

    def _give(self, person: int, keys: Sequence[Key]) -> None:
        """Identifiers name somebody else from here on."""
        for key in keys:
            owner = self.found.get(key.pair)
            if owner is not None:
                self._forget(owner, key.pair)
        self._add(person, [key for key in keys if self.found.get(key.pair) != person])

    def _forget(self, owner: int, pair: tuple[str, str]) -> None:
        del self.found[pair]
        self._taken.add(pair)
        self._added = [row for row in self._added if (row.key.system, row.key.value) != pair]
        if made := self._created.get(owner):
            left = tuple(key for key in made.keys if (key.system, key.value) != pair)
            self._created[owner] = replace(made, keys=left)
        self.known_ins[owner] = [one for one in self.known_ins.get(owner, ()) if one != pair]

    def _snapshot(self) -> _Keys:
        ins = {person: list(pairs) for person, pairs in self.known_ins.items()}
        return dict(self.found), ins, list(self._added), dict(self._created), set(self._taken)

    def _restore(self, keys: _Keys) -> None:
        self.found, self.known_ins, self._added, self._created, self._taken = keys
        self._before = None

    def _said(self, one: Wanted) -> Said:
        return Said("source", one.hand.message.source, message_seq=one.hand.message.seq)

    # --- what is new ----------------------------------------------------------------------------------------------

    def _create(self, keys: Sequence[Key], who: Patient | None) -> int:
        self._first = self._first or sequences.reserve(
            self._connection, "patient", self._most_new, self._now
        )
        person = self._first + len(self._created)
        digest = traits.strict_digest(who, self._secret)
        self._created[person] = patients.NewPatient(person, tuple(keys), who, digest)
        self.circle.add(person)
        self._note(person, keys)
        return person

    def _add(self, person: int, keys: Sequence[Key]) -> None:
        self._added += [patients.NewKey(person, key) for key in keys]
        self._note(person, keys)

    def _note(self, person: int, keys: Sequence[Key]) -> None:
        for key in keys:
            self.found[key.pair] = person
            if key.strength == "ins":
                self.known_ins.setdefault(person, []).append(key.pair)

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, hands: Sequence[InHand]) -> None:
        """Write who is new and what is new of them, and load whom decisions are about."""
        connection = self._connection
        if self._taken:
            self._note_filed(hands)
            identity_journal.take_keys(connection, self._taken)
        patients.create(connection, list(self._created.values()), self._now)
        patients.add_keys(connection, self._added, self._now)
        needed = {person for hand in hands for person in hand.record}
        self.people = patients.load(connection, needed)

    def _note_filed(self, hands: Sequence[InHand]) -> None:
        """What was filed under an INS that goes stands beside it in the journal: a person looks at it."""
        under = identity_journal.filed_under(self._connection, self._taken)
        for change in (change for hand in hands for change in hand.changes):
            removed = change.details.get("removed", ())
            found = {one: None for pair in removed for one in under.get(pair, ())}
            if removed and isinstance(change.details, dict):
                change.details["documents"] = list(found)

    def record(self, hand: InHand) -> PatientRow:
        """The record a message belongs to, as it was when the message came to its turn."""
        root = hand.record[0] if len(hand.record) == 1 else self._root_of(hand)
        return identity_circle.together(self.people, hand.record, root)

    def _root_of(self, hand: InHand) -> int:
        root = self.circle.root(hand.person or 0)
        return root if root in hand.record else min(hand.record)

    def change(self, hands: Sequence[InHand]) -> list[Change]:
        """Write what the messages that are still on their way did to identities."""
        for hand in hands:
            if hand.is_open and any(change.kind == "move" for change in hand.changes):
                self._carry(hand)
        changes = [change for hand in hands if hand.is_open for change in hand.changes]
        if changes:
            first = self._first_change
            if len(changes) > self._reserved:
                first = identity_journal.lock(self._connection, len(changes), self._now)
            identity_journal.write(self._connection, first, changes, self._now)
        for one in changes:
            if one.kind == "merge":
                identity_candidates.merged(
                    self._connection, one.absorbed, one.survivors, by=one.said.by, now=self._now
                )
        return changes

    def _carry(self, hand: InHand) -> None:
        """Move the documents of what moves, now that all that came before is filed."""
        for change in [one for one in hand.changes if one.kind == "move"]:
            details = dict(change.details)
            part = moving.Part(details["what"], frozenset(details["pairs"]))
            carried = document_moves.move(
                self._connection,
                details["persons"],
                change.other or 0,
                hand.message.seq,
                part.holds,
            )
            details["documents"] = [(one.id, one.person) for one in carried]
            hand.changes.remove(change)
            if carried or details["owners"]:
                hand.changes.append(replace(change, details=details))
        if not hand.changes:
            hand.applied = "identity.moved_nothing"

    def update_traits(self, said: Mapping[int, Patient]) -> None:
        """Keep the newest word on who these patients are, and look for those whose strict traits are the same."""
        created = {number: row.traits_digest for number, row in self._created.items()}
        # Who was created with these words by this batch has them already.
        said = {
            person: who
            for person, who in said.items()
            if person not in created or self._created[person].traits is not who
        }
        digests = {person: traits.strict_digest(who, self._secret) for person, who in said.items()}
        stale = {
            person
            for person, digest in digests.items()
            if person not in created and self.people[person].traits_digest != digest
        }
        patients.update_traits(self._connection, said, self._now, digests, stale)
        digests = created | digests
        news = {
            person: digest
            for person, digest in digests.items()
            if digest is not None
            and (person in self._created or self.people[person].traits_digest != digest)
        }
        identity_candidates.find(self._connection, news, self._now)


def identify(
    connection: Connection,
    hands: Sequence[InHand],
    keys_of: KeysOf,
    secret: bytes,
    now: datetime,
) -> Identities:
    """Find each message's patient by its identifiers, or create one, and do what messages ask of identities."""
    wanted = [
        _wanted(hand, document, keys_of)
        for hand in hands
        if hand.is_open
        for document in hand.documents
    ]
    made = Identities(connection, wanted, secret, now)
    held: set[int] = set()
    waiting: set[int] = set()
    for one in wanted:
        lane = one.hand.message.lane
        if one.hand.is_open and lane and lane in waiting:
            one.hand.end(WAITING, "lane.behind")
        elif one.hand.is_open and not (lane and lane in held):
            made.take(one)
            if one.hand.verdict == HELD:
                held.add(lane)
            elif one.hand.verdict == WAITING:
                waiting.add(lane)
    made.write(hands)
    return made


def crossed(hand: InHand, act: str, targets: Sequence[FiledRow]) -> list[Change]:
    """What a message does to documents of another person of its record: taken back where they are parted again."""
    became = {"replaced": "superseded", "deleted": "deleted"}.get(act)
    if became is None or hand.person is None:
        return []
    said = Said("source", hand.message.source, message_seq=hand.message.seq)
    return [
        Change(
            "cross",
            one.patient,
            said,
            other=hand.person,
            details={"document": one.id, "was": one.availability, "became": became},
        )
        for one in targets
        if one.patient != hand.person
    ]


def _wanted(hand: InHand, document: Document, keys_of: KeysOf) -> Wanted:
    keys, wish = keys_of(hand, document, document.patient), merging.wish_of(document)
    prior = document.event.prior_patient if wish and document.event is not None else None
    if prior is None:
        return Wanted(hand, document, wish, keys)
    # Of whom a number is taken is said by the number alone; elsewhere an INS counts only with a qualified identity.
    status = (
        "validated"
        if wish == "renumber"
        else document.patient.identity_status
        if document.patient
        else ""
    )
    qualified = msgspec.structs.replace(prior, identity_status=status)
    return Wanted(hand, document, wish, keys, keys_of(hand, document, qualified))
