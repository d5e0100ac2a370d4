"""The CDA source of the engine: paths over elements, and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from broker.document import Coded, Coding, Identifier, When
from broker.mapping.coverage_cda import Reads, traced, unread
from broker.mapping.paths import Path, Shape
from broker.mapping.paths_cda import compile_path
from broker.mapping.paths_cda_steps import kids
from broker.mapping.shapes_cda import SHAPES, or_null, plain_text
from broker.mapping.tables import Table
from broker.mapping.values import hl7_when

_SHAPES = {wanted: or_null(shape) for wanted, shape in SHAPES.items()}
_PLAIN = or_null(plain_text)


class CdaSource:
    """Scopes are elements; an attribute's value is its text."""

    root = None
    present = staticmethod(kids)

    def __init__(self, namespaces: dict[str, str], units: Table | None = None) -> None:
        self.namespaces = namespaces
        self.units = units
        self._paths: dict[str, Path] = {}

    def start(self, _run: Any, message: Any) -> Any:
        """The ClinicalDocument element."""
        return message.root

    def traced(self, message: Any) -> tuple[Any, Any]:
        """The message with elements that take note, and the notes."""
        reads: Reads = {}
        return traced(message, reads), reads

    def unread(self, message: Any, reads: Any, ignored: frozenset[str]) -> Iterator[str]:
        """Places no rule read; see `coverage_cda`. Its elements, which know each other, are let go of."""
        yield from unread(message, reads, ignored)
        message.root.dissolve()

    def is_null(self, raw: Any) -> bool:
        """An element of which nullFlavor is all that is said; one with words, parts or a translation says more."""
        if isinstance(raw, str) or raw.get("nullFlavor") is None:
            return False
        return not len(raw) and not (raw.text or "").strip()

    def is_nothing(self, raw: Any) -> bool:
        """An element without attributes, parts and words, or a blank attribute."""
        if isinstance(raw, str):
            return not raw.strip()
        return not raw.keys() and not len(raw) and not (raw.text or "").strip()

    def path(self, text: str, _chain: Any) -> Path:
        """Compile a CDA path. Raises PathError."""
        found = self._paths.get(text)
        if found is None:
            found = self._paths[text] = compile_path(text, self.namespaces)
        return found

    def shape(self, path: Path, wanted: Any, forced: str) -> Shape | None:
        """By the wanted type: an element knows its own data type."""
        if path.type == "attribute":
            return _from_attribute(wanted)
        return _PLAIN if wanted is str and forced == "text" else _SHAPES.get(wanted)


def _from_attribute(wanted: Any) -> Shape | None:
    if wanted is str:
        return lambda _run, raw, _scope: raw.strip() or None
    if wanted is int:
        return lambda _run, raw, _scope: int(raw) if raw.strip().lstrip("-").isdigit() else None
    if wanted is bool:
        return lambda _run, raw, _scope: raw == "true"
    if wanted is Coded:
        return lambda _run, raw, _scope: Coded(codings=(Coding(code=raw.strip()),))
    if wanted is When:
        return lambda run, raw, _scope: hl7_when(raw.strip(), run.zone)
    if wanted is Identifier:
        return lambda _run, raw, _scope: Identifier(value=raw.strip())
    return None
