"""The FHIR source of the engine: paths over plain dictionaries, and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from broker.mapping.coverage_fhir import Reads, traced, unread
from broker.mapping.paths import Path, Shape
from broker.mapping.paths_fhir import At, absent_reason, compile_path
from broker.mapping.run import Null
from broker.mapping.shapes_fhir import SHAPES

_ASIDE = {"id", "extension"}


class FhirSource:
    """Scopes are values with the resource they stand in."""

    root = None
    present = None

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}

    def start(self, _run: Any, message: Any) -> At:
        """The outermost resource."""
        return At(message.resource, message.resource)

    def is_null(self, raw: At) -> bool:
        """An element of which data-absent-reason is all that is said."""
        value = raw.value
        return isinstance(value, dict) and value.keys() <= _ASIDE and bool(absent_reason(value))

    def is_nothing(self, raw: At) -> bool:
        """A blank text, or an object with nothing in it."""
        value = raw.value
        return not value.strip() if isinstance(value, str) else value == {}

    def traced(self, message: Any) -> tuple[Any, Any]:
        """The message with objects that take note, and the notes."""
        reads: Reads = set()
        return traced(message, reads), reads

    def unread(self, message: Any, reads: Any, ignored: frozenset[str]) -> Iterator[str]:
        """Places no rule read; see `coverage_fhir`."""
        return unread(message, reads, ignored)

    def path(self, text: str, _chain: Any) -> Path:
        """Compile a FHIR path. Raises PathError."""
        found = self._paths.get(text)
        if found is None:
            found = self._paths[text] = compile_path(text)
        return found

    def shape(self, _path: Path, wanted: Any, _forced: str) -> Shape | None:
        """By the wanted type: FHIR values know their own."""
        shape = SHAPES.get(wanted)
        if shape is None:
            return None

        def shaped(run: Any, at: At, _scope: Any) -> Any:
            value = shape(run, at)
            if value is None:
                reason = absent_reason(at.value)
                return Null(reason) if reason else None
            return value

        return shaped
