"""The rules of a block run together where they can be: a segment is found once, and an empty field costs a comparison.

Most fields a mapping knows of are empty in most messages, so what an absent value costs is what a mapping costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.mapping.closures import Rule
from broker.mapping.paths import Field
from broker.mapping.run import Run

Values = Callable[[Run, Any], dict[str, Any]]
"""(run, scope) -> the attributes of a block that have a value."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A rule that only ever looks at one field: `take` makes a value of its text, which is not empty."""

    field: Field
    take: Callable[[Run, str, Any], Any]


def gather(pairs: Sequence[tuple[str, Rule]], of_fields: Mapping[Rule, FieldRule]) -> Values:
    """The values of a block. A rule that `of_fields` knows must give nothing where its field is empty."""
    segments: dict[tuple[int, str], list[tuple[int, str, Any]]] = defaultdict(list)
    others = []
    for attribute, rule in pairs:
        known = of_fields.get(rule)
        if known is None:
            others.append((attribute, rule))
        else:
            read = known.field
            segments[read.hops, read.segment].append((read.number, attribute, known.take))
    plans = [
        (hops, segment, sorted(takes, key=lambda take: take[0]))
        for (hops, segment), takes in segments.items()
    ]
    if not plans:
        return _one_by_one(others)

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
        for attribute, rule in others:
            value = rule(run, scope)
            if value is not None:
                found[attribute] = value
        return found

    return values


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
