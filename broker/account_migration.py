"""Take over former records with their content: `carnet account migrate`. Restartable at any line, never twice.

How far a manifest was read is committed with the rows of each batch, under the digest of the manifest: whoever starts
the same manifest again, after a stop, a kill or a power cut, goes on behind the last of them. A line that cannot be
taken is left out and named; the others go on. Another manifest with the same people adds what is not there yet.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Engine

from broker.accounts import machine
from broker.accounts.manifest import FormerAuthor, FormerDocument, FormerRecord, read_line
from broker.audit import trail
from broker.database import partitions, sequences
from broker.database.engine import writing
from broker.document import (
    Attachment,
    Author,
    Coded,
    Coding,
    Document,
    Event,
    Identifier,
    MappingRef,
    Organization,
    Patient,
    Person,
    PersonName,
    When,
    encode,
)
from broker.errors import SetupError
from broker.identity import ins
from broker.identity.matching import Key
from broker.records import account_import, account_rows, content, filing, patients
from broker.records.account_import import NO_MESSAGE, Progress
from broker.values import uuid7

AT_ONCE = 100
"""Lines of one transaction, at most."""

AT_ONCE_BYTES = 32_000_000
"""Bytes of documents of one transaction, about."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest on disk: its digest, its lines, where the documents are."""

    path: Path
    folder: Path
    digest: str
    lines: int


@dataclass(slots=True)
class Batch:
    """Lines to be taken in one transaction: people with the bytes of their documents, and lines left out."""

    first: int
    last: int
    records: list[FormerRecord] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: dict[tuple[int, str], str] = field(default_factory=dict)
    left: list[tuple[int, str]] = field(default_factory=list)


def examine(path: Path, folder: Path) -> Manifest:
    """Read a manifest once: its digest and its length. Raises: SetupError."""
    digest, lines = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                lines += 1
    except OSError as error:
        raise SetupError(
            "usage.file", where=str(path), reason=error.strerror or "cannot be read"
        ) from error
    return Manifest(path, folder.resolve(), digest.hexdigest(), lines)


class Migration:
    """Takes one manifest over, or as much of it as it is let.

    `progress` is told the lines read so far; `leave` a line that is left out, and why.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        production: bool,
        clock: Callable[[], datetime],
        progress: Callable[[int], None] = lambda _: None,
        leave: Callable[[int, str], None] = lambda *_: None,
        at_once: int = AT_ONCE,
    ) -> None:
        self._engine = engine
        self._production = production
        self._clock = clock
        self._progress = progress
        self._leave = leave
        self._at_once = at_once

    def run(self, manifest: Manifest, by: str, stop: threading.Event) -> Progress:
        """Go on until the end or until `stop` is set. Raises: TransientError; what was committed stays."""
        with writing(self._engine) as connection:
            partitions.ensure(connection, self._clock())
            done = account_import.begin(connection, manifest.digest, by, self._clock())
        self._progress(done.position)
        if done.is_over:
            return done
        for batch in self._batches(manifest, done.position):
            if stop.is_set():
                return done
            with writing(self._engine) as connection:
                done = self._take(connection, manifest, batch, done, by, self._clock())
            for line, why in batch.left:
                self._leave(line, why)
            self._progress(done.position)
        with writing(self._engine) as connection:
            account_import.end(connection, manifest.digest, self._clock())
        return Progress(done.position, done.taken, done.documents, done.left_out, is_over=True)

    # --- reading ------------------------------------------------------------------------------------------------

    def _batches(self, manifest: Manifest, after: int) -> Iterator[Batch]:
        batch, size = Batch(after, after), 0
        seen: set[tuple[str, str]] = set()
        with manifest.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number <= after:
                    continue
                record = self._read(manifest, number, line, batch)
                if record is not None and (record.system, record.value) in seen:
                    batch.left.append((number, "the same person is in this manifest before"))
                    record = None
                batch.last = number
                if record is not None:
                    seen.add((record.system, record.value))
                    batch.records.append(record)
                    batch.lines.append(number)
                    size = sum(len(blob) for blob in batch.blobs.values())
                if batch.last - batch.first >= self._at_once or size >= AT_ONCE_BYTES:
                    yield batch
                    batch, size = Batch(number, number), 0
        if batch.last > batch.first:
            yield batch

    def _read(
        self, manifest: Manifest, number: int, line: bytes, batch: Batch
    ) -> FormerRecord | None:
        """One line with its files; None where it is left out."""
        try:
            record = read_line(line)
            self._expect_ins(record)
            blobs = {one.file: _bytes_of(manifest.folder, one.file) for one in record.documents}
        except ValueError as error:
            batch.left.append((number, str(error)))
            return None
        at = len(batch.records)
        for name, blob in blobs.items():
            digest = hashlib.sha256(blob).hexdigest()
            batch.blobs[digest] = blob
            batch.files[at, name] = digest
        return record

    def _expect_ins(self, record: FormerRecord) -> None:
        if not ins.kind(record.system) or (self._production and ins.is_test(record.system)):
            raise ValueError("$.system: not an authority of the INS that is taken here")
        if not ins.is_valid(record.value):
            raise ValueError("$.value: not an INS")

    # --- one transaction ----------------------------------------------------------------------------------------

    def _take(
        self,
        connection: Connection,
        manifest: Manifest,
        batch: Batch,
        before: Progress,
        by: str,
        now: datetime,
    ) -> Progress:
        people = self._people(connection, batch, now)
        refused = self._refused(connection, people, batch)
        taken = {people[at]: one for at, one in enumerate(batch.records) if at not in refused}
        made = self._documents(connection, batch, people, refused, now)
        steps = account_import.spaces(connection, taken, by, now)
        account_import.blocks(connection, taken, by, now)
        account_import.accesses(connection, taken, now)
        after = Progress(
            batch.last,
            before.taken + len(taken),
            before.documents + sum(made.values()),
            before.left_out + len(batch.left),
        )
        if not account_import.advance(connection, manifest.digest, before, after):
            raise SetupError(
                "migration.elsewhere",
                where=str(manifest.path),
                reason="another process takes this manifest over",
                hint="let it; or stop it, and start this again",
            )
        trail.write(connection, _entries(steps, made, by, now), now)
        return after

    def _people(self, connection: Connection, batch: Batch, now: datetime) -> dict[int, int]:
        """Position in the batch -> patient; who is not known is created."""
        pairs = [(one.system, one.value) for one in batch.records]
        found = patients.find(connection, set(pairs))
        fresh = [at for at, pair in enumerate(pairs) if pair not in found]
        first = sequences.reserve(connection, "patient", len(fresh), now) if fresh else 0
        created = []
        for n, at in enumerate(fresh):
            one = batch.records[at]
            key = Key(one.system, one.value, ins.kind(one.system), "ins")
            created.append(patients.NewPatient(first + n, (key,), _traits(one)))
            found[pairs[at]] = first + n
        patients.create(connection, created, now)
        return {at: found[pair] for at, pair in enumerate(pairs)}

    def _refused(self, connection: Connection, people: dict[int, int], batch: Batch) -> set[int]:
        """Positions of people whose space was deleted: nothing comes back to them."""
        spaces = account_rows.load(connection, set(people.values()))
        gone = {at for at, number in people.items() if spaces[number].state == machine.DELETED}
        batch.left += [(batch.lines[at], "the space was deleted") for at in sorted(gone)]
        return gone

    def _documents(
        self,
        connection: Connection,
        batch: Batch,
        people: dict[int, int],
        refused: set[int],
        now: datetime,
    ) -> dict[int, int]:
        """File what is not there yet; patient -> how many."""
        wanted = [
            (at, one, _document(one, batch, at, now))
            for at, record in enumerate(batch.records)
            if at not in refused
            for one in record.documents
        ]
        record = filing.existing(connection, [document for _, _, document in wanted])
        made, counts = [], dict.fromkeys(people.values(), 0)
        for at, one, document in wanted:
            number = people[at]
            plan = filing.plan(document, record, patient=number, message_seq=NO_MESSAGE)
            if plan.refusal is not None:
                batch.left.append((batch.lines[at], f"a document: {plan.refusal}"))
            if plan.refusal is not None or plan.action == "duplicate":
                continue
            new = filing.Filing.of(
                document,
                encode(document),
                plan,
                patient=number,
                message_seq=NO_MESSAGE,
                now=one.filed,
            )
            record.add(new)
            made.append(new)
            counts[number] += 1
        filing.file(connection, made, now)
        blobs = {}
        for new in made:
            for attached in new.document.attachments:
                if attached.sha256 in batch.blobs:
                    blobs[new.patient, attached.sha256] = batch.blobs[attached.sha256]
        content.store(connection, blobs)
        return counts


def _bytes_of(folder: Path, name: str) -> bytes:
    """A file below the folder. Raises: ValueError for one that is not."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise ValueError("$.documents[...].file: not below the folder of documents")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"$.documents[...].file: {error.strerror}") from error


