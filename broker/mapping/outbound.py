"""Outbound mappings: the segments of an HL7v2 message from a document. Section 12 of the language; for `catalogue`.

A rule of a field is a rule like any other, compiled by `compile`; here is what is special to segments: their order and
their loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.document import Document, Issue
from broker.er7 import NULL, Repetition, Segment
from broker.errors import MappingError
from broker.mapping.closures import Rule, RuleInfo, is_constant
from broker.mapping.compile import Compiler
from broker.mapping.inherit_segments import entry_name
from broker.mapping.language import SEGMENT_KEYWORDS, MappingFile
from broker.mapping.outbound_segments import Draft, numbered, put
from broker.mapping.outbound_targets import Place, Version, check_segment, place_of
from broker.mapping.paths import PathError
from broker.mapping.problems import Problems, did_you_mean
from broker.mapping.run import MAX_VALUES, Context, Run
from broker.mapping.source_document import Content, DocumentSource, Outgoing
from broker.mapping.strict_yaml import Block, Item, Text
from broker.mapping.strict_yaml import Sequence as Items
from broker.mapping.systems import Systems

Emit = Callable[[Run, Any, list[Draft]], None]
"""(run, scope, segments so far)."""

_DEFAULT_VERSION: Version = (2, 5)


@dataclass(frozen=True, slots=True)
class Outbound:
    """A mapping that writes, ready to run."""

    name: str
    version: str
    format: str
    path: Path
    ancestors: frozenset[str]
    applies: Callable[[Any, Any], bool]
    emit: Emit
    hl7_version: Version
    rules: tuple[RuleInfo, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a document became: the segments of one message, and what happened on the way."""

    mapping: str
    segments: list[Segment]
    issues: list[Issue]


def write(mapping: Outbound, document: Document, content: Content, systems: Systems) -> Written:
    """The document as segments. Raises MappingError `mapping.required`, `mapping.unmapped_code`, `mapping.too_many_values`."""
    run = outgoing(document, content, systems, mapping.hl7_version)
    drafts: list[Draft] = []
    mapping.emit(run, DocumentSource().start(run, run.message), drafts)
    return Written(mapping.name, numbered(drafts), run.issues)


def holds(applies: Callable[[Any, Any], bool], document: Document, systems: Systems) -> bool:
    """Whether an `applies_when` holds for this document."""
    run = outgoing(document, _no_content, systems)
    return applies(run, DocumentSource().start(run, run.message))


def outgoing(
    document: Document, content: Content, systems: Systems, version: Version = _DEFAULT_VERSION
) -> Run:
    """The state of one document on its way out."""
    return Run(Outgoing(document, content, version), Context(lambda _: document.id), systems)


def _no_content(_digest: str) -> bytes:
    raise MappingError("mapping.required", where="attachments", reason="no content here")


def compile_outbound(
    file: MappingFile, compiler: Compiler, applies_when: Text, problems: Problems
) -> Outbound:
    """One effective mapping; problems are noted where they are."""
    version = _hl7_version(file.segments)
    maker = _Maker(compiler, problems, version)
    root = compiler.source.root
    if file.segments is None:
        problems.add(file.place, "E508", f"mapping '{file.name}' writes no segments")
    emit = maker.entries(file.segments or Items(file.place), root, "")
    first = file.segments.items[0] if file.segments and file.segments.items else None
    if first is not None and not (isinstance(first, Block) and entry_name(first) == "MSH"):
        problems.add(first.place, "E508", "the first segment of a message is MSH")
    return Outbound(
        name=file.name,
        version=file.version,
        format=file.target,
        path=file.path,
        ancestors=frozenset(file.ancestors),
        applies=compiler.condition(applies_when, root),
        emit=emit,
        hl7_version=version,
        rules=tuple(compiler.rules),
    )


def _hl7_version(entries: Items | None) -> Version:
    """What MSH-12 says when it is a constant; it decides between CE and CWE, TS and DTM."""
    for entry in entries.items if entries else []:
        fields = entry.items.get("fields") if isinstance(entry, Block) else None
        if not isinstance(fields, Block) or entry_name(entry) != "MSH":
            continue
        rule: Item | None = fields.items.get("MSH-12") or fields.items.get("MSH-12.1")
        if isinstance(rule, Block):
            rule = rule.items.get("constant")
        text = rule.value.removeprefix("= ").strip() if isinstance(rule, Text) else ""
        if text and all(part.isdigit() for part in text.split(".")):
            return tuple(map(int, text.split(".")))
    return _DEFAULT_VERSION


