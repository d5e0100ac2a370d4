"""Rules to closures: one a rule, one a block, all decisions that do not depend on the message taken here.

Longer than other modules because the rule keywords of the language are handled in one place, in the order of
section 4.2. A closure takes (run, scope) and gives a value of the model, None, or a Null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from broker import document as model
from broker.document import Coded, Coding
from broker.errors import MappingError
from broker.mapping.conditions import ConditionError, Operand, Test, compile_condition
from broker.mapping.language import RULE_KEYWORDS
from broker.mapping.paths import Path, PathError, SourceFormat
from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.run import DELETED, MAX_VALUES, Null, Run, remembered
from broker.mapping.strict_yaml import Block, Item, Sequence, Text
from broker.mapping.tables import Table
from broker.mapping.targets import Target, targets_of

Rule = Callable[[Any, Any], Any]

SHAPE_NAMES: dict[str, Any] = {
    "identifier": model.Identifier,
    "coded": model.Coded,
    "person_name": model.PersonName,
    "person": model.Person,
    "organization": model.Organization,
    "address": model.Address,
    "telecom": model.Telecom,
    "when": model.When,
    "period": model.Period,
    "quantity": model.Quantity,
    "ratio": model.Ratio,
    "result_value": model.ResultValue,
    "range": model.Range,
    "attachment": model.Attachment,
    "author": model.Author,
    "participant": model.Participant,
    "recipient": model.Recipient,
    "contact": model.Contact,
    "device": model.Device,
    "location": model.Location,
    "text": str,
    "code": str,
    "decimal": str,
    "integer": int,
    "boolean": bool,
}
_LEAF_SOURCES = ("from", "first_of", "constant", "template", "choose")


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """What a rule number of the provenance stands for."""

    number: int
    target: str
    place: Place
    source: str
    table: str = ""


@dataclass(slots=True)
class Compiler:
    """Compiles one effective mapping. `tables` are the loaded tables by the name the mapping gives them."""

    source: SourceFormat
    tables: dict[str, Table]
    problems: Problems
    unmapped: str = "keep"
    rules: list[RuleInfo] = field(default_factory=list)
    used_tables: set[str] = field(default_factory=set)

    def condition(self, text: Text, chain: Any) -> Test:
        """A `when`, `applies_when` or similar; an always-false test after noting a problem."""

        def operand(path: str, offset: int) -> Operand:
            try:
                compiled = self.source.path(path, chain)
            except PathError as error:
                raise ConditionError(str(error), offset + error.offset, error.hint) from error
            alls = compiled.all
            return Operand(compiled.texts, _present(alls), _null(alls))

        try:
            return compile_condition(text.value, operand)
        except ConditionError as error:
            self._add(_within(text.place, error.offset), "E110", str(error), error.hint)
            return lambda _run, _scope: False

    def path(self, text: Text, chain: Any) -> Path | None:
        """A path of the file; None after noting a problem."""
        try:
            return self.source.path(text.value, chain)
        except PathError as error:
            self._add(_within(text.place, error.offset), error.code, str(error), error.hint)
            return None

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
        needed = tuple(t.attribute for t in targets_of(struct).values() if t.needed)
        prefix = _RECORD_PREFIX.get(struct, "")
        is_all_constant = frozenset() if loose else constants

        def build(run: Run, scope: Any) -> Any:
            values = {}
            for attribute, rule in pairs:
                value = rule(run, scope)
                if value is not None:
                    values[attribute] = value
            if not values or (is_all_constant and is_all_constant.issuperset(values)):
                return None
            for attribute in needed:
                if attribute not in values:
                    return None
            if prefix and "id" not in values:
                values["id"] = prefix + "-".join(map(str, run.at)) if run.at else prefix + "1"
            return struct(**values)

        return build

    def _content(self, fields: Block, chain: Any, at: str) -> Rule:
        """An attachment whose `content` is read by the attachment shape, under the other fields given."""
        others = Block(fields.place)
        for name, key in fields.keys.items():
            if name != "content":
                others.put(key, fields.items[name])
        pairs, _ = self.pairs(others, model.Attachment, chain, at)
        target = Target("content", "content", model.Attachment, many=False, needed=True)
        key = fields.keys["content"]
        content = self._finished(
            self._one(fields.items["content"], target, chain, f"{at}.content", key),
            fields.items["content"],
            target,
            f"{at}.content",
            key,
        )

        def build(run: Run, scope: Any) -> Any:
            found = content(run, scope)
            if found is None:
                return None
            said = {name: value for name, rule in pairs if (value := rule(run, scope)) is not None}
            return msgspec.structs.replace(found, **said) if said else found

        return build

    def pairs(
        self, fields: Block, struct: type[msgspec.Struct], chain: Any, at: str
    ) -> tuple[list[tuple[str, Rule]], frozenset[str]]:
        """(attribute, rule) for each target field of a block, and which of them are constants."""
        targets = targets_of(struct)
        pairs: list[tuple[str, Rule]] = []
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
            pairs.append((target.attribute, self.rule(item, target, chain, where, key)))
            if _is_constant(item):
                constants.add(target.attribute)
        return pairs, frozenset(constants)

    # -- rules

    def rule(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """The finished rule of a target field: one value, or a tuple for a list target."""
        if target.many:
            simple = self._simple_many(item, target, chain, at)
            if simple is not None:
                return simple
            items = self._items(item, target, chain, at, key)
            distinct = isinstance(item, Block) and _flag(item, "distinct")

            def many(run: Run, scope: Any) -> Any:
                found = items(run, scope)
                if found.__class__ is Null or not found:
                    return found or None
                return tuple(_distinct(found)) if distinct else tuple(found)

            return self._finished(many, item, target, at, key)
        text = _simple_source(item)
        if text is not None:
            return self._simple(text, item, target, chain, at)
        return self._finished(self._one(item, target, chain, at, key), item, target, at, key)

    def _simple(self, text: Text, item: Item, target: Target, chain: Any, at: str) -> Rule:
        """The common rule, one path into one value: read, shaped and finished in one closure."""
        block = item if isinstance(item, Block) else None
        if block is not None:
            self._check_keywords(block)
        info, fallback, needed, place = self._ending(item, target, at)
        path = self.path(text, chain)
        if path is None:
            return _none
        shape = self._shaped(path, text, target, block, at)
        one, number, source = path.one, info.number, info.source

        def simple(run: Run, scope: Any) -> Any:
            raw = one(run, scope)
            value = None
            if raw is not None:
                if raw == '""':
                    run.cleared.append(_indexed(at, run))
                    return None
                issues = len(run.issues)
                value = shape(run, raw, scope)
                if len(run.issues) != issues:
                    _locate(run, issues, place, source, at)
            if value is None:
                if fallback is None:
                    if needed:
                        _miss(run, needed, info, place)
                    return None
                value = fallback
            elif value.__class__ is Null:
                _note_null(run, at, value)
                return None
            run.trail.append((number, run.at))
            return value

        return simple

    def _simple_many(self, item: Item, target: Target, chain: Any, at: str) -> Rule | None:
        """The common list rule, one path into a list, in one closure; None when the rule is another."""
        text = _simple_source(item, {"distinct"})
        if text is None:
            return None
        block = item if isinstance(item, Block) else None
        info, fallback, needed, place = self._ending(item, target, at)
        path = self.path(text, chain)
        if path is None:
            return _none
        shape = self._shaped(path, text, target, block, at)
        alls, number, source = path.all, info.number, info.source
        distinct = block is not None and _flag(block, "distinct")

        def simple(run: Run, scope: Any) -> Any:
            out: list[Any] = []
            null = None
            issues = len(run.issues)
            for raw in alls(run, scope):
                value = DELETED if raw == '""' else shape(run, raw, scope)
                if value is None:
                    continue
                if value.__class__ is Null:
                    null = value
                else:
                    out.append(value)
            if len(run.issues) != issues:
                _locate(run, issues, place, source, at)
            if not out:
                if null is not None:
                    _note_null(run, at, null)
                elif needed:
                    _miss(run, needed, info, place)
                elif fallback is not None:
                    run.trail.append((number, run.at))
                    return fallback
                return None
            run.trail.append((number, run.at))
            return tuple(_distinct(out)) if distinct else tuple(out)

        return simple

    def _items(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """A rule as a list of items (or a Null)."""
        if isinstance(item, Sequence):
            rules = [self._items(inner, target, chain, at, key) for inner in item.items]
            return _concatenated(rules)
        if isinstance(item, Text):
            if item.value.startswith("= "):
                constant = self._constant(item.value[2:], target, item.place)
                return lambda _run, _scope: [constant]
            return self._from_all(item, target, chain, None, at)
        return self._block_items(item, target, chain, at, key)

    def _block_items(self, item: Block, target: Target, chain: Any, at: str, key: Text) -> Rule:
        each = item.items.get("each")
        when_ = item.items.get("when")
        if isinstance(each, Text):
            return self._loop(item, each, target, chain, at, key)
        if "first_of" in item.items:
            inner = self._first_of_items(item, target, chain, at, key)
        elif isinstance(text := item.items.get("from"), Text):
            inner = self._from_all(text, target, chain, item, at)
        elif isinstance(choices := item.items.get("choose"), Sequence):
            inner = _first_true(
                [self._choice(c, target, chain, at, key, self._items) for c in choices.items]
            )
        else:
            single = self._one(item, target, chain, at, key)

            def inner(run: Run, scope: Any) -> Any:
                value = single(run, scope)
                return [value] if value is not None and value.__class__ is not Null else value

            return inner
        if isinstance(when_, Text):
            return _guarded(self.condition(when_, chain), inner)
        return inner

    def _first_of_items(self, item: Block, target: Target, chain: Any, at: str, key: Text) -> Rule:
        paths = item.items["first_of"]
        rules = [
            self._from_all(inner, target, chain, item, at)
            for inner in (paths.items if isinstance(paths, Sequence) else [])
            if isinstance(inner, Text)
        ]
        if not rules:
            self._add(key.place, "E112", "'first_of' is a list of paths")
        return _first(rules)

    def _loop(
        self, item: Block, each: Text, target: Target, chain: Any, at: str, key: Text
    ) -> Rule:
        """`each`: the rest of the block for every repetition, segment, group, node or resource."""
        path = self.path(each, chain)
        if path is None:
            return _nothing
        where = f"{at}[{{}}]"
        body: Rule
        if "fields" in item.items:
            fields = item.items["fields"]
            if not isinstance(fields, Block) or not target.is_struct:
                self._add(each.place, "E113", f"'{key.value}' has no fields")
                return _nothing
            body = self.block(fields, target.type, path.chain, where, loose=True)
        elif any(name in item.items for name in _LEAF_SOURCES):
            bare = Block(item.place)
            for name, name_key in item.keys.items():
                if name not in {"each", "when", "distinct", "required"}:
                    bare.put(name_key, item.items[name])
            body = self._one(bare, target, path.chain, where, key)
        else:
            return self._from_all(each, target, chain, item, at)
        when_ = item.items.get("when")
        test = self.condition(when_, path.chain) if isinstance(when_, Text) else None
        scopes = path.scopes

        def loop(run: Run, scope: Any) -> Any:
            out = []
            outer = run.at
            for number, inner in enumerate(scopes(run, scope), 1):
                run.at = (*outer, number)
                if test is None or test(run, inner):
                    value = body(run, inner)
                    if value is not None and value.__class__ is not Null:
                        out.append(value)
                if len(run.trail) > MAX_VALUES:
                    raise MappingError("mapping.too_many_values", where=each.value, reason="over 50,000 values")
            run.at = outer
            return out

        return loop

    def _one(self, item: Item, target: Target, chain: Any, at: str, key: Text) -> Rule:
        """A rule as one value."""
        if isinstance(item, Sequence):
            self._add(key.place, "E114", f"'{key.value}' takes one value, not a list of rules", "use first_of")
            return _none
        if isinstance(item, Text):
            if item.value.startswith("= "):
                constant = self._constant(item.value[2:], target, item.place)
                return lambda _run, _scope: constant
            return self._from_one(item, target, chain, None, at)
        if not _is_rule(item):
            if not target.is_struct:
                self._add(key.place, "E113", f"'{key.value}' has no fields")
                return _none
            return self.block(item, target.type, chain, at, loose=False)
        return self._block_one(item, target, chain, at, key)

    def _block_one(self, item: Block, target: Target, chain: Any, at: str, key: Text) -> Rule:
        self._check_keywords(item)
        if isinstance(each := item.items.get("each"), Text):
            items = self._loop(item, each, target, chain, at, key)
            return lambda run, scope: next(iter(items(run, scope)), None)
        inner: Rule
        fields = item.items.get("fields")
        if isinstance(fields, Block):
            if not target.is_struct:
                self._add(key.place, "E113", f"'{key.value}' has no fields")
                return _none
            inner = self.block(fields, target.type, chain, at, loose=False)
        elif isinstance(text := item.items.get("from"), Text):
            inner = self._from_one(text, target, chain, item, at)
        elif isinstance(paths := item.items.get("first_of"), Sequence):
            rules = [
                self._from_one(inner_text, target, chain, item, at)
                if isinstance(inner_text, Text)
                else self._one(inner_text, target, chain, at, key)
                for inner_text in paths.items
            ]
            inner = _first(rules)
        elif isinstance(constant := item.items.get("constant"), Text):
            value = self._constant(constant.value, target, constant.place)
            inner = lambda _run, _scope: value  # noqa: E731
        elif isinstance(template := item.items.get("template"), Text):
            inner = self._template(template, target, chain, item, at)
        elif isinstance(choices := item.items.get("choose"), Sequence):
            inner = _first_true(
                [self._choice(c, target, chain, at, key, self._one) for c in choices.items]
            )
        else:
            self._add(item.place, "E115", "the rule reads nothing", "it needs from, first_of, constant, template, choose or fields")
            return _none
        when_ = item.items.get("when")
        return _guarded(self.condition(when_, chain), inner) if isinstance(when_, Text) else inner

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

    def _from_one(self, text: Text, target: Target, chain: Any, item: Block | None, at: str) -> Rule:
        path = self.path(text, chain)
        if path is None:
            return _none
        shape = self._shaped(path, text, target, item, at)
        one = path.one

        def read(run: Run, scope: Any) -> Any:
            raw = one(run, scope)
            if raw is None:
                return None
            if raw == '""':
                return Null()
            return shape(run, raw, scope)

        return read

    def _from_all(self, text: Text, target: Target, chain: Any, item: Block | None, at: str) -> Rule:
        path = self.path(text, chain)
        if path is None:
            return _nothing
        shape = self._shaped(path, text, target, item, at)
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

    def _shaped(self, path: Path, text: Text, target: Target, item: Block | None, at: str) -> Rule3:
        """The shape of a path into a target, with the rule's table applied."""
        forced = item.items.get("as") if item else None
        name = forced.value if isinstance(forced, Text) else ""
        if name and name not in SHAPE_NAMES and forced is not None:
            self._add(forced.place, "E116", f"unknown shape '{name}'", did_you_mean(name, SHAPE_NAMES))
        shape = self.source.shape(path, target.type, name)
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
            shape = self._translated(shape, table, target, item, text.value)
        if target.codes:
            shape = _restricted(shape, target.codes)
        return shape

    def _translated(
        self, shape: Rule3, table: Table, target: Target, item: Block, source: str
    ) -> Rule3:
        policy_text = item.items.get("unmapped")
        policy = policy_text.value if isinstance(policy_text, Text) else ""
        policy = policy or table.unmapped or self.unmapped
        if policy not in {"keep", "drop", "reject"} and not policy.startswith("use "):
            place = policy_text.place if policy_text else item.place
            self._add(place, "E118", f"unmapped: '{policy}' is unknown", "keep, drop, reject or use CODE")
        if target.type is Coded:
            return remembered(_translated_coded(shape, table, policy, source), {})
        if target.type is not str:
            self._add(item.place, "E306", "a table translates codes only", "the target is no code")
        return _translated_code(shape, table, policy, source)

    def _constant(self, text: str, target: Target, place: Place) -> Any:
        if target.codes and text not in target.codes:
            hint = did_you_mean(text, target.codes) or "one of " + ", ".join(target.codes)
            self._add(place, "E119", f"'{text}' is no code of '{target.name}'", hint)
        if target.type is Coded:
            return Coded(codings=(Coding(code=text),))
        if target.type is bool:
            return text in {"true", "yes", "Y"}
        if target.type is int:
            return int(text) if text.isdigit() else 0
        if target.type is not str:
            self._add(place, "E119", f"'{target.name}' cannot be a constant text")
        return text

    def _template(self, text: Text, target: Target, chain: Any, item: Block, at: str) -> Rule:
        pieces = re.split(r"\{([^{}]*)\}", text.value)
        if target.type is not str:
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
            return "".join(out).strip() if found else None

        return fill

    # -- finishing

    def _finished(self, rule: Rule, item: Item, target: Target, at: str, key: Text) -> Rule:
        """A rule with its default, its `required`, its provenance, and its nulls noted."""
        info, fallback, needed, place = self._ending(item, target, at)
        number = info.number

        def finished(run: Run, scope: Any) -> Any:
            issues = len(run.issues)
            value = rule(run, scope)
            if len(run.issues) != issues:
                _locate(run, issues, place, info.source, at)
            if value is None:
                if fallback is None:
                    if needed:
                        _miss(run, needed, info, place)
                    return None
                value = fallback
            elif value.__class__ is Null:
                _note_null(run, at, value)
                return None
            run.trail.append((number, run.at))
            return value

        return finished

    def _ending(self, item: Item, target: Target, at: str) -> tuple[RuleInfo, Any, str, str]:
        """(what the rule is, its default, its `required`, its place)."""
        info = RuleInfo(len(self.rules), at, item.place, _source_text(item), _table_text(item))
        self.rules.append(info)
        fallback, needed = None, ""
        if isinstance(item, Block) and _is_rule(item):
            default = item.items.get("default")
            if isinstance(default, Text):
                value = self._constant(default.value, target, default.place)
                fallback = (value,) if target.many else value
            required = item.items.get("required")
            needed = required.value if isinstance(required, Text) else ""
            if needed not in {"", "true", "warn", "false"} and required is not None:
                self._add(required.place, "E120", f"required: '{needed}' is unknown", "true or warn")
        return info, fallback, needed, str(item.place)

    def _add(self, place: Place, code: str, message: str, hint: str = "") -> None:
        self.problems.add(place, code, message, hint)


