"""Coverage of FHIR: JSON values that no rule read, found by mapping through objects that take note.

Paths only, never values. Section 10 of the language. `resourceType`, `id` and `fullUrl` are ignored by rule: references
are followed by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

_STRUCTURE = frozenset({"resourceType", "id", "fullUrl"})

MAX_DEPTH = 100
"""What stands deeper counts as one place, told when nothing around it was read."""

Reads = set[tuple[int, str]]
"""(id of an object, member) of what was read."""


class Traced(dict[str, Any]):
    """An object that notes which of its members are read. Stands in for a dict, in coverage mode only."""

    __slots__ = ("reads",)

    reads: Reads

    def get(self, key: str, default: Any = None) -> Any:
        """A member, noted."""
        self.reads.add((id(self), key))
        return dict.get(self, key, default)

    def __getitem__(self, key: str) -> Any:
        self.reads.add((id(self), key))
        return dict.__getitem__(self, key)


def traced(message: Any, reads: Reads) -> Any:
    """The parsed message with objects that note in `reads` what is read of them."""
    known: dict[int, Any] = {}

    def key(old: Any) -> Any:
        return (id(known[old[0]]), old[1]) if isinstance(old, tuple) else old

    resource = _copied(message.resource, reads, known)
    entries = [_copied(entry, reads, known) for entry in message.entries]
    index = {key(name): _copied(value, reads, known) for name, value in message.index.items()}
    return replace(message, resource=resource, entries=entries, index=index)


def _copied(value: Any, reads: Reads, known: dict[int, Any], depth: int = 0) -> Any:
    """A value with objects that take note in it; the copy of an object is one, wherever it is met."""
    if isinstance(value, list):
        return [_copied(inner, reads, known, depth) for inner in value]
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return value
    out = known.get(id(value))
    if out is None:
        out = known[id(value)] = Traced()
        out.reads = reads
        for name, inner in value.items():
            dict.__setitem__(out, name, _copied(inner, reads, known, depth + 1))
    return out


def unread(message: Any, reads: Reads, ignored: frozenset[str]) -> Iterator[str]:
    """The place of each populated member or, when nothing in it was read, whole object.

    Each occurrence counts, so a path comes as often as it is met. Paths begin with the type of their resource;
    `ignored` holds such paths, `*.name` for a member of any object, or `Resource.name` for one of any resource.
    """
    anywhere = {path[2:] for path in ignored if path.startswith("*.")}
    if all(entry is not message.resource for entry in message.entries):
        yield from _members(message.resource, "Bundle", reads, ignored, anywhere)
    for entry in message.entries:
        kind = str(dict.get(entry, "resourceType", ""))
        if kind not in ignored:
            yield from _members(entry, kind, reads, ignored, anywhere)


def _members(
    value: dict[str, Any], path: str, reads: Reads, ignored: frozenset[str], anywhere: set[str]
) -> Iterator[str]:
    for name, inner in value.items():
        where = f"{path}.{name}"
        if name in _STRUCTURE or where in ignored or name in anywhere:
            continue
        if "." not in path and f"Resource.{name}" in ignored:
            continue
        if where == "Bundle.entry":
            for entry in inner if isinstance(inner, list) else [inner]:
                rest = {k: v for k, v in entry.items() if k != "resource"}
                yield from _members(rest, where, reads, ignored, anywhere)
            continue
        if name == "resource" and path == "Bundle.entry":
            continue
        yield from _value(value, name, inner, where, reads, ignored, anywhere)


def _value(
    owner: dict[str, Any],
    name: str,
    value: Any,
    where: str,
    reads: Reads,
    ignored: frozenset[str],
    anywhere: set[str],
) -> Iterator[str]:
    objects = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
    if not objects:
        if value not in (None, [], "") and (id(owner), name) not in reads:
            yield where
        return
    for inner in objects:
        if "resourceType" in inner:
            kind = str(dict.get(inner, "resourceType"))
            yield from _members(inner, kind, reads, ignored, anywhere)
        elif _is_read(inner, reads):
            yield from _members(inner, where, reads, ignored, anywhere)
        elif _says(inner, where, ignored, anywhere):
            yield where


def _is_read(value: Any, reads: Reads) -> bool:
    """Whether a primitive anywhere below was read."""
    if isinstance(value, list):
        return any(_is_read(inner, reads) for inner in value)
    if not isinstance(value, Traced):
        return False
    return any(
        _is_read(inner, reads) if _has_objects(inner) else (id(value), name) in reads
        for name, inner in value.items()
    )


def _has_objects(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(inner, dict) for inner in value)
    )


def _says(value: dict[str, Any], where: str, ignored: frozenset[str], anywhere: set[str]) -> bool:
    return any(
        name not in _STRUCTURE and name not in anywhere and f"{where}.{name}" not in ignored
        for name in value
    )
