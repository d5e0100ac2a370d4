"""The FHIR source of the engine: paths over plain dictionaries, shapes, and what no rule reached."""

from __future__ import annotations

from typing import Any

from broker.mapping.paths import Path, Shape
from broker.mapping.paths_fhir import At, absent_reason, compile_path
from broker.mapping.run import Null
from broker.mapping.shapes_fhir import SHAPES

_STRUCTURE = frozenset({"resourceType", "meta", "id", "fullUrl", "request", "response", "search"})


class FhirSource:
    """Scopes are values with the resource they stand in."""

    root = None

    def start(self, _run: Any, message: Any) -> At:
        """The outermost resource."""
        return At(message.resource, message.resource)

    def path(self, text: str, _chain: Any) -> Path:
        """Compile a FHIR path. Raises PathError."""
        return compile_path(text)

    def shape(self, _path: Path, wanted: Any, _forced: str) -> Shape | None:
        """By the wanted type: FHIR values know their own."""
        shape = SHAPES.get(wanted)
        if shape is None:
            return None

        def shaped(run: Any, at: At, _scope: Any) -> Any:
            if run.seen is not None:
                _mark(run.seen, at.value)
            value = shape(run, at)
            if value is None:
                reason = absent_reason(at.value)
                return Null(reason) if reason else None
            return value

        return shaped

    def unread(self, run: Any, message: Any, ignored: frozenset[str]) -> list[str]:
        """JSON paths of the objects no rule reached, each at the top of its subtree."""
        out: dict[str, None] = {}
        for resource in message.entries:
            _unread(resource, str(resource.get("resourceType", "")), run.seen or set(), out)
        return [path for path in out if path not in ignored]


def _mark(seen: set[int], value: Any) -> None:
    if isinstance(value, dict):
        seen.add(id(value))
        for inner in value.values():
            _mark(seen, inner)
    elif isinstance(value, list):
        for inner in value:
            _mark(seen, inner)


def _unread(value: Any, path: str, seen: set[int], out: dict[str, None]) -> None:
    if isinstance(value, list):
        for inner in value:
            _unread(inner, path, seen, out)
    elif isinstance(value, dict):
        if id(value) not in seen:
            out[path] = None
            return
        for name, inner in value.items():
            if (
                name not in _STRUCTURE
                and not name.startswith("_")
                and isinstance(inner, dict | list)
            ):
                _unread(inner, f"{path}.{name}", seen, out)
