"""Reading HL7v2 segments: the closures HL7v2 paths are made of. For `paths_hl7v2`.

A reader takes (run, node) and gives raw texts: still escaped, still with the separators below their level.
Longer than other modules because each way of reading a segment is a closure of its own, written out for speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.mapping.paths import PathError
from broker.mapping.run import MAX_REPETITIONS, Node

NULL = '""'
NodeTest = Callable[[Any, Node], bool]


@dataclass(slots=True)
class Selector:
    every: bool = False
    index: int = 0
    last: bool = False
    tests: tuple[tuple[str, bool, str, int], ...] = ()


def step_into(
    before: Callable[[Any, Node], list[Node]] | None,
    hops: int,
    name: str,
    keep: Callable[[Any, list[Node]], list[Node]],
) -> Callable[[Any, Node], list[Node]]:
    if before is None:

        def first(run: Any, scope: Node) -> list[Node]:
            node: Any = scope
            for _ in range(hops):
                node = node.parent
            found = node.groups.get(name)
            return keep(run, found) if found else []

        return first

    def further(run: Any, scope: Node) -> list[Node]:
        out: list[Node] = []
        for node in before(run, scope):
            found = node.groups.get(name)
            if found:
                out += keep(run, found)
        return out

    return further


def kept_nodes(
    narrow: Callable[[Any, list[Node]], list[Node]] | None, tests: list[NodeTest]
) -> Callable[[Any, list[Node]], list[Node]]:
    if narrow is not None and not tests:
        return narrow

    def keep(run: Any, nodes: list[Node]) -> list[Node]:
        found = nodes if narrow is None else narrow(run, nodes)
        return [n for n in found if all(test(run, n) for test in tests)]

    return keep


def indexed(
    texts: Callable[[Any, Any], list[str]], relative: str, wanted: str
) -> Callable[[Any, list[Node]], list[Node]]:
    """Instances by the text of one path, found once a message: many rules pick among the same observations."""
    nothing: list[Node] = []

    def keep(run: Any, nodes: list[Node]) -> list[Node]:
        key = (id(nodes), relative)
        index: dict[str, list[Node]] | None = run.index.get(key)
        if index is None:
            index = {}
            run.index[key] = index
            for node in nodes:
                for text in texts(run, node):
                    index.setdefault(text, []).append(node)
        found: list[Node] = index.get(wanted, nothing)
        return found

    return keep


def node_test(
    texts: Callable[[Any, Any], list[str]], equal: bool, wanted: str
) -> Callable[[Any, Node], bool]:
    if equal:
        return lambda run, node: wanted in texts(run, node)
    return lambda run, node: wanted not in texts(run, node)


def segments_of(
    nodes: Callable[[Any, Node], list[Node]] | None, hops: int, name: str
) -> Callable[[Any, Node], list[Any]]:
    nothing: list[Any] = []
    if nodes is not None:

        def of_nodes(run: Any, scope: Node) -> list[Any]:
            out: list[Any] = []
            for node in nodes(run, scope):
                at: Any = node
                for _ in range(hops):
                    at = at.parent
                out += at.segments.get(name, nothing)
            return out

        return of_nodes
    if hops == 0:
        return lambda _run, scope: scope.segments.get(name, nothing)
    if hops == 1:
        return lambda _run, scope: scope.parent.segments.get(name, nothing)  # type: ignore[union-attr]

    def outward(_run: Any, scope: Node) -> list[Any]:
        at: Any = scope
        for _ in range(hops):
            at = at.parent
        found: list[Any] = at.segments.get(name, nothing)
        return found

    return outward


def choose_segments(
    find: Callable[[Any, Node], list[Any]], selector: Selector | None, every: bool
) -> Callable[[Any, Node], list[Any]]:
    if selector is None:
        return find if every else lambda run, scope: find(run, scope)[:1]
    if selector.every:
        return find
    if selector.last:
        return lambda run, scope: find(run, scope)[-1:]
    if selector.index:
        n = selector.index
        return lambda run, scope: find(run, scope)[n - 1 : n]
    tests = [segment_test(*test) for test in selector.tests]
    return lambda run, scope: [s for s in find(run, scope) if all(t(run, s) for t in tests)]


_RELATIVE_FIELD = re.compile(r"-(\d+)(?:\.(\d+))?(?:\.(\d+))?")
_RELATIVE_PART = re.compile(r"\.(\d+)(?:\.(\d+))?")


def segment_test(
    relative: str, equal: bool, wanted: str, offset: int
) -> Callable[[Any, Any], bool]:
    m = _RELATIVE_FIELD.fullmatch(relative)
    if m is None:
        raise PathError("a test on a segment reads '-field' or '-field.component'", offset)
    field, component, subcomponent = (int(g or 0) for g in m.groups())

    def test(run: Any, segment: Any) -> bool:
        fields = segment.fields
        raw = fields[field] if len(fields) > field else ""
        raw = raw.split(run.repetition, 1)[0]
        return (
            text_of(run, part_of(run, raw, component, subcomponent), 0 if not component else 1)
            == wanted
        ) is equal

    return test


def repetition_test(
    relative: str, equal: bool, wanted: str, offset: int
) -> Callable[[Any, str], bool]:
    m = _RELATIVE_PART.fullmatch(relative)
    if m is None:
        raise PathError("a test on a repetition reads '.component'", offset)
    component, subcomponent = (int(g or 0) for g in m.groups())

    def test(run: Any, raw: str) -> bool:
        if wanted not in raw and run.escape not in raw:  # it stands nowhere, nor is it spelt
            return not equal
        return (text_of(run, part_of(run, raw, component, subcomponent), 1) == wanted) is equal

    return test


def repetitions_of(
    chosen: Callable[[Any, Node], list[Any]], name: str, field: int, selector: Selector | None
) -> Callable[[Any, Node], list[str]]:
    whole = name in {"MSH", "FHS", "BHS"} and field <= 2
    every = selector is not None and selector.every
    tests = [repetition_test(*t) for t in selector.tests] if selector else []
    index = 1 if selector is None else selector.index
    last = selector is not None and selector.last

    def repetitions(run: Any, scope: Node) -> list[str]:
        out: list[str] = []
        for segment in chosen(run, scope):
            fields = segment.fields
            if len(fields) <= field:
                continue
            raw = fields[field]
            if not raw:
                continue
            reps = [raw] if whole or run.repetition not in raw else split(run, raw, name, field)
            if tests:
                for test in tests:
                    reps = [r for r in reps if r and test(run, r)]
                out += reps
            elif every:
                out += reps
            elif last:
                out.append(reps[-1])
            else:
                out += reps[index - 1 : index]
        return out

    return repetitions


def split(run: Any, raw: str, name: str, field: int) -> list[str]:
    """The repetitions of a field; that there are many is noted, and none is dropped."""
    found = raw.split(run.repetition)
    if len(found) > MAX_REPETITIONS:
        run.issue("information", "many-repetitions", source=f"{name}-{field}")
    return found


def part_of(run: Any, raw: str, component: int, subcomponent: int) -> str:
    if component:
        if run.component in raw:
            parts = raw.split(run.component, component)
            raw = parts[component - 1] if len(parts) >= component else ""
        elif component > 1:
            return ""
        if subcomponent:
            subs = raw.split(run.subcomponent)
            raw = subs[subcomponent - 1] if len(subs) >= subcomponent else ""
    return raw


def parts_of(
    reps: Callable[[Any, Node], list[str]], component: int, subcomponent: int
) -> Callable[[Any, Node], list[str]]:
    if not component:
        return lambda run, scope: [r for r in reps(run, scope) if r and not r.isspace()]

    def parts(run: Any, scope: Node) -> list[str]:
        found = [part_of(run, r, component, subcomponent) for r in reps(run, scope)]
        return [p for p in found if p and not p.isspace()]

    return parts


def first_of(alls: Callable[[Any, Node], list[str]]) -> Callable[[Any, Node], str | None]:
    def one(run: Any, scope: Node) -> str | None:
        found = alls(run, scope)
        return found[0] if found else None

    return one


def direct(
    nodes: Callable[[Any, Node], list[Node]] | None,
    hops: int,
    name: str,
    field: int,
    component: int,
    subcomponent: int,
    skips_blank: bool = False,
) -> Callable[[Any, Node], str | None]:
    """The common case, `PID-8`: first repetition of the first segment, without intermediate lists.

    skips_blank: the first repetition that is not empty, for a value whose shape reads all of them (OBX-5)
    """

    def one(run: Any, scope: Any) -> str | None:
        found = scope.segments.get(name)
        if not found:
            return None
        fields = found[0].fields
        if len(fields) <= field:
            return None
        raw: str = fields[field]
        if not raw:
            return None
        if run.repetition in raw:
            if skips_blank:
                raw = next((r for r in raw.split(run.repetition) if r and not r.isspace()), "")
            else:
                raw = raw.split(run.repetition, 1)[0]
        if component:
            raw = part_of(run, raw, component, subcomponent)
        return None if not raw or (raw[0] <= " " and raw.isspace()) else raw

    if nodes is None:
        return outward(one, hops)
    outer = nodes

    def inside(run: Any, scope: Any) -> str | None:
        for node in outer(run, scope):
            at: Any = node
            for _ in range(hops):
                at = at.parent
            if name in at.segments:
                return one(run, at)
        return None

    return inside


def narrowed(component: int, subcomponent: int) -> Callable[[Any, str], str | None]:
    """What `direct` makes of a field's text: its first repetition, or a part of that; None when it is blank."""
    if component:

        def part(run: Any, raw: str) -> str | None:
            if run.repetition in raw:
                raw = raw.split(run.repetition, 1)[0]
            raw = part_of(run, raw, component, subcomponent)
            return None if not raw or (raw[0] <= " " and raw.isspace()) else raw

        return part

    def whole(run: Any, raw: str) -> str | None:
        if run.repetition in raw:
            raw = raw.split(run.repetition, 1)[0]
        return None if not raw or (raw[0] <= " " and raw.isspace()) else raw

    return whole


