"""The files of routing rules in the folders of a set: part of it, so that they are proved, kept and activated with it.

What they say is for `broker.routing`; the other files of a `rules` folder belong to no set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = ("rules", "routing")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of routing rules: its name in messages, and its bytes."""

    shown: str
    content: bytes = field(repr=False)


def rule_files(root: Path) -> list[Path]:
    """The files in `rules/routing/` of the folder and of the folders below it, in the order of their names."""
    found = sorted(path.resolve() for path in root.rglob("*.yaml"))
    return [path for path in found if is_rule_file(path, root)]


def is_rule_file(path: Path, root: Path) -> bool:
    """Whether a file below `root` holds routing rules."""
    if not path.is_relative_to(root) or path.suffix != ".yaml":
        return False
    parts = path.relative_to(root).parts[:-1]
    is_test = any(part.endswith(".tests") for part in parts)
    return not is_test and any(parts[n : n + 2] == FOLDER for n in range(len(parts)))