Rule3 = Callable[[Any, Any, Any], Any]

_RECORD_PREFIX: dict[type, str] = {
    model.Encounter: "enc-",
    model.Specimen: "spm-",
    model.Observation: "obs-",
    model.Report: "rep-",
    model.Medication: "med-",
    model.Immunization: "imm-",
    model.Allergy: "all-",
    model.Problem: "prb-",
    model.Procedure: "prc-",
    model.Appointment: "app-",
    model.Order: "ord-",
    model.Section: "sec-",
}


def _is_rule(block: Block) -> bool:
    return any(name in RULE_KEYWORDS for name in block.items)


_SIMPLE = frozenset({"from", "table", "unmapped", "as", "default", "required", "comment"})


def _simple_source(item: Item, also: Collection[str] = ()) -> Text | None:
    """The path of a rule that is nothing but one path; None for any other."""
    if isinstance(item, Text):
        return None if item.value.startswith("= ") else item
    if isinstance(item, Block) and _SIMPLE.union(also).issuperset(item.items):
        source = item.items.get("from")
        return source if isinstance(source, Text) else None
    return None


def _is_constant(item: Item) -> bool:
    if isinstance(item, Text):
        return item.value.startswith("= ")
    if isinstance(item, Block):
        return "constant" in item.items and "when" not in item.items
    return False


