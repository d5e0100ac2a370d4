"""The page of rules: each with its statement, the tests that prove it, and its source. For the documentation.

A test proves a rule by its name: `test_vis_01_…`. `unproved` are the rules nobody tests.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from broker.rules.tables import read_csv

_TEST = re.compile(r"^(?:async )?def (test_(life|[a-z]{3}_\d\d)_\w+)", re.MULTILINE)


class Entry(msgspec.Struct, frozen=True):
    """One rule of the catalogue; `part` is which part of Carnet keeps it: rules, accounts or trail."""

    rule: str
    statement: str
    source: str
    confidence: str
    part: str


def catalogue(folder: Path) -> list[Entry]:
    """Every rule of a rules folder, by id."""
    return [msgspec.convert(row, Entry) for _, row in read_csv(folder / "catalogue.csv")]


def tests_of(folder: Path) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Rule id -> (file below `folder`, name) of the tests that bear its name, sorted."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for match in _TEST.finditer(path.read_text(encoding="utf-8")):
            rule = match[2].upper().replace("_", "-")
            found[rule].append((path.relative_to(folder).as_posix(), match[1]))
    return found


def unproved(
    entries: Iterable[Entry], tests: Mapping[str, Sequence[tuple[str, str]]], part: str
) -> list[str]:
    """Rules of a part that no test bears the name of."""
    return [one.rule for one in entries if one.part == part and not tests.get(one.rule)]


def page(folder: Path, tests: Path) -> str:
    """The page in Markdown."""
    found = tests_of(tests)
    lines = [
        "# Rules of access\n",
        "Each rule, what it says, the tests that bear its name, and where it comes from.",
        "*derived* is our own reading and no text.",
        "How they are asked stands in [how access is decided](../explanation/rules.md).\n",
        "| rule | it says | tests | source | confidence |",
        "|---|---|---|---|---|",
    ]
    for one in catalogue(folder):
        names = "<br>".join(f"`{path}` {name}" for path, name in found.get(one.rule, ()))
        cells = (one.rule, one.statement, names or "none yet", one.source, one.confidence)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
