"""Mappings that adjust what the FHIR writer makes: other elements, more of them, or none. Section 12 of the language.

The writer is code over the model and is called `builtin:fhir-r4`; a mapping `to: fhir-r4` extends it. Its rules read
the document as those of HL7v2 do. For `catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.document import Document
from broker.fhir_elements import RESOURCES, Adjustment, Element, elements_of
from broker.mapping.closures import Rule, RuleInfo
from broker.mapping.compile import Compiler
from broker.mapping.language import MappingFile
from broker.mapping.outbound import outgoing
from broker.mapping.outbound_shapes import ElementType
from broker.mapping.paths import PathError
from broker.mapping.problems import Problems, did_you_mean
from broker.mapping.source_document import Content, DocumentSource
from broker.mapping.strict_yaml import Block, Text
from broker.mapping.systems import Systems
from broker.mapping.targets import Target

BUILTIN = "builtin:fhir-r4"


@dataclass(frozen=True, slots=True)
class Change:
    """One rule: the element it fills, and whether it adds to what the writer made."""

    resource: str
    path: tuple[Element, ...]
    rule: Rule
    is_more: bool


@dataclass(frozen=True, slots=True)
class Adjusting:
    """A mapping that adjusts the writer's result, ready to run."""

    name: str
    version: str
    format: str
    path: Path
    ancestors: frozenset[str]
    applies: Callable[[Any, Any], bool]
    changes: tuple[Change, ...]
    removed: tuple[Adjustment, ...]
    rules: tuple[RuleInfo, ...]
    hl7_version: tuple[int, ...] = ()


def adjustments(
    mapping: Adjusting, document: Document, content: Content, systems: Systems
) -> list[Adjustment]:
    """What is to be changed for this document. Raises MappingError `mapping.required`, `mapping.unmapped_code`."""
    run = outgoing(document, content, systems)
    scope = DocumentSource().start(run, run.message)
    made = list(mapping.removed)
    for change in mapping.changes:
        value = change.rule(run, scope)
        if value is not None:
            values = value if change.path[-1].many else (value,)
            made.append(Adjustment(change.resource, change.path, values, change.is_more))
    return made


def compile_fhir(
    file: MappingFile, compiler: Compiler, applies_when: Text, problems: Problems
) -> Adjusting:
    """One effective mapping; problems are noted where they are."""
    root = compiler.source.root
    changes: list[Change] = []
    if BUILTIN not in file.ancestors:
        message = "a mapping to fhir-r4 adjusts the writer's result"
        problems.add(file.place, "E511", message, f"extends: - {BUILTIN}")
    resources = file.resources or Block(file.place)
    for name, key in resources.keys.items():
        fields = resources.items[name]
        if name not in RESOURCES:
            hint = did_you_mean(name, RESOURCES)
            problems.add(key.place, "E512", f"no resource '{name}' is written", hint)
        elif isinstance(fields, Block):
            changes += _changes(name, fields, compiler, root, problems)
        else:
            problems.add(fields.place, "E105", f"'{name}' is a block of elements")
    return Adjusting(
        name=file.name,
        version=file.version,
        format=file.target,
        path=file.path,
        ancestors=frozenset(file.ancestors),
        applies=compiler.condition(applies_when, root),
        changes=tuple(changes),
        removed=tuple(_removals(file.removed, problems)),
        rules=tuple(compiler.rules),
    )


def _changes(
    resource: str, fields: Block, compiler: Compiler, chain: Any, problems: Problems
) -> list[Change]:
    made = []
    for text, key in fields.keys.items():
        plain = text.rstrip("+")
        try:
            path = _path(resource, plain)
        except PathError as error:
            problems.add(key.place, error.code, str(error), error.hint)
            continue
        last = path[-1]
        if text != plain and not last.many:
            problems.add(key.place, "E506", f"'{plain}' is no list", f"write {plain}")
        target = Target(plain, plain, ElementType(last.type), last.many, needed=False)
        rule = compiler.rule(fields.items[text], target, chain, f"{resource}.{plain}", key)
        made.append(Change(resource, path, rule, text != plain))
    return made


def _path(resource: str, text: str) -> tuple[Element, ...]:
    """The elements from the resource down. Raises PathError E513."""
    kind, path, at = resource, [], 0
    for name in text.split("."):
        known = elements_of(kind)
        if name not in known:
            hint = did_you_mean(name, known)
            raise PathError(f"{kind} has no element '{name}'", at, hint, "E513")
        path.append(known[name])
        kind, at = known[name].type, at + len(name) + 1
    return tuple(path)


def _removals(texts: list[Text], problems: Problems) -> list[Adjustment]:
    made = []
    for text in texts:
        resource, _, rest = text.value.partition(".")
        try:
            if resource not in RESOURCES or not rest:
                hint = "write it like Patient.telecom"
                raise PathError(f"'{text.value}' is no element of a resource", 0, hint, "E513")
            path = _path(resource, rest)
        except PathError as error:
            problems.add(text.place, error.code, str(error), error.hint)
            continue
        if path[-1].needed:
            message = f"FHIR requires '{text.value}', so it cannot be removed"
            problems.add(text.place, "E514", message)
        made.append(Adjustment(resource, path, None))
    return made
