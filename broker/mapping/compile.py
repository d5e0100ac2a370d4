"""Rules to closures: one a rule, one a block, all decisions that do not depend on the message taken here.

Longer than other modules because the rule keywords of the language are handled in one place, in the order of
section 4.2. A closure takes (run, scope) and gives a value of the model, None, or a Null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from broker import document as model
from broker.document import Coded, Coding
from broker.errors import MappingError
from broker.mapping import checks
from broker.mapping.closures import (
    Rule,
    Rule3,
    RuleInfo,
    comment_text,
    first_true,
    first_value,
    gives_no_items,
    gives_nothing,
    guarded,
    indexed,
    is_constant,
    is_rule,
    is_true,
    locate,
    miss,
    missing_test,
    note_null,
    null_test,
    present_test,
    restricted,
    simple_source,
    source_text,
    table_text,
    translated_code,
    translated_coded,
    within,
    without_repeats,
)
from broker.mapping.conditions import ConditionError, Operand, Test, as_it_is, compile_condition
from broker.mapping.fused import (
    FieldRule,
    first_of_fields,
    remembered_rule,
    remembered_take,
    remembered_test,
)
from broker.mapping.heads import Heads, worth_trying
from broker.mapping.language import RULE_KEYWORDS
from broker.mapping.lines import is_text, joined, lines_of
from broker.mapping.outbound_shapes import ElementType, FieldType, has_code, translated
from broker.mapping.paths import Field, Path, PathError, Shape, SourceFormat
from broker.mapping.presence import Fill, Needs, Pair, concatenated, filled, needs
from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.run import DELETED, MAX_VALUES, Null, Run, remembered
from broker.mapping.shape_names import RECORD_PREFIX, SHAPE_NAMES
from broker.mapping.strict_yaml import Block, Item, Sequence, Text
from broker.mapping.tables import Table
from broker.mapping.targets import Target, targets_of

_LOOK_AT_THE_CLOCK = 64
"""So many turns of a loop between two looks at the clock."""
_TRANSLATION = frozenset(("from", "table", "unmapped", "default", "distinct", "comment"))
_LEAF_SOURCES = ("from", "first_of", "constant", "template", "choose")


@dataclass(slots=True)
class Compiler:
    """Compiles one effective mapping. `tables` are the loaded tables by the name the mapping gives them."""

    source: SourceFormat
    tables: dict[str, Table]
    problems: Problems
    unmapped: str = "keep"
    rules: list[RuleInfo] = field(default_factory=list)
    used_tables: set[str] = field(default_factory=set)
    of_fields: dict[Rule, FieldRule] = field(default_factory=dict)
    """The rules that look at one field and no more, for `presence.filled`."""
    alternatives: set[Any] = field(default_factory=set)
    _conditions: dict[str, Test] = field(default_factory=dict)
    """Conditions of sources without static scopes, by their text: parts bring the same ones again and again."""

    def condition(self, text: Text, chain: Any) -> Test:
        """A `when`, `applies_when` or similar; an always-false test after noting a problem."""

        def operand(path: str, offset: int) -> Operand:
            try:
                compiled = self.source.path(path, chain)
            except PathError as error:
                raise ConditionError(str(error), offset + error.offset, error.hint) from error
            alls, read = compiled.all, compiled.direct
            return Operand(
                compiled.texts,
                present_test(alls, self.source),
                null_test(alls, self.source),
                missing_test(alls, self.source),
                as_it_is if read is None else lambda test: remembered_test(test, read),
            )

        known = self._conditions.get(text.value) if chain is None else None
        if known is not None:
            return known
        try:
            made = compile_condition(text.value, operand)
        except ConditionError as error:
            self._add(within(text.place, error.offset), "E110", str(error), error.hint)
            return lambda _run, _scope: False
        if chain is None:
            self._conditions[text.value] = made
        return made

    def path(self, text: Text, chain: Any) -> Path | None:
        """A path of the file; None after noting a problem."""
        try:
            return self.source.path(text.value, chain)
        except PathError as error:
            self._add(within(text.place, error.offset), error.code, str(error), error.hint)
            return None

    def _read(
        self, text: Text, target: Target, item: Block | None, chain: Any, is_one: bool
    ) -> Path | None:
        """A path whose value goes into a field of one value, or into a list."""
        path = self.path(text, chain)
        if path is None:
            return None
        if is_one and path.is_every and is_text(item):
            return lines_of(path)
        checks.repetitions(path, text, target, is_one, self.problems)
        return path

    # -- blocks of target fields

    def block(
        self, fields: Block, struct: type[msgspec.Struct], chain: Any, at: str, loose: bool
    ) -> Rule:
        """A block of target fields as a builder of `struct`; None when it would hold constants only.

        loose: constants alone do make a value (inside `each`, where the item's presence is the substance).
        """
        if struct is model.Attachment and "content" in fields.items:
            return self._content(fields, chain, at)
        pairs, constants = self.pairs(fields, struct, chain, at)
        fill = self._filled_in(pairs, fields, struct, chain)
        needed = tuple(t.attribute for t in targets_of(struct).values() if t.needed)
        prefix = RECORD_PREFIX.get(struct, "")
        checks.needed_fields(fields, struct, ("id",) if prefix else (), self.problems)
        is_all_constant = frozenset() if loose else constants

        def build(run: Run, scope: Any) -> Any:
            values = fill(run, scope)
            if not values or (is_all_constant and is_all_constant.issuperset(values)):
                return None
            for attribute in needed:
                if attribute not in values:
                    return None
            if prefix and "id" not in values:
                values["id"] = prefix + "-".join(map(str, run.record_at(prefix)))
            return struct(**values)

        return build

    def _content(self, fields: Block, chain: Any, at: str) -> Rule:
        """An attachment whose `content` is read by the attachment shape, under the other fields given."""
        others = Block(fields.place)
        for name, key in fields.keys.items():
            if name != "content":
                others.put(key, fields.items[name])
        fill = self.filled(self.pairs(others, model.Attachment, chain, at)[0])
        target = Target("content", "content", model.Attachment, many=False, needed=True)
        key = fields.keys["content"]
        content = self._finished(
            self._one(fields.items["content"], target, chain, f"{at}.content", key),
            fields.items["content"],
            target,
            f"{at}.content",
        )

        def build(run: Run, scope: Any) -> Any:
            found = content(run, scope)
            if found is None:
                return None
            said = fill(run, scope)
            return msgspec.structs.replace(found, **said) if said else found

        return build

    def pairs(
        self, fields: Block, struct: type[msgspec.Struct], chain: Any, at: str
    ) -> tuple[list[Pair], frozenset[str]]:
        """Attribute, rule and what it needs for each target field of a block, and which are constants."""
        targets = targets_of(struct)
        pairs: list[Pair] = []
        constants = set()
        for name, key in fields.keys.items():
            target = targets.get(name)
            if target is None:
                if name.endswith("+"):
                    self._add(key.place, "E405", f"'{name}' appends to nothing: no inherited rule")
                elif name in RULE_KEYWORDS:
                    message = f"'{name}' is a keyword among target fields"
                    self._add(key.place, "E111", message, "put the target fields under 'fields'")
                else:
                    known = [*targets, *RULE_KEYWORDS]
                    hint = did_you_mean(name, known)
                    self._add(key.place, "E102", f"unknown target field '{name}'", hint)
                continue
            item = fields.items[name]
            where = f"{at}.{name}" if at else name
            rule = self.rule(item, target, chain, where, key)
            pairs.append((target.attribute, rule, self._needs(item, chain)))
            if is_constant(item):
                constants.add(target.attribute)
        return pairs, frozenset(constants)

    def filled(self, pairs: list[Pair]) -> Fill:
        """The rules of a block as one closure."""
        return filled(pairs, self.of_fields)

    def _filled_in(
        self, pairs: list[Pair], fields: Block, struct: type[msgspec.Struct], chain: Any
    ) -> Fill:
        """As `filled`; in a tree, rules that begin at a child the element does not have are passed over."""
        heads = Heads(self.source, chain).of_block(fields, struct)
        if not heads:
            return self.filled(pairs)
        rules = [(attribute, rule) for attribute, rule, _ in pairs]
        rules_for = worth_trying(rules, heads, self.source.present)

        def fill(run: Run, scope: Any) -> dict[str, Any]:
            values = {}
            for attribute, rule in rules_for(run, scope):
                value = rule(run, scope)
                if value is not None:
                    values[attribute] = value
            return values

        return fill

    def _needs(self, item: Item, chain: Any) -> Needs | None:
        if self.source.present is not None:
            return None  # a tree, whose rules are told by heads
        return needs(
            item,
            lambda text: self.path(text, chain),
            lambda rule: self._default(rule) is not None,
        )

    # -- rules

    def rule(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """The finished rule of a target field: one value, or a tuple for a list target."""
        if target.many:
            simple = self._simple_many(item, target, chain, at)
            if simple is not None:
                return simple
            items = self._items(item, target, chain, at, key)
            distinct = isinstance(item, Block) and is_true(item, "distinct")

            return self._remembered(
                self._finished_many(items, item, target, at, distinct), item, chain
            )
        text = simple_source(item)
        if text is not None:
            return self._simple(text, item, target, chain, at)
        one = self._one(item, target, chain, at, key)
        return self._remembered(self._finished(one, item, target, at), item, chain)

    def _remembered(self, rule: Rule, item: Item, chain: Any) -> Rule:
        """A rule that translates one field, as one that remembers its translations."""
        if not isinstance(item, Block):
            return rule
        number = len(self.rules) - 1
        template, text = item.items.get("template"), item.items.get("from")
        field = None
        if isinstance(template, Text) and set(item.items) <= {"template", "comment"}:
            field = self._codes_of_one_field(template, chain)
        elif isinstance(text, Text) and "table" in item.items and set(item.items) <= _TRANSLATION:
            path = self.path(text, chain)
            field = path.direct if path is not None else None
        return remembered_rule(rule, field, number) if field is not None else rule

    def _codes_of_one_field(self, template: Text, chain: Any) -> Field | None:
        """The field that a template puts codes of together, where there is but one."""
        repeats = getattr(self.source, "repeats", None)
        fields = set()
        for piece in re.findall(r"\{([^{}]*)\}", template.value):
            path = self.path(Text(piece, template.place), chain)
            if repeats is None or path is None or path.direct is None or not repeats(path, str):
                return None
            fields.add(replace(path.direct, component=0))
        return fields.pop() if len(fields) == 1 else None

    def _simple(self, text: Text, item: Item, target: Target, chain: Any, at: str) -> Rule:
        """The common rule, one path into one value: read, shaped and finished in one closure."""
        block = item if isinstance(item, Block) else None
        if block is not None:
            self._check_keywords(block)
        info, fallback, needed = self._ending(item, target, at)
        path = self._read(text, target, block, chain, is_one=True)
        if path is None:
            return gives_nothing
        shape = self._shaped(path, text, target, block)
        one, number = path.one, info.number

        def simple(run: Run, scope: Any) -> Any:
            raw = one(run, scope)
            value = None
            if raw is not None:
                if raw == '""':
                    run.cleared.append(indexed(at, run))
                    return None
                issues = len(run.issues)
                value = shape(run, raw, scope)
                if len(run.issues) != issues:
                    locate(run, issues, info)
            if value is None:
                if fallback is None:
                    if needed:
                        miss(run, needed, info)
                    return None
                value = fallback
            elif value.__class__ is Null:
                note_null(run, at, value)
                return None
            run.trail.append((number, run.at))
            return value

        if path.direct is not None and path.every is None and fallback is None and not needed:
            take = _taker(path, shape, info, at)
            repeats = getattr(self.source, "repeats", None)
            if repeats is not None and repeats(path, target.type):
                take = remembered_take(take, info.number)
            if target.type is str and not target.codes and path.direct.component < 2:
                table = block is not None and "table" in block.items
                take = take if table else _plain_taker(take, info)
            self.of_fields[simple] = FieldRule(path.direct, take)
        return simple

    def _simple_many(self, item: Item, target: Target, chain: Any, at: str) -> Rule | None:
        """The common list rule, one path into a list, in one closure; None when the rule is another."""
        text = simple_source(item, {"distinct"})
        if text is None:
            return None
        block = item if isinstance(item, Block) else None
        info, fallback, needed = self._ending(item, target, at)
        path = self._read(text, target, block, chain, is_one=False)
        if path is None:
            return gives_nothing
        shape = self._shaped(path, text, target, block)
        alls, number = path.all, info.number
        distinct = block is not None and is_true(block, "distinct")
        every = path.every

        def items(run: Run, found: list[Any], scope: Any) -> Any:
            """The list of what `alls` found; None or a Null where it holds nothing."""
            out: list[Any] = []
            null = None
            issues = len(run.issues)
            for raw in found:
                value = DELETED if raw == '""' else shape(run, raw, scope)
                if value is None:
                    continue
                if value.__class__ is Null:
                    null = value
                else:
                    out.append(value)
            if len(run.issues) != issues:
                locate(run, issues, info)
            if not out:
                if null is not None:
                    note_null(run, at, null)
                return null
            run.trail.append((number, run.at))
            return tuple(without_repeats(out)) if distinct else tuple(out)

        def simple(run: Run, scope: Any) -> Any:
            value = items(run, alls(run, scope), scope)
            if value is None:
                if needed:
                    miss(run, needed, info)
                elif fallback is not None:
                    run.trail.append((number, run.at))
                    return fallback
            return None if value.__class__ is Null else value

        if path.direct is not None and every is not None and fallback is None and not needed:

            def take(run: Run, raw: Any, scope: Any) -> Any:
                value = items(run, every(run, raw), scope)
                return None if value.__class__ is Null else value

            self.of_fields[simple] = FieldRule(path.direct, take)
        return simple

    def _items(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """A rule as a list of items (or a Null)."""
        if isinstance(item, Sequence):
            return concatenated(
                [
                    (self._items(inner, target, chain, at, key), self._needs(inner, chain))
                    for inner in item.items
                ]
            )
        if isinstance(item, Text):
            if item.value.startswith("= "):
                constant = self._constant(item.value[2:], target, item.place)
                return lambda _run, _scope: [constant]
            return self._from_all(item, target, chain, None)
        return self._block_items(item, target, chain, at, key)

    def _block_items(self, item: Block, target: Target, chain: Any, at: str, key: Text) -> Rule:
        checks.one_source(item, self.problems)
        each = item.items.get("each")
        when_ = item.items.get("when")
        if isinstance(each, Text):
            return self._loop(item, each, target, chain, at, key)
        if "first_of" in item.items:
            inner = self._first_of_items(item, target, chain, key)
        elif isinstance(text := item.items.get("from"), Text):
            inner = self._from_all(text, target, chain, item)
        elif isinstance(choices := item.items.get("choose"), Sequence):
            checks.reachable(choices, self.problems)
            inner = first_true(
                [self._choice(c, target, chain, at, key, self._items) for c in choices.items]
            )
        else:
            single = self._one(item, target, chain, at, key)

            def inner(run: Run, scope: Any) -> Any:
                value = single(run, scope)
                return [value] if value is not None and value.__class__ is not Null else value

            return inner
        if isinstance(when_, Text):
            return guarded(self.condition(when_, chain), inner)
        return inner

    def _first_of_items(self, item: Block, target: Target, chain: Any, key: Text) -> Rule:
        paths = item.items["first_of"]
        self._note_alternatives(paths, chain)
        rules = [
            self._from_all(inner, target, chain, item)
            for inner in (paths.items if isinstance(paths, Sequence) else [])
            if isinstance(inner, Text)
        ]
        if not rules:
            self._add(key.place, "E112", "'first_of' is a list of paths")
        return first_value(rules)

    def _note_alternatives(self, paths: Item, chain: Any) -> None:
        """What is read only where the path before it gives nothing: coverage tells it from what is never read."""
        for text in paths.items[1:] if isinstance(paths, Sequence) else ():
            path = self.path(text, chain) if isinstance(text, Text) else None
            if path is not None and isinstance(path.detail, tuple):
                self.alternatives.add(path.detail)

    def _loop(
        self, item: Block, each: Text, target: Target, chain: Any, at: str, key: Text
    ) -> Rule:
        """`each`: the rest of the block for every repetition, segment, group, node or resource."""
        path = self.path(each, chain)
        if path is None:
            return gives_no_items
        where = f"{at}[{{}}]"
        body: Rule
        if "fields" in item.items:
            fields = item.items["fields"]
            if not isinstance(fields, Block) or not target.is_struct:
                self._add(each.place, "E113", f"'{key.value}' has no fields")
                return gives_no_items
            body = self.block(fields, target.type, path.chain, where, loose=True)
        elif any(name in item.items for name in _LEAF_SOURCES):
            bare = Block(item.place)
            for name, name_key in item.keys.items():
                if name not in {"each", "when", "distinct", "required"}:
                    bare.put(name_key, item.items[name])
            body = self._one(bare, target, path.chain, where, key)
        else:
            return self._from_all(each, target, chain, item)
        when_ = item.items.get("when")
        test = self.condition(when_, path.chain) if isinstance(when_, Text) else None
        scopes = path.scopes

        def loop(run: Run, scope: Any) -> Any:
            out = []
            outer = run.at
            for number, inner in enumerate(scopes(run, scope), 1):
                run.at = (*outer, number)
                if not number % _LOOK_AT_THE_CLOCK:
                    run.take_time()
                if test is None or test(run, inner):
                    value = body(run, inner)
                    if value is not None and value.__class__ is not Null:
                        out.append(value)
                if len(run.trail) > MAX_VALUES:
                    raise MappingError(
                        "mapping.too_many_values", where=each.value, reason="over 50,000 values"
                    )
            run.at = outer
            return out

        return loop

    def _one(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """A rule as one value."""
        if isinstance(item, Sequence):
            self._add(
                key.place,
                "E114",
                f"'{key.value}' takes one value, not a list of rules",
                "use first_of",
            )
            return gives_nothing
        if isinstance(item, Text):
            if item.value.startswith("= "):
                constant = self._constant(item.value[2:], target, item.place)
                return lambda _run, _scope: constant
            return self._from_one(item, target, chain, None)
        if not is_rule(item):
            if not target.is_struct:
                self._check_keywords(item)
                if not item.items:
                    self._add(key.place, "E113", f"'{key.value}' has no fields")
                return gives_nothing
            return self.block(item, target.type, chain, at, loose=False)
        return self._block_one(item, target, chain, at, key)

    def _block_one(self, item: Block, target: Target, chain: Any, at: str, key: Text) -> Rule:
        self._check_keywords(item)
        checks.one_source(item, self.problems)
        if isinstance(each := item.items.get("each"), Text):
            items = self._loop(item, each, target, chain, at, key)
            return lambda run, scope: next(iter(items(run, scope)), None)
        inner: Rule
        fields = item.items.get("fields")
        if isinstance(fields, Block):
            if not target.is_struct:
                self._add(key.place, "E113", f"'{key.value}' has no fields")
                return gives_nothing
            inner = self.block(fields, target.type, chain, at, loose=False)
        elif isinstance(text := item.items.get("from"), Text):
            inner = self._from_one(text, target, chain, item)
        elif isinstance(paths := item.items.get("first_of"), Sequence):
            self._note_alternatives(paths, chain)
            rules = [
                self._from_one(inner_text, target, chain, item)
                if isinstance(inner_text, Text)
                else self._one(inner_text, target, chain, at, key)
                for inner_text in paths.items
            ]
            fields_read = [self.of_fields[rule] for rule in rules if rule in self.of_fields]
            are_fields = len(fields_read) == len(rules)
            inner = first_of_fields(fields_read) if are_fields else first_value(rules)
        elif isinstance(constant := item.items.get("constant"), Text):
            value = self._constant(constant.value, target, constant.place)
            inner = lambda _run, _scope: value  # noqa: E731
        elif isinstance(template := item.items.get("template"), Text):
            inner = self._template(template, target, chain)
        elif isinstance(choices := item.items.get("choose"), Sequence):
            checks.reachable(choices, self.problems)
            inner = first_true(
                [self._choice(c, target, chain, at, key, self._one) for c in choices.items]
            )
        else:
            self._add(
                item.place,
                "E115",
                "the rule reads nothing",
                "it needs from, first_of, constant, template, choose or fields",
            )
            return gives_nothing
        when_ = item.items.get("when")
        return guarded(self.condition(when_, chain), inner) if isinstance(when_, Text) else inner

    def _choice(
        self,
        item: Item,
        target: Target,
        chain: Any,
        at: str,
        key: Text,
        make: Callable[[Item, Target, Any, str, Text], Rule],
    ) -> tuple[Test, Rule]:
        when_ = item.items.get("when") if isinstance(item, Block) else None
        if not isinstance(item, Block) or not isinstance(when_, Text):
            return (lambda _run, _scope: True), make(item, target, chain, at, key)
        bare = Block(item.place)
        for name, name_key in item.keys.items():
            if name != "when":
                bare.put(name_key, item.items[name])
        return self.condition(when_, chain), make(bare, target, chain, at, key)

    def _check_keywords(self, item: Block) -> None:
        for name, name_key in item.keys.items():
            if name not in RULE_KEYWORDS:
                hint = did_you_mean(name, RULE_KEYWORDS) or "target fields go under 'fields'"
                self._add(name_key.place, "E101", f"unknown keyword '{name}'", hint)

    # -- reading

    def _from_one(self, text: Text, target: Target, chain: Any, item: Block | None) -> Rule:
        path = self._read(text, target, item, chain, is_one=True)
        if path is None:
            return gives_nothing
        shape = self._shaped(path, text, target, item)
        one = path.one

        def read(run: Run, scope: Any) -> Any:
            raw = one(run, scope)
            if raw is None:
                return None
            if raw == '""':
                return Null()
            return shape(run, raw, scope)

        if path.direct is not None and path.every is None:
            narrow = path.narrow

            def take(run: Run, raw: Any, scope: Any) -> Any:
                raw = narrow(run, raw)
                if raw is None or raw == '""':
                    return None if raw is None else Null()
                return shape(run, raw, scope)

            self.of_fields[read] = FieldRule(path.direct, take)
        return read

    def _from_all(self, text: Text, target: Target, chain: Any, item: Block | None) -> Rule:
        path = self._read(text, target, item, chain, is_one=False)
        if path is None:
            return gives_no_items
        shape = self._shaped(path, text, target, item)
        alls = path.all

        def read(run: Run, scope: Any) -> Any:
            out = []
            null = None
            for raw in alls(run, scope):
                value = Null() if raw == '""' else shape(run, raw, scope)
                if value is None:
                    continue
                if value.__class__ is Null:
                    null = value
                else:
                    out.append(value)
            return out or null

        return read

    def _shaped(self, path: Path, text: Text, target: Target, item: Block | None) -> Rule3:
        """The shape of a path into a target, with the rule's table applied."""
        forced = item.items.get("as") if item else None
        name = forced.value if isinstance(forced, Text) else ""
        if name and name not in SHAPE_NAMES and forced is not None:
            self._add(
                forced.place, "E116", f"unknown shape '{name}'", did_you_mean(name, SHAPE_NAMES)
            )
        elif forced is not None and SHAPE_NAMES[name] is not target.type:
            kind = getattr(target.type, "__name__", str(target.type))
            self._add(forced.place, "E116", f"shape '{name}' makes no {kind}")
        shape = self.source.shape(path, target.type, name)
        if shape is not None and path.is_lines:
            shape = joined(shape)
        if shape is None:
            kind = getattr(target.type, "__name__", str(target.type))
            message = f"no shape from {path.type or 'this path'} to {kind}"
            self._add(text.place, "E117", message, "read another path, or use 'fields'")
            return lambda _run, _raw, _scope: None
        table_text = item.items.get("table") if item else None
        if isinstance(table_text, Text):
            assert item is not None
            table = self.tables.get(table_text.value)
            if table is None:
                hint = did_you_mean(table_text.value, self.tables)
                self._add(table_text.place, "E305", f"unknown table '{table_text.value}'", hint)
                return shape
            self.used_tables.add(table_text.value)
            if isinstance(target.type, FieldType | ElementType) and not has_code(path.detail[0]):
                reason = f"a table translates codes only, and this is a {path.type}"
                self._add(table_text.place, "E306", reason)
                return shape
            checks.codes_of_table(table, target, table_text.place, self.problems)
            shape = self._translated(shape, table, target, item, text.value)
        if target.codes:
            shape = restricted(shape, target.codes)
        return shape

    def _translated(
        self, shape: Rule3, table: Table, target: Target, item: Block, source: str
    ) -> Rule3:
        policy_text = item.items.get("unmapped")
        policy = policy_text.value if isinstance(policy_text, Text) else ""
        policy = policy or table.unmapped or self.unmapped
        if policy not in {"keep", "drop", "reject", "hold"} and not policy.startswith("use "):
            place = policy_text.place if policy_text else item.place
            self._add(
                place,
                "E118",
                f"unmapped: '{policy}' is unknown",
                "keep, drop, reject, hold or use CODE",
            )
        if isinstance(target.type, FieldType | ElementType):
            return translated(shape, table, policy, source)
        if target.type is Coded:
            return remembered(translated_coded(shape, table, policy, source), {})
        if target.type is not str:
            self._add(item.place, "E306", "a table translates codes only", "the target is no code")
        return translated_code(shape, table, policy, source)

    def _constant(self, text: str, target: Target, place: Place) -> Any:
        if target.codes and text not in target.codes:
            hint = did_you_mean(text, target.codes) or "one of " + ", ".join(target.codes)
            self._add(place, "E119", f"'{text}' is no code of '{target.name}'", hint)
        if isinstance(target.type, FieldType | ElementType):
            return target.type.constant(text)
        if target.type is Coded:
            return Coded(codings=(Coding(code=text),))
        if target.type is bool:
            if text not in {"true", "false"}:
                self._add(place, "E119", f"'{text}' is no truth value", "true or false")
            return text == "true"
        if target.type is int:
            if not text.isdigit():
                self._add(place, "E119", f"'{text}' is no whole number")
            return int(text) if text.isdigit() else 0
        if target.type is not str:
            self._add(place, "E119", f"'{target.name}' cannot be a constant text")
        return text

    def _template(self, text: Text, target: Target, chain: Any) -> Rule:
        checks.braces(text, self.problems)
        pieces = re.split(r"\{([^{}]*)\}", text.value)
        is_field = isinstance(target.type, FieldType | ElementType)
        if target.type is not str and not is_field:
            self._add(text.place, "E119", f"'{target.name}' is no text")
        texts: list[Any] = []
        for i, piece in enumerate(pieces):
            if i % 2:
                path = self.path(Text(piece, text.place), chain)
                texts.append(path.texts if path else (lambda _run, _scope: []))
            else:
                texts.append(piece)

        def fill(run: Run, scope: Any) -> Any:
            found = False
            out = []
            for piece in texts:
                if isinstance(piece, str):
                    out.append(piece)
                    continue
                values = piece(run, scope)
                if values:
                    found = True
                    out.append(values[0])
            filled = "".join(out).strip() if found else None
            return target.type.constant(filled) if is_field and filled else filled

        return fill

    # -- finishing

    def _finished(self, rule: Rule, item: Item, target: Target, at: str) -> Rule:
        """A rule with its default, its `required`, its provenance, and its nulls noted."""
        info, fallback, needed = self._ending(item, target, at)
        number = info.number
        if isinstance(item, Block) and not is_rule(item):

            def block(run: Run, scope: Any) -> Any:
                value = rule(run, scope)
                if value is not None:
                    run.trail.append((number, run.at))
                return value

            return block

        def finished(run: Run, scope: Any) -> Any:
            issues = len(run.issues)
            value = rule(run, scope)
            if len(run.issues) != issues:
                locate(run, issues, info)
            if value is None:
                if fallback is None:
                    if needed:
                        miss(run, needed, info)
                    return None
                value = fallback
            elif value.__class__ is Null:
                note_null(run, at, value)
                return None
            run.trail.append((number, run.at))
            return value

        return finished

    def _finished_many(
        self, items: Rule, item: Item, target: Target, at: str, distinct: bool
    ) -> Rule:
        """As `_finished`, of a rule that gives a list: a tuple, or None where it is empty."""
        info, fallback, needed = self._ending(item, target, at)
        number = info.number

        def finished(run: Run, scope: Any) -> Any:
            issues = len(run.issues)
            found = items(run, scope)
            if len(run.issues) != issues:
                locate(run, issues, info)
            if found.__class__ is Null:
                note_null(run, at, found)
                return None
            if found:
                value = tuple(without_repeats(found)) if distinct else tuple(found)
            elif fallback is not None:
                value = fallback
            else:
                if needed:
                    miss(run, needed, info)
                return None
            run.trail.append((number, run.at))
            return value

        return finished

    def _ending(self, item: Item, target: Target, at: str) -> tuple[RuleInfo, Any, str]:
        """(what the rule is, its default, its `required`)."""
        info = RuleInfo(
            len(self.rules),
            at,
            item.place,
            source_text(item),
            table_text(item),
            comment_text(item),
        )
        self.rules.append(info)
        fallback, needed = None, ""
        if isinstance(item, Block) and is_rule(item):
            default = self._default(item)
            if default is not None:
                value = self._constant(default.value, target, default.place)
                fallback = (value,) if target.many else value
            required = item.items.get("required")
            needed = required.value if isinstance(required, Text) else ""
            if needed not in {"", "true", "warn", "false"} and required is not None:
                self._add(
                    required.place, "E120", f"required: '{needed}' is unknown", "true or warn"
                )
        return info, fallback, needed

    def _default(self, item: Block) -> Text | None:
        """The rule's default, or what its table in block form gives where there is nothing to look up."""
        default = item.items.get("default")
        if isinstance(default, Text):
            return default
        name = item.items.get("table")
        table = self.tables.get(name.value) if isinstance(name, Text) else None
        return Text(table.default, name.place) if table and table.default and name else None

    def _add(self, place: Place, code: str, message: str, hint: str = "") -> None:
        self.problems.add(place, code, message, hint)


def _taker(path: Path, shape: Shape, info: RuleInfo, at: str) -> Callable[[Run, str, Any], Any]:
    """What a simple rule does with the text of its field, which is there."""
    narrow, number = path.narrow, info.number

    def take(run: Run, raw: Any, scope: Any) -> Any:
        raw = narrow(run, raw)
        if raw is None:
            return None
        if raw == '""':
            run.cleared.append(indexed(at, run))
            return None
        issues = len(run.issues)
        value = shape(run, raw, scope)
        if len(run.issues) != issues:
            locate(run, issues, info)
        if value is None:
            return None
        if value.__class__ is Null:
            note_null(run, at, value)
            return None
        run.trail.append((number, run.at))
        return value

    return take


def _plain_taker(
    take: Callable[[Run, str, Any], Any], info: RuleInfo
) -> Callable[[Run, str, Any], Any]:
    """`take` of a text, which a field of letters and digits alone is as it stands."""
    number = info.number

    def plain(run: Run, raw: str, scope: Any) -> Any:
        if raw.isalnum() and run.is_standard:
            run.trail.append((number, run.at))
            return raw
        return take(run, raw, scope)

    return plain
