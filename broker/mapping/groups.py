"""HL7v2 segment groups as a mapping declares them: where each segment of a message belongs.

Section 5.2 of the language. No segment is dropped: what no open group lists belongs to the message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from broker.mapping.run import Node


@dataclass(slots=True, eq=False)
class Group:
    """A declared group. A nested group's starter opens its parents too when none is open."""

    name: str
    starts: tuple[str, ...]
    contains: frozenset[str]
    parent: Group | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    later: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.later = {name: frozenset(self.starts[i:]) for i, name in enumerate(self.starts)}

    @property
    def lists(self) -> frozenset[str]:
        """The segment names this group owns."""
        return self.contains | frozenset(self.starts)


class Groups:
    """The group tree of a mapping, ready to sort segments."""

    def __init__(self, top: dict[str, Group]) -> None:
        self.top = top
        self.starters: dict[str, list[Group]] = {}
        self.listed: set[str] = set()
        for group in _walk(top):
            for name in group.starts:
                self.starters.setdefault(name, []).append(group)
            self.listed |= group.lists

    def sort(self, segments: list[Any]) -> Node:
        """The message as a tree of instances."""
        root = Node("", None)
        own = root.segments
        listed = self.listed
        if not listed:
            for segment in segments:
                own.setdefault(segment.name, []).append(segment)
            return root
        open_: list[tuple[Group | None, Node]] = [(None, root)]
        starters = self.starters
        for segment in segments:
            name = segment.name
            if name not in listed:
                own.setdefault(name, []).append(segment)
            elif name in starters:
                _start(open_, starters[name], segment)
            else:
                _put(open_, segment)
        return root


def _walk(groups: dict[str, Group]) -> list[Group]:
    out: list[Group] = []
    for group in groups.values():
        out += [group, *_walk(group.groups)]
    return out


def _put(open_: list[tuple[Group | None, Node]], segment: Any) -> None:
    name = segment.name
    for i in range(len(open_) - 1, -1, -1):
        group, node = open_[i]
        if group is None or name in group.contains:
            node.segments.setdefault(name, []).append(segment)
            return


def _start(open_: list[tuple[Group | None, Node]], groups: list[Group], segment: Any) -> None:
    """Open an instance, or join the open one that has neither this nor a later starter yet."""
    name = segment.name
    for i in range(len(open_) - 1, 0, -1):
        group, node = open_[i]
        assert group is not None
        later = group.later.get(name)
        if later is not None:
            if later.isdisjoint(node.segments):
                del open_[i + 1 :]
                node.segments.setdefault(name, []).append(segment)
                return
        elif name in group.contains and not _opens_inside(group, groups):
            node.segments.setdefault(name, []).append(segment)
            return
    group = groups[0] if len(groups) == 1 else _nearest(open_, groups)
    parent = group.parent
    for i in range(len(open_) - 1, -1, -1):
        if open_[i][0] is parent:
            del open_[i + 1 :]
            _open(open_, group).segments[name] = [segment]
            return
    path = [group]
    opened = {id(g): i for i, (g, _) in enumerate(open_)}
    while parent is not None and id(parent) not in opened:
        path.insert(0, parent)
        parent = parent.parent
    del open_[(opened[id(parent)] if parent is not None else 0) + 1 :]
    for opening in path:
        node = _open(open_, opening)
    node.segments[name] = [segment]


def _open(open_: list[tuple[Group | None, Node]], group: Group) -> Node:
    parent = open_[-1][1]
    node = Node(group.name, parent)
    siblings = parent.groups.get(group.name)
    if siblings is None:
        parent.groups[group.name] = [node]
    else:
        siblings.append(node)
    open_.append((group, node))
    return node


def _opens_inside(group: Group, starting: list[Group]) -> bool:
    return any(candidate.parent is group for candidate in starting)


def _nearest(open_: list[tuple[Group | None, Node]], groups: list[Group]) -> Group:
    for opened, _ in reversed(open_):
        for group in groups:
            if group.parent is opened or group is opened:
                return group
    return groups[0]
