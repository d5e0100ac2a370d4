"""The small closures rules are made of: guards, alternatives, tables, nulls, and what a rule leaves behind.

For `compile`, which decides which of them a rule needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from broker import document as model
from broker.document import Coded, Coding
from broker.errors import MappingError
from broker.mapping.conditions import Test, paths_in
from broker.mapping.language import RULE_KEYWORDS
from broker.mapping.paths import SourceFormat
from broker.mapping.problems import Place
from broker.mapping.run import Null, Run, Unmapped
from broker.mapping.strict_yaml import Block, Item, Sequence, Text
from broker.mapping.tables import Table

Rule = Callable[[Any, Any], Any]
Rule3 = Callable[[Any, Any, Any], Any]


class RuleInfo(NamedTuple):
    """What a rule number of the provenance stands for. `comment` is its author's, and never a value."""

    number: int
    target: str
    place: Place
    source: str
    table: str = ""
    comment: str = ""


def is_rule(block: Block) -> bool:
    return any(name in RULE_KEYWORDS for name in block.items)


_SIMPLE = frozenset({"from", "table", "unmapped", "as", "default", "required", "comment"})


def simple_source(item: Item, also: Collection[str] = ()) -> Text | None:
    """The path of a rule that is nothing but one path; None for any other."""
    if isinstance(item, Text):
        return None if item.value.startswith("= ") else item
    if isinstance(item, Block) and _SIMPLE.union(also).issuperset(item.items):
        source = item.items.get("from")
        return source if isinstance(source, Text) else None
    return None


def is_constant(item: Item) -> bool:
    if isinstance(item, Text):
        return item.value.startswith("= ")
    if isinstance(item, Block):
        return "constant" in item.items and "when" not in item.items
    return False


def is_true(item: Block, name: str) -> bool:
    value = item.items.get(name)
    return isinstance(value, Text) and value.value == "true"


def source_text(item: Item) -> str:
    """The paths a rule reads; of one that chooses between constants, those it decides by."""
    if isinstance(item, Text):
        return item.value
    if isinstance(item, Sequence):
        texts = [text for i in item.items for text in source_text(i).split(", ") if text]
        return ", ".join(dict.fromkeys(texts))
    when = item.items.get("when")
    if "constant" in item.items and isinstance(when, Text):
        return ", ".join(paths_in(when.value))
    for name in ("from", "first_of", "each", "template", "constant", "choose"):
        if name in item.items:
            return source_text(item.items[name])
    return ""


def comment_text(item: Item) -> str:
    comment = item.items.get("comment") if isinstance(item, Block) else None
    return comment.value if isinstance(comment, Text) else ""


def table_text(item: Item) -> str:
    table = item.items.get("table") if isinstance(item, Block) else None
    return table.value if isinstance(table, Text) else ""


def within(place: Place, offset: int) -> Place:
    return Place(place.file, place.line, place.column + offset, 1 if offset else place.width)


def present_test(alls: Rule, source: SourceFormat) -> Test:
    is_null, is_nothing = source.is_null, source.is_nothing

    def present(run: Any, scope: Any) -> bool:
        for raw in alls(run, scope):  # noqa: SIM110 - half the cost of any() where most time goes
            if not (is_null(raw) or is_nothing(raw)):
                return True
        return False

    return present


def null_test(alls: Rule, source: SourceFormat) -> Test:
    def null(run: Any, scope: Any) -> bool:
        found = [raw for raw in alls(run, scope) if not source.is_nothing(raw)]
        return bool(found) and all(map(source.is_null, found))

    return null


def missing_test(alls: Rule, source: SourceFormat) -> Test:
    return lambda run, scope: all(map(source.is_nothing, alls(run, scope)))


def gives_no_items(_run: Any, _scope: Any) -> Any:
    return []


def gives_nothing(_run: Any, _scope: Any) -> Any:
    return None


def guarded(test: Test, rule: Rule) -> Rule:
    return lambda run, scope: rule(run, scope) if test(run, scope) else None


def first_value(rules: list[Rule]) -> Rule:
    def first(run: Run, scope: Any) -> Any:
        for rule in rules:
            value = rule(run, scope)
            if value is not None and value != []:
                return value
        return None

    return first


