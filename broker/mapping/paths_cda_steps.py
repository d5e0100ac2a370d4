"""The steps of CDA paths: closures that go from elements to elements. For `paths_cda`, which parses them.

A run looks at the children of an element once (`kids`); `//` and template tests use the parser's indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

V3 = "urn:hl7-org:v3"

Elements = Callable[[Any, list[Any]], list[Any]]
"""(run, elements) -> the elements one step further."""


Test = Callable[[Any, Any], bool]
All = Callable[[Any, Any], list[Any]]
One = Callable[[Any, Any], Any]


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
    known = run.kids.get(element)
    found = (kids(run, element) if known is None else known).get(tag)
    if found is None:
        return _NONE
    return found if found.__class__ is list else [found]


_NONE: list[Any] = []
_LEAF: dict[str, Any] = {}


def text_of(raw: Any) -> str:
    """A value as a condition sees it: an attribute, or what an element says in its usual attribute or text."""
    if raw.__class__ is str:
        return str(raw).strip()
    get = raw.get
    found = get("value") or get("code") or get("extension") or get("root")
    if found:
        return str(found).strip()
    return "".join(raw.itertext()).strip()


def texts_of(alls: All) -> All:
    """The elements of a path as a condition sees them, those that say something."""
    return lambda run, scope: [text for e in alls(run, scope) if (text := text_of(e))]


def trimmed(alls: All) -> All:
    """The values of an attribute as a condition sees them."""
    return lambda run, scope: [text for v in alls(run, scope) if (text := v.strip())]


class Children:
    """The step to all children of a name, the commonest by far."""

    __slots__ = ("tag",)

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def __call__(self, run: Any, found: list[Any]) -> list[Any]:
        tag = self.tag
        if len(found) == 1:
            return children_of(run, found[0], tag)
        known = run.kids
        out: list[Any] = []
        for element in found:
            near = (known.get(element) or kids(run, element)).get(tag)
            if near is None:
                continue
            if near.__class__ is list:
                out += near
            else:
                out.append(near)
        return out


def walk(steps: list[Elements]) -> All:
    """The steps of a path as one function of (run, scope)."""
    tags = _tags_of(steps)
    if len(tags) == 1:
        return _children(tags[0])
    if len(tags) == 2:
        return _grandchildren(*tags)

    def elements(run: Any, scope: Any) -> list[Any]:
        found = [scope]
        for step in steps:
            found = step(run, found)
            if not found:
                return found
        return found

    return elements


def _tags_of(steps: list[Elements]) -> list[str]:
    """The names of a path that only goes from children to children; empty for any other."""
    tags = [step.tag for step in steps if isinstance(step, Children)]
    return tags if len(tags) == len(steps) else []


def _children(tag: str) -> All:
    def children(run: Any, scope: Any) -> list[Any]:
        known = run.kids.get(scope)
        found = (kids(run, scope) if known is None else known).get(tag)
        if found is None:
            return _NONE
        return found if found.__class__ is list else [found]

    return children


def _grandchildren(outer: str, inner: str) -> All:
    step = Children(inner)

    def grandchildren(run: Any, scope: Any) -> list[Any]:
        known = run.kids.get(scope)
        found = (kids(run, scope) if known is None else known).get(outer)
        if found is None:
            return _NONE
        return step(run, found) if found.__class__ is list else children_of(run, found, inner)

    return grandchildren


def first_of(steps: list[Elements], alls: All) -> One:
    """The first element of a path; of one child's name, what most rules read, without a list on the way."""
    tags = _tags_of(steps)
    if len(tags) != 1:

        def first(run: Any, scope: Any) -> Any:
            found = alls(run, scope)
            return found[0] if found else None

        return first
    (tag,) = tags

    def only(run: Any, scope: Any) -> Any:
        known = run.kids.get(scope)
        found = (kids(run, scope) if known is None else known).get(tag)
        return found[0] if found.__class__ is list else found

    return only


def attribute(steps: list[Elements], elements: All, name: str) -> tuple[All, One]:
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


def up(levels: int) -> Elements:
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


def everywhere(name: str, tests: list[Callable[[Any, Any], bool]], index: int) -> Elements:
    """Elements of an indexed name wherever they stand in the document."""

    def step(run: Any, _found: list[Any]) -> list[Any]:
        near: list[Any] = run.message.by_name[name]
        if tests:
            near = [e for e in near if all(test(run, e) for test in tests)]
        return near[index - 1 : index] if index else near

    return step


def by_template(
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


def below(tag: str, tests: list[Callable[[Any, Any], bool]], index: int) -> Elements:
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


_TEMPLATE = f"{{{V3}}}templateId"


def has_template(oid: str) -> Callable[[Any, Any], bool]:
    def has(run: Any, element: Any) -> bool:
        for template in children_of(run, element, _TEMPLATE):  # noqa: SIM110 - half the cost of any()
            if template.get("root") == oid:
                return True
        return False

    return has


def relative(
    steps: list[Elements], attribute: str, operator: str, wanted: str | None
) -> Callable[[Any, Any], bool]:
    if attribute and len(steps) <= 1 and operator:
        return _of_attribute(steps, attribute, operator == "=", wanted)

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


def _of_attribute(
    steps: list[Elements], attribute: str, is_equal: bool, wanted: str | None
) -> Test:
    """`@root='…'` and `code/@code='…'`, what most tests are: no list of values on the way."""
    if not steps:
        return lambda _run, element: ((element.get(attribute) or None) == wanted) is is_equal
    (step,) = steps

    def test(run: Any, element: Any) -> bool:
        for near in step(run, [element]):
            if (near.get(attribute) or None) == wanted:
                return is_equal
        return not is_equal

    return test
