"""Write the sealed trail to a file that proves itself, for an auditor with no access to the server.

Lines: a header, then for each segment its entries and its seal, then the end; as JSON, FHIR or ATNA (see `forms`).
The header names the public keys. In FHIR and ATNA a seal also has the digests of its entries' lines. The end has the
digest of all lines before it, signed where this machine has the key. With a name ending in `.zip` the lines stand in
one file inside. One segment is in memory at a time. The caller writes the entry "exported" into the trail.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.audit import chain, keys
from broker.audit.forms import Form, JsonLines
from broker.audit.keys import Signer
from broker.audit.seal import entries_after, seals_after
from broker.audit.trail import COLUMNS
from broker.audit.verify_standalone import FORMAT, export_message
from broker.database.engine import reading
from broker.database.types import to_micros

LAYOUT = 2
"""Of the lines: 1 had no digest in the last one."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What the file holds."""

    segments: int
    entries: int


def export(
    engine: Engine,
    path: Path,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    form: Form | None = None,
    signer: Signer | None = None,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write all sealed segments, or those sealed from `since` on and before `until`. For its owner only (0600).

    `progress` is told how many entries are written, after each segment.
    """
    form = form or JsonLines()
    with reading(engine) as connection, _stream(path, form) as stream:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        written = _Written(stream, form, signer, progress)
        first, last = _bounds(connection, since, until)
        return written.all_of(connection, first, last)


def _bounds(
    connection: Connection, since: datetime | None, until: datetime | None
) -> tuple[int, int]:
    """The segment before the first to export, and the last one; a clock set back takes more, never less."""
    top = connection.execute(text("SELECT coalesce(max(segment), 0) FROM audit_seal")).scalar_one()
    first = last = None
    if since is not None:
        found = text("SELECT min(segment) FROM audit_seal WHERE sealed_at >= :at")
        first = connection.execute(found, {"at": to_micros(since)}).scalar() or top + 1
    if until is not None:
        found = text("SELECT coalesce(max(segment), 0) FROM audit_seal WHERE sealed_at < :at")
        last = connection.execute(found, {"at": to_micros(until)}).scalar_one()
    return int(first or 1) - 1, int(top if last is None else last)


class _Written:
    """The lines, with the digest of all of them."""

    def __init__(
        self,
        stream: IO[bytes],
        form: Form,
        signer: Signer | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._stream = stream
        self._form = form
        self._signer = signer
        self._progress = progress
        self._all = hashlib.sha256()
        self._at = 0

    def all_of(self, connection: Connection, after: int, last: int) -> Exported:
        public = keys.registered(connection)
        segments = entries = 0
        for seal in seals_after(connection, after):
            if seal.segment > last:
                break
            self._at = seal.sealed_at
            if not segments:
                self._header(seal.segment, seal.from_n, seal.previous_head, public)
            self._segment(connection, seal)
            segments, entries = segments + 1, entries + seal.entries
            if self._progress is not None:
                self._progress(entries)
        if not segments:
            self._header(1, 0, chain.GENESIS, public)
        self._end(segments)
        return Exported(segments, entries)

    def _header(
        self, first: int, from_n: int, previous: bytes, public: list[keys.PublicKey]
    ) -> None:
        header = {
            "format": FORMAT,
            "version": chain.VERSION,
            "layout": LAYOUT,
            "columns": ["version", *COLUMNS],
            "first_segment": first,
            "from_n": from_n,
            "previous_head": previous.hex(),
            "keys": [msgspec.structs.asdict(key) for key in public],
        }
        self._put(self._form.other("header", header, self._at))

    def _segment(self, connection: Connection, seal: chain.Segment) -> None:
        digests = []
        for row in entries_after(connection, seal.from_n, seal.entries + 1, seal.to_n):
            line = self._form.entry(row)
            self._put(line)
            if self._form.name != "jsonl":
                digests.append(hashlib.sha256(line).digest()[: chain.DIGEST_BYTES])
        told = told_of(seal)
        if digests:
            told["lines"] = b"".join(digests).hex()
        self._put(self._form.other("seal", told, seal.sealed_at))

    def _end(self, segments: int) -> None:
        end: dict[str, Any] = {"end": segments, "sha256": self._all.hexdigest()}
        if self._signer is not None:
            signature = self._signer.secret.sign(export_message(self._all.digest()))
            end |= {"key": self._signer.key.id, "signature": signature.hex()}
        self._put(self._form.other("end", end, self._at))

    def _put(self, line: bytes) -> None:
        self._all.update(line)
        self._stream.write(line)


def told_of(seal: chain.Segment) -> dict[str, Any]:
    """A seal as its line says it."""
    signed = {"key": seal.key, "signature": seal.signature.hex()} if seal.key else {}
    return {
        "segment": seal.segment,
        "from_n": seal.from_n,
        "to_n": seal.to_n,
        "entries": seal.entries,
        "digests": seal.digests.hex(),
        "previous_head": seal.previous_head.hex(),
        "head": seal.head.hex(),
        "sealed_at": seal.sealed_at,
        **signed,
    }


@contextmanager
def _stream(path: Path, form: Form) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if path.suffix != ".zip":
            yield file
            return
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(f"audit.{form.suffix}", "w", force_zip64=True) as member,
        ):
            yield member
