"""Which destinations a document goes to, and why or why not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker import header
from broker.document import Document


class Conditions(Protocol):
    """Lists of values; an empty one holds for every document."""

    @property
    def source(self) -> tuple[str, ...]: ...
    @property
    def kind(self) -> tuple[str, ...]: ...
    @property
    def type_code(self) -> tuple[str, ...]: ...
    @property
    def class_code(self) -> tuple[str, ...]: ...
    @property
    def media(self) -> tuple[str, ...]: ...


class Route(Protocol):
    """A route as the settings have it."""

    @property
    def name(self) -> str: ...
    @property
    def to(self) -> tuple[str, ...]: ...
    @property
    def when(self) -> Conditions: ...


@dataclass(frozen=True, slots=True)
class Considered:
    """One route looked at: taken, or the first condition that did not hold (`type_code`)."""

    route: str
    destinations: tuple[str, ...]
    is_taken: bool
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Routing:
    """All routes of an installation, in their order in the settings."""

    routes: tuple[Route, ...] = ()

    def route(self, document: Document, source: str, media: str = "") -> list[tuple[str, str]]:
        """(destination, route name), each destination once, under the first route that leads to it."""
        taken: dict[str, str] = {}
        for considered in self.consider(document, source, media) if self.routes else ():
            if considered.is_taken:
                for destination in considered.destinations:
                    taken.setdefault(destination, considered.route)
        return list(taken.items())

    def consider(self, document: Document, source: str, media: str = "") -> list[Considered]:
        """Every route with what became of it, for `carnet decide`."""
        facts = {
            "source": source,
            "kind": document.kind,
            "type_code": header.type_code(document)[0],
            "class_code": header.class_code(document),
            "media": media,
        }
        return [_consider(route, facts) for route in self.routes]


def load(routes: Sequence[Route]) -> Routing:
    """The routes of the settings."""
    return Routing(tuple(routes))


def _consider(route: Route, facts: dict[str, str]) -> Considered:
    for name, value in facts.items():
        wanted: tuple[str, ...] = getattr(route.when, name)
        if wanted and value not in wanted:
            return Considered(route.name, route.to, is_taken=False, failed=name)
    return Considered(route.name, route.to, is_taken=True)