@dataclass(slots=True)
class _Maker:
    """Turns the entries of a mapping into closures."""

    compiler: Compiler
    problems: Problems
    version: Version

    def entries(self, items: Items, chain: Any, at: str) -> Emit:
        """Several entries, one after the other."""
        emits = []
        names: set[str] = set()
        for item in items.items:
            if not isinstance(item, Block):
                self.problems.add(item.place, "E105", "an entry of 'segments' is a block")
                continue
            name = entry_name(item)
            if name in names:
                message = f"'{name}' stands here twice, so no other file could mean one of them"
                self.problems.add(item.place, "E509", message, "give each a 'name'")
            names.add(name)
            emits.append(self._entry(item, chain, at))

        def emit(run: Run, scope: Any, out: list[Draft]) -> None:
            for one in emits:
                one(run, scope, out)

        return emit

    def _entry(self, item: Block, chain: Any, at: str) -> Emit:
        for key in item.keys.values():
            if key.value not in SEGMENT_KEYWORDS:
                hint = did_you_mean(key.value, SEGMENT_KEYWORDS) or "fields go under 'fields'"
                message = f"unknown key '{key.value}' of a segment entry"
                self.problems.add(key.place, "E101", message, hint)
        each, when = item.items.get("each"), item.items.get("when")
        scopes = None
        if isinstance(each, Text):
            at += "[{}]"
            path = self.compiler.path(each, chain)
            if path is None:
                return _nothing
            chain, scopes = path.chain, path.scopes
        test = self.compiler.condition(when, chain) if isinstance(when, Text) else None
        body = self._body(item, chain, at, is_loose=scopes is not None or test is not None)
        if scopes is None:
            return body if test is None else _guarded(test, body)
        return _looped(scopes, test, body)

    def _body(self, item: Block, chain: Any, at: str, *, is_loose: bool) -> Emit:
        segment, inner = item.items.get("segment"), item.items.get("segments")
        if isinstance(segment, Text) == isinstance(inner, Items):
            message = "an entry has either 'segment' with 'fields', or 'segments'"
            self.problems.add(item.place, "E510", message)
            return _nothing
        if isinstance(inner, Items):
            return self.entries(inner, chain, at)
        assert isinstance(segment, Text)
        try:
            check_segment(segment.value)
        except PathError as error:
            self.problems.add(segment.place, error.code, str(error), error.hint)
            return _nothing
        fields = item.items.get("fields")
        block = fields if isinstance(fields, Block) else Block(item.place)
        return self._segment(segment.value, block, chain, at, is_loose=is_loose)

    def _segment(self, name: str, fields: Block, chain: Any, at: str, *, is_loose: bool) -> Emit:
        rules: list[tuple[Place, Rule, bool]] = []
        for text, key in fields.keys.items():
            if text.endswith("+"):
                message = f"'{text}' appends to nothing: no inherited rule"
                self.problems.add(key.place, "E405", message)
                continue
            try:
                place = place_of(text, name, self.version)
            except PathError as error:
                self.problems.add(key.place, error.code, str(error), error.hint)
                continue
            where = f"{name}{at}-{text[4:]}"
            rule = self.compiler.rule(fields.items[text], place.target, chain, where, key)
            rules.append((place, rule, is_constant(fields.items[text])))
        rules.sort(key=lambda one: (one[0].field, one[0].component, one[0].subcomponent))
        constants_do = is_loose or name == "MSH"

        def emit(run: Run, scope: Any, out: list[Draft]) -> None:
            made: dict[int, list[Repetition]] = {}
            substance = constants_do
            for place, rule, constant in rules:
                emptied = len(run.cleared)
                value = rule(run, scope)
                if value is None and len(run.cleared) > emptied:
                    value = NULL
                if value is not None:
                    substance = substance or not constant
                    put(made, place, value)
            if len(run.trail) > MAX_VALUES:
                raise MappingError(
                    "mapping.too_many_values", where=name, reason="over 50,000 values"
                )
            if substance:
                out.append((name, made))

        return emit


def _nothing(_run: Run, _scope: Any, _out: list[Draft]) -> None:
    """An entry that could not be compiled."""


def _guarded(test: Callable[[Any, Any], bool], body: Emit) -> Emit:
    def emit(run: Run, scope: Any, out: list[Draft]) -> None:
        if test(run, scope):
            body(run, scope, out)

    return emit


def _looped(
    scopes: Callable[[Any, Any], list[Any]],
    test: Callable[[Any, Any], bool] | None,
    body: Emit,
) -> Emit:
    def emit(run: Run, scope: Any, out: list[Draft]) -> None:
        outer = run.at
        for number, inner in enumerate(scopes(run, scope), 1):
            run.at = (*outer, number)
            if test is None or test(run, inner):
                body(run, inner, out)
        run.at = outer

    return emit
