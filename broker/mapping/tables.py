"""Code tables: CSV files that an engineer reviews, loaded once to a dict. For `compile`.

Short form: columns `from,to`. Long form: `source_system,source_code,target_system,target_code,target_display`.
`#` lines are comments; an empty source system means any.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from broker.mapping.problems import Place, Problems


@dataclass(frozen=True, slots=True)
class Row:
    """What a code translates to; `line` is its place in the file."""

    code: str
    system: str
    display: str
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A loaded table. Keys are trimmed, their case is kept (UCUM and LOINC parts need it)."""

    file: str
    rows: dict[tuple[str, str], Row]
    unmapped: str = ""
    default: str = ""

    def lookup(self, code: str, system: str = "") -> Row | None:
        """The row of (system, code), or of the code in any system."""
        rows = self.rows
        return (rows.get((system, code)) if system else None) or rows.get(("", code))

    @property
    def codes(self) -> set[str]:
        """Every code this table can give."""
        return {row.code for row in self.rows.values()}


def csv_rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with a header and `#` comment lines, each with its line number."""
    header, *rows = _cells(text) or [(0, [])]
    return [(number, dict(zip(header[1], cells, strict=False))) for number, cells in rows]


def ragged_rows(text: str) -> list[int]:
    """The lines of a CSV that have more or fewer cells than its header."""
    header, *rows = _cells(text) or [(0, [])]
    return [number for number, cells in rows if len(cells) != len(header[1])]


def _cells(text: str) -> list[tuple[int, list[str]]]:
    lines = text.splitlines()
    numbers = [i for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    rows = csv.reader(lines[i - 1] for i in numbers)
    return [
        (number, [cell.strip() for cell in row]) for number, row in zip(numbers, rows, strict=False)
    ]


def load(path: Path, name: str, problems: Problems, place: Place) -> Table | None:
    """Read a table file; problems are noted at `place` (where the mapping names it) or in the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        problems.add(place, "E301", f"table file '{name}' cannot be read")
        return None
    return parse(text, name, problems, place)


def parse(text: str, name: str, problems: Problems, place: Place) -> Table | None:
    """A table of its text. A duplicate key is an error: the last row would win in silence."""
    problems.sources.setdefault(name, text.splitlines())
    found = csv_rows(text)
    if not found:
        problems.add(place, "E302", f"table '{name}' has no rows")
        return None
    is_short = "from" in found[0][1]
    if not is_short and "source_code" not in found[0][1]:
        problems.add(
            place, "E303", f"table '{name}' needs columns from,to or source_code,target_code"
        )
        return None
    for line in ragged_rows(text):
        message = "the row has not as many cells as the header"
        problems.add(Place(name, line, 1), "E308", message, "quote a cell that holds a comma")
    rows: dict[tuple[str, str], Row] = {}
    for line, cells in found:
        if is_short:
            key = ("", cells["from"])
            row = Row(cells.get("to", ""), "", cells.get("display", ""), line)
        else:
            key = (cells.get("source_system", ""), cells["source_code"])
            target = cells.get("target_code", "")
            row = Row(target, cells.get("target_system", ""), cells.get("target_display", ""), line)
        if key in rows:
            problems.add(Place(name, line, 1), "E304", f"'{key[1]}' is translated twice")
        rows[key] = row
    return Table(name, rows)
