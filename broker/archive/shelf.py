"""The folder of archives: three files each, for their owner only, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from broker.archive import manifest
from broker.archive.frames import Reader, Writer
from broker.archive.manifest import Entry, IndexWriter, Manifest
from broker.errors import PermanentError, TransientError

DATA, INDEX, MANIFEST = ".carnet", ".index", ".json"
_PART = ".part"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Draft:
    """An archive that is being written: put lines into `data` and what finds them into `index`."""

    name: str
    data: Writer
    index: IndexWriter


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder and the house's key."""

    folder: Path
    key: bytes

    def path(self, name: str, kind: str = DATA) -> Path:
        """A file of an archive."""
        return self.folder / f"{name}{kind}"

    @contextmanager
    def drafting(self, name: str) -> Iterator[Draft]:
        """Write an archive under names of its own; they are synced when the block ends, and gone when it raises."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        try:
            with ExitStack() as open_files:
                data = open_files.enter_context(_created(self.path(name, DATA + _PART)))
                index = open_files.enter_context(_created(self.path(name, INDEX + _PART)))
                draft = Draft(name, Writer(data, name, self.key), IndexWriter(index))
                yield draft
                draft.data.close()
                draft.index.close()
                for file in (data, index):
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException as error:
            self.drop_drafts()
            if isinstance(error, OSError):
                raise TransientError(
                    "archive.unwritable", where=str(self.folder), reason=error.strerror or ""
                ) from error
            raise

    def publish(self, made: Manifest) -> None:
        """Give a synced draft its names, the manifest last: an archive with a manifest is whole."""
        try:
            with _created(self.path(made.name, MANIFEST + _PART)) as file:
                file.write(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            for kind in (DATA, INDEX, MANIFEST):
                self.path(made.name, kind + _PART).replace(self.path(made.name, kind))
            _sync_folder(self.folder)
        except OSError as error:
            raise TransientError(
                "archive.unwritable", where=str(self.folder), reason=error.strerror or ""
            ) from error

    def drop_drafts(self) -> None:
        """Take away what a killed run left unfinished: nobody relies on it."""
        for path in self.folder.glob(f"*{_PART}"):
            path.unlink()

    def hashes(self, name: str, *, draft: bool = False) -> tuple[str, str, int]:
        """SHA-256 of the data and of the index, and the size of the data. Raises: SetupError("archive.away")."""
        end = _PART if draft else ""
        data, index = self.path(name, DATA + end), self.path(name, INDEX + end)
        try:
            return _sha256(data), _sha256(index), data.stat().st_size
        except FileNotFoundError as error:
            raise manifest.away(data if not data.exists() else index) from error

    def manifest(self, name: str) -> Manifest:
        """What an archive holds. Raises: SetupError, PermanentError."""
        return manifest.read(self.path(name, MANIFEST))

    def entries(self, name: str, *, draft: bool = False) -> Iterator[Entry]:
        """The index of an archive, in order."""
        return manifest.entries(self.path(name, INDEX + (_PART if draft else "")))

    def messages(self, name: str, *, draft: bool = False) -> Iterator[dict[str, Any]]:
        """Every message of an archive, in order. Health data."""
        with self._opened(name, draft=draft) as reader:
            for line in reader.lines():
                yield msgspec.json.decode(line)

    def message(self, name: str, entry: Entry) -> dict[str, Any]:
        """One message with its body, its deliveries and their attempts. Health data."""
        with self._opened(name) as reader:
            for line in reader.at(entry.place, entry.frame):
                found: dict[str, Any] = msgspec.json.decode(line)
                if found["message"]["seq"] == entry.seq:
                    return found
        raise PermanentError("archive.altered", where=name, reason="the index names another frame")

    @contextmanager
    def _opened(self, name: str, *, draft: bool = False) -> Iterator[Reader]:
        path = self.path(name, DATA + (_PART if draft else ""))
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise manifest.away(path) from error
        with file:
            yield Reader(file, self.key)


def _created(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600), "w+b")


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
