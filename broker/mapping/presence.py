"""Rules of segments and fields that a message does not have are not run at all. For `compile` and `apply`.

A mapping names many fields, a message has few. What a rule can give a value from is known when it is compiled, so the
rules of a block are put together by segment, and a look at the field decides before the rule is called. A rule with
a default, a constant, or a path through groups always runs; so does every rule when coverage watches what is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from broker.mapping.closures import Rule, is_constant, is_rule
from broker.mapping.paths import Path
from broker.mapping.run import Null
from broker.mapping.strict_yaml import Block, Item, Text
from broker.mapping.strict_yaml import Sequence as Items

Needs = frozenset[tuple[int, str, int]]
"""Places of which one has to be filled: how many scopes outward (-1: anywhere), segment, its field (0: any)."""
Pair = tuple[str, Rule, Needs | None]
Fill = Callable[[Any, Any], dict[str, Any]]
"""(run, scope) -> attribute to value, of those that gave one."""
_Guarded = tuple[str, Rule, int, tuple[int, ...]]
"""Attribute, rule, and the fields of which one has to be filled: one, and others."""
_Step = tuple[frozenset[str] | None, int, tuple[_Guarded, ...]]
"""Rules behind one look: segments of which the message has one (None: no look), and scopes outward to the only one."""


def needs(
    item: Item, path: Callable[[Text], Path | None], has_default: Callable[[Block], bool]
) -> Needs | None:
    """What a rule gives values from; None when it may give one without any segment."""
    if isinstance(item, Text):
        return None if item.value.startswith("= ") else _of_path(path(item))
    if isinstance(item, Items):
        return _union(needs(inner, path, has_default) for inner in item.items)
    if not is_rule(item):
        return _of_fields(item, path, has_default)
    if "required" in item.items or has_default(item):
        return None
    if isinstance(template := item.items.get("template"), Text):
        pieces = re.findall(r"\{([^{}]*)\}", template.value)
        return _union(_of_path(path(Text(piece, template.place))) for piece in pieces)
    for name in ("each", "from", "first_of", "choose"):
        source = item.items.get(name)
        if source is not None:
            return needs(source, path, has_default)
    fields = item.items.get("fields")
    return _of_fields(fields, path, has_default) if isinstance(fields, Block) else None


def filled(pairs: Iterable[Pair]) -> Fill:
    """The values of a block's rules, run in the order of the mapping."""
    pairs = tuple(pairs)
    every = tuple((attribute, rule) for attribute, rule, _ in pairs)
    if len(every) <= 1:
        return lambda run, scope: _values(every, run, scope)
    steps = _steps(pairs)

    def fill(run: Any, scope: Any) -> dict[str, Any]:
        if run.is_watched:
            return _values(every, run, scope)
        values: dict[str, Any] = {}
        present = run.present
        for names, hops, rules in steps:
            if names is not None and present.isdisjoint(names):
                continue
            if names is None or hops < 0:
                for attribute, rule, _, _ in rules:
                    value = rule(run, scope)
                    if value is not None:
                        values[attribute] = value
                continue
            node = scope
            for _ in range(hops):
                node = node.parent
            (name,) = names
            segments = node.segments.get(name)
            if segments:
                fields = segments[0].fields
                count = len(fields)
                for attribute, rule, number, others in rules:
                    if number >= count or not fields[number]:
                        for number in others:
                            if number < count and fields[number]:
                                break
                        else:
                            continue
                    value = rule(run, scope)
                    if value is not None:
                        values[attribute] = value
        return values

    return fill


def concatenated(rules: Sequence[tuple[Rule, Needs | None]]) -> Rule:
    """The items of several rules, in order; a Null when there are none and one of them said so."""
    parts = [(rule, *_look(needed)) for rule, needed in rules]

    def concatenate(run: Any, scope: Any) -> Any:
        out: list[Any] = []
        null = None
        present, is_watched = run.present, run.is_watched
        for rule, names, hops, numbers in parts:
            if names is not None and not is_watched:
                if present.isdisjoint(names):
                    continue
                if hops >= 0 and not _is_filled(scope, hops, names, numbers):
                    continue
            value = rule(run, scope)
            if value.__class__ is Null:
                null = value
            elif value:
                out += value
        return out or null

    return concatenate


def no_values(_run: Any, _scope: Any) -> dict[str, Any]:
    """The values of no rules."""
    return {}


def _values(rules: Iterable[tuple[str, Rule]], run: Any, scope: Any) -> dict[str, Any]:
    values = {}
    for attribute, rule in rules:
        value = rule(run, scope)
        if value is not None:
            values[attribute] = value
    return values


def _steps(pairs: Iterable[Pair]) -> tuple[_Step, ...]:
    """Neighbouring rules behind the same look together."""
    steps: list[tuple[frozenset[str] | None, int, list[_Guarded]]] = []
    for attribute, rule, needed in pairs:
        names, hops, numbers = _look(needed)
        if not steps or steps[-1][:2] != (names, hops):
            steps.append((names, hops, []))
        number, *others = numbers or (0,)
        steps[-1][2].append((attribute, rule, number, tuple(others)))
    return tuple((names, hops, tuple(rules)) for names, hops, rules in steps)


def _look(needed: Needs | None) -> tuple[frozenset[str] | None, int, tuple[int, ...]]:
    """(segments of which one is in the message, scopes outward to the only one or -1, its fields)."""
    if needed is None:
        return None, -1, ()
    names = frozenset(name for _, name, _ in needed)
    numbers = tuple(sorted({number for _, _, number in needed}))
    places = {(hops, name) for hops, name, _ in needed}
    if len(places) > 1 or 0 in numbers or min(places)[0] < 0:
        return names, -1, ()
    return names, next(iter(places))[0], numbers


def _is_filled(scope: Any, hops: int, names: frozenset[str], numbers: tuple[int, ...]) -> bool:
    node = scope
    for _ in range(hops):
        node = node.parent
    (name,) = names
    segments = node.segments.get(name)
    if not segments:
        return False
    fields = segments[0].fields
    count = len(fields)
    for number in numbers:  # noqa: SIM110 - half the cost of any() where most time goes
        if number < count and fields[number]:
            return True
    return False


def _of_path(path: Path | None) -> Needs | None:
    return path.needs if path is not None else None


def _of_fields(
    fields: Block, path: Callable[[Text], Path | None], has_default: Callable[[Block], bool]
) -> Needs | None:
    """A block whose rules give nothing is nothing, whatever constants stand beside them."""
    rules = [item for item in fields.items.values() if not is_constant(item)]
    return _union(needs(item, path, has_default) for item in rules)


def _union(all_needs: Iterable[Needs | None]) -> Needs | None:
    found: Needs = frozenset()
    for one in all_needs:
        if one is None:
            return None
        found |= one
    return found or None
