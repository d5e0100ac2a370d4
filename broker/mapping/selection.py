"""Which mappings can apply to a message at all, by its message type: most conditions need not be tried. For `apply`.

Sound and not complete: a mapping left out is one whose condition cannot hold; of those that remain, the condition
decides. What it decides is remembered for messages of one kind where it looks at nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from broker.mapping.conditions import ConditionError, paths_in, tokens
from broker.mapping.readers_hl7v2 import text_of

TYPE_PATH = "MSH-9.1"


Kind = tuple[str, frozenset[str]]
"""MSH-9 as it stands, and the names of the segments: what most conditions decide by."""
_OF_KIND = re.compile(r"MSH-9(\.\d+)*|[A-Z][A-Z0-9]{2}")


@dataclass(frozen=True, slots=True)
class Types:
    """The message types a condition can hold for: only these (None: any), and never those."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    def can_be(self, message_type: str) -> bool:
        """Whether the condition may hold for a message of this type."""
        return message_type not in self.never and (self.only is None or message_type in self.only)


def types_of(condition: str) -> Types:
    """What the tests of `MSH-9.1` that a condition joins by `and` leave; any type when it is more than that."""
    try:
        found = tokens(condition)
    except ConditionError:
        return Types()
    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    depth = 0
    for at, token in enumerate(found):
        if token.kind in "()":
            depth += 1 if token.kind == "(" else -1
        elif depth == 0 and token.text == "or" and token.kind == "word":
            return Types()
        elif depth == 0 and token.kind == "path" and token.text == TYPE_PATH:
            if at and found[at - 1].text == "not":
                continue
            sign, values = _compared(found[at + 1 :])
            if sign in {"=", "in"}:
                only = values if only is None else only & values
            elif sign in {"!=", "not in"}:
                never |= values
    return Types(only, never)


def looks_at_kind_only(condition: str) -> bool:
    """Whether messages of one `Kind` are all the same to a condition."""
    return all(_OF_KIND.fullmatch(path) for path in paths_in(condition))


def kind_of(run: Any, message: Any) -> Kind | None:
    """The kind of a message; None where the same text may mean something else, or where looking is noted."""
    if not run.is_standard or run.is_watched:
        return None
    fields = message.segments[0].fields
    return fields[9] if len(fields) > 9 else "", run.present


def message_type(run: Any, message: Any) -> str:
    """MSH-9.1 as a condition sees it; empty when the message does not say."""
    fields = message.segments[0].fields if message.segments else []
    raw: str = fields[9] if len(fields) > 9 else ""
    if run.repetition in raw:
        raw = raw.split(run.repetition, 1)[0]
    if run.component in raw:
        raw = raw.split(run.component, 1)[0]
    return text_of(run, raw, 1)


def _compared(rest: list[Any]) -> tuple[str, frozenset[str]]:
    """The comparison behind a path: `=` or `!=` with a text, `in` or `not in` with texts."""
    texts = [token.text for token in rest[:2]]
    if len(rest) > 1 and rest[0].kind == "op" and rest[1].kind == "text":
        return rest[0].text, frozenset([rest[1].text])
    sign = "in" if texts[:1] == ["in"] else "not in" if texts == ["not", "in"] else ""
    values = []
    for token in rest[2 if sign == "not in" else 1 :]:
        if token.kind == ")":
            break
        if token.kind == "text":
            values.append(token.text)
    return sign, frozenset(values)
