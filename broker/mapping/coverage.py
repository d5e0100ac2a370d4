"""Coverage of HL7v2: populated positions that no rule reads, so that no loss is silent. For `catalogue`.

Paths only, never values. Set ids, MSH-1 and MSH-2 are ignored by rule. Section 10 of the language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.mapping.hl7v2_fields import FIELD_TYPES

Reads = Mapping[str, Mapping[int, frozenset[int]]]
"""Segment to field to components read; component 0 means the whole field."""


def reads_of(reads: Iterable[tuple[str, int, int]]) -> Reads:
    """The static read set of a mapping, ready for lookups."""
    out: dict[str, dict[int, set[int]]] = {}
    for segment, field, component in reads:
        out.setdefault(segment, {}).setdefault(field, set()).add(component)
    return {s: {f: frozenset(c) for f, c in fields.items()} for s, fields in out.items()}


def unread(message: Any, reads: Reads, ignored: frozenset[str]) -> list[str]:
    """Populated fields (or components of fields read in part) outside the read set, in message order."""
    separators = message.separators
    out: dict[str, None] = {}
    for segment in message.segments:
        name = segment.name
        if name in ignored:
            continue
        read = reads.get(name, {})
        fields = segment.fields
        for number in range(1, len(fields)):
            raw = fields[number]
            if not raw or not _populated(raw, separators):
                continue
            components = read.get(number)
            if components is None:
                if not _is_structure(name, number):
                    out[f"{name}-{number}"] = None
            elif 0 not in components:
                for component in _components(raw, separators):
                    if component not in components:
                        out[f"{name}-{number}.{component}"] = None
    return [path for path in out if path not in ignored and path.split(".")[0] not in ignored]


def _is_structure(name: str, number: int) -> bool:
    if name in {"MSH", "FHS", "BHS"} and number <= 2:
        return True
    return number == 1 and FIELD_TYPES.get(name, "").startswith("SI")


def _populated(raw: str, separators: Any) -> bool:
    empty = separators.component + separators.repetition + separators.subcomponent + " "
    return bool(raw.strip(empty))


def _components(raw: str, separators: Any) -> list[int]:
    found = set()
    for repetition in raw.split(separators.repetition):
        for i, part in enumerate(repetition.split(separators.component), 1):
            if part.strip(separators.subcomponent + " "):
                found.add(i)
    return sorted(found)