def _flag(item: Block, name: str) -> bool:
    value = item.items.get(name)
    return isinstance(value, Text) and value.value == "true"


def _source_text(item: Item) -> str:
    if isinstance(item, Text):
        return item.value
    if isinstance(item, Sequence):
        return ", ".join(filter(None, (_source_text(i) for i in item.items)))
    for name in ("from", "first_of", "each", "template", "constant", "choose"):
        if name in item.items:
            return _source_text(item.items[name])
    return ""


def _table_text(item: Item) -> str:
    table = item.items.get("table") if isinstance(item, Block) else None
    return table.value if isinstance(table, Text) else ""


def _within(place: Place, offset: int) -> Place:
    return Place(place.file, place.line, place.column + offset, 1 if offset else place.width)


def _present(alls: Rule) -> Test:
    return lambda run, scope: any(raw != '""' for raw in alls(run, scope))


def _null(alls: Rule) -> Test:
    def null(run: Any, scope: Any) -> bool:
        found = alls(run, scope)
        return bool(found) and all(raw == '""' for raw in found)

    return null


def _nothing(_run: Any, _scope: Any) -> Any:
    return []


def _none(_run: Any, _scope: Any) -> Any:
    return None


def _guarded(test: Test, rule: Rule) -> Rule:
    return lambda run, scope: rule(run, scope) if test(run, scope) else None


