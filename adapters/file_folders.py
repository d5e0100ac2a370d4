"""The folders of a file drop on disk: which files are complete, claiming them, and putting them away.

Blocking; called in a thread. Nothing is ever overwritten: a name that is taken gets a number.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import uuid
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from broker.errors import SetupError

UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
COMPANION = ".companion"
REASONS = ".reasons"
OURS = (COMPANION, REASONS)


class UnsettledError(Exception):
    """The file changed while it was read: somebody still writes to it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that is ours: `working/<claim>/<its own name>`. Its name may hold health data."""

    path: Path

    def read(self, max_bytes: int) -> bytes | None:
        """The whole file, or None when it is larger than allowed.

        Raises: UnsettledError when it changed meanwhile; OSError (PermissionError, FileNotFoundError).
        """
        with self.path.open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > max_bytes:
                return None
            data = file.read(max_bytes + 1)
            after = os.fstat(file.fileno())
        if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (
            after.st_size,
            after.st_mtime_ns,
        ):
            raise UnsettledError
        return data

    def __repr__(self) -> str:
        return f"Claim({self.path.parent.name})"


class Folders:
    """The four folders of one source, and what was seen of files that are not complete yet."""

    def __init__(
        self, *, folder: Path, working: Path, done: Path, failed: Path, pattern: str, companion: str
    ) -> None:
        self._folder, self._working, self._done, self._failed = folder, working, done, failed
        self._pattern = pattern
        self._companion = companion
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}

    def prepare(self, where: str) -> None:
        """Make the folders of our own. Raises: SetupError when the watched one is missing, or on another disk."""
        if not self._folder.is_dir():
            raise SetupError(
                "file.folder",
                where=f"{where}.folder",
                reason="there is no such folder",
                hint="create it",
            )
        try:
            for folder in (self._working, self._done, self._failed):
                folder.mkdir(parents=True, exist_ok=True)
            devices = {
                f.stat().st_dev for f in (self._folder, self._working, self._done, self._failed)
            }
        except OSError as error:
            raise SetupError(
                "file.folder",
                where=f"{where}.folder",
                reason=f"its folders cannot be made ({type(error).__name__})",
                hint="the account that runs Carnet needs to write there",
            ) from error
        if len(devices) > 1:
            raise SetupError(
                "file.folder",
                where=f"{where}.working",
                reason="the folders are on different file systems, where a file cannot be renamed at once",
                hint="put working, done and failed beside the folder",
            )

    def ready(
        self, now: float, *, stable_seconds: float, empty_seconds: float
    ) -> tuple[list[Path], float]:
        """The complete files, oldest first, and the seconds until another may be.

        Raises: OSError when the folder is away (unmounted); what was seen is forgotten then.
        """
        try:
            self._working.stat()
            with os.scandir(self._folder) as entries:
                files = {
                    entry.name: entry.stat(follow_symlinks=False)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                }
        except FileNotFoundError:
            if not self._folder.is_dir() or not self._working.is_dir():
                self._seen.clear()
                raise
            return [], stable_seconds
        wanted = {name: stat for name, stat in files.items() if self._is_wanted(name)}
        self._seen = {name: seen for name, seen in self._seen.items() if name in wanted}
        complete, next_look = [], float("inf")
        for name, stat in wanted.items():
            if self._companion:
                if self._companion_of(name, files) is not None:
                    complete.append(name)
                continue
            patience = stable_seconds if stat.st_size else empty_seconds
            state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            seen, since = self._seen.get(name, (None, now))
            if seen != state:
                since = now
                self._seen[name] = (state, now)
            if now - since >= patience:
                complete.append(name)
            else:
                next_look = min(next_look, patience - (now - since))
        complete.sort(key=lambda name: (wanted[name].st_mtime_ns, name))
        return [self._folder / name for name in complete], next_look

    def claim(self, path: Path) -> Claim | None:
        """Make a file ours by renaming it; None when somebody else was quicker, or it is gone.

        Raises: PermissionError for a file that may not be moved.
        """
        box = self._working / uuid.uuid4().hex
        box.mkdir()
        try:
            path.rename(box / path.name)
        except FileNotFoundError:
            box.rmdir()
            return None
        except OSError:
            box.rmdir()
            raise
        self._seen.pop(path.name, None)
        if self._companion:
            self._take_companion(path.name, box)
        return Claim(box / path.name)

    def recover(self) -> list[Claim]:
        """What an earlier run had claimed and not finished, oldest first."""
        claims = []
        for box in self._working.iterdir():
            if not box.is_dir():
                continue
            names = [entry.name for entry in box.iterdir() if entry.name not in OURS]
            for name in names:
                if self._companion and not (self._folder / name).exists():
                    self._take_companion(name, box)
                claims.append(Claim(box / name))
            if not names:
                _clear(box)
        return sorted(claims, key=lambda claim: (claim.path.stat().st_mtime_ns, claim.path.name))

    def finish(self, claim: Claim, reasons: str) -> None:
        """Put a file away: to done, or with its reasons to failed."""
        box = claim.path.parent
        if reasons:
            (box / REASONS).write_text(reasons, encoding="utf-8")
            target = _move(claim.path, self._failed)
            (box / REASONS).replace(target.with_name(f"{target.name}.reason.txt"))
        else:
            _move(claim.path, self._done)
        _clear(box)

    def _is_wanted(self, name: str) -> bool:
        if name.startswith(".") or name.lower().endswith(UNFINISHED):
            return False
        if self._companion and name.endswith(self._companion):
            return False
        return fnmatch.fnmatchcase(name, self._pattern)

    def _companion_of(self, name: str, files: Container[str]) -> str | None:
        for candidate in (name + self._companion, Path(name).stem + self._companion):
            if candidate in files:
                return candidate
        return None

    def _take_companion(self, name: str, box: Path) -> None:
        for candidate in (name + self._companion, Path(name).stem + self._companion):
            with contextlib.suppress(FileNotFoundError):
                (self._folder / candidate).rename(box / COMPANION)
                return


def _move(source: Path, folder: Path) -> Path:
    """Bring into `folder` under the same name, or a numbered one, so that the name never stands for less than the file.

    By a second link, which fails where the name is taken. A file system without links (some network shares) has the
    name reserved by an empty file instead, for the moment until the rename.
    """
    number = 1
    while True:
        name = source.name if number == 1 else f"{source.stem}-{number}{source.suffix}"
        target = folder / name
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            number += 1
            continue
        except FileNotFoundError:
            raise
        except OSError:
            try:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                number += 1
                continue
            return source.replace(target)
        source.unlink()
        return target


def _clear(box: Path) -> None:
    for name in OURS:
        (box / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        box.rmdir()
