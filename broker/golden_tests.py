"""A mapping set proves itself: the golden tests that lie beside its mappings, run through the real way of a message.

For `carnet mapping test` and for whoever is about to use a new set. Reads files; changes none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.errors import SetupError
from broker.mapper import Given, Mapper
from broker.mapping import golden
from broker.mapping.catalogue import MappingSet
from broker.mapping.golden import Expectation
from broker.mapping.run import Mapped

EXPECTATION = ".expect.yaml"
_MESSAGES = (".hl7", ".xml", ".json", ".zip")


@dataclass(frozen=True, slots=True)
class Case:
    """One golden test: a message file and what is expected of it."""

    expectation: Path
    message: Path
    expected: Expectation

    @property
    def name(self) -> str:
        """`oru.tests/01-structured`."""
        return f"{self.expectation.parent.name}/{self.expectation.name.removesuffix(EXPECTATION)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: its differences, one line each, none when it holds.

    `mapped` is None where the message was rejected; `rejected` is then the reason code.
    """

    case: Case
    differences: Sequence[str]
    mapped: Mapped | None = field(default=None, repr=False)
    rejected: str = ""


def cases(folders: Iterable[Path]) -> Iterator[Case]:
    """Every `NAME.tests/*.expect.yaml` below the folders, in the order of their paths.

    Raises: SetupError("mapping.test_invalid") for an expectation that cannot be read or has no message beside it.
    """
    for folder in folders:
        for path in sorted(folder.rglob(f"*.tests/*{EXPECTATION}")):
            try:
                expected = golden.read(path.read_text(encoding="utf-8"), path.name)
            except (OSError, ValueError) as error:
                raise SetupError(
                    "mapping.test_invalid", where=str(path), reason=str(error)
                ) from error
            yield Case(path, _message_beside(path), expected)


def run(mapping_set: MappingSet, case: Case) -> Outcome:
    """Map the case's message as the broker would, and compare."""
    body = case.message.read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    given = Given(
        message_id=f"{digest[:8]}-{digest[8:12]}-7000-8000-{digest[12:24]}", sha256=digest
    )
    reading = Mapper(mapping_set).read(body, given, coverage=True)
    wanted = case.expected.rejected
    if reading.failure is not None:
        code = reading.failure.code
        told = [] if code == wanted else [f"rejected: {code} at {reading.failure.where}"]
        return Outcome(case, told, rejected=code)
    mapped = reading.mapped
    if mapped is None or wanted:
        return Outcome(case, [f"not rejected, {wanted} expected"], mapped)
    return Outcome(case, golden.differences(case.expected, mapped), mapped)


def _message_beside(expectation: Path) -> Path:
    stem = expectation.name.removesuffix(EXPECTATION)
    for suffix in _MESSAGES:
        path = expectation.with_name(stem + suffix)
        if path.is_file():
            return path
    raise SetupError(
        "mapping.test_invalid",
        where=str(expectation),
        reason=f"no message beside it: {stem} with {', '.join(_MESSAGES)}",
    )
