"""Writes each message as one file into a folder: the file_drop destination."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from adapters.asking import Asking
from broker.contracts import Destination
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError, TransientError

_EXTENSIONS = {
    "x-application/hl7-v2+er7": ".hl7",
    "application/cda+xml": ".xml",
    "application/fhir+xml": ".xml",
    "application/fhir+json": ".json",
    "application/zip": ".zip",
    "application/json": ".json",
    "text/html": ".html",
    "text/plain": ".txt",
}
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class FileDestinationSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A folder into which messages are written.

    Fields:
        folder: Where the files go. It must exist.
        name: Name of a file: `{delivery}` the delivery's id (its digest when it has none), `{digest}` of the content, `{extension}` by media type.
        companion: Suffix of an empty file written after the file (`.ok`), for readers that wait for one.
        files_stay: Nobody takes the files away: a file that is there says that it was delivered, one that is not that it was not.
    """

    folder: Path
    name: str = "{delivery}{extension}"
    companion: str = ""
    files_stay: bool = False


class FileDestination:
    """Whole files or none: written as NAME.tmp, flushed to disk, then named. Never overwrites.

    The same content under the same name is the same delivery made twice, and is accepted as such; other content
    gets a numbered name.
    """

    def __init__(self, name: str, settings: FileDestinationSettings) -> None:
        where = f"destination.{name}"
        if not settings.folder.is_dir():
            raise SetupError(
                "file.folder", where=f"{where}.folder", reason="there is no such folder"
            )
        unknown = set(_PLACEHOLDER.findall(settings.name)) - {"delivery", "digest", "extension"}
        plain = _PLACEHOLDER.sub("x", settings.name)
        if unknown or not _SAFE.fullmatch(plain) or "{d" not in settings.name:
            raise SetupError(
                "file.name",
                where=f"{where}.name",
                reason="not a file name with {delivery} or {digest}",
                hint='write "{delivery}{extension}"',
            )
        self._settings = settings

    def deliver(self, envelope: Envelope) -> Receipt:
        """Write one file. Raises: TransientError when the folder cannot be written now."""
        digest = hashlib.sha256(envelope.body).hexdigest()
        name = self._name(envelope, digest[:32])
        try:
            path = self._write(name, envelope.body, digest)
            if self._settings.companion:
                path.with_name(path.name + self._settings.companion).touch()
            _flush(self._settings.folder)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TransientError("file.write", where="folder", reason=reason) from error
        return _receipt(path, digest)

    def find(self, envelope: Envelope) -> Receipt | None:
        """The file of a delivery, whole and with its companion; None: it is not there. Raises as `deliver`."""
        digest = hashlib.sha256(envelope.body).hexdigest()
        companion = self._settings.companion
        try:
            self._settings.folder.stat()
            for path in _names(self._settings.folder / self._name(envelope, digest[:32])):
                if not path.exists():
                    return None
                if path.stat().st_size == len(envelope.body) and _digest(path) == digest:
                    is_marked = not companion or path.with_name(path.name + companion).exists()
                    return _receipt(path, digest) if is_marked else None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TransientError("file.read", where="folder", reason=reason) from error
        return None

    def close(self) -> None:
        """Nothing is kept open."""

    def _name(self, envelope: Envelope, digest: str) -> str:
        delivery = envelope.keys.get("delivery", "")
        values = {
            "delivery": delivery if _SAFE.fullmatch(delivery) else digest,
            "digest": digest,
            "extension": _EXTENSIONS.get(envelope.media, ".bin"),
        }
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self._settings.name)

    def _write(self, name: str, body: bytes, digest: str) -> Path:
        target = self._settings.folder / name
        unfinished = self._settings.folder / f"{name}.tmp"
        with unfinished.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        for path in _names(target):
            if _place(unfinished, path):
                return path
            if path.stat().st_size == len(body) and _digest(path) == digest:
                unfinished.unlink()
                return path
        raise AssertionError("there is always another name")


def destination(name: str, settings: FileDestinationSettings) -> Destination:
    """A folder to write to; one that can be asked, where the files stay in it."""
    writer = FileDestination(name, settings)
    return Asking(writer, writer.find) if settings.files_stay else writer


def _receipt(path: Path, digest: str) -> Receipt:
    return Receipt(
        outcome="accepted", code="file.written", keys={"file": path.name, "sha256": digest}
    )


def _names(target: Path) -> Iterator[Path]:
    """The names that a file may get, in the order in which they are tried."""
    yield target
    for number in count(2):
        yield target.with_name(f"{target.stem}-{number}{target.suffix}")


def _place(unfinished: Path, path: Path) -> bool:
    """Give the file its name; False when something has that name. Both at once: a link fails where one exists."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return False
    except OSError:
        return _reserve(unfinished, path)
    unfinished.unlink()
    return True


def _reserve(unfinished: Path, path: Path) -> bool:
    """The same where the file system knows no links: an empty file holds the name until it is replaced."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    unfinished.replace(path)
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    """The names are on disk too, not only the bytes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
