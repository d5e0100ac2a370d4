"""The HL7v2 source of the engine: groups, paths and shapes of one mapping put together."""

from __future__ import annotations

from typing import Any

from broker.document import Coded, Location, Organization, Person, Range, ResultValue, When
from broker.mapping.groups import Group, Groups
from broker.mapping.paths import Path, PathError, Shape
from broker.mapping.paths_hl7v2 import ROOT, Chain, PathCompiler
from broker.mapping.readers_hl7v2 import text_of
from broker.mapping.run import Node, remembered
from broker.mapping.shapes_hl7v2 import SHAPES, Typed, free, leaf, result_value
from broker.mapping.tables import Table
from broker.mapping.types_hl7v2 import can_be

_REPEATING = (Coded, When, Person, Organization, Range, Location)
_REPEATING_TYPES = frozenset({"HD", "ID", "IS", "PT", "VID"})


class Hl7v2Source:
    """Paths and shapes over a message's segments. `units` is the table that gives UCUM for OBX-6."""

    root: Chain = ROOT
    present = None

    def __init__(self, top: dict[str, Group], units: Table | None = None) -> None:
        self.compiler = PathCompiler(top)
        self.groups = Groups(top)
        self.units = units
        self._known: dict[tuple[Any, Typed, int], dict[str, Any]] = {}

    def start(self, _run: Any, message: Any) -> Node:
        """Sort the segments into the declared groups."""
        return self.groups.sort(message.segments)

    def is_null(self, raw: Any) -> bool:
        """HL7 `""`."""
        return bool(raw == '""')

    def is_nothing(self, _raw: Any) -> bool:
        """Never: what is empty between separators is not found in the first place."""
        return False

    def path(self, text: str, chain: Chain) -> Path:
        """Compile an HL7v2 path. Raises PathError."""
        return self.compiler.compile(text, chain)

    def shape(self, path: Path, wanted: Any, forced: str) -> Shape | None:
        """By the field's data type; `text` and scalars for every type."""
        if path.type in {"group", "segment"}:
            return None
        level = path.level
        if wanted is str and path.is_separators:
            return lambda _run, raw, _scope: raw or None
        if wanted is str:
            is_text = path.type in {"TX", "FT"} or forced == "text"
            if level == 0 and is_text:
                return lambda run, raw, _scope: free(run, raw) or None
            return lambda run, raw, _scope: text_of(run, raw, level) or None
        if wanted is ResultValue:
            return self._result(path)
        shapes = SHAPES.get(wanted)
        if shapes is None or not can_be(path.type, wanted):
            return None
        shape = shapes.get(path.type) or shapes[""]
        if self.repeats(path, wanted):
            return self._remembered(wanted, shape, level)
        return lambda run, raw, _scope: shape(run, raw, level)

    def repeats(self, path: Path, wanted: Any) -> bool:
        """Whether values come again and again, so that it pays to remember them: codes, times, places, people of a site."""
        return wanted in _REPEATING or path.type in _REPEATING_TYPES

    def _remembered(self, wanted: Any, shape: Typed, level: int) -> Shape:
        """One memory for a data type, whichever fields it is read from."""
        known = self._known.setdefault((wanted, shape, level), {})
        return remembered(lambda run, raw, _scope: shape(run, raw, level), known)

    def _result(self, path: Path) -> Shape | None:
        """OBX-5 reads its neighbours OBX-2 (type) and OBX-6 (unit)."""
        head, mark, _ = path.text.rpartition("-5")
        if not mark or path.detail[0] != "OBX":
            return None
        chain = path.chain[:-1]
        try:
            segment = self.path(head, chain).one
            self.compiler.reads |= {("OBX", 2, 0), ("OBX", 6, 0)}
            self.compiler.repeating.add(("OBX", 5))
        except PathError:
            return None
        units = self.units
        is_whole = path.level == 0

        def shape(run: Any, raw: Any, scope: Any) -> Any:
            found = segment(run, scope)
            fields: list[str] = found.fields if found is not None else []
            n = len(fields)
            declared = fields[2] if n > 2 else ""
            if run.component in declared or run.escape in declared or declared[-1:] == " ":
                declared = text_of(run, declared, 0)
            unit = ""
            if n > 6 and fields[6]:
                unit = leaf(run, fields[6].split(run.component, 1)[0])
            row = units.lookup(unit) if units is not None and unit else None
            values = [raw]
            if is_whole and n > 5 and run.repetition in fields[5]:
                values = fields[5].split(run.repetition)
            return result_value(run, values, declared, unit, row.code if row else "")

        return shape
