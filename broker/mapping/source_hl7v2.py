"""The HL7v2 source of the engine: groups, paths and shapes of one mapping put together."""

from __future__ import annotations

from typing import Any

from broker.document import Coded, Location, Organization, Person, Range, ResultValue, When
from broker.mapping.groups import Group, Groups
from broker.mapping.paths import Path, PathError, Shape
from broker.mapping.paths_hl7v2 import ROOT, Chain, PathCompiler, text_of
from broker.mapping.run import Node
from broker.mapping.shapes_hl7v2 import SHAPES, Typed, free, leaf, result_value
from broker.mapping.tables import Table


_REPEATING = (Coded, When, Person, Organization, Range, Location)
_REMEMBERED = 1024


class Hl7v2Source:
    """Paths and shapes over a message's segments. `units` is the table that gives UCUM for OBX-6."""

    root: Chain = ROOT

    def __init__(self, top: dict[str, Group], units: Table | None = None) -> None:
        self.compiler = PathCompiler(top)
        self.groups = Groups(top)
        self.units = units
        self._known: dict[tuple[Any, Typed, int], dict[str, Any]] = {}

    def start(self, _run: Any, message: Any) -> Node:
        """Sort the segments into the declared groups."""
        return self.groups.sort(message.segments)

    def path(self, text: str, chain: Chain) -> Path:
        """Compile an HL7v2 path. Raises PathError."""
        return self.compiler.compile(text, chain)

    def shape(self, path: Path, wanted: Any, forced: str) -> Shape | None:
        """By the field's data type; `text` and scalars for every type."""
        if path.type in {"group", "segment"}:
            return None
        level = path.level
        if wanted is str:
            is_text = path.type in {"TX", "FT"} or forced == "text"
            if level == 0 and is_text:
                return lambda run, raw, _scope: free(run, raw) or None
            return lambda run, raw, _scope: text_of(run, raw, level) or None
        if wanted is ResultValue:
            return self._result(path)
        shapes = SHAPES.get(wanted)
        if shapes is None:
            return None
        shape = shapes.get(path.type) or shapes[""]
        if wanted in _REPEATING:
            return self._remembered(wanted, shape, level)
        return lambda run, raw, _scope: shape(run, raw, level)

    def _remembered(self, wanted: Any, shape: Typed, level: int) -> Shape:
        """A shape that remembers: codes, times and professionals come again, and values are immutable.

        Only under the standard separators, only what raised no issue, and a bounded number of short values.
        """
        known = self._known.setdefault((wanted, shape, level), {})

        def remembered(run: Any, raw: Any, _scope: Any) -> Any:
            value = known.get(raw)
            if value is not None and run.is_standard:
                return value
            issues = len(run.issues)
            value = shape(run, raw, level)
            if value is not None and run.is_standard and len(raw) < 300 and len(run.issues) == issues:
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[raw] = value
            return value

        return remembered

    def _result(self, path: Path) -> Shape | None:
        head, mark, _ = path.text.rpartition("-5")
        if not mark:
            return None
        chain = path.chain[:-1]
        units = self.units
        try:
            declared = self.path(f"{head}-2", chain).one
            unit = self.path(f"{head}-6", chain).one
            values = self.path(f"{head}-5[*]", chain).all
        except PathError:
            return None

        def shape(run: Any, raw: Any, scope: Any) -> Any:
            kind = declared(run, scope)
            given = unit(run, scope)
            name = leaf(run, given.split(run.component)[0]) if given else ""
            row = units.lookup(name) if units is not None and name else None
            return result_value(
                run,
                values(run, scope) if run.repetition in _field(run, scope, raw) else [raw],
                text_of(run, kind, 0) if kind else "",
                name,
                row.code if row else "",
            )

        def _field(run: Any, scope: Any, raw: str) -> str:
            segments = scope.segments.get("OBX")
            fields = segments[0].fields if segments else []
            return fields[5] if len(fields) > 5 else raw

        return shape
