"""What stands beside a data file in clear: the manifest, and the index by which one message is found.

Neither holds anything of a patient: ids, numbers, sources, days, fates, digests. Both are read where the data file lies
elsewhere; the balance of a pruned day needs no more.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import zstandard

from broker.errors import PermanentError, SetupError

FORMAT = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one archive holds. `counts` are (day, source, fate, messages); hashes are SHA-256 in hexadecimal digits.

    `month` is "2024-11", `key` the fingerprint of the key, `revision` that of the schema the rows had.
    """

    format: int = FORMAT
    name: str
    month: str
    created_at: str
    revision: str
    tables: tuple[str, ...]
    messages: int
    deliveries: int
    attempts: int
    prepared: int
    body_bytes: int
    first_seq: int
    last_seq: int
    first_id: str
    last_id: str
    counts: tuple[tuple[int, str, str, int], ...]
    size: int
    sha256: str
    index_sha256: str
    key: str


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message in the index. `control` is the digest of its source and control id; it is in the frame at `place`."""

    seq: int
    id: str
    day: int
    source: str
    fate: str
    control: int
    place: int
    frame: int


class IndexWriter:
    """Writes the index beside the data, line by line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._stream = zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False)

    def put(self, entry: Entry) -> None:
        """Add one message."""
        self._stream.write(msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """Write what is held."""
        self._stream.close()  # type: ignore[no-untyped-call]  # zstandard's own


def entries(path: Path) -> Iterator[Entry]:
    """The index of one archive, in order. Raises: PermanentError("archive.altered"), SetupError("archive.away")."""
    try:
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            io.BufferedReader(stream) as lines,
        ):
            for line in lines:
                yield msgspec.json.decode(line, type=Entry)
    except FileNotFoundError as error:
        raise away(path) from error
    except (zstandard.ZstdError, msgspec.DecodeError, EOFError) as error:
        raise PermanentError("archive.altered", where=path.name, reason="unreadable") from error


def read(path: Path) -> Manifest:
    """A manifest. Raises: PermanentError("archive.altered"), SetupError("archive.away")."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise away(path) from error
    except msgspec.DecodeError as error:
        raise PermanentError("archive.altered", where=path.name, reason="unreadable") from error
    if found.format > FORMAT:
        raise SetupError(
            "archive.newer", where=path.name, reason="a newer version of Carnet wrote it",
            hint="read it with that version",
        )  # fmt: skip
    return found


def away(path: Path) -> SetupError:
    """A file of the archive that is not in its folder."""
    return SetupError(
        "archive.away",
        where=str(path),
        reason="a file of the archive is not in its folder",
        hint="bring it back, or name the folder it is in: retention.folder",
    )
