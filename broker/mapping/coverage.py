"""Coverage of HL7v2: populated positions that no rule reads, so that no loss is silent. For `catalogue`.

Paths only, never values. Set ids, MSH-1 and MSH-2 are ignored by rule. Section 10 of the language.
Fast mode knows what the mapping reads at all. Full mode also knows what was looked at in this message: a field whose
only rule stands under a `when` that does not hold, or in a segment that no loop reached, is unread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex

from broker.mapping.hl7v2_fields import FIELD_TYPES

Place = tuple[str, int, int]
"""Segment, field, component; component 0 is the whole field."""

Suspect = tuple[int, str, frozenset[int] | None]
"""A field number, its path, and the components of it that are read (None: not one)."""

_MOST_FIELDS = 128
_MOST_SEGMENTS = 256


@dataclass(frozen=True, slots=True)
class Reads:
    """What the rules of a mapping read.

    components: segment to field to the components read
    repeating: fields of which every repetition, or a chosen one, is read
    alternatives: fields read only where another one is missing (`first_of`): unused, they say the same again
    """

    components: dict[str, dict[int, frozenset[int]]] = field(default_factory=dict)
    repeating: frozenset[tuple[str, int]] = frozenset()
    alternatives: frozenset[tuple[str, int]] = frozenset()


def reads_of(
    reads: Iterable[Place],
    repeating: Iterable[tuple[str, int]] = (),
    alternatives: Iterable[Place] = (),
) -> Reads:
    """The static read set of a mapping, ready for lookups."""
    out: dict[str, dict[int, set[int]]] = {}
    for segment, number, component in reads:
        out.setdefault(segment, {}).setdefault(number, set()).add(component)
    return Reads(
        {s: {f: frozenset(c) for f, c in fields.items()} for s, fields in out.items()},
        frozenset(repeating),
        frozenset((segment, number) for segment, number, _ in alternatives),
    )


class Suspects(dict[str, tuple[Suspect, ...]]):
    """By segment name, the fields that a rule reads in part or not at all; worked out when a segment is first met.

    For fast mode, which looks at nothing else: what a mapping reads whole needs no look. Names are the sender's, so
    only so many are remembered.
    """

    def __init__(self, reads: Reads, ignored: Collection[str]) -> None:
        super().__init__()
        self._reads = reads
        self._ignored = ignored

    def __missing__(self, name: str) -> tuple[Suspect, ...]:
        read = {} if name in self._ignored else self._reads.components.get(name, {})
        numbers = () if name in self._ignored else range(1, _MOST_FIELDS)
        found = tuple(
            (number, f"{name}-{number}", read.get(number))
            for number in numbers
            if 0 not in read.get(number, ())
            and not _is_structure(name, number)
            and f"{name}-{number}" not in self._ignored
        )
        if len(self) < _MOST_SEGMENTS:
            self[name] = found
        return found


def unread_fast(message: Any, suspects: Suspects, ignored: Collection[str]) -> list[str]:
    """As `unread`, by what the mapping reads at all; repetitions beyond those that are read are not told."""
    separators = message.separators
    mark = separators.component
    found: dict[str, None] = {}
    for segment in message.segments:
        fields = segment.fields
        count = len(fields)
        for number, path, components in suspects[segment.name]:
            if number >= count:
                break
            raw = fields[number]
            if not raw:
                continue
            if components is None:
                if raw.isalnum() or _populated(raw, separators):
                    found[path] = None
            elif mark in raw or 1 not in components:
                for component, _ in _components(raw, separators):
                    if component not in components:
                        found[f"{path}.{component}"] = None
    return [path for path in found if path not in ignored]


class Watched(list[str]):
    """The fields of a segment, and which of them were looked at."""

    __slots__ = ("touched",)

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__(fields)
        self.touched: set[SupportsIndex | slice] = set()

    def __getitem__(self, index: Any) -> Any:
        self.touched.add(index)
        return super().__getitem__(index)


def watched(message: Any) -> Any:
    """The message for full mode: its segments note which fields are looked at."""
    kind = type(message.segments[0])
    return replace(message, segments=[kind(s.name, Watched(s.fields)) for s in message.segments])


def unread(message: Any, reads: Reads, ignored: Collection[str]) -> list[str]:
    """Paths of populated fields, components or repetitions that nothing reads, in message order, each once."""
    return list(dict.fromkeys(path for path, _ in unread_values(message, reads, ignored)))


def unread_values(
    message: Any, reads: Reads, ignored: Collection[str]
) -> Iterator[tuple[str, str]]:
    """(path, raw text) of each of them; `OBR-16[2]` stands for the second and any further repetition."""
    repetition = message.separators.repetition
    for segment in message.segments:
        name, fields = segment.name, segment.fields
        if name in ignored:
            continue
        components = reads.components.get(name, {})
        touched = fields.touched if isinstance(fields, Watched) else None
        for number, raw in enumerate(fields):
            if not raw or not number:
                continue
            if (
                (touched is None or number in touched)
                and 0 in components.get(number, ())
                and (repetition not in raw or (name, number) in reads.repeating)
            ):
                continue
            if not _is_structure(name, number):
                for path, text in _of_field(message, reads, segment, number, raw):
                    if not _is_ignored(path, ignored):
                        yield path, text


def _of_field(
    message: Any, reads: Reads, segment: Any, number: int, raw: str
) -> Iterator[tuple[str, str]]:
    separators = message.separators
    if not _populated(raw, separators):
        return
    name, at = segment.name, f"{segment.name}-{number}"
    components = reads.components.get(name, {}).get(number)
    if components is None or not _was_read(reads, segment, number):
        yield at, raw
        return
    first, *others = raw.split(separators.repetition)
    if (name, number) in reads.repeating:
        first, others = raw, []
    if 0 not in components:
        for component, text in _components(first, separators):
            if component not in components:
                yield f"{at}.{component}", text
    further = [text for text in others if _populated(text, separators)]
    if further:
        yield f"{at}[2]", separators.repetition.join(further)


def _was_read(reads: Reads, segment: Any, number: int) -> bool:
    fields = segment.fields
    if not isinstance(fields, Watched) or number in fields.touched:
        return True
    return (segment.name, number) in reads.alternatives


def _is_ignored(path: str, ignored: Collection[str]) -> bool:
    return path in ignored or path.partition(".")[0] in ignored or path.partition("[")[0] in ignored


def _is_structure(name: str, number: int) -> bool:
    if name in {"MSH", "FHS", "BHS"} and number <= 2:
        return True
    return number == 1 and FIELD_TYPES.get(name, "").startswith("SI")


def _populated(raw: str, separators: Any) -> bool:
    empty = separators.component + separators.repetition + separators.subcomponent + " "
    return bool(raw.strip(empty))


def _components(raw: str, separators: Any) -> list[tuple[int, str]]:
    found: dict[int, str] = {}
    for repetition in raw.split(separators.repetition):
        for i, part in enumerate(repetition.split(separators.component), 1):
            if part.strip(separators.subcomponent + " "):
                found.setdefault(i, part)
    return sorted(found.items())
