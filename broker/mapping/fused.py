"""Rules that look at one field and no more, and what they may remember of it. For `compile` and `presence`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from broker.mapping.closures import Rule
from broker.mapping.paths import Field
from broker.mapping.run import Run


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A rule that only ever looks at one field: `take` makes a value of its text, which is not empty."""

    field: Field
    take: Callable[[Run, str, Any], Any]


def first_of_fields(rules: Sequence[FieldRule]) -> Rule:
    """The first of several fields that gives a value (or a Null): `first_of` without a call for what is empty."""
    parts = tuple((one.field.hops, one.field.segment, one.field.number, one.take) for one in rules)

    def first(run: Run, scope: Any) -> Any:
        for hops, segment, number, take in parts:
            at = scope
            while hops:
                at = at.parent
                hops -= 1
            there = at.segments.get(segment)
            if there:
                fields = there[0].fields
                if number < len(fields) and (raw := fields[number]):
                    value = take(run, raw, scope)
                    if value is not None:
                        return value
        return None

    return first


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


def remembered_take(
    take: Callable[[Run, str, Any], Any], number: int
) -> Callable[[Run, str, Any], Any]:
    """What takes the text of a field, and remembers what it made of it, where it had nothing to say about it."""
    known: dict[str, Any] = {}

    def quick(run: Run, raw: str, scope: Any) -> Any:
        if not run.is_standard:
            return take(run, raw, scope)
        value = known.get(raw)
        if value is not None:
            run.trail.append((number, run.at))
            return value
        issues = len(run.issues)
        value = take(run, raw, scope)
        if value is not None and len(run.issues) == issues and len(raw) < _SHORT:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[raw] = value
        return value

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
