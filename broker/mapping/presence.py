"""Rules of segments and fields that a message does not have are not run at all. For `compile` and `apply`.

A mapping names many fields, a message has few. What a rule can give a value from is known when it is compiled, so the
rules of a block are put together by segment, and a look at the field decides before the rule is called. A rule with
a default, a constant, or a path through groups always runs; so does every rule when coverage watches what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from broker.mapping.closures import Rule, is_constant, is_rule
from broker.mapping.paths import Path
from broker.mapping.run import Null
from broker.mapping.strict_yaml import Block, Item, Text
from broker.mapping.strict_yaml import Sequence as Items

Needs = frozenset[tuple[int, str, int]]
"""Places of which one has to be filled: how many scopes outward, segment, field of its first instance (0: any)."""
Pair = tuple[str, Rule, Needs | None]
Fill = Callable[[Any, Any], dict[str, Any]]
"""(run, scope) -> attribute to value, of those that gave one."""
_Guarded = tuple[str, Rule, tuple[int, ...]]
"""Attribute, rule, and the fields of which one has to be filled."""
_Step = tuple[Callable[[Any], bool] | None, int, str, tuple[_Guarded, ...]]
"""Rules behind one look: at places of several segments, or at one segment (scopes outward, name)."""


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
        for is_there, hops, name, rules in steps:
            if name:
                node = scope
                for _ in range(hops):
                    node = node.parent
                segments = node.segments.get(name)
                if segments:
                    fields = segments[0].fields
                    count = len(fields)
                    for attribute, rule, numbers in rules:
                        for number in numbers:
                            if number < count and fields[number]:
                                value = rule(run, scope)
                                if value is not None:
                                    values[attribute] = value
                                break
            elif is_there is None or is_there(scope):
                for attribute, rule, _ in rules:
                    value = rule(run, scope)
                    if value is not None:
                        values[attribute] = value
        return values

    return fill


def concatenated(rules: Sequence[tuple[Rule, Needs | None]]) -> Rule:
    """The items of several rules, in order; a Null when there are none and one of them said so."""
    parts = [(rule, tuple(sorted(needed or ()))) for rule, needed in rules]

    def concatenate(run: Any, scope: Any) -> Any:
        out: list[Any] = []
        null = None
        is_watched = run.is_watched
        for rule, places in parts:
            for hops, name, number in places:
                node = scope
                for _ in range(hops):
                    node = node.parent
                segments = node.segments.get(name)
                if segments:
                    fields = segments[0].fields
                    if not number or is_watched or (number < len(fields) and fields[number]):
                        break
            else:
                if places and not is_watched:
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
    """Neighbouring rules of one segment together; rules of several segments each with its own look."""
    steps: list[tuple[Callable[[Any], bool] | None, int, str, list[_Guarded]]] = []
    for attribute, rule, needed in pairs:
        places = {(hops, name) for hops, name, _ in needed or ()}
        numbers = tuple(sorted({number for _, _, number in needed or ()}))
        hops, name = 0, ""
        is_there = None
        if len(places) == 1 and 0 not in numbers:
            hops, name = places.pop()
        elif needed is not None:
            is_there = _there(needed)
        if not steps or is_there is not None or steps[-1][:3] != (None, hops, name):
            steps.append((is_there, hops, name, []))
        steps[-1][3].append((attribute, rule, numbers))
    return tuple((is_there, hops, name, tuple(rules)) for is_there, hops, name, rules in steps)


def _there(needed: Needs) -> Callable[[Any], bool]:
    """Whether one of the places is filled."""
    places = tuple(sorted(needed))

    def is_there(scope: Any) -> bool:
        for hops, name, number in places:
            node = scope
            for _ in range(hops):
                node = node.parent
            segments = node.segments.get(name)
            if segments:
                fields = segments[0].fields
                if not number or (number < len(fields) and fields[number]):
                    return True
        return False

    return is_there


def _of_path(path: Path | None) -> Needs | None:
    return frozenset([path.needs]) if path is not None and path.needs is not None else None


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
