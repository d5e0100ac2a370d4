"""Coverage of CDA: attributes and texts that no rule read, found by mapping through elements that take note.

Paths only, never values. Section 10 of the language. What only says which rule applies (`templateId`, `typeId`,
`realmCode`, schema locations) is ignored by rule, and so is an element that says nothing but `nullFlavor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lxml import etree

_STRUCTURE = frozenset({"templateId", "realmCode", "typeId"})
_POINTS = frozenset({"nullFlavor", "ID"})
"""What says that nothing is there, and what references point to."""
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_TEXT = ""
"""The name under which the reading of an element's own text is noted."""

Reads = dict[Any, set[str]]
"""Element to the attributes read of it; `_TEXT` for its text."""


class Traced:
    """An element that notes which of its attributes and texts are read. Stands in for lxml's, in coverage mode only."""

    __slots__ = ("_all", "_element", "_reads")

    def __init__(self, element: Any, reads: Reads, known: dict[Any, Traced]) -> None:
        self._element = element
        self._reads = reads
        self._all = known
        known[element] = self

    def beside(self, element: Any) -> Traced:
        """The stand-in of another element of the document."""
        return self._all.get(element) or Traced(element, self._reads, self._all)

    def _note(self, element: Any, name: str) -> None:
        self._reads.setdefault(element, set()).add(name)

    @property
    def tag(self) -> Any:
        """The qualified name."""
        return self._element.tag

    @property
    def text(self) -> str | None:
        """The text before the first child, noted."""
        self._note(self._element, _TEXT)
        text: str | None = self._element.text
        return text

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, noted."""
        self._note(self._element, name)
        return self._element.get(name, default)

    def keys(self) -> list[str]:
        """The names of its attributes; looking at them is not reading them."""
        return list(self._element.keys())

    def getparent(self) -> Traced | None:
        """The element around this one."""
        parent = self._element.getparent()
        return None if parent is None else self.beside(parent)

    def iterchildren(self, tag: Any = None) -> Iterator[Traced]:
        """The child elements, of one name if given."""
        return map(self.beside, self._element.iterchildren(tag))

    def iter(self, tag: Any = None) -> Iterator[Traced]:
        """This element and all below, of one name if given."""
        return map(self.beside, self._element.iter(tag or etree.Element))

    def itertext(self) -> Iterator[str]:
        """Every text below, noted."""
        for inner in self._element.iter(etree.Element):
            self._note(inner, _TEXT)
        return iter(self._element.itertext(etree.Element))

    def verbatim(self) -> Any:
        """The lxml element itself, all of it noted: for who writes it out as it is."""
        for inner in self._element.iter(etree.Element):
            self._reads.setdefault(inner, set()).update(("", *inner.keys()))
        return self._element

    def __iter__(self) -> Iterator[Traced]:
        return self.iterchildren(etree.Element)

    def __getitem__(self, children: slice) -> list[Traced]:
        return [self.beside(e) for e in self._element[children] if isinstance(e.tag, str)]

    def __len__(self) -> int:
        return len(self._element)

    def __bool__(self) -> bool:
        return True


def traced(message: Any, reads: Reads) -> Any:
    """The parsed document with elements that note in `reads` what is read of them."""
    known: dict[Any, Traced] = {}
    root = Traced(message.root, reads, known)

    def index(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {key: [root.beside(e) for e in elements] for key, elements in found.items()}

    return replace(
        message,
        root=root,
        by_template=index(message.by_template),
        by_name=index(message.by_name),
        by_id={name: root.beside(element) for name, element in message.by_id.items()},
    )


def unread(message: Any, reads: Reads, ignored: frozenset[str]) -> Iterator[str]:
    """The place of each populated attribute, text or, when nothing in it was read, whole element.

    Each occurrence counts, so a path comes as often as it is met. `ignored` holds paths from the root, or
    `//steps` for these steps at any depth.
    """
    anywhere = {path[2:] for path in ignored if path.startswith("//")}
    root = getattr(message.root, "_element", message.root)
    for name in _open_attributes(root, reads):
        if not _is_ignored([f"@{name}"], ignored, anywhere):
            yield f"@{name}"
    for element in root.iterchildren(etree.Element):
        yield from _unread(element, [], reads, ignored, anywhere)


def _unread(
    element: Any, above: list[str], reads: Reads, ignored: frozenset[str], anywhere: set[str]
) -> Iterator[str]:
    name = _local(element.tag)
    steps = [*above, name]
    if name in _STRUCTURE or _is_ignored(steps, ignored, anywhere):
        return
    if not any(inner in reads and _is_read(inner, reads[inner]) for inner in _below(element)):
        if _says(element, steps, ignored, anywhere):
            yield "/".join(steps)
        return
    for attribute in _open_attributes(element, reads):
        found = [*steps, f"@{attribute}"]
        if not _is_ignored(found, ignored, anywhere):
            yield "/".join(found)
    if _own_text(element) and _TEXT not in reads.get(element, ()):
        found = [*steps, "text()"]
        if not _is_ignored(found, ignored, anywhere):
            yield "/".join(found)
    for inner in element.iterchildren(etree.Element):
        yield from _unread(inner, steps, reads, ignored, anywhere)


def _below(element: Any) -> Iterator[Any]:
    return iter(element.iter(etree.Element))


def _is_read(element: Any, names: set[str]) -> bool:
    """Whether something the element has, and not only something it might have had, was read."""
    return any(name in names for name in element.keys()) or (  # noqa: SIM118 - lxml's keys()
        _TEXT in names and _own_text(element)
    )


def _says(element: Any, steps: list[str], ignored: frozenset[str], anywhere: set[str]) -> bool:
    """Whether an element of which nothing was read has anything that is not ignored."""
    if _local(element.tag) in _STRUCTURE or _is_ignored(steps, ignored, anywhere):
        return False
    if _own_text(element):
        return True
    for name in map(_local, element.keys()):
        if name not in _POINTS and not _is_ignored([*steps, f"@{name}"], ignored, anywhere):
            return True
    return any(
        _says(inner, [*steps, _local(inner.tag)], ignored, anywhere)
        for inner in element.iterchildren(etree.Element)
    )


def _open_attributes(element: Any, reads: Reads) -> list[str]:
    seen = reads.get(element, ())
    return [
        _local(name)
        for name in element.keys()  # noqa: SIM118 - lxml's keys()
        if name not in seen and not name.startswith(_XSI) and name not in _POINTS
    ]


def _own_text(element: Any) -> bool:
    if (element.text or "").strip():
        return True
    return any((inner.tail or "").strip() for inner in element)


def _is_ignored(steps: list[str], ignored: frozenset[str], anywhere: set[str]) -> bool:
    if "/".join(steps) in ignored:
        return True
    return any("/".join(steps[-n:]) in anywhere for n in range(1, min(len(steps), 6) + 1))


def _local(tag: str) -> str:
    return str(tag).rpartition("}")[2]
