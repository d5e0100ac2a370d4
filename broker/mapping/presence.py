"""Rules of segments and fields that a message does not have are not run at all. For `compile` and `apply`.

A mapping names many fields, a message has few. What a rule can give a value from is known when it is compiled, so the
rules of a block are put together by segment, and a look at the field decides before the rule is called. A rule with
a default, a constant, or a path through groups always runs; so does every rule when coverage watches what is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from broker.mapping.closures import Rule, is_constant, is_rule
from broker.mapping.fused import FieldRule
from broker.mapping.paths import Path
from broker.mapping.run import Null
from broker.mapping.strict_yaml import Block, Item, Text
from broker.mapping.strict_yaml import Sequence as Items

Needs = frozenset[tuple[int, str, int]]
"""Places of which one has to be filled: how many scopes outward (-1: anywhere), segment, its field (0: any)."""
Pair = tuple[str, Rule, Needs | None]
Fill = Callable[[Any, Any], dict[str, Any]]
"""(run, scope) -> attribute to value, of those that gave one."""
_Take = Callable[[Any, Any, Any], Any]

_KINDS_OF_MESSAGE = 256
"""So many different sets of segments are remembered for a block."""


class _Fields(NamedTuple):
    """Rules of the first segment of a name, so many scopes outward.

    takes: field, attribute, and what takes the text of the field, in the order of the fields
    others: attribute, rule, and the fields of which one has to be filled
    """

    hops: int
    name: str
    takes: tuple[tuple[int, str, _Take], ...]
    others: tuple[tuple[str, Rule, tuple[int, ...]], ...]


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


def filled(pairs: Iterable[Pair], of_fields: Mapping[Rule, FieldRule]) -> Fill:
    """The values of a block's rules: those of one segment together, then the others.

    A rule that `of_fields` knows is given the text of its field, which was looked at anyway.
    """
    pairs = tuple(pairs)
    rules = {attribute: rule for attribute, rule, _ in pairs}
    if len(rules) <= 1:
        alone = tuple(rules.items())
        return lambda run, scope: _values(alone, run, scope)
    segments, anywhere, always = _sorted_out(pairs, of_fields)
    # A message that is watched becomes the same as one that is not: the order is one, too.
    order = []
    for one in segments:
        order += [attribute for _, attribute, _ in one.takes]
        order += [attribute for attribute, _, _ in one.others]
    order += [attribute for _, found in anywhere for attribute, _ in found]
    every = tuple((attribute, rules[attribute]) for attribute in order) + always
    known: dict[frozenset[str], tuple[tuple[_Fields, ...], tuple[tuple[str, Rule], ...]]] = {}

    def plan(
        present: frozenset[str],
    ) -> tuple[tuple[_Fields, ...], tuple[tuple[str, Rule], ...]]:
        """What is to be run of the rules in a message that has these segments; most messages of a site have the same."""
        rest = [
            rule for names, rules in anywhere if not present.isdisjoint(names) for rule in rules
        ]
        made = tuple(one for one in segments if one.name in present), (*rest, *always)
        if len(known) < _KINDS_OF_MESSAGE:
            known[present] = made
        return made

    def fill(run: Any, scope: Any) -> dict[str, Any]:
        if run.is_watched:
            return _values(every, run, scope)
        values: dict[str, Any] = {}
        found = known.get(run.present) or plan(run.present)
        for hops, name, takes, others in found[0]:
            node = scope
            while hops:
                node = node.parent
                hops -= 1
            there = node.segments.get(name)
            if not there:
                continue
            fields = there[0].fields
            count = len(fields)
            for number, attribute, take in takes:
                if number >= count:
                    break
                raw = fields[number]
                if raw and (value := take(run, raw, scope)) is not None:
                    values[attribute] = value
            for attribute, rule, numbers in others:
                for number in numbers:
                    if number < count and fields[number]:
                        value = rule(run, scope)
                        if value is not None:
                            values[attribute] = value
                        break
        for attribute, rule in found[1]:
            value = rule(run, scope)
            if value is not None:
                values[attribute] = value
        return values

    return fill


def concatenated(rules: Sequence[tuple[Rule, Needs | None]]) -> Rule:
    """The items of several rules, in order; a Null when there are none and one of them said so."""
    parts = tuple((rule, *_look(needed)) for rule, needed in rules)
    known: dict[frozenset[str], tuple[Any, ...]] = {}

    def plan(present: frozenset[str]) -> tuple[Any, ...]:
        """The rules of which a segment is in the message."""
        made = tuple(one for one in parts if one[1] is None or not present.isdisjoint(one[1]))
        if len(known) < _KINDS_OF_MESSAGE:
            known[present] = made
        return made

    def concatenate(run: Any, scope: Any) -> Any:
        out: list[Any] = []
        null = None
        is_watched = run.is_watched
        found = known.get(run.present)
        if found is None or is_watched:
            found = parts if is_watched else plan(run.present)
        for rule, names, hops, numbers in found:
            if (
                names
                and hops >= 0
                and not is_watched
                and not _is_filled(scope, hops, names, numbers)
            ):
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


def _sorted_out(
    pairs: Iterable[Pair], of_fields: Mapping[Rule, FieldRule]
) -> tuple[
    tuple[_Fields, ...],
    tuple[tuple[frozenset[str], tuple[tuple[str, Rule], ...]], ...],
    tuple[tuple[str, Rule], ...],
]:
    """Rules of one segment each, rules of segments wherever they are, and rules that always run."""
    takes: dict[tuple[int, str], list[tuple[int, str, _Take]]] = {}
    others: dict[tuple[int, str], list[tuple[str, Rule, tuple[int, ...]]]] = {}
    anywhere: dict[frozenset[str], list[tuple[str, Rule]]] = {}
    always: list[tuple[str, Rule]] = []
    for attribute, rule, needed in pairs:
        names, hops, numbers = _look(needed)
        if names is None:
            always.append((attribute, rule))
        elif hops < 0:
            anywhere.setdefault(names, []).append((attribute, rule))
        else:
            (name,) = names
            alone = of_fields.get(rule)
            takes.setdefault((hops, name), [])
            others.setdefault((hops, name), [])
            if alone is not None:
                takes[hops, name].append((numbers[0], attribute, alone.take))
            else:
                others[hops, name].append((attribute, rule, numbers))
    segments = tuple(
        _Fields(hops, name, tuple(sorted(found, key=itemgetter(0))), tuple(others[hops, name]))
        for (hops, name), found in takes.items()
    )
    return segments, tuple((n, tuple(rules)) for n, rules in anywhere.items()), tuple(always)


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
    for number in numbers:  # noqa: SIM110 - a third of the cost of any() where much of the time goes
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
