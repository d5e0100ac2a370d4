"""CDA paths (section 5.3 of the language): a small part of XPath, compiled to closures over lxml elements.

Values are elements, or texts for attributes. Unprefixed names are in urn:hl7-org:v3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from broker.mapping.paths import Path, PathError
from broker.mapping.paths_cda_steps import (
    V3,
    Children,
    Elements,
    attribute,
    below,
    by_template,
    children_of,
    everywhere,
    first_of,
    has_template,
    relative,
    texts_of,
    trimmed,
    up,
    walk,
)

_STEP = re.compile(r"(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)")
_ATTRIBUTE = re.compile(r"@(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)")
_PREFIXES = {"xsi": "http://www.w3.org/2001/XMLSchema-instance", "sdtc": "urn:hl7-org:sdtc"}
_HEAD = re.compile(r"(?:\./)?(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)(?=[/\[]|$)")
"""The first step of a path to a child: an element without such a child has nothing for the path."""
_CLIMB = re.compile(r"\.\.(?:/\.\.)*")
_ANYWHERE = (
    "section", "act", "encounter", "observation", "observationMedia", "organizer", "procedure",
    "regionOfInterest", "substanceAdministration", "supply",
)  # fmt: skip
"""Names the parser keeps an index of (`CdaDocument.by_name`)."""


def compile_path(text: str, namespaces: dict[str, str]) -> Path:
    """Raises PathError with the offset of what is wrong."""
    return _Parser(text, {**_PREFIXES, **namespaces}).path()


class _Parser:
    def __init__(self, text: str, namespaces: dict[str, str]) -> None:
        self.text = text
        self.namespaces = namespaces
        self.i = 0
        self.head = ""
        self.is_number_first = False
        self.indexed: Any = None  # the template test that the parser's index answers

    def path(self) -> Path:
        if m := _HEAD.match(self.text):
            self.head = self._qualified(m.group(1), m.group(2), 0)
        steps, name = self.steps(len(self.text))
        if self.i < len(self.text):
            raise PathError("unexpected text after the path", self.i)

        elements = walk(steps)
        if name:
            alls, one = attribute(steps, elements, name)
        else:
            alls, one = elements, first_of(steps, elements)
        texts = trimmed(alls) if name else texts_of(alls)
        kind = "attribute" if name else "element"
        return Path(self.text, one, alls, texts, elements, None, kind, head=self.head)

    def steps(self, end: int) -> tuple[list[Elements], str]:
        steps: list[Elements] = []
        if self.text.startswith("//", self.i):
            self.i += 2
            steps.append(self._anywhere(whole=True))
        elif self.text.startswith(".//", self.i):
            self.i += 3
            steps.append(self._anywhere(whole=False))
        elif self.text.startswith("./@", self.i):
            self.i += 2
            return steps, self._attribute_name()
        elif self.text[self.i : end] == ".":
            self.i += 1
            return steps, ""
        elif self.text.startswith("@", self.i):
            return steps, self._attribute_name()
        elif self.text.startswith("..", self.i):
            steps.append(self._step())
        else:
            if self.text.startswith("./", self.i):
                self.i += 2
            steps.append(self._step())
        while self.i < end and self.text.startswith("/", self.i):
            self.i += 1
            if self.text.startswith("@", self.i):
                return steps, self._attribute_name()
            steps.append(self._step())
        return steps, ""

    def _attribute_name(self) -> str:
        m = _ATTRIBUTE.match(self.text, self.i)
        if m is None:
            raise PathError("expected an attribute name after '@'", self.i)
        self.i = m.end()
        return self._qualified(m.group(1), m.group(2), m.start(), attribute=True)

    def _qualified(self, prefix: str | None, name: str, at: int, attribute: bool = False) -> str:
        if prefix is None:
            return name if attribute else f"{{{V3}}}{name}"
        if prefix not in self.namespaces:
            raise PathError(f"unknown prefix '{prefix}'", at, "declare it under 'namespaces'")
        return f"{{{self.namespaces[prefix]}}}{name}"

    def _name(self) -> tuple[str, str]:
        m = _STEP.match(self.text, self.i)
        if m is None:
            raise PathError("expected an element name", self.i)
        self.i = m.end()
        return self._qualified(m.group(1), m.group(2), m.start()), m.group(2)

    def _step(self) -> Elements:
        if m := _CLIMB.match(self.text, self.i):
            self.i = m.end()
            return up(m.group().count(".."))
        tag, _ = self._name()
        index, tests, _ = self._filters()
        if not index and not tests:
            return Children(tag)

        number_first = self.is_number_first

        def step(run: Any, found: list[Any]) -> list[Any]:
            out: list[Any] = []
            for element in found:
                children = children_of(run, element, tag)
                if index and number_first:
                    children = children[index - 1 : index]
                if tests and children:
                    children = [c for c in children if all(t(run, c) for t in tests)]
                out += children[index - 1 : index] if index and not number_first else children
            return out

        return step

    def _anywhere(self, whole: bool) -> Elements:
        at = self.i
        tag, name = self._name()
        index, tests, template = self._filters()
        if not template and name not in _ANYWHERE:
            hint = "give a template test, or write the way from the document element"
            raise PathError(f"'//' needs a template test for '{name}'", at, hint)
        if template:
            rest = [test for test in tests if test is not self.indexed]
            return by_template(tag, template, rest, index, whole)
        return everywhere(name, tests, index) if whole else below(tag, tests, index)

    def _filters(self) -> tuple[int, list[Callable[[Any, Any], bool]], str]:
        index, number_first = 0, False
        tests: list[Callable[[Any, Any], bool]] = []
        template = ""
        while self.text.startswith("[", self.i):
            end = _closing(self.text, self.i)
            if end < 0:
                raise PathError("a bracket is not closed", self.i)
            self.i += 1
            inner = self.text[self.i : end].strip()
            if inner.isdigit():
                index, number_first = int(inner), not tests
                if index < 1:
                    raise PathError("indexes start at 1", self.i)
            else:
                found = self._tests(end, tests)
                template = template or found
            self.i = end + 1
        self.is_number_first = number_first
        return index, tests, template

    def _tests(self, end: int, tests: list[Callable[[Any, Any], bool]]) -> str:
        template = ""
        while self.i < end:
            if self.text.startswith("template=", self.i):
                self.i += len("template=")
                oid = self._literal(end)
                tests.append(has_template(oid))
                if not template:
                    template, self.indexed = oid, tests[-1]
            else:
                steps, attribute = self.steps(end)
                operator = next((o for o in ("!=", "=") if self.text.startswith(o, self.i)), "")
                self.i += len(operator)
                wanted = self._literal(end) if operator else None
                tests.append(relative(steps, attribute, operator, wanted))
            while self.i < end and self.text[self.i].isspace():
                self.i += 1
            if self.i < end and self.text.startswith("and ", self.i):
                self.i += 4
            elif self.i < end:
                raise PathError("expected 'and' or the end of the test", self.i)
        return template

    def _literal(self, end: int) -> str:
        closing = self.text.find("'", self.i + 1, end)
        if not self.text.startswith("'", self.i) or closing < 0:
            raise PathError("expected a text in quotes", self.i)
        value = self.text[self.i + 1 : closing]
        self.i = closing + 1
        return value


def _closing(text: str, start: int) -> int:
    depth = 0
    quoted = False
    for i in range(start, len(text)):
        if text[i] == "'":
            quoted = not quoted
        elif not quoted and text[i] == "[":
            depth += 1
        elif not quoted and text[i] == "]":
            depth -= 1
            if not depth:
                return i
    return -1
