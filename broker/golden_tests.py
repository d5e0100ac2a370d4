"""A mapping set proves itself: the golden tests that lie beside its mappings, run through the real way of a message.

Beside a mapping that reads lie messages and what is expected of their documents (`NAME.expect.yaml`); beside one that
writes, messages and the messages it makes of them (`NAME.expect.hl7`, one segment a line).
For `carnet mapping test` and for whoever is about to use a new set. Reads files; changes none.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker import rendering
from broker.errors import CarnetError, SetupError
from broker.mapper import Given, Mapper, Reading
from broker.mapping import golden
from broker.mapping.catalogue import MappingSet
from broker.mapping.golden import Expectation
from broker.mapping.run import Mapped

EXPECTATION = ".expect.yaml"
WRITTEN = ".expect.hl7"
_MESSAGES = (".hl7", ".xml", ".json", ".zip")


@dataclass(frozen=True, slots=True)
class Case:
    """One golden test: a message file and what is expected of it; of a mapping that writes, the text of its messages."""

    expectation: Path
    message: Path
    expected: Expectation | str

    @property
    def name(self) -> str:
        """`oru.tests/01-structured`."""
        return f"{self.expectation.parent.name}/{_stem(self.expectation)}"

    @property
    def writer(self) -> Path:
        """The file of the mapping that writes."""
        folder = self.expectation.parent
        return folder.with_name(folder.name.removesuffix(".tests") + ".yaml").resolve()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: its differences, one line each, none when it holds.

    `mapped` is None where the message was rejected; `rejected` is then the reason code. `written` is what a mapping
    that writes made.
    """

    case: Case
    differences: Sequence[str]
    mapped: Mapped | None = field(default=None, repr=False)
    rejected: str = ""
    written: str | None = None


def cases(folders: Iterable[Path]) -> Iterator[Case]:
    """Every `NAME.tests/*.expect.yaml` and `*.expect.hl7` below the folders, in the order of their paths.

    Raises: SetupError("mapping.test_invalid") for an expectation that cannot be read or has no message beside it.
    """
    for folder in folders:
        found = [*folder.rglob(f"*.tests/*{EXPECTATION}"), *folder.rglob(f"*.tests/*{WRITTEN}")]
        for path in sorted(found):
            try:
                text = path.read_text(encoding="utf-8")
                expected = text if path.name.endswith(WRITTEN) else golden.read(text, path.name)
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
    if isinstance(case.expected, str):
        return _write(mapping_set, case, case.expected, reading)
    wanted = case.expected.rejected
    if reading.failure is not None:
        code = reading.failure.code
        told = [] if code == wanted else [f"rejected: {code} at {reading.failure.where}"]
        return Outcome(case, told, rejected=code)
    mapped = reading.mapped
    if mapped is None or wanted:
        return Outcome(case, [f"not rejected, {wanted} expected"], mapped)
    return Outcome(case, golden.differences(case.expected, mapped), mapped)


def _write(mapping_set: MappingSet, case: Case, expected: str, reading: Reading) -> Outcome:
    """Every document of the message, written by the mapping the test lies beside."""
    writer = next((o for o in mapping_set.outbound.values() if o.path == case.writer), None)
    if writer is None or writer.format != "hl7v2" or reading.failure is not None:
        told = (
            reading.failure.code if reading.failure else f"no mapping {case.writer.name} to hl7v2"
        )
        return Outcome(case, [told], rejected=told)
    made = []
    for document in reading.documents:
        try:
            _, body, _ = rendering.render(
                mapping_set,
                document,
                writer.format,
                reading.attachments.__getitem__,
                mapping=writer.name,
            )
        except CarnetError as error:
            return Outcome(case, [f"not written: {error.code} at {error.where}"])
        made.append(body.decode().replace("\r", "\n"))
    text = "".join(made)
    lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), n=0, lineterm="")
    return Outcome(case, [line for line in lines if line[:3] not in _HEADS], written=text)


_HEADS = ("---", "+++", "@@ ")


def _stem(expectation: Path) -> str:
    return expectation.name.removesuffix(EXPECTATION).removesuffix(WRITTEN)


def _message_beside(expectation: Path) -> Path:
    stem = _stem(expectation)
    for suffix in _MESSAGES:
        path = expectation.with_name(stem + suffix)
        if path.is_file():
            return path
    raise SetupError(
        "mapping.test_invalid",
        where=str(expectation),
        reason=f"no message beside it: {stem} with {', '.join(_MESSAGES)}",
    )
