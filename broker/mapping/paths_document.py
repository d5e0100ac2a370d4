"""Paths into a document (section 5.5 of the language): model names with dots, `[field='text']`, `[2]`, `[*]`.

A name is looked for in the item of the innermost `each` first, then outward, at last in the document itself, which
`document.` names outright. Decided when the mapping is compiled. Indexes start at 1; `.` is the item itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from broker import document as model
from broker.document import Document
from broker.mapping.paths import Path, PathError
from broker.mapping.problems import did_you_mean
from broker.mapping.targets import Target, targets_of

_NAME = re.compile(r"[A-Za-z_]\w*")
_SELECTOR = re.compile(r"\[((?:[^\[\]']|'[^']*')*)\]")
_TEST = re.compile(r"\s*([A-Za-z_]\w*)\s*(!?=)\s*'([^']*)'\s*")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where paths are read from: an item of a loop, and the scope around it; the document is the outermost."""

    item: Any
    outer: Scope | None = None


Chain = tuple[Any, ...]
"""The types of the scopes, the innermost first."""
Step = Callable[[list[Any]], list[Any]]


class Marker:
    """Stands for a value that a text would be mistaken for."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


CLEARED = Marker("")
"""The source emptied this place (`Document.cleared`): the destination is told so."""
QUOTES = Marker('""')
"""The two characters `""` as a text, which in a source of HL7v2 would mean null."""


def compile_path(text: str, chain: Chain) -> Path:
    """A path read from `chain`. Raises PathError with the place of what is wrong."""
    return _Parser(text, chain).path()


class _Parser:
    def __init__(self, text: str, chain: Chain) -> None:
        self.text = text
        self.chain = chain
        self.i = 0

    def path(self) -> Path:
        if self.text == ".":
            return _path(self.text, 0, [], self.chain, self.chain[0], "")
        depth, kind, steps, name = self._head()
        while self.i < len(self.text):
            if not self.text.startswith(".", self.i):
                raise PathError("expected '.' or the end of the path", self.i)
            self.i += 1
            kind, more, name = self._member(kind)
            steps += more
        return _path(self.text, depth, steps, self.chain, kind, name)

    def _head(self) -> tuple[int, Any, list[Step], str]:
        """(scopes outward, type, steps, last name) of the first name."""
        if self.text.startswith("document."):
            self.i = len("document.")
            return (len(self.chain) - 1, *self._member(Document))
        name = self._name()
        for depth, kind in enumerate(self.chain):
            if name in _fields(kind):
                return (depth, *self._member(kind))
        known = [field for kind in self.chain for field in _fields(kind)]
        raise self._unknown(name, self.chain[0], known)

    def _member(self, kind: Any) -> tuple[Any, list[Step], str]:
        name = self._name()
        target = _fields(kind).get(name)
        if target is None:
            raise self._unknown(name, kind, list(_fields(kind)))
        self.i += len(name)
        steps: list[Step] = [_many(target) if target.many else _one(target)]
        while self.text.startswith("[", self.i):
            steps += self._selector(target)
        return target.type, steps, name

    def _name(self) -> str:
        m = _NAME.match(self.text, self.i)
        if m is None:
            raise PathError("expected a field of the document model", self.i)
        return m.group(0)

    def _unknown(self, name: str, kind: Any, known: list[str]) -> PathError:
        owner = getattr(kind, "__name__", str(kind))
        hint = did_you_mean(name, known)
        return PathError(f"{owner} has no field '{name}'", self.i, hint, "E502")

    def _selector(self, target: Target) -> list[Step]:
        m = _SELECTOR.match(self.text, self.i)
        if m is None:
            raise PathError("a bracket is not closed", self.i)
        inner = m.group(1).strip()
        at = self.i + 1
        if not target.many:
            raise PathError(f"'{target.name}' is no list", at, "leave the brackets out")
        self.i = m.end()
        if inner == "*":
            return []
        if inner.isdigit():
            if int(inner) < 1:
                raise PathError("an index counts from 1", at)
            return [_nth(int(inner))]
        return [self._test(part, target, at) for part in inner.split(" and ")]

    def _test(self, text: str, target: Target, at: int) -> Step:
        m = _TEST.fullmatch(text)
        if m is None:
            raise PathError("expected *, a number or field='text'", at)
        name, sign, wanted = m.groups()
        field = _fields(target.type).get(name)
        if field is None:
            hint = did_you_mean(name, _fields(target.type))
            raise PathError(f"{_name_of(target.type)} has no field '{name}'", at, hint, "E502")
        if field.codes and wanted not in field.codes:
            hint = did_you_mean(wanted, field.codes) or "one of " + ", ".join(
                filter(None, field.codes)
            )
            raise PathError(f"'{wanted}' is no code of '{name}'", at, hint, "E503")
        read, is_equal = _many(field) if field.many else _one(field), sign == "="
        return lambda items: [
            item
            for item in items
            if (wanted in [text for value in read([item]) for text in texts(value)]) is is_equal
        ]


def _path(text: str, depth: int, steps: list[Step], chain: Chain, kind: Any, name: str) -> Path:
    def alls(run: Any, scope: Scope) -> list[Any]:
        owner = scope
        for _ in range(depth):
            assert owner.outer is not None
            owner = owner.outer
        items = [owner.item]
        for step in steps:
            items = step(items)
            if not items:
                break
        if kind is str:
            return [QUOTES if item == '""' else item for item in items] or cleared(run)
        return items or cleared(run)

    def cleared(run: Any) -> list[Any]:
        return [CLEARED] if text in run.message.cleared else []

    def one(run: Any, scope: Scope) -> Any:
        return next(iter(alls(run, scope)), None)

    return Path(
        text=text,
        one=one,
        all=alls,
        texts=lambda run, scope: [t for item in alls(run, scope) for t in texts(item)],
        scopes=lambda run, scope: [
            Scope(item, scope) for item in alls(run, scope) if item is not CLEARED
        ],
        chain=(kind, *chain),
        type=_name_of(kind),
        detail=(kind, name),
    )


def _fields(kind: Any) -> Mapping[str, Target]:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return targets_of(kind) if is_struct else {}


def _name_of(kind: Any) -> str:
    return {"str": "text", "int": "number", "bool": "truth value"}.get(
        name := getattr(kind, "__name__", str(kind)), name
    )


def _one(target: Target) -> Step:
    attribute = target.attribute
    return lambda items: [v for item in items if (v := getattr(item, attribute)) not in (None, "")]


def _many(target: Target) -> Step:
    attribute = target.attribute
    return lambda items: [v for item in items for v in getattr(item, attribute)]


def _nth(number: int) -> Step:
    return lambda items: items[number - 1 : number]


def texts(value: Any) -> list[str]:
    """A value as conditions, tables and templates see it: the code of a concept, the value of an identifier..."""
    if isinstance(value, Marker):
        return [value.text] if value.text else []
    if isinstance(value, str):
        return [value]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, int):
        return [str(value)]
    if isinstance(value, model.Coded):
        return [c.code for c in value.codings if c.code] or ([value.text] if value.text else [])
    if isinstance(value, model.Coding):
        return [value.code] if value.code else []
    if isinstance(value, model.PersonName):
        parts = (value.prefix, *value.given, value.family, value.suffix)
        return [text] if (text := value.text or " ".join(filter(None, parts))) else []
    if isinstance(value, model.Range):
        return [value.text] if value.text else []
    found = getattr(value, "value", None) or getattr(value, "name", None)
    return [found] if isinstance(found, str) else []
