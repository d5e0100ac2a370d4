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
_HEAD = re.compile(r"(?:\./)?(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)(?=[/\[]|$)")
"""The first step of a path to a child: an element without such a child has nothing for the path."""
_CLIMB = re.compile(r"\.\.(?:/\.\.)*")
_ANYWHERE = (
    "section", "act", "encounter", "observation", "observationMedia", "organizer", "procedure",
    "regionOfInterest", "substanceAdministration", "supply",
)  # fmt: skip
"""Names the parser keeps an index of (`CdaDocument.by_name`)."""

Elements = Callable[[Any, list[Any]], list[Any]]
"""(run, elements) -> the elements one step further."""


def kids(run: Any, element: Any) -> dict[str, Any]:
    """The children of an element by their tag, looked at once in a run: the one child, or the list of several.

    A single child stands without a list around it: the thousands of small lists would wake the garbage collector.
    """
    known: dict[str, Any] | None = run.kids.get(element)
    if known is not None:
        return known
    if not len(element):
        return _LEAF
    found: dict[str, Any] = {}
    for child in element[:]:
        tag = child.tag
        before = found.get(tag)
        if before is None:
            found[tag] = child
        elif before.__class__ is list:
            before.append(child)
        else:
            found[tag] = [before, child]
    run.kids[element] = found
    return found


def children_of(run: Any, element: Any, tag: str) -> list[Any]:
    """The children of one tag; not to be changed."""
    found = kids(run, element).get(tag)
    if found is None:
        return _NONE
    return found if found.__class__ is list else [found]


_NONE: list[Any] = []
_LEAF: dict[str, Any] = {}


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
        self.head = ""
        self.is_number_first = False
        self.indexed: Any = None  # the template test that the parser's index answers

    def path(self) -> Path:
        if m := _HEAD.match(self.text):
            self.head = self._qualified(m.group(1), m.group(2), 0)
        steps, attribute = self.steps(len(self.text))
        if self.i < len(self.text):
            raise PathError("unexpected text after the path", self.i)

        elements = _walk(steps)
        if attribute:
            alls, one = _attribute(steps, elements, attribute)
        else:
            alls, one = elements, _first(steps, elements)

        def texts(run: Any, scope: Any) -> list[str]:
            return [t for t in map(text_of, alls(run, scope)) if t]

        kind = "attribute" if attribute else "element"
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
            return _up(m.group().count(".."))
        tag, _ = self._name()
        index, tests, _ = self._filters()
        if not index and not tests:
            return _Children(tag)

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
            return _by_template(tag, template, rest, index, whole)
        return _everywhere(name, tests, index) if whole else _below(tag, tests, index)

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
                tests.append(_has_template(oid))
                if not template:
                    template, self.indexed = oid, tests[-1]
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


class _Children:
    """The step to all children of a name, the commonest by far."""

    __slots__ = ("tag",)

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def __call__(self, run: Any, found: list[Any]) -> list[Any]:
        tag = self.tag
        if len(found) == 1:
            return children_of(run, found[0], tag)
        return [child for element in found for child in children_of(run, element, tag)]


def _walk(steps: list[Elements]) -> Callable[[Any, Any], list[Any]]:
    """The steps of a path as one function of (run, scope)."""
    if len(steps) == 1 and isinstance(steps[0], _Children):
        tag = steps[0].tag

        def children(run: Any, scope: Any) -> list[Any]:
            known = run.kids.get(scope)
            found = (kids(run, scope) if known is None else known).get(tag)
            if found is None:
                return _NONE
            return found if found.__class__ is list else [found]

        return children

    def elements(run: Any, scope: Any) -> list[Any]:
        found = [scope]
        for step in steps:
            found = step(run, found)
            if not found:
                return found
        return found

    return elements


All = Callable[[Any, Any], list[Any]]
One = Callable[[Any, Any], Any]


def _first(steps: list[Elements], alls: All) -> One:
    """The first element of a path; of one child's name, what most rules read, without a list on the way."""
    if len(steps) != 1 or not isinstance(steps[0], _Children):

        def first(run: Any, scope: Any) -> Any:
            found = alls(run, scope)
            return found[0] if found else None

        return first
    tag = steps[0].tag

    def only(run: Any, scope: Any) -> Any:
        known = run.kids.get(scope)
        found = (kids(run, scope) if known is None else known).get(tag)
        return found[0] if found.__class__ is list else found

    return only


def _attribute(steps: list[Elements], elements: All, name: str) -> tuple[All, One]:
    """The values of an attribute of a path's elements, and the first; of the scope itself without any step."""
    if not steps:

        def own(_run: Any, scope: Any) -> list[Any]:
            value = scope.get(name)
            return [value] if value else _NONE

        return own, lambda _run, scope: scope.get(name) or None

    def values(run: Any, scope: Any) -> list[Any]:
        return [v for e in elements(run, scope) if (v := e.get(name))]

    def first(run: Any, scope: Any) -> Any:
        for element in elements(run, scope):
            value = element.get(name)
            if value:
                return value
        return None

    return values, first


def _up(levels: int) -> Elements:
    """`..`, or several in a row: the element around each; a path may climb so far, never search upwards."""

    def up(_run: Any, found: list[Any]) -> list[Any]:
        out = []
        for element in found:
            above = element
            for _ in range(levels):
                above = above.getparent()
                if above is None:
                    break
            else:
                out.append(above)
        return out

    return up


def _everywhere(name: str, tests: list[Callable[[Any, Any], bool]], index: int) -> Elements:
    """Elements of an indexed name wherever they stand in the document."""

    def step(run: Any, _found: list[Any]) -> list[Any]:
        near: list[Any] = run.message.by_name[name]
        if tests:
            near = [e for e in near if all(test(run, e) for test in tests)]
        return near[index - 1 : index] if index else near

    return step


def _by_template(
    tag: str, oid: str, tests: list[Callable[[Any, Any], bool]], index: int, whole: bool
) -> Elements:
    """Elements of a template, wherever they stand in the document or below an element, by the parser's index."""

    def step(run: Any, found: list[Any]) -> list[Any]:
        known = [e for e in run.message.by_template.get(oid, _NONE) if e.tag == tag]
        if tests and known:
            known = [e for e in known if all(test(run, e) for test in tests)]
        if whole:
            return known[index - 1 : index] if index else known
        out: list[Any] = []
        for element in found:
            near = [e for e in known if _stands_in(e, element)]
            out += near[index - 1 : index] if index else near
        return out

    return step


def _stands_in(element: Any, above: Any) -> bool:
    around = element.getparent()
    while around is not None:
        if around is above:
            return True
        around = around.getparent()
    return False


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


_TEMPLATE = f"{{{V3}}}templateId"


def _has_template(oid: str) -> Callable[[Any, Any], bool]:
    return lambda run, element: any(
        template.get("root") == oid for template in children_of(run, element, _TEMPLATE)
    )


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
