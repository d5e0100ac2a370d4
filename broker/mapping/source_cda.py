"""The CDA source of the engine: paths over elements, shapes, and what no rule reached."""

from __future__ import annotations

from typing import Any

from broker.document import Coded, Coding, Identifier, When
from broker.mapping.paths import Path, Shape
from broker.mapping.paths_cda import compile_path
from broker.mapping.shapes_cda import SHAPES, or_null, plain_text
from broker.mapping.tables import Table
from broker.mapping.values import hl7_when

_STRUCTURE = frozenset({"templateId", "realmCode", "typeId"})


class CdaSource:
    """Scopes are elements; an attribute's value is its text."""

    root = None

    def __init__(self, namespaces: dict[str, str], units: Table | None = None) -> None:
        self.namespaces = namespaces
        self.units = units

    def start(self, run: Any, message: Any) -> Any:
        """The ClinicalDocument element."""
        if run.seen is not None:
            run.kept = list(message.root.iter())  # lxml reuses the id of an element it let go
        return message.root

    def path(self, text: str, _chain: Any) -> Path:
        """Compile a CDA path. Raises PathError."""
        return compile_path(text, self.namespaces)

    def shape(self, path: Path, wanted: Any, forced: str) -> Shape | None:
        """By the wanted type: an element knows its own data type."""
        if path.type == "attribute":
            return _from_attribute(wanted)
        shape = plain_text if wanted is str and forced == "text" else SHAPES.get(wanted)
        if shape is None:
            return None
        made = or_null(shape)

        def shaped(run: Any, element: Any, _scope: Any) -> Any:
            if run.seen is not None:
                run.seen.update(map(id, element.iter()))
            return made(run, element)

        return shaped

    def unread(self, run: Any, message: Any, ignored: frozenset[str]) -> list[str]:
        """Elements no rule reached, each at the top of its subtree."""
        out: dict[str, None] = {}
        seen = run.seen or set()
        for element in message.root:
            _unread(element, "", seen, out)
        return [path for path in out if path not in ignored]


def _unread(element: Any, above: str, seen: set[int], out: dict[str, None]) -> None:
    if not isinstance(element.tag, str):
        return
    name = element.tag.rpartition("}")[2]
    if name in _STRUCTURE or id(element) in seen:
        return
    path = f"{above}/{name}" if above else name
    if len(element) and any(id(e) in seen for e in element.iter()):
        for inner in element:
            _unread(inner, path, seen, out)
    else:
        out[path] = None


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
