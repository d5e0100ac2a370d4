"""Write the sealed trail to a file that proves itself, for an auditor with no access to the server.

JSON lines: a header, then for each segment its entries (`{"entry": [1, n, at, act, …]}`, the canonical encoding
itself) and its seal, then `{"end": segments}`. With a name ending in `.zip` the lines stand in `audit.jsonl` inside.
The caller writes the entry "exported" into the trail.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.audit import chain
from broker.audit.seal import entries_after, seals_after
from broker.audit.trail import COLUMNS
from broker.audit.verify import FORMAT, MEMBER
from broker.database.engine import reading
from broker.database.types import to_micros


@dataclass(frozen=True, slots=True)
class Exported:
    """What the file holds."""

    segments: int
    entries: int


def export(engine: Engine, path: Path, since: datetime | None = None) -> Exported:
    """Write all sealed segments, or those sealed at or after `since`. The file is for its owner only (0600)."""
    with reading(engine) as connection, _stream(path) as stream:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        return _write(connection, stream, _start(connection, since))


def _start(connection: Connection, since: datetime | None) -> int:
    """The segment before the first one to export."""
    if since is None:
        return 0
    first = connection.execute(
        text("SELECT min(segment) FROM audit_seal WHERE sealed_at >= :since"),
        {"since": to_micros(since)},
    ).scalar()
    if first is None:
        first = connection.execute(
            text("SELECT coalesce(max(segment), 0) + 1 FROM audit_seal")
        ).scalar_one()
    return int(first) - 1


def _write(connection: Connection, stream: IO[bytes], after: int) -> Exported:
    segments = entries = 0
    for seal in seals_after(connection, after):
        if not segments:
            _put(stream, _header(seal.segment, seal.from_n, seal.previous_head))
        for row in entries_after(connection, seal.from_n, seal.entries + 1, seal.to_n):
            stream.write(b'{"entry":' + chain.canonical(row) + b"}\n")
        _put(stream, {"seal": _plain(seal)})
        segments, entries = segments + 1, entries + seal.entries
    if not segments:
        _put(stream, _header(1, 0, chain.GENESIS))
    _put(stream, {"end": segments})
    return Exported(segments, entries)


def _header(first_segment: int, from_n: int, previous_head: bytes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": chain.VERSION,
        "columns": ["version", *COLUMNS],
        "first_segment": first_segment,
        "from_n": from_n,
        "previous_head": previous_head.hex(),
    }


def _plain(seal: chain.Segment) -> dict[str, Any]:
    return {
        "segment": seal.segment,
        "from_n": seal.from_n,
        "to_n": seal.to_n,
        "entries": seal.entries,
        "digests": seal.digests.hex(),
        "previous_head": seal.previous_head.hex(),
        "head": seal.head.hex(),
        "sealed_at": seal.sealed_at,
    }


def _put(stream: IO[bytes], value: dict[str, Any]) -> None:
    stream.write(msgspec.json.encode(value) + b"\n")


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if path.suffix != ".zip":
            yield file
            return
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(MEMBER, "w", force_zip64=True) as member,
        ):
            yield member
