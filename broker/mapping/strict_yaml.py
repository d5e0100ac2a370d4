"""The YAML of mapping files: strings only, no anchors, aliases, tags or duplicate keys; every place kept.

`NO`, `01`, `1.10` and `2024-01-01` stay text: types come from the target field. For `broker.mapping.language`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from broker.mapping.problems import Place, Problems


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar and its place; `quoted` tells `'= x'` in quotes from a constant."""

    value: str
    place: Place


@dataclass(slots=True)
class Block:
    """A mapping node, keys in order. `keys` keeps the place of each key."""

    place: Place
    items: dict[str, Item] = field(default_factory=dict)
    keys: dict[str, Text] = field(default_factory=dict)

    def put(self, key: Text, value: Item) -> None:
        """Set a key, keeping the order of first appearance."""
        self.items[key.value] = value
        self.keys[key.value] = key


@dataclass(slots=True)
class Sequence:
    """A list node."""

    place: Place
    items: list[Item] = field(default_factory=list)


Item = Text | Block | Sequence


def load(text: str, file: str, problems: Problems) -> Block | None:
    """The file's one top-level block; None (and a problem noted) when it is not YAML of this dialect."""
    problems.sources[file] = text.splitlines()
    try:
        events = iter(list(yaml.parse(text, Loader=yaml.CSafeLoader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "quote a text that contains ': ' or ' #', and a path with brackets in flow style"
        problems.add(Place(file, line, column), "E001", f"not YAML: {error.problem}", hint)
        return None
    except yaml.YAMLError as error:
        problems.add(Place(file, 1, 1), "E001", f"not YAML: {type(error).__name__}")
        return None
    return _Reader(file, problems, events).document()


class _Reader:
    """Builds items from parse events: the composer, without its silent conversions."""

    def __init__(self, file: str, problems: Problems, events: Iterator[yaml.Event]) -> None:
        self.file = file
        self.problems = problems
        self.events = events

    def document(self) -> Block | None:
        root: Item | None = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.problems.add(self._place(event), "E002", "one document a file")
                    return None
                root = self._item(next(self.events))
        if isinstance(root, Block):
            return root
        self.problems.add(Place(self.file, 1, 1), "E003", "a mapping file is a block of keys")
        return None

    def _item(self, event: yaml.Event) -> Item:
        if isinstance(event, yaml.AliasEvent):
            self.problems.add(self._place(event), "E004", "aliases are not allowed")
            return Text("", self._place(event))
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            self.problems.add(self._place(event), "E004", "anchors are not allowed")
        if event.tag is not None:
            self.problems.add(self._place(event), "E005", "tags are not allowed")
        if isinstance(event, yaml.ScalarEvent):
            return Text(event.value, self._place(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(self._place(event))
        return self._block(self._place(event))

    def _sequence(self, place: Place) -> Sequence:
        sequence = Sequence(place)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            sequence.items.append(self._item(event))
        return sequence

    def _block(self, place: Place) -> Block:
        block = Block(place)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._item(event)
            value = self._item(next(self.events))
            if not isinstance(key, Text):
                self.problems.add(key.place, "E006", "a key is a text")
            elif key.value in block.items:
                self.problems.add(key.place, "E007", f"'{key.value}' is given twice")
            elif key.value == "<<":
                self.problems.add(key.place, "E004", "merge keys are not allowed")
            else:
                block.put(key, value)
        return block

    def _place(self, event: yaml.Event) -> Place:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        width = end.column - start.column if end.line == start.line else 1
        return Place(self.file, start.line + 1, start.column + 1, max(1, width))
