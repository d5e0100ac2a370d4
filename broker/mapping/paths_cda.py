"""CDA paths (section 5.3 of the language): a small part of XPath, compiled to closures over lxml elements.

Values are elements, or texts for attributes. Unprefixed names are in urn:hl7-org:v3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from broker.mapping.paths import Path, PathError

V3 = "urn:hl7-org:v3"
_STEP = re.compile(r"(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)")
_ATTRIBUTE = re.compile(r"@(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)")
_PREFIXES = {"xsi": "http://www.w3.org/2001/XMLSchema-instance", "sdtc": "urn:hl7-org:sdtc"}
_ANYWHERE = (
    "section", "act", "encounter", "observation", "observationMedia", "organizer", "procedure",
    "regionOfInterest", "substanceAdministration", "supply",
)  # fmt: skip
"""Names the parser keeps an index of (`CdaDocument.by_name`)."""

Elements = Callable[[Any, list[Any]], list[Any]]
"""(run, elements) -> the elements one step further."""


def text_of(raw: Any) -> str:
    """A value as a condition sees it: an attribute, or what an element says in its usual attribute or text."""
    if isinstance(raw, str):
        return raw.strip()
    for name in ("value", "code", "extension", "root"):
        found = raw.get(name)
        if found:
            return str(found).strip()
    return "".join(raw.itertext()).strip()


def compile_path(text: str, namespaces: dict[str, str]) -> Path:
    """Raises PathError with the offset of what is wrong."""
    return _Parser(text, {**_PREFIXES, **namespaces}).path()


class _Parser:
    def __init__(self, text: str, namespaces: dict[str, str]) -> None:
        self.text = text
        self.namespaces = namespaces
        self.i = 0

    def path(self) -> Path:
        steps, attribute = self.steps(len(self.text))
        if self.i < len(self.text):
            raise PathError("unexpected text after the path", self.i)

        def elements(run: Any, scope: Any) -> list[Any]:
            found = [scope]
            for step in steps:
                found = step(run, found)
                if not found:
                    return found
            return found

        alls = elements if not attribute else _attribute(elements, attribute)

        def one(run: Any, scope: Any) -> Any:
            found = alls(run, scope)
            return found[0] if found else None

        def texts(run: Any, scope: Any) -> list[str]:
            return [t for t in map(text_of, alls(run, scope)) if t]

        kind = "attribute" if attribute else "element"
        return Path(self.text, one, alls, texts, elements, None, kind)

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
        if self.text.startswith("..", self.i):
            self.i += 2
            return _around
        tag, _ = self._name()
        index, tests, _ = self._filters()
        if not index and not tests:
            return lambda _run, found: [c for e in found for c in e.iterchildren(tag)]

        def step(run: Any, found: list[Any]) -> list[Any]:
            out: list[Any] = []
            for element in found:
                children = [c for c in element.iterchildren(tag) if all(t(run, c) for t in tests)]
                out += children[index - 1 : index] if index else children
            return out

        return step

    def _anywhere(self, whole: bool) -> Elements:
        at = self.i
        tag, name = self._name()
        index, tests, template = self._filters()
        if not template and name not in _ANYWHERE:
            hint = "give a template test, or write the way from the document element"
            raise PathError(f"'//' needs a template test for '{name}'", at, hint)
        return (
            _everywhere(tag, name, template, tests, index) if whole else _below(tag, tests, index)
        )

    def _filters(self) -> tuple[int, list[Callable[[Any, Any], bool]], str]:
        index = 0
        tests: list[Callable[[Any, Any], bool]] = []
        template = ""
        while self.text.startswith("[", self.i):
            end = _closing(self.text, self.i)
            if end < 0:
                raise PathError("a bracket is not closed", self.i)
            self.i += 1
            inner = self.text[self.i : end].strip()
            if inner.isdigit():
                index = int(inner)
                if index < 1:
                    raise PathError("indexes start at 1", self.i)
            else:
                template = template or self._tests(end, tests)
            self.i = end + 1
        return index, tests, template

    def _tests(self, end: int, tests: list[Callable[[Any, Any], bool]]) -> str:
        template = ""
        while self.i < end:
            if self.text.startswith("template=", self.i):
                self.i += len("template=")
                template = self._literal(end)
                tests.append(_has_template(template))
            else:
                steps, attribute = self.steps(end)
                operator = next((o for o in ("!=", "=") if self.text.startswith(o, self.i)), "")
                self.i += len(operator)
                wanted = self._literal(end) if operator else None
                tests.append(_relative(steps, attribute, operator, wanted))
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


def _around(_run: Any, found: list[Any]) -> list[Any]:
    """`..`: the element around each; a path of the language may climb, never search upwards."""
    return [above for element in found if (above := element.getparent()) is not None]


def _everywhere(
    tag: str, name: str, template: str, tests: list[Callable[[Any, Any], bool]], index: int
) -> Elements:
    """Elements wherever they stand in the document, by the parser's indexes."""

    def step(run: Any, _found: list[Any]) -> list[Any]:
        message, near = run.message, list[Any]()
        if name in message.by_name:
            near = message.by_name[name]
        else:
            near = [e for e in message.by_template.get(template, ()) if e.tag == tag]
        if tests:
            near = [e for e in near if all(test(run, e) for test in tests)]
        return near[index - 1 : index] if index else near

    return step


def _below(tag: str, tests: list[Callable[[Any, Any], bool]], index: int) -> Elements:
    def step(run: Any, found: list[Any]) -> list[Any]:
        out: list[Any] = []
        for element in found:
            near = [
                e
                for e in element.iter(tag)
                if e is not element and all(test(run, e) for test in tests)
            ]
            out += near[index - 1 : index] if index else near
        return out

    return step


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


def _attribute(
    elements: Callable[[Any, Any], list[Any]], name: str
) -> Callable[[Any, Any], list[Any]]:
    def values(run: Any, scope: Any) -> list[Any]:
        found = elements(run, scope)
        return [v for e in found if (v := e.get(name))]

    return values


_TEMPLATE = f"{{{V3}}}templateId"


def _has_template(oid: str) -> Callable[[Any, Any], bool]:
    return lambda _run, element: any(t.get("root") == oid for t in element.iterchildren(_TEMPLATE))


def _relative(
    steps: list[Elements], attribute: str, operator: str, wanted: str | None
) -> Callable[[Any, Any], bool]:
    def values(run: Any, element: Any) -> list[str]:
        found = [element]
        for step in steps:
            found = step(run, found)
        if attribute:
            return [v for e in found if (v := e.get(attribute))]
        return [text_of(e) or "." for e in found]

    if operator == "=":
        return lambda run, element: wanted in values(run, element)
    if operator == "!=":
        return lambda run, element: wanted not in values(run, element)
    return lambda run, element: bool(values(run, element))