def repetitions_in(name: str, field: int) -> Callable[[Any, str], list[str]]:
    """The repetitions of a field's text that are not blank."""

    def every(run: Any, raw: str) -> list[str]:
        if run.repetition in raw:
            return [r for r in split(run, raw, name, field) if r and not r.isspace()]
        return [raw] if raw[0] > " " or not raw.isspace() else []

    return every


def every_direct(
    hops: int, name: str, field: int, every_segment: bool
) -> Callable[[Any, Any], list[str]]:
    """`PID-3[*]`: all repetitions of the first segment, or of every one a group lists (`NTE-3[*]`)."""
    every = repetitions_in(name, field)

    def alls(run: Any, scope: Any) -> list[str]:
        for _ in range(hops):
            scope = scope.parent
        found = scope.segments.get(name)
        if not found:
            return []
        out: list[str] = []
        for segment in found:
            fields = segment.fields
            if len(fields) > field and (raw := fields[field]):
                out += every(run, raw)
            if not every_segment:
                break
        return out

    return alls


def outward(one: Callable[[Any, Any], str | None], hops: int) -> Callable[[Any, Any], str | None]:
    if hops == 0:
        return one
    if hops == 1:
        return lambda run, scope: one(run, scope.parent)
    if hops == 2:
        return lambda run, scope: one(run, scope.parent.parent)

    def outward(run: Any, scope: Any) -> str | None:
        for _ in range(hops):
            scope = scope.parent
        return one(run, scope)

    return outward


