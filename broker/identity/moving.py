"""What an A43, A44 or A45 moves from one patient to another, and which documents go with it. Pure; no SQL.

A merge says that two numbers are one person; a move says that something was filed under the wrong one. Sources: HL7
v2.5.1 §3.3.43 (A43: an identifier that PID-3 and MRG-1 both carry), §3.3.44 (A44: account, PID-18 and MRG-3), §3.3.45
(A45: visit, PV1-19 and MRG-5); whatever is subordinate to what moves goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.document import Document, Identifier
from broker.identity import matching
from broker.identity.matching import Key, Records

What = Literal["identifiers", "account", "visit"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """What moves: `pairs` are the (system, value) of identifiers, of one account or of one visit."""

    what: What
    pairs: frozenset[Pair]

    def holds(self, document: Document) -> bool:
        """Whether a filed document belongs to what moves."""
        source = document.source.channel
        if self.what == "identifiers":
            keys = matching.keys_of(
                document.patient, document.source.format, source, production=False
            )
            return any(key.pair in self.pairs for key in keys.usable)
        if self.what == "account":
            account = document.patient.account if document.patient is not None else None
            return scoped(account, source) in self.pairs
        return any(scoped(one.identifier, source) in self.pairs for one in document.encounters)


@dataclass(frozen=True, slots=True)
class Move:
    """`part` goes to the patient of `target` (keys of PID-3); `moved` are the keys that name somebody else then.

    `source` are the keys of whom it is taken from. `reason` and `place` say why nothing can be moved.
    """

    part: Part
    source: tuple[Key, ...] = ()
    target: tuple[Key, ...] = ()
    moved: tuple[Key, ...] = ()
    reason: str = ""
    place: str = ""


def plan(document: Document, keys: Sequence[Key], prior: Sequence[Key], source: str) -> Move:
    """What a document of an A43, A44 or A45 from `source` asks for; `keys` are of PID-3, `prior` of MRG-1."""
    event = document.event
    code = event.code if event is not None else ""
    if code == "A43":
        return _identifiers(keys, prior)
    what: What = "account" if code == "A44" else "visit"
    place = "event.prior_patient.account" if what == "account" else "event.prior_visit"
    named = None
    if event is not None:
        before = event.prior_patient
        named = (before.account if before else None) if what == "account" else event.prior_visit
    pair = scoped(named, source)
    if pair is None:
        return Move(Part(what, frozenset()), reason="identity.prior_missing", place=place)
    return Move(Part(what, frozenset({pair})), tuple(prior), tuple(keys))


def _identifiers(keys: Sequence[Key], prior: Sequence[Key]) -> Move:
    """Of an A43 what both lists carry is moved, and the rest says from whom to whom; where they share nothing, PID-3
    is the new patient of all that MRG-1 names.
    """
    mine, theirs = {key.pair for key in keys}, {key.pair for key in prior}
    shared = mine & theirs
    moved = tuple(key for key in prior if key.pair in shared or not shared)
    target = tuple(key for key in keys if key.pair not in theirs)
    part = Part("identifiers", frozenset(key.pair for key in moved))
    if not target:
        return Move(part, reason="identity.move_target_missing", place=matching.PLACE)
    return Move(part, tuple(prior), target, moved)


def roots_from(move: Move, found: Mapping[Pair, int], records: Records) -> set[int]:
    """The records something is taken from: for an A43 those that the moved identifiers name."""
    keys = move.moved or move.source
    return {records.root(found[key.pair]) for key in keys if key.pair in found}


def scoped(identifier: Identifier | None, source: str) -> Pair | None:
    """An account or visit number under its authority; without one it is a number of the source that sent it."""
    if identifier is None or not identifier.value.strip() or identifier.value == '""':
        return None
    return matching.system_of(identifier) or f"source:{source}", identifier.value.strip()
