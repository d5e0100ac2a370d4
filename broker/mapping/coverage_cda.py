"""Coverage of CDA: attributes and texts that no rule read, found by mapping through elements that take note.

Paths only, never values. Section 10 of the language. What only says which rule applies (`templateId`, `typeId`,
`realmCode`, schema locations) is ignored by rule, and so is an element that says nothing but `nullFlavor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lxml import etree

_STRUCTURE = frozenset({"templateId", "realmCode", "typeId"})
_POINTS = frozenset({"nullFlavor", "ID"})
"""What says that nothing is there, and what references point to."""
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_TEXT = ""
"""The name under which the reading of an element's own text is noted."""

_MOST_STEPS = 6
"""So many steps an ignored path `//steps` has at most."""
_MOST_PATHS = 8192
"""So many paths and names are remembered; a sender can invent more."""

Reads = dict[Any, set[str]]
"""Element to the attributes read of it; `_TEXT` for its text."""


class Traced:
    """An element that notes which of its attributes and texts are read. Stands in for lxml's, in coverage mode only."""

    __slots__ = ("_all", "_element", "_reads", "_seen")

    def __init__(self, element: Any, reads: Reads, known: dict[Any, Traced]) -> None:
        self._element = element
        self._reads = reads
        self._all = known
        self._seen: set[str] | None = None
        known[element] = self

    def beside(self, element: Any) -> Traced:
        """The stand-in of another element of the document."""
        found = self._all.get(element)
        return Traced(element, self._reads, self._all) if found is None else found

    def dissolve(self) -> None:
        """Let go of all stand-ins of the document, which know each other: nobody reads it any more."""
        self._all.clear()

    def _noted(self) -> set[str]:
        """What was read of this element so far."""
        seen = self._seen = self._reads.setdefault(self._element, set())
        return seen

    @property
    def tag(self) -> Any:
        """The qualified name."""
        return self._element.tag

    @property
    def text(self) -> str | None:
        """The text before the first child, noted."""
        (self._seen or self._noted()).add(_TEXT)
        text: str | None = self._element.text
        return text

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, noted."""
        (self._seen or self._noted()).add(name)
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
        reads = self._reads
        for inner in self._element.iter(etree.Element):
            reads.setdefault(inner, set()).add(_TEXT)
        return iter(self._element.itertext(etree.Element))

    def verbatim(self) -> Any:
        """The lxml element itself, all of it noted: for who writes it out as it is."""
        for inner in self._element.iter(etree.Element):
            self._reads.setdefault(inner, set()).update(("", *inner.keys()))
        return self._element

    def __iter__(self) -> Iterator[Traced]:
        return self.iterchildren(etree.Element)

    def __getitem__(self, children: slice) -> list[Traced]:
        known, reads = self._all, self._reads
        return [
            known.get(e) or Traced(e, reads, known)
            for e in self._element[children]
            if e.tag.__class__ is str
        ]

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
    root = getattr(message.root, "_element", message.root)
    listing = _Listing(reads, ignored)
    for name in listing.open_attributes(root):
        if not listing.is_ignored(f"@{name}"):
            yield f"@{name}"
    for element in root.iterchildren(etree.Element):
        listing.add(element, "")
    yield from listing.found


@lru_cache(maxsize=64)
def _ignoring(ignored: frozenset[str]) -> Callable[[str], bool]:
    """Whether a path, or its last steps, are ignored. Documents of a kind have the same paths: they are remembered."""
    anywhere = {path[2:] for path in ignored if path.startswith("//")}

    @lru_cache(maxsize=_MOST_PATHS)
    def is_ignored(path: str) -> bool:
        steps = path.split("/")
        return path in ignored or any(
            "/".join(steps[-n:]) in anywhere for n in range(1, min(len(steps), _MOST_STEPS) + 1)
        )

    return is_ignored


class _Listing:
    """One walk over a document; paths are met again and again, so what holds of one is remembered."""

    def __init__(self, reads: Reads, ignored: frozenset[str]) -> None:
        self._reads = reads
        self.is_ignored = _ignoring(ignored)
        self.found: list[str] = []
        self._read = _with_ancestors(e for e, names in reads.items() if _is_read(e, names))

    def add(self, element: Any, above: str) -> None:
        """Find the places in an element below the path `above`."""
        name = _local(element.tag)
        path = f"{above}/{name}" if above else name
        if name in _STRUCTURE or self.is_ignored(path):
            return
        if element not in self._read:
            if self._says(element, path):
                self.found.append(path)
            return
        seen = self._reads.get(element, ())
        for name in element.keys():  # noqa: SIM118 - lxml's keys()
            if name not in seen and name not in _POINTS and not name.startswith(_XSI):
                self._note(f"{path}/@{_local(name)}")
        if _TEXT not in seen and _own_text(element):
            self._note(f"{path}/text()")
        for inner in element.iterchildren(etree.Element):
            self.add(inner, path)

    def _note(self, path: str) -> None:
        if not self.is_ignored(path):
            self.found.append(path)

    def open_attributes(self, element: Any) -> list[str]:
        """The attributes of an element that were not read and say something."""
        seen = self._reads.get(element, ())
        return [
            _local(name)
            for name in element.keys()  # noqa: SIM118 - lxml's keys()
            if name not in seen and not name.startswith(_XSI) and name not in _POINTS
        ]

    def _says(self, element: Any, path: str) -> bool:
        """Whether an element of which nothing was read has anything that is not ignored."""
        if _local(element.tag) in _STRUCTURE or self.is_ignored(path):
            return False
        if _own_text(element):
            return True
        for name in map(_local, element.keys()):
            if name not in _POINTS and not self.is_ignored(f"{path}/@{name}"):
                return True
        return any(
            self._says(inner, f"{path}/{_local(inner.tag)}")
            for inner in element.iterchildren(etree.Element)
        )


def _with_ancestors(elements: Iterable[Any]) -> set[Any]:
    """The elements and all they stand in."""
    found: set[Any] = set()
    for element in elements:
        at = element
        while at is not None and at not in found:
            found.add(at)
            at = at.getparent()
    return found


def _is_read(element: Any, names: set[str]) -> bool:
    """Whether something the element has, and not only something it might have had, was read."""
    return not names.isdisjoint(element.keys()) or (_TEXT in names and _own_text(element))


def _own_text(element: Any) -> bool:
    text = element.text
    if text and not text.isspace():
        return True
    for inner in element:
        tail = inner.tail
        if tail and not tail.isspace():
            return True
    return False


@lru_cache(maxsize=_MOST_PATHS)
def _local(tag: str) -> str:
    return str(tag).rpartition("}")[2]
