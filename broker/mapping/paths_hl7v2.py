"""HL7v2 paths (section 5.1 of the language): parsed once, compiled to closures over segments. For the HL7v2 source.

Scoping is static: a name that a group on the chain lists is read from that instance only; any other name is looked
for outward, at last in the message itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.mapping.groups import Group
from broker.mapping.hl7v2_fields import COMPONENTS, FIELD_TYPES
from broker.mapping.paths import Path, PathError
from broker.mapping.run import Node

NULL = '""'
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?![A-Za-z0-9_])")
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Level:
    """One static scope: the message, a group, a segment in a loop, or a repetition in a loop."""

    kind: str
    name: str = ""
    group: Group | None = None
    type: str = ""
    component: bool = False

    def owns(self, segment: str) -> bool:
        """Whether this scope lists the segment name."""
        if self.kind == "group":
            assert self.group is not None
            return segment in self.group.lists
        return self.kind == "segment" and segment == self.name


Chain = tuple[Level, ...]
ROOT: Chain = (Level("message"),)
_NodeTest = Callable[[Any, Node], bool]


@dataclass(slots=True)
class _Selector:
    every: bool = False
    index: int = 0
    last: bool = False
    tests: tuple[tuple[str, bool, str, int], ...] = ()


class PathCompiler:
    """Compiles the paths of one mapping and remembers what they read, for coverage."""

    def __init__(self, top: dict[str, Group]) -> None:
        self.top = top
        self.started = {
            name: group for group in _all(top) for name in group.starts
        }
        self.reads: set[tuple[str, int, int]] = set()

    def compile(self, text: str, chain: Chain) -> Path:
        """Raises PathError with the offset of what is wrong."""
        return _PathParser(self, text, chain).path()


def _all(groups: dict[str, Group]) -> list[Group]:
    return [g for top in groups.values() for g in (top, *_all(top.groups))]


class _PathParser:
    def __init__(self, compiler: PathCompiler, text: str, chain: Chain) -> None:
        self.compiler = compiler
        self.text = text
        self.chain = chain
        self.i = 0

    def path(self) -> Path:
        if self.text.startswith("."):
            return self._repetition()
        nodes, chain, hops = self._groups()
        if self.i >= len(self.text):
            return self._group_path(nodes, chain, hops)
        return self._segment_path(nodes, chain)

    # -- pieces of grammar

    def _fail(self, message: str, hint: str = "", code: str = "E201") -> PathError:
        return PathError(message, self.i, hint, code)

    def _name(self) -> str:
        m = _NAME.match(self.text, self.i)
        return m.group(0) if m else ""

    def _number(self, what: str) -> int:
        m = _NUMBER.match(self.text, self.i)
        if m is None or int(m.group(0)) < 1:
            raise self._fail(f"expected {what}, counted from 1")
        self.i = m.end()
        return int(m.group(0))

    def _selector(self) -> _Selector | None:
        if not self.text.startswith("[", self.i):
            return None
        end = _closing(self.text, self.i)
        if end < 0:
            raise self._fail("a bracket is not closed")
        inner = self.text[self.i + 1 : end].strip()
        start = self.i + 1
        self.i = end + 1
        if inner == "*":
            return _Selector(every=True)
        if inner == "last":
            return _Selector(last=True)
        if inner.isdigit():
            if int(inner) < 1:
                raise PathError("indexes start at 1", start)
            return _Selector(index=int(inner))
        return _Selector(tests=_tests(inner, start))

    # -- groups

    def _groups(self) -> tuple[Callable[[Any, Node], list[Node]] | None, Chain, int]:
        """The nodes that leading group names lead to (None: none given), and the chain inside them."""
        nodes: Callable[[Any, Node], list[Node]] | None = None
        chain = self.chain
        while True:
            name = self._name()
            if not name or _SEGMENT.fullmatch(name):
                return nodes, chain, 0
            group, hops = self._find_group(name, chain, nodes is None)
            self.i += len(name)
            selector = self._selector()
            chain = (*chain[: len(chain) - hops], Level("group", name, group))
            nodes = _step(nodes, hops, name, self._node_filter(selector, chain))
            if not self.text.startswith("/", self.i):
                if self.i < len(self.text):
                    raise self._fail("expected '/' or the end of the path after a group")
                return nodes, chain, hops
            self.i += 1

    def _find_group(self, name: str, chain: Chain, outward: bool) -> tuple[Group, int]:
        for hops in range(len(chain) if outward else 1):
            level = chain[len(chain) - 1 - hops]
            inner = self.compiler.top if level.kind == "message" else {}
            if level.group is not None:
                inner = level.group.groups
            if name in inner:
                return inner[name], hops
        hint = "declare it under 'groups', or write a segment name in capitals"
        raise self._fail(f"there is no group '{name}' here", hint, "E202")

    def _node_filter(
        self, selector: _Selector | None, chain: Chain
    ) -> Callable[[Any, list[Node]], list[Node]]:
        if selector is None or selector.every:
            return lambda run, nodes: nodes
        if selector.last:
            return lambda run, nodes: nodes[-1:]
        if selector.index:
            n = selector.index
            return lambda run, nodes: nodes[n - 1 : n]
        tests: list[_NodeTest] = []
        narrow: Callable[[Any, list[Node]], list[Node]] | None = None
        for relative, equal, wanted, offset in selector.tests:
            try:
                texts = self.compiler.compile(relative, chain).texts
            except PathError as error:
                raise PathError(str(error), offset, error.hint, error.code) from error
            if equal and narrow is None:
                narrow = _indexed(texts, relative, wanted)
            else:
                tests.append(_node_test(texts, equal, wanted))
        return _kept(narrow, tests)

    def _group_path(
        self, nodes: Callable[[Any, Node], list[Node]] | None, chain: Chain, hops: int
    ) -> Path:
        if nodes is None:
            raise self._fail("expected a segment or a group")
        scopes = nodes

        def one(run: Any, scope: Node) -> Any:
            found = scopes(run, scope)
            return found[0] if found else None

        return Path(
            self.text, one, scopes, lambda r, s: ["" for _ in scopes(r, s)], scopes, chain, "group", 0, hops
        )

    # -- segments and fields

    def _segment_path(self, nodes: Callable[[Any, Node], list[Node]] | None, chain: Chain) -> Path:
        m = _SEGMENT.match(self.text, self.i)
        if m is None:
            raise self._fail("expected a segment name of three capitals, or a group")
        name = m.group(0)
        at = self.i
        self.i = m.end()
        selector = self._selector()
        hops = self._owner(name, chain, at)
        level = chain[len(chain) - 1 - hops]
        listed = level.kind == "group" and level.group is not None and name in level.group.contains
        find = _segments(nodes, hops, name)
        if self.i >= len(self.text):
            return self._whole_segment(find, name, selector, chain)
        if self.text[self.i] != "-":
            raise self._fail("expected '-' and a field number")
        self.i += 1
        field = self._number("a field number")
        repetition = self._selector()
        component = subcomponent = 0
        if self.text.startswith(".", self.i):
            self.i += 1
            component = self._number("a component number")
            if self.text.startswith(".", self.i):
                self.i += 1
                subcomponent = self._number("a subcomponent number")
        if self.i < len(self.text):
            raise self._fail("unexpected text after the path")
        kind = self._check(name, field, component, at)
        self.compiler.reads.add((name, field, component))
        every_segment = selector is not None or (
            listed and repetition is not None and repetition.every
        )
        chosen = _chosen(find, selector, every_segment)
        reps = _repetitions(chosen, name, field, repetition)
        alls = _parts(reps, component, subcomponent)
        single = selector is None and repetition is None and not every_segment
        one = _first_of(alls)
        depth = 2 if subcomponent else 1 if component else 0
        texts = _texts(alls, depth)
        if single and not (name in {"MSH", "FHS", "BHS"} and field <= 2):
            one = _direct(nodes, hops, name, field, component, subcomponent)
            texts = _direct_texts(one, depth)
        if (
            nodes is None
            and repetition is not None
            and repetition.every
            and not component
            and (selector is None or selector.every)
        ):
            alls = _every_direct(hops, name, field, every_segment)
            one, texts = _first_of(alls), _texts(alls, depth)
        outer = self.chain if nodes is not None else chain
        inner = (*outer, Level("repetition", name, None, kind, component=bool(component)))
        return Path(
            self.text,
            one,
            alls,
            texts,
            _repetition_scopes(alls),
            inner,
            kind,
            depth,
            (name, field, component),
        )

    def _owner(self, name: str, chain: Chain, at: int) -> int:
        """How many scopes outward the name is owned; the message itself when nobody lists it."""
        for hops in range(len(chain)):
            if chain[len(chain) - 1 - hops].owns(name):
                return hops
        group = self.compiler.started.get(name)
        if group is not None:
            parents = [group.name]
            outer = group.parent
            while outer is not None:
                parents.insert(0, outer.name)
                outer = outer.parent
            raise PathError(
                f"{name} belongs to group '{group.name}', not read from here",
                at,
                f"write {'/'.join(parents)}[1]/{name}..., or put the rule in 'each: {group.name}'",
                "E203",
            )
        return len(chain) - 1

    def _check(self, name: str, field: int, component: int, at: int) -> str:
        types = FIELD_TYPES.get(name, "").split()
        if not types or field > len(types):
            if types and name[0] != "Z":
                raise PathError(
                    f"{name}-{field} does not exist in HL7 2.5-2.8 ({name} has {len(types)} fields)", at
                )
            return ""
        kind = types[field - 1].rstrip("*")
        limit = COMPONENTS.get(kind, 1)
        if component > limit and kind not in {"varies", "-", "ST", "TX", "FT"} and name[0] != "Z":
            raise PathError(
                f"{name}-{field}.{component} does not exist ({name}-{field} is {kind}, components 1..{limit})",
                at,
            )
        return kind

    def _whole_segment(
        self,
        find: Callable[[Any, Node], list[Any]],
        name: str,
        selector: _Selector | None,
        chain: Chain,
    ) -> Path:
        chosen = _chosen(find, selector, selector is not None)

        def scopes(run: Any, scope: Node) -> list[Node]:
            out = []
            for segment in chosen(run, scope):
                node = Node(name, scope)
                node.segments[name] = [segment]
                out.append(node)
            return out

        def one(run: Any, scope: Node) -> Any:
            found = chosen(run, scope)
            return found[0] if found else None

        inner = (*self.chain, Level("segment", name))
        return Path(
            self.text, one, chosen, lambda r, s: ["" for _ in chosen(r, s)], scopes, inner, "segment"
        )

    # -- inside a repetition

    def _repetition(self) -> Path:
        level = self.chain[-1]
        if level.kind != "repetition":
            hint = "a path that begins with '.' is for 'each: SEG-n[*]'"
            raise self._fail("there is no repetition here", hint)
        component = subcomponent = 0
        self.i = 1
        if len(self.text) > 1:
            component = self._number("a component number")
            if self.text.startswith(".", self.i):
                self.i += 1
                subcomponent = self._number("a subcomponent number")
        if self.i < len(self.text):
            raise self._fail("unexpected text after the path")
        alls = _parts(lambda run, scope: [scope.rep], component, subcomponent)
        depth = min(2, (1 if level.component else 0) + (2 if subcomponent else 1 if component else 0))
        kind = level.type if not component else ""
        return Path(
            self.text, _first_of(alls), alls, _texts(alls, depth), _repetition_scopes(alls), self.chain, kind, depth
        )


def _closing(text: str, start: int) -> int:
    quoted = False
    for i in range(start, len(text)):
        if text[i] == "'":
            quoted = not quoted
        elif text[i] == "]" and not quoted:
            return i
    return -1


_TEST = re.compile(r"\s*([^\s=!']+)\s*(!=|=)\s*'([^']*)'\s*")


def _tests(inner: str, offset: int) -> tuple[tuple[str, bool, str, int], ...]:
    out = []
    i = 0
    while i < len(inner):
        m = _TEST.match(inner, i)
        if m is None:
            raise PathError("a selector is *, a number, last, or path='text' and ...", offset + i)
        out.append((m.group(1), m.group(2) == "=", m.group(3), offset + m.start(1)))
        i = m.end()
        if inner.startswith("and ", i):
            i += 4
        elif i < len(inner):
            raise PathError("expected 'and' between tests", offset + i)
    if not out:
        raise PathError("the selector is empty", offset)
    return tuple(out)


def _step(
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


def _kept(
    narrow: Callable[[Any, list[Node]], list[Node]] | None, tests: list[_NodeTest]
) -> Callable[[Any, list[Node]], list[Node]]:
    if narrow is not None and not tests:
        return narrow

    def keep(run: Any, nodes: list[Node]) -> list[Node]:
        found = nodes if narrow is None else narrow(run, nodes)
        return [n for n in found if all(test(run, n) for test in tests)]

    return keep


def _indexed(
    texts: Callable[[Any, Any], list[str]], relative: str, wanted: str
) -> Callable[[Any, list[Node]], list[Node]]:
    """Instances by the text of one path, found once a message: many rules pick among the same observations."""
    nothing: list[Node] = []

    def keep(run: Any, nodes: list[Node]) -> list[Node]:
        key = (id(nodes), relative)
        index = run.index.get(key)
        if index is None:
            index = run.index[key] = {}
            for node in nodes:
                for text in texts(run, node):
                    index.setdefault(text, []).append(node)
        found: list[Node] = index.get(wanted, nothing)
        return found

    return keep


def _node_test(
    texts: Callable[[Any, Any], list[str]], equal: bool, wanted: str
) -> Callable[[Any, Node], bool]:
    if equal:
        return lambda run, node: wanted in texts(run, node)
    return lambda run, node: wanted not in texts(run, node)


def _segments(
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
        return lambda run, scope: scope.segments.get(name, nothing)
    if hops == 1:
        return lambda run, scope: scope.parent.segments.get(name, nothing)  # type: ignore[union-attr]

    def outward(run: Any, scope: Node) -> list[Any]:
        at: Any = scope
        for _ in range(hops):
            at = at.parent
        found: list[Any] = at.segments.get(name, nothing)
        return found

    return outward


def _chosen(
    find: Callable[[Any, Node], list[Any]], selector: _Selector | None, every: bool
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
    tests = [_segment_test(*test) for test in selector.tests]
    return lambda run, scope: [s for s in find(run, scope) if all(t(run, s) for t in tests)]


_RELATIVE_FIELD = re.compile(r"-(\d+)(?:\.(\d+))?(?:\.(\d+))?")
_RELATIVE_PART = re.compile(r"\.(\d+)(?:\.(\d+))?")


def _segment_test(
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
        return (text_of(run, _part(run, raw, component, subcomponent), 0 if not component else 1) == wanted) is equal

    return test


def _repetition_test(
    relative: str, equal: bool, wanted: str, offset: int
) -> Callable[[Any, str], bool]:
    m = _RELATIVE_PART.fullmatch(relative)
    if m is None:
        raise PathError("a test on a repetition reads '.component'", offset)
    component, subcomponent = (int(g or 0) for g in m.groups())
    return (
        lambda run, raw: (text_of(run, _part(run, raw, component, subcomponent), 1) == wanted) is equal
    )


def _repetitions(
    chosen: Callable[[Any, Node], list[Any]], name: str, field: int, selector: _Selector | None
) -> Callable[[Any, Node], list[str]]:
    whole = name in {"MSH", "FHS", "BHS"} and field <= 2
    every = selector is not None and selector.every
    tests = [_repetition_test(*t) for t in selector.tests] if selector else []
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
            reps = [raw] if whole or run.repetition not in raw else raw.split(run.repetition)
            if tests:
                out += [r for r in reps if r and all(t(run, r) for t in tests)]
            elif every:
                out += reps
            elif last:
                out.append(reps[-1])
            else:
                out += reps[index - 1 : index]
        return out

    return repetitions


def _part(run: Any, raw: str, component: int, subcomponent: int) -> str:
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


def _parts(
    reps: Callable[[Any, Node], list[str]], component: int, subcomponent: int
) -> Callable[[Any, Node], list[str]]:
    if not component:
        return lambda run, scope: [r for r in reps(run, scope) if r and not r.isspace()]

    def parts(run: Any, scope: Node) -> list[str]:
        found = [_part(run, r, component, subcomponent) for r in reps(run, scope)]
        return [p for p in found if p and not p.isspace()]

    return parts


def _first_of(alls: Callable[[Any, Node], list[str]]) -> Callable[[Any, Node], str | None]:
    def one(run: Any, scope: Node) -> str | None:
        found = alls(run, scope)
        return found[0] if found else None

    return one


def _direct(
    nodes: Callable[[Any, Node], list[Node]] | None,
    hops: int,
    name: str,
    field: int,
    component: int,
    subcomponent: int,
) -> Callable[[Any, Node], str | None]:
    """The common case, `PID-8`: first repetition of the first segment, without intermediate lists."""

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
            raw = raw.split(run.repetition, 1)[0]
        if component:
            raw = _part(run, raw, component, subcomponent)
        return None if not raw or (raw[0] <= " " and raw.isspace()) else raw

    if nodes is None:
        return _outward(one, hops)
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


def _every_direct(
    hops: int, name: str, field: int, every_segment: bool
) -> Callable[[Any, Any], list[str]]:
    """`PID-3[*]`: all repetitions of the first segment, or of every one a group lists (`NTE-3[*]`)."""

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
                if run.repetition in raw:
                    out += [r for r in raw.split(run.repetition) if r and not r.isspace()]
                elif raw[0] > " " or not raw.isspace():
                    out.append(raw)
            if not every_segment:
                break
        return out

    return alls


def _outward(
    one: Callable[[Any, Any], str | None], hops: int
) -> Callable[[Any, Any], str | None]:
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


def _direct_texts(
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





def _texts(
    alls: Callable[[Any, Node], list[str]], depth: int
) -> Callable[[Any, Node], list[str]]:
    def texts(run: Any, scope: Node) -> list[str]:
        return [t for t in (text_of(run, r, depth) for r in alls(run, scope)) if t]

    return texts


def _repetition_scopes(
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
