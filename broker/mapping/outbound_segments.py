"""Segments while they are filled: values at their places, OBX-2 and OBX-6 that follow from OBX-5, set ids. For `outbound`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.er7 import NULL, Repetition, Segment
from broker.mapping.hl7v2_fields import FIELD_TYPES
from broker.mapping.outbound_result import Typed
from broker.mapping.outbound_targets import Place

Draft = tuple[str, dict[int, list[Repetition]]]
"""A segment before its set id is known."""

_RESTARTED_BY = {
    "OBX": frozenset({"OBR", "RXA", "TXA"}),
    "SPM": frozenset({"OBR"}),
    "AIS": frozenset({"RGS"}),
    "AIP": frozenset({"RGS"}),
    "AIL": frozenset({"RGS"}),
    "AIG": frozenset({"RGS"}),
}
"""The segments a set id starts again behind; one of NTE starts again behind any other segment."""
_HAS_SET_ID = frozenset(
    name for name, kinds in FIELD_TYPES.items() if kinds.split()[0].rstrip("*") == "SI"
)


def numbered(drafts: list[Draft]) -> list[Segment]:
    """The segments with their set ids, where the mapping gave none."""
    counts: dict[str, int] = {}
    before = ""
    for name, fields in drafts:
        for counted in counts:
            if name in _RESTARTED_BY.get(counted, ()) or (counted == "NTE" and before != "NTE"):
                counts[counted] = 0
        counts[name] = counts.get(name, 0) + 1
        if name in _HAS_SET_ID:
            fields.setdefault(1, [((str(counts[name]),),)])
        before = name
    return [Segment(name, fields) for name, fields in drafts]


def put(made: dict[int, list[Repetition]], place: Place, value: Any) -> None:
    """A rule's value at its place; a component goes into the first repetition of what is there."""
    if place.component:
        first = _leaf(value)
        if first:
            repetitions = made.setdefault(place.field, [])
            repetitions[:1] = [_with(repetitions[0] if repetitions else NULL, place, first)]
        return
    values: Sequence[Any] = value if place.repeats and value != NULL else [value]
    found = [one for one in values if one is not None]
    if found and isinstance(found[0], Typed):
        kind, unit = found[0].type, found[0].unit
        made.setdefault(2, [((kind,),)])
        if unit:
            made.setdefault(6, [unit])
        found = [one.value for one in found]
    if found:
        made[place.field] = found


def _leaf(value: Any) -> str:
    """The text of a value that goes into a component: its first leaf. A component alone cannot be emptied."""
    return value[0][0] if value != NULL and value[0] else ""


def _with(repetition: Repetition, place: Place, text: str) -> Repetition:
    components = [*repetition, *[()] * (place.component - len(repetition))]
    leaves = list(components[place.component - 1])
    at = place.subcomponent or 1
    leaves += [""] * (at - len(leaves))
    leaves[at - 1] = text
    components[place.component - 1] = tuple(leaves)
    return tuple(components)