def first_true(choices: list[tuple[Test, Rule]]) -> Rule:
    def choose(run: Run, scope: Any) -> Any:
        for test, rule in choices:
            if test(run, scope):
                return rule(run, scope)
        return None

    return choose


def without_repeats(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    keys: list[Any] = []
    for value in values:
        key = (value.system, value.value) if isinstance(value, model.Identifier) else value
        if key not in keys:
            keys.append(key)
            out.append(value)
    return out


def restricted(shape: Rule3, codes: tuple[str, ...]) -> Rule3:
    def restricted(run: Run, raw: Any, scope: Any) -> Any:
        value = shape(run, raw, scope)
        if value is None or value.__class__ is Null or value in codes:
            return value
        run.issue("warning", "code-not-in-model")
        return None

    return restricted


def translated_code(shape: Rule3, table: Table, policy: str, source: str) -> Rule3:
    lookup = table.lookup

    def translated(run: Run, raw: Any, scope: Any) -> Any:
        text = shape(run, raw, scope)
        if text is None or text.__class__ is Null:
            return text
        row = lookup(text)
        if row is not None:
            return row.code or None
        return unmapped(run, policy, table, source, text)

    return translated


HELD = "unmapped-code-held"
"""Issue of a code whose rule says `unmapped: hold`: the message waits until somebody has translated it."""


def unmapped(
    run: Run, policy: str, table: Table, source: str, kept: Any, coding: Coding | None = None
) -> Any:
    """What becomes of a code that a table does not have; in any case it is put on the work-list."""
    known = coding or Coding(code=kept)
    system = known.system or known.system_as_received
    run.unmapped.append(Unmapped(table.file, system, known.code, known.display))
    if policy == "reject":
        raise MappingError(
            "mapping.unmapped_code",
            where=source,
            reason=f"a code that table {table.file} does not have",
        )
    if policy == "hold":
        run.issue("warning", HELD, detail=table.file)
        return kept
    run.issue("information", "unmapped-code", detail=table.file)
    if policy == "drop":
        return None
    return policy[4:] if policy.startswith("use ") else kept


def translated_coded(shape: Rule3, table: Table, policy: str, source: str) -> Rule3:
    def translated(run: Run, raw: Any, scope: Any) -> Any:
        value = shape(run, raw, scope)
        if value is None or value.__class__ is Null or not value.codings:
            return value
        for coding in value.codings:
            row = table.lookup(coding.code, coding.system) or table.lookup(
                coding.code, coding.system_as_received
            )
            if row is not None:
                added = Coding(
                    code=row.code,
                    system=row.system,
                    display=row.display,
                    role="translation",
                    translated_by=table.file,
                )
                return Coded(codings=(*value.codings, added), text=value.text)
        kept = unmapped(run, policy, table, source, value, value.codings[0])
        if isinstance(kept, str):
            added = Coding(code=kept, role="translation", translated_by=table.file)
            return Coded(codings=(*value.codings, added), text=value.text)
        return kept

    return translated


def locate(run: Run, since: int, info: RuleInfo) -> None:
    """Give the issues that a shape noted their rule and places."""
    fresh = run.issues[since:]
    del run.issues[since:]
    for issue in fresh:
        if not issue.rule:
            issue = msgspec.structs.replace(
                issue,
                rule=str(info.place),
                source_path=issue.source_path or info.source,
                target_path=info.target,
            )
        if issue not in run.issues:
            run.issues.append(issue)


def miss(run: Run, needed: str, info: RuleInfo) -> None:
    if needed == "true":
        reason = f"needed for {info.target}" + (f": {info.comment}" if info.comment else "")
        raise MappingError("mapping.required", where=info.source, reason=reason)
    if needed == "warn":
        rule = str(info.place)
        run.issue("warning", "missing", rule=rule, source=info.source, target=info.target)


def indexed(at: str, run: Run) -> str:
    depth = at.count("{}")
    return at.format(*run.at[len(run.at) - depth :]) if depth else at


def note_null(run: Run, at: str, value: Null) -> None:
    path = indexed(at, run)
    if value.reason == "deleted":
        run.cleared.append(path)
    else:
        run.absent[path] = value.reason
