"""What is wrong in a mapping file, said with its line, a caret and a suggestion. For load, lint and tests."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from broker.errors import SetupError


@dataclass(frozen=True, slots=True)
class Place:
    """A point in a mapping file; line and column start at 1, `width` characters are marked."""

    file: str
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `E102 unknown target field`, where, and what might have been meant."""

    place: Place
    code: str
    message: str
    hint: str = ""
    severity: str = "error"


class Problems:
    """Collects findings over a whole load, so that all are told at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.sources: dict[str, list[str]] = {}

    def add(self, place: Place, code: str, message: str, hint: str = "") -> None:
        """Note an error; the same one is noted once (an inherited rule compiles in several mappings)."""
        problem = Problem(place, code, message, hint)
        if problem not in self.found:
            self.found.append(problem)

    def warn(self, place: Place, code: str, message: str, hint: str = "") -> None:
        """Note a warning: shown by lint, no obstacle to loading."""
        problem = Problem(place, code, message, hint, "warning")
        if problem not in self.found:
            self.found.append(problem)

    @property
    def errors(self) -> list[Problem]:
        """What prevents the set from being used."""
        return [problem for problem in self.found if problem.severity == "error"]

    def raise_errors(self) -> None:
        """Raises SetupError with every error, rendered, when there is one."""
        if self.errors:
            text = "\n".join(self.render(problem) for problem in self.errors)
            raise SetupError("mapping.set_invalid", where=str(self.errors[0].place), reason=text)

    def render(self, problem: Problem) -> str:
        """`file:line:column error E102 message`, the source line, a caret and the hint."""
        place = problem.place
        head = f"{place} {problem.severity} {problem.code} {problem.message}"
        lines = self.sources.get(place.file, [])
        if not 0 < place.line <= len(lines):
            return head + (f"\n      {problem.hint}" if problem.hint else "")
        caret = " " * (place.column - 1) + "^" * max(1, place.width)
        return (
            f"{head}\n{place.line:5} | {lines[place.line - 1]}\n      | {caret} {problem.hint}"
        ).rstrip()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name; empty when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
