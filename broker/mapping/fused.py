"""The rules of a block run together where they can be: a segment is found once, and an empty field costs a comparison.

Most fields a mapping knows of are empty in most messages, so what an absent value costs is what a mapping costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.mapping.closures import Rule
from broker.mapping.paths import Field, Root
from broker.mapping.run import Run

Values = Callable[[Run, Any], dict[str, Any]]
"""(run, scope) -> the attributes of a block that have a value."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A rule that only ever looks at one field: `take` makes a value of its text, which is not empty."""

    field: Field
    take: Callable[[Run, str, Any], Any]


@dataclass(slots=True)
class Known:
    """What the compiler knows of its rules, beside that they can be called."""

    of_fields: dict[Rule, FieldRule] = field(default_factory=dict)
    """Rules that look at one field and no more; they give nothing where it is empty."""
    rooted: dict[Rule, tuple[Root, ...]] = field(default_factory=dict)
    """Rules that give nothing, and have nothing to say, where none of these segments and groups is there."""


def gather(pairs: Sequence[tuple[str, Rule]], known: Known) -> Values:
    """The values of a block."""
    segments: dict[tuple[int, str], list[tuple[int, str, Any]]] = defaultdict(list)
    others = []
    for attribute, rule in pairs:
        alone = known.of_fields.get(rule)
        if alone is None:
            others.append((attribute, rule, known.rooted.get(rule, ())))
        else:
            read = alone.field
            segments[read.hops, read.segment].append((read.number, attribute, alone.take))
    plans = [
        (hops, segment, sorted(takes, key=lambda take: take[0]))
        for (hops, segment), takes in segments.items()
    ]
    if not plans and not any(roots for _, _, roots in others):
        return _one_by_one((attribute, rule) for attribute, rule, _ in others)

    def values(run: Run, scope: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for hops, segment, takes in plans:
            at = scope
            while hops:
                at = at.parent
                hops -= 1
            there = at.segments.get(segment)
            if not there:
                continue
            fields = there[0].fields
            count = len(fields)
            for number, attribute, take in takes:
                if number >= count:
                    break
                raw = fields[number]
                if raw and (value := take(run, raw, scope)) is not None:
                    found[attribute] = value
        for attribute, rule, roots in others:
            if roots and not _any_there(roots, scope):
                continue
            value = rule(run, scope)
            if value is not None:
                found[attribute] = value
        return found

    return values


def _any_there(roots: tuple[Root, ...], scope: Any) -> bool:
    for root in roots:
        at = scope
        hops = root.hops
        while hops:
            at = at.parent
            hops -= 1
        if root.name in (at.groups if root.is_group else at.segments):
            return True
    return False


def _one_by_one(pairs: Iterable[tuple[str, Rule]]) -> Values:
    rules = tuple(pairs)

    def values(run: Run, scope: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute, rule in rules:
            value = rule(run, scope)
            if value is not None:
                found[attribute] = value
        return found

    return values


_REMEMBERED = 1024
_SHORT = 200


def raw_of(field: Field) -> Callable[[Run, Any], str]:
    """The whole text of a field, empty where there is none."""
    hops, segment, number = field.hops, field.segment, field.number

    def raw(_run: Run, scope: Any) -> str:
        for _ in range(hops):
            scope = scope.parent
        there = scope.segments.get(segment)
        if not there:
            return ""
        fields = there[0].fields
        return fields[number] if len(fields) > number else ""

    return raw


def remembered_test(test: Callable[[Run, Any], bool], field: Field) -> Callable[[Run, Any], bool]:
    """A test of one field that remembers its verdicts: codes and types come again and again.

    Under the standard separators, where the same text always means the same; a bounded number of short ones.
    """
    raw_text = raw_of(field)
    known: dict[str, bool] = {}

    def quick(run: Run, scope: Any) -> bool:
        if not run.is_standard:
            return test(run, scope)
        raw = raw_text(run, scope)
        verdict = known.get(raw)
        if verdict is None:
            verdict = test(run, scope)
            if len(raw) < _SHORT:
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[raw] = verdict
        return verdict

    return quick


def remembered_rule(rule: Rule, field: Field, number: int) -> Rule:
    """A rule of one field that remembers what it made of a text, where it had nothing to say about it."""
    raw_text = raw_of(field)
    known: dict[str, Any] = {}

    def quick(run: Run, scope: Any) -> Any:
        if not run.is_standard:
            return rule(run, scope)
        raw = raw_text(run, scope)
        value = known.get(raw)
        if value is not None:
            run.trail.append((number, run.at))
            return value
        issues = len(run.issues)
        value = rule(run, scope)
        if raw and value is not None and len(run.issues) == issues and len(raw) < _SHORT:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[raw] = value
        return value

    return quick


def no_values(_run: Run, _scope: Any) -> dict[str, Any]:
    """The values of a block without rules."""
    return {}
