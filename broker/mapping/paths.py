"""What a compiled path offers the compiler, whatever the source format; and how a path error is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

One = Callable[[Any, Any], Any]
"""(run, scope) -> the first raw value, or None."""
All = Callable[[Any, Any], list[Any]]
"""(run, scope) -> every raw value that is there."""
Shape = Callable[[Any, Any, Any], Any]
"""(run, raw, scope) -> a value of the model, None (nothing) or Null (nothing, and why)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the first segment of a name, so many scopes outward (HL7v2); `component` 0 is the whole of it."""

    hops: int
    segment: str
    number: int
    component: int = 0


def as_it_is(_run: Any, raw: Any) -> Any:
    """The value that was found, whole."""
    return raw


class PathError(ValueError):
    """A path that does not parse or cannot be read from its scope; `offset` from 0."""

    def __init__(self, message: str, offset: int = 0, hint: str = "", code: str = "E201") -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint
        self.code = code


@dataclass(slots=True)
class Path:
    """A compiled path. `type` is the source's own data type, `texts` its values as a condition sees them.

    direct: the one field the path reads, where it reads but one; of its text `narrow` makes what `one` gives, or
        `every`, where the path is of all repetitions, what `all` gives
    is_every: it asks for all repetitions by name (`[*]`)
    is_first_of_many: the field may repeat, and the path does not say which repetition it wants
    is_lines: its one raw value is the list of all
    is_separators: MSH-1 and MSH-2, which hold the separators and are not cut by them
    needs: of what one has to be there for it to give a value, in HL7v2: scopes outward, segment, field
    head: what a scope must have for the path to give anything there (see `SourceFormat.present`); empty when unknown
    """

    text: str
    one: One
    all: All
    texts: Callable[[Any, Any], list[str]]
    scopes: Callable[[Any, Any], list[Any]]
    chain: Any
    type: str = ""
    level: int = 0
    detail: Any = None
    direct: Field | None = None
    narrow: Callable[[Any, Any], Any] = as_it_is
    every: Callable[[Any, Any], list[Any]] | None = None
    is_every: bool = False
    is_first_of_many: bool = False
    is_lines: bool = False
    is_separators: bool = False
    needs: frozenset[tuple[int, str, int]] | None = None
    head: str = ""


class SourceFormat(Protocol):
    """One source format of the language: its paths and its shapes. A new one is made for each mapping."""

    def path(self, text: str, chain: Any) -> Path:
        """Compile a path read from `chain` (the static scopes). Raises PathError."""
        ...

    def shape(self, path: Path, wanted: Any, forced: str) -> Shape | None:
        """The shape from this path's type to a model type; None when there is none."""
        ...

    def start(self, run: Any, message: Any) -> Any:
        """The outermost scope of a message."""
        ...

    def is_null(self, raw: Any) -> bool:
        """Whether a raw value says that nothing is there, and why: HL7 `""`, nullFlavor, data-absent-reason."""
        ...

    def is_nothing(self, raw: Any) -> bool:
        """Whether a raw value is there and says nothing at all, so that it counts as missing."""
        ...

    @property
    def present(self) -> Callable[[Any, Any], Collection[str]] | None:
        """(run, scope) -> the heads of paths a scope has, so that the rules of a sparse scope need not be tried."""
        ...

    @property
    def root(self) -> Any:
        """The static scopes of the outermost level."""
        ...


@runtime_checkable
class TreeFormat(Protocol):
    """A source format whose coverage is found by noting what is read of a message: CDA and FHIR."""

    def traced(self, message: Any) -> tuple[Any, Any]:
        """The message made to note what is read of it, and the notes: for coverage of formats that are trees."""
        ...

    def unread(self, message: Any, reads: Any, ignored: frozenset[str]) -> Iterable[str]:
        """Populated places of a traced message that no rule read, a place as often as it is met; it is read no more."""
        ...
