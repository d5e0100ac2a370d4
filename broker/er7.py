"""An HL7v2 message about to be written, as text still without separators: a mapping makes it, the writer encodes it.

A repetition is its components, a component its subcomponents, so a text is one leaf whatever characters it holds.
Source: HL7 v2.5.1 §2.5 (message construction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Component = tuple[str, ...]
Repetition = tuple[Component, ...]

NULL: Repetition = ()
"""The repetition that says "delete what you have" (`""`). A repetition with a value is never empty."""


class Formatted(str):
    """A leaf of type FT: its line breaks are the formatting command `.br`, not characters (HL7 v2.5.1 §2.7)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: its name, and the repetitions of its fields by number. Holds health data: never log it."""

    name: str
    fields: Mapping[int, Sequence[Repetition]] = field(repr=False)


def repetition(*parts: str | Component) -> Repetition | None:
    """The components given, empty ones at the end left out; None when nothing is left.

    A component is a text, or the tuple of its subcomponents.
    """
    components = [_component(part) for part in parts]
    while components and not components[-1]:
        components.pop()
    return tuple(components) or None


def _component(part: str | Component) -> Component:
    if isinstance(part, str):
        return (part,) if part else ()
    end = len(part)
    while end and not part[end - 1]:
        end -= 1
    return part[:end]
