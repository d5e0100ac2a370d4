"""All repetitions of a path as one text, a line each: `from: OBX-5[*]` with `as: text`. For `compile`.

Senders write a paragraph as repetitions of a field, or as several NTE (section 7 of the language).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from broker.mapping.closures import Rule3
from broker.mapping.paths import Path
from broker.mapping.strict_yaml import Block, Text


def is_text(rule: Block | None) -> bool:
    """Whether the rule asks for the `text` shape."""
    forced = rule.items.get("as") if rule is not None else None
    return isinstance(forced, Text) and forced.value == "text"


def lines_of(path: Path) -> Path:
    """The path as one raw value: the list of its repetitions."""
    alls = path.all
    return replace(
        path, one=lambda run, scope: alls(run, scope) or None, is_lines=True, direct=None
    )


def joined(shape: Rule3) -> Rule3:
    """A shape of one text applied to each line; HL7 null is no line."""

    def text(run: Any, raws: list[Any], scope: Any) -> str | None:
        lines = [shape(run, raw, scope) for raw in raws if raw != '""']
        return "\n".join(line for line in lines if line) or None

    return text