def _traits(one: FormerRecord) -> Patient:
    return Patient(
        names=(PersonName(family=one.family, given=(one.given,) if one.given else ()),),
        birth_date=When(value=one.born.isoformat()) if one.born is not None else None,
    )


def _document(one: FormerDocument, batch: Batch, at: int, now: datetime) -> Document:
    digest = batch.files[at, one.file]
    system = one.system or "urn:ietf:rfc:3986"
    return Document(
        id=uuid7(now),
        kind="clinical_document",
        status="final",
        title=one.title,
        type_code=Coded(codings=(Coding(code=one.type, system=one.type_system),)) if one.type else None,
        confidentiality=tuple(Coded(codings=(Coding(code=code),)) for code in one.codes),
        unique_id=Identifier(value=one.id, oid=one.system, system=system),
        created_at=When(value=one.created or one.filed.date().isoformat()),
        authors=_authors(one.author),
        attachments=(
            Attachment(
                id="main", sha256=digest, size=len(batch.blobs[digest]), media_type=one.media, role="main"
            ),
        ),
        event=Event(operation="create"),
        mapping=MappingRef(name="migration"),
    )  # fmt: skip


def _authors(one: FormerAuthor) -> tuple[Author, ...]:
    if not (one.id or one.family):
        return ()
    role = Coded(codings=(Coding(code=one.profession),)) if one.profession else None
    person = Person(
        identifiers=(Identifier(value=one.id, oid="1.2.250.1.71.4.2.1"),) if one.id else (),
        name=PersonName(family=one.family, given=(one.given,) if one.given else ()),
        role_code=role,
    )
    structure = Organization(name=one.structure) if one.structure else None
    return (Author(person=person, organization=structure),)


def _entries(
    steps: Sequence[account_rows.Step], made: dict[int, int], by: str, now: datetime
) -> list[trail.Entry]:
    return [
        trail.Entry(
            act="record_taken_over",
            at=now,
            actor_kind="operator",
            actor=by,
            subject=f"patient:{step.patient}",
            patient=step.patient,
            outcome="MIG",
            software="carnet",
            details=msgspec.json.encode(
                {"documents": made.get(step.patient, 0), "from": step.before, "to": step.after}
            ).decode(),
        )
        for step in steps
    ]
