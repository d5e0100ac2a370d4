"""What a message asks of identities, and whether two records may become one. Pure; no SQL.

A person is what messages are filed under and never changes; a record is all persons with one root. Merging moves a
pointer and nothing else. Sources: HL7 v2.5.1 §3.3.24 to §3.3.51; IHE PAM France 2.11.2 (A40, A47, A24, A37).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.document import Document
from broker.identity.matching import Key, Records, two_ins

Wish = Literal["", "merge", "link", "unlink", "renumber", "move", "unsupported"]
Outcome = Literal["merge", "same", "circular", "two_ins", "conflict"]

_MERGE = frozenset({"A18", "A30", "A34", "A36", "A39", "A40"})
_RENUMBER = frozenset({"A46", "A47"})
_MOVE = frozenset({"A43", "A44", "A45"})
_UNSUPPORTED = frozenset({"A23", "A29", "A48"})
"""Deleting a patient, or changing an identifier that is no key (PID-4), needs a person."""
_OF_ONE_PATIENT = frozenset({"A35", "A41", "A42", "A49", "A50", "A51"})
"""They join or rename accounts and visits of one patient: nothing of who it is changes."""


@dataclass(frozen=True, slots=True)
class Merging:
    """What a merge comes to: `absorbed` are the roots that go under the root `survivor` (None: not known yet)."""

    outcome: Outcome
    survivor: int | None = None
    absorbed: tuple[int, ...] = ()


def wish_of(document: Document) -> Wish:
    """What a document asks of identities; empty where it asks for nothing."""
    event = document.event
    if event is None or document.kind != "patient_event":
        return ""
    code = event.code
    if code == "A24":
        return "link"
    if code == "A37":
        return "unlink"
    if code in _RENUMBER:
        return "renumber"
    if code in _MOVE:
        return "move"
    if code in _UNSUPPORTED or event.operation == "delete":
        return "unsupported"
    if code in _OF_ONE_PATIENT:
        return ""
    if code in _MERGE or event.operation == "merge":
        return "merge"
    return "link" if event.operation == "link" else ""


def owner(
    keys: Sequence[Key], found: Mapping[tuple[str, str], int], records: Records
) -> int | None:
    """The person these keys name: of several within one record its root, else the oldest; None where none is known.

    Ask first whether they are of one record.
    """
    named = {found[key.pair] for key in keys if key.pair in found}
    if not named:
        return None
    root = records.root(next(iter(named)))
    return root if root in named else min(named)


def roots_of(
    keys: Sequence[Key], found: Mapping[tuple[str, str], int], records: Records
) -> set[int]:
    """The records these keys name, by their roots."""
    return {records.root(found[key.pair]) for key in keys if key.pair in found}


def plan_merge(
    keys: Sequence[Key],
    prior: Sequence[Key],
    found: Mapping[tuple[str, str], int],
    records: Records,
    known_ins: Mapping[int, Collection[tuple[str, str]]],
) -> Merging:
    """What becomes of "the patient of `prior` is the patient of `keys`" (PID-3 and MRG-1 of an A40).

    Two numbers of one INS authority are two people (MAT: `identity.two_ins`), whoever says otherwise. A merge into
    somebody who was merged into it before goes in a circle and changes nothing.
    """
    named, absorbed = roots_of(keys, found, records), roots_of(prior, found, records)
    numbers = [key.pair for key in (*keys, *prior) if key.strength == "ins"]
    for root in named | absorbed:
        for member in records.members(root):
            numbers += known_ins.get(member, ())
    if two_ins(numbers):
        return Merging("two_ins")
    outside = named - absorbed
    if len(outside) > 1:
        return Merging("conflict")
    survivor = next(iter(outside), None)
    if survivor is None and named:
        # All that PID-3 names is named by MRG-1 too: the strongest key says who stays.
        first = next(key.pair for key in keys if key.pair in found)
        survivor = records.root(found[first])
    gone = tuple(sorted(absorbed - {survivor}))
    if named and absorbed and not gone:
        upper, lower = owner(keys, found, records), owner(prior, found, records)
        is_circle = upper != lower and upper is not None and lower is not None
        is_circle = is_circle and records.is_under(upper or 0, lower or 0)
        return Merging("circular" if is_circle else "same", survivor)
    return Merging("merge", survivor, gone)