def _first(rules: list[Rule]) -> Rule:
    def first(run: Run, scope: Any) -> Any:
        for rule in rules:
            value = rule(run, scope)
            if value is not None and value != []:
                return value
        return None

    return first


def _first_true(choices: list[tuple[Test, Rule]]) -> Rule:
    def choose(run: Run, scope: Any) -> Any:
        for test, rule in choices:
            if test(run, scope):
                return rule(run, scope)
        return None

    return choose


def _concatenated(rules: list[Rule]) -> Rule:
    def concatenated(run: Run, scope: Any) -> Any:
        out: list[Any] = []
        null = None
        for rule in rules:
            value = rule(run, scope)
            if value.__class__ is Null:
                null = value
            elif value:
                out += value
        return out or null

    return concatenated


def _distinct(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    keys: list[Any] = []
    for value in values:
        key = (value.system, value.value) if isinstance(value, model.Identifier) else value
        if key not in keys:
            keys.append(key)
            out.append(value)
    return out


def _restricted(shape: Rule3, codes: tuple[str, ...]) -> Rule3:
    def restricted(run: Run, raw: Any, scope: Any) -> Any:
        value = shape(run, raw, scope)
        if value is None or value.__class__ is Null or value in codes:
            return value
        run.issue("warning", "code-not-in-model")
        return None

    return restricted


def _translated_code(shape: Rule3, table: Table, policy: str, source: str) -> Rule3:
    lookup = table.lookup

    def translated(run: Run, raw: Any, scope: Any) -> Any:
        text = shape(run, raw, scope)
        if text is None or text.__class__ is Null:
            return text
        row = lookup(text)
        if row is not None:
            return row.code or None
        return _unmapped(run, policy, table, source, text)

    return translated


def _unmapped(run: Run, policy: str, table: Table, source: str, kept: Any) -> Any:
    if policy == "reject":
        raise MappingError(
            "mapping.unmapped_code", where=source, reason=f"a code that table {table.file} does not have"
        )
    run.issue("information", "unmapped-code", detail=table.file)
    if policy == "drop":
        return None
    return policy[4:] if policy.startswith("use ") else kept


def _translated_coded(shape: Rule3, table: Table, policy: str, source: str) -> Rule3:
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
                    table=table.file,
                )
                return Coded(codings=(*value.codings, added), text=value.text)
        kept = _unmapped(run, policy, table, source, value)
        if isinstance(kept, str):
            added = Coding(code=kept, role="translation", table=table.file)
            return Coded(codings=(*value.codings, added), text=value.text)
        return kept

    return translated


def _locate(run: Run, since: int, place: str, source: str, target: str) -> None:
    """Give the issues that a shape noted their rule and places."""
    fresh = run.issues[since:]
    del run.issues[since:]
    for issue in fresh:
        if not issue.rule:
            issue = msgspec.structs.replace(
                issue, rule=place, source_path=issue.source_path or source, target_path=target
            )
        if issue not in run.issues:
            run.issues.append(issue)


def _miss(run: Run, needed: str, info: RuleInfo, place: str) -> None:
    if needed == "true":
        raise MappingError("mapping.required", where=info.source, reason=f"needed for {info.target}")
    if needed == "warn":
        run.issue(
            "warning", "missing", rule=place, source=info.source, target=info.target
        )


def _indexed(at: str, run: Run) -> str:
    depth = at.count("{}")
    return at.format(*run.at[len(run.at) - depth :]) if depth else at


def _note_null(run: Run, at: str, value: Null) -> None:
    path = _indexed(at, run)
    if value.reason == "deleted":
        run.cleared.append(path)
    else:
        run.absent[path] = value.reason
