"""Mapping sets in use: proved, kept by their hash, activated, and taken up by running workers between two messages.

A set is the files of the mapping folders as they were when it was activated. Changing a file changes nothing that
runs: `carnet mapping activate` proves the folders' set (lint and golden tests) and makes it the active one, as the start
of a worker does with one that passes lint; every worker asks now and then which set is active, and swaps whole.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine

from broker import golden_tests
from broker.audit import trail
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.mapper import Mapper
from broker.mapping import catalogue
from broker.mapping.catalogue import MappingSet
from broker.mapping.problems import Problems
from broker.mapping.rule_files import RuleFile, is_rule_file
from broker.records import mapping_sets
from broker.routing import language

LOOK_EVERY = timedelta(seconds=2)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_KEPT = {".yaml", ".csv"}


@dataclass(frozen=True, slots=True)
class Activated:
    """What `activate` did: the set, the one before it, how many golden tests it passed, and whether anything changed."""

    hash: str
    before: str
    tests: int
    changed: bool


Expect = Callable[[MappingSet], object]
"""What else has to hold of a set here, like its routing rules (`routing.load.of_site`). Raises: SetupError."""


def _nothing(_mapping_set: MappingSet) -> None:
    """Nothing else is expected."""


def prove(folders: Sequence[Path], expect: Expect = _nothing) -> tuple[MappingSet, int]:
    """Load the set of the folders and run its golden tests; returns it and how many tests it passed.

    Raises: SetupError with every problem of lint, or "mapping.tests_failed" with the first that differs.
    """
    mapping_set = catalogue.load(folders)
    expect(mapping_set)
    count = 0
    for case in golden_tests.cases(folders):
        outcome = golden_tests.run(mapping_set, case)
        if outcome.differences:
            raise SetupError(
                "mapping.tests_failed",
                where=str(case.expectation),
                reason=outcome.differences[0],
                hint="`carnet mapping test` shows all; nothing was activated",
            )
        count += 1
    return mapping_set, count


def activate(
    engine: Engine, folders: Sequence[Path], by: str, now: datetime, *, expect: Expect = _nothing
) -> Activated:
    """Prove the set of the folders and make it the active one, with an entry in the trail. Raises: SetupError."""
    mapping_set, tests = prove(folders, expect)
    before = _use(engine, mapping_set, folders, by, now)
    return Activated(mapping_set.hash, before, tests, before != mapping_set.hash)


def _use(
    engine: Engine, mapping_set: MappingSet, folders: Sequence[Path], by: str, now: datetime
) -> str:
    """Make a set the active one where it is not; returns the hash of the one before, empty for none."""
    with writing(engine) as connection:
        active = mapping_sets.active(connection)
        before = active.hash if active is not None else ""
        if before != mapping_set.hash:
            mapping_sets.activate(connection, mapping_set.hash, packed(folders), by, now)
            entry = trail.Entry(
                act="mapping_activated",
                at=now,
                actor_kind="operator",
                actor=by,
                subject=f"mapping_set:{mapping_set.hash[:16]}",
                outcome=before[:16] or None,
            )
            trail.write(connection, [entry], now)
    return before


def at_start(
    engine: Engine, folders: Sequence[Path], by: str, now: datetime, *, expect: Expect = _nothing
) -> Mapper:
    """The mapper a worker begins with: the set of its folders, activated if it is not.

    Lint has to hold; golden tests are run by `activate`, so that a start is quick. Raises: SetupError.
    """
    mapping_set = catalogue.load(folders)
    expect(mapping_set)
    _use(engine, mapping_set, folders, by, now)
    return Mapper(mapping_set)


class Watch:
    """Looks which set is active. One per worker, on its thread."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        clock: Callable[[], datetime],
        every: timedelta = LOOK_EVERY,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._every = every
        self._looked = clock()

    def newer(self, set_hash: str, *, at_once: bool = False) -> Mapper | None:
        """The active set's mapper where it is not the one of `set_hash`; looks every few seconds at most, or at once.

        Raises: SetupError when this version of Carnet cannot load it, TransientError.
        """
        now = self._clock()
        if not at_once and now - self._looked < self._every:
            return None
        self._looked = now
        with reading(self._engine) as connection:
            active = mapping_sets.active(connection)
            if active is None or active.hash == set_hash:
                return None
            folders = kept(connection, active.hash, self._folder)
        return Mapper(catalogue.load(folders)) if folders is not None else None


def kept(connection: Connection, set_hash: str, folder: Path) -> list[Path] | None:
    """The folders of a set as the ledger keeps it, unpacked below `folder`; None for a set that was never used."""
    files = mapping_sets.files(connection, set_hash)
    return unpacked(files, folder / set_hash[:16]) if files is not None else None


def rule_sentences(engine: Engine, set_hash: str) -> dict[str, str]:
    """The English sentences of a kept set's routing rules, by the rule; `set_hash` may be the beginning of a hash."""
    with reading(engine) as connection:
        files = mapping_sets.files(connection, set_hash)
    if files is None:
        return {}
    problems = Problems()
    with zipfile.ZipFile(io.BytesIO(files)) as archive:
        found = [
            RuleFile(name, archive.read(name))
            for name in archive.namelist()
            if is_rule_file(Path(name), Path())
        ]
    return {rule.id.value: rule.en for one in found for rule in language.read(one, problems)}


def sets_folder(data_folder: Path) -> Path:
    """Where sets that were fetched from the ledger are unpacked, each under the beginning of its hash."""
    return data_folder / "mapping-sets"


def packed(folders: Sequence[Path]) -> bytes:
    """The files of the folders as a zip, the same bytes for the same files: `<place>/<folder name>/<path>`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, folder in enumerate(folders):
            root = folder.resolve()
            for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix in _KEPT):
                if any(part.endswith(".tests") for part in path.relative_to(root).parts):
                    continue
                name = f"{place}/{root.name}/{path.relative_to(root).as_posix()}"
                archive.writestr(
                    zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED
                )
    return out.getvalue()


def unpacked(files: bytes, folder: Path) -> list[Path]:
    """Write a packed set below `folder` and return its folders in their order. Whoever comes second finds it there."""
    if not folder.is_dir():
        draft = folder.with_name(f".{folder.name}-{os.getpid()}")
        with zipfile.ZipFile(io.BytesIO(files)) as archive:
            archive.extractall(draft)
        try:
            draft.rename(folder)
        except OSError:
            shutil.rmtree(draft)
    return [next(place.iterdir()) for place in sorted(folder.iterdir(), key=lambda p: int(p.name))]