def direct_texts(
    one: Callable[[Any, Node], str | None], depth: int
) -> Callable[[Any, Node], list[str]]:
    def texts(run: Any, scope: Node) -> list[str]:
        raw = one(run, scope)
        if raw is None:
            return []
        text = text_of(run, raw, depth)
        return [text] if text else []

    return texts


def text_of(run: Any, raw: str, depth: int) -> str:
    """The text of a raw value read as a simple one: first component, first subcomponent, decoded, trimmed."""
    if depth == 0 and run.component in raw:
        raw = raw.split(run.component, 1)[0]
    if depth < 2 and run.subcomponent in raw:
        raw = raw.split(run.subcomponent, 1)[0]
    if run.escape in raw:
        raw = run.unescape(raw)
    return raw.strip()


def texts_of(
    alls: Callable[[Any, Node], list[str]], depth: int
) -> Callable[[Any, Node], list[str]]:
    def texts(run: Any, scope: Node) -> list[str]:
        return [t for t in (text_of(run, r, depth) for r in alls(run, scope)) if t]

    return texts


def repetition_scopes(
    alls: Callable[[Any, Node], list[str]],
) -> Callable[[Any, Node], list[Node]]:
    def scopes(run: Any, scope: Node) -> list[Node]:
        out = []
        for raw in alls(run, scope):
            if raw == NULL:
                continue
            node = Node(".", scope)
            node.rep = raw
            out.append(node)
        return out

    return scopes
