"""HL7v2 paths (section 5.1 of the language): parsed once, built from the readers. For the HL7v2 source.

Scoping is static: a name that a group on the chain lists is read from that instance only; any other name is looked
for outward, at last in the message itself. Long because the parser of one grammar is kept in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.mapping.groups import Group
from broker.mapping.hl7v2_fields import COMPONENTS, FIELD_TYPES
from broker.mapping.paths import Field, Path, PathError
from broker.mapping.problems import did_you_mean
from broker.mapping.readers_hl7v2 import (
    NodeTest,
    Selector,
    choose_segments,
    direct,
    direct_texts,
    every_direct,
    first_of,
    indexed,
    kept_nodes,
    narrowed,
    node_test,
    parts_of,
    repetition_scopes,
    repetitions_in,
    repetitions_of,
    segments_of,
    step_into,
    texts_of,
)
from broker.mapping.run import Node
from broker.mapping.types_hl7v2 import component_type

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


class PathCompiler:
    """Compiles the paths of one mapping and remembers what they read, for coverage."""

    def __init__(self, top: dict[str, Group]) -> None:
        self.top = top
        self.started = {name: group for group in _all(top) for name in group.starts}
        self.reads: set[tuple[str, int, int]] = set()
        self.repeating: set[tuple[str, int]] = set()
        self._known: dict[tuple[Any, ...], Path] = {}

    def compile(self, text: str, chain: Chain) -> Path:
        """Raises PathError with the offset of what is wrong."""
        key = (
            text,
            *((one.kind, one.name, id(one.group), one.type, one.component) for one in chain),
        )
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _PathParser(self, text, chain).path()
        return found


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

    def _selector(self) -> Selector | None:
        if not self.text.startswith("[", self.i):
            return None
        end = _closing(self.text, self.i)
        if end < 0:
            raise self._fail("a bracket is not closed")
        inner = self.text[self.i + 1 : end].strip()
        start = self.i + 1
        self.i = end + 1
        if inner == "*":
            return Selector(every=True)
        if inner == "last":
            return Selector(last=True)
        if inner.isdigit():
            if int(inner) < 1:
                raise PathError("indexes start at 1", start)
            return Selector(index=int(inner))
        return Selector(tests=_tests(inner, start))

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
            nodes = step_into(nodes, hops, name, self._node_filter(selector, chain))
            if not self.text.startswith("/", self.i):
                if self.i < len(self.text):
                    raise self._fail("expected '/' or the end of the path after a group")
                return nodes, chain, hops
            self.i += 1

    def _find_group(self, name: str, chain: Chain, outward: bool) -> tuple[Group, int]:
        known: list[str] = []
        for hops in range(len(chain) if outward else 1):
            level = chain[len(chain) - 1 - hops]
            inner = self.compiler.top if level.kind == "message" else {}
            if level.group is not None:
                inner = level.group.groups
            if name in inner:
                return inner[name], hops
            known += inner
        hint = did_you_mean(name, known) or (
            "declare it under 'groups', or write a segment name in capitals"
        )
        raise self._fail(f"there is no group '{name}' here", hint, "E202")

    def _node_filter(
        self, selector: Selector | None, chain: Chain
    ) -> Callable[[Any, list[Node]], list[Node]]:
        if selector is None or selector.every:
            return lambda _run, nodes: nodes
        if selector.last:
            return lambda _run, nodes: nodes[-1:]
        if selector.index:
            n = selector.index
            return lambda _run, nodes: nodes[n - 1 : n]
        tests: list[NodeTest] = []
        narrow: Callable[[Any, list[Node]], list[Node]] | None = None
        for relative, equal, wanted, offset in selector.tests:
            try:
                texts = self.compiler.compile(relative, chain).texts
            except PathError as error:
                raise PathError(str(error), offset, error.hint, error.code) from error
            if equal and narrow is None:
                narrow = indexed(texts, relative, wanted)
            else:
                tests.append(node_test(texts, equal, wanted))
        return kept_nodes(narrow, tests)

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
            self.text,
            one,
            scopes,
            lambda r, s: ["" for _ in scopes(r, s)],
            scopes,
            chain,
            "group",
            0,
            hops,
            needs=frozenset((-1, name, 0) for name in _starts(chain[-1].group)),
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
        find = segments_of(nodes, hops, name)
        if self.i >= len(self.text):
            needs = (-1, name, 0) if nodes else (hops, name, 0)
            return self._whole_segment(find, name, selector, needs)
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
        several = selector is not None or every_segment
        chosen = choose_segments(find, selector, every_segment)
        reps = repetitions_of(chosen, name, field, repetition)
        alls = parts_of(reps, component, subcomponent)
        is_first = repetition is None or repetition.index == 1
        if not is_first:
            self.compiler.repeating.add((name, field))
        single = selector is None and is_first and not every_segment
        one = first_of(alls)
        read: Field | None = None
        every = None
        depth = 2 if subcomponent else 1 if component else 0
        texts = texts_of(alls, depth)
        if single and not (name in {"MSH", "FHS", "BHS"} and field <= 2):
            is_value = (name, field, component, repetition) == ("OBX", 5, 0, None)
            one = direct(nodes, hops, name, field, component, subcomponent, is_value)
            if nodes is None and not is_value:
                read = Field(hops, name, field, component)
            texts = direct_texts(one, depth)
        if (
            nodes is None
            and repetition is not None
            and repetition.every
            and not component
            and (selector is None or selector.every)
        ):
            alls = every_direct(hops, name, field, every_segment)
            if not every_segment:
                read, every = Field(hops, name, field), repetitions_in(name, field)
            one, texts = first_of(alls), texts_of(alls, depth)
        outer = self.chain if nodes is not None else chain
        if component:
            kind = "" if subcomponent else component_type(kind, component)
        inner = (*outer, Level("repetition", name, None, kind, component=bool(component)))
        return Path(
            self.text,
            one,
            alls,
            texts,
            repetition_scopes(alls),
            inner,
            kind,
            depth,
            (name, field, component),
            read,
            narrowed(component, subcomponent),
            every,
            is_every=repetition is not None and repetition.every,
            is_separators=name in {"MSH", "FHS", "BHS"} and field <= 2,
            is_first_of_many=repetition is None and _repeats(name, field),
            needs=frozenset([(-1, name, 0) if nodes else (hops, name, 0 if several else field)]),
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
                    f"{name}-{field} does not exist in HL7 2.5-2.8 ({name} has {len(types)} fields)",
                    at,
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
        selector: Selector | None,
        needs: tuple[int, str, int],
    ) -> Path:
        chosen = choose_segments(find, selector, selector is not None)

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
            self.text,
            one,
            chosen,
            lambda r, s: ["" for _ in chosen(r, s)],
            scopes,
            inner,
            "segment",
            needs=frozenset([needs]),
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
        alls = parts_of(lambda _run, scope: [scope.rep], component, subcomponent)
        depth = min(
            2, (1 if level.component else 0) + (2 if subcomponent else 1 if component else 0)
        )
        kind = level.type
        if component:
            kind = "" if subcomponent else component_type(kind, component)
        return Path(
            self.text,
            first_of(alls),
            alls,
            texts_of(alls, depth),
            repetition_scopes(alls),
            self.chain,
            kind,
            depth,
        )


def _starts(group: Group | None) -> set[str]:
    """The segments of which one opens an instance of the group."""
    if group is None:
        return set()
    return {*group.starts, *(name for inner in _all(group.groups) for name in inner.starts)}


def _repeats(name: str, field: int) -> bool:
    types = FIELD_TYPES.get(name, "").split()
    return name[0] != "Z" and len(types) >= field and types[field - 1].endswith("*")


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
