"""Write settled messages of old months to an archive: streamed, synced, read back, and only then noted in the ledger.

From the note on they may be pruned (`broker.retention`). A process that dies in between leaves a draft that the next
run takes away, or files that it writes again under the same name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine

from broker import fault_points
from broker.access import Entry as TrailEntry
from broker.archive import manifest
from broker.archive.keys import fingerprint
from broker.archive.manifest import Manifest
from broker.archive.shelf import Draft, Shelf
from broker.audit import trail
from broker.database import migrate
from broker.database.engine import reading, writing
from broker.encryption import sealed
from broker.errors import PermanentError
from broker.records import archiving, bodies
from broker.records.archiving import DELIVERY, MESSAGE, Shelved
from broker.records.tallies import FATES_BY_STATE
from broker.values import first_seq, sha256

MAX_MESSAGES = 50_000
MAX_BYTES = 512 * 1024 * 1024
"""Where an archive ends and the next of its month begins: a file that a person can copy."""


@dataclass(slots=True)
class _Gathered:
    """What a draft holds so far."""

    seqs: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)
    counts: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    attempts: int = 0
    prepared: int = 0
    body_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.seqs) >= MAX_MESSAGES or self.body_bytes >= MAX_BYTES

    def add(self, one: dict[str, Any]) -> manifest.Entry:
        """Count a message; returns its entry in the index, without its place."""
        row = one["message"]
        fate = FATES_BY_STATE[row["state"]]
        self.seqs.append(row["seq"])
        self.ids.append(row["id"])
        self.body_bytes += len(one["body"])
        self.counts[(row["day"], row["source"], fate)] += 1
        for owed in one["deliveries"]:
            self.deliveries.append(owed["id"])
            self.attempts += len(owed["attempts"])
            self.prepared += owed["prepared"] is not None
        return manifest.Entry(
            row["seq"], row["id"], row["day"], row["source"], fate, archiving.key_of(row), 0, 0
        )


@dataclass(frozen=True, slots=True)
class _Round:
    """One read: messages to archive, how many had to stay, and where the next read begins (None: the end)."""

    messages: list[dict[str, Any]]
    left: int
    after: int | None


def archive_month(
    engine: Engine,
    shelf: Shelf,
    month: int,
    clock: Callable[[], datetime],
    *,
    is_stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> Iterator[tuple[Shelved | None, int]]:
    """Archive what is settled of a month: each archive made, and how many messages had to stay beside it so far.

    What stays is held, parked, owed or of unknown outcome, or has lost its bytes. An archive is None where only such are
    left. `progress` is told the archive's name and the messages in it. Raises: TransientError, PermanentError.
    """
    shelf.drop_drafts()
    after: int | None = first_seq(month) - 1
    while after is not None and not is_stopped():
        with reading(engine) as connection:
            name = archiving.next_name(connection, month)
        made, left, after = _one(engine, shelf, name, month, after, clock, progress)
        yield made, left


def _one(
    engine: Engine,
    shelf: Shelf,
    name: str,
    month: int,
    after: int | None,
    clock: Callable[[], datetime],
    progress: Callable[[str, int], None],
) -> tuple[Shelved | None, int, int | None]:
    """One archive from the number `after` on: what was made, what stayed, where the next one begins."""
    held = _Gathered()
    rounds = _rounds(engine, month, after)
    left, begin = 0, _Round([], 0, None)
    for begin in rounds:
        left += begin.left
        if begin.messages:
            break
    if not begin.messages:
        return None, left, None
    last = begin
    with shelf.drafting(name) as draft:
        _put(draft, held, begin.messages)
        while not held.is_full and (more := next(rounds, None)) is not None:
            left += more.left
            _put(draft, held, more.messages)
            last = more
            progress(name, len(held.seqs))
    fault_points.reach("archive.written")
    made = _manifest(shelf, name, month, held, clock())
    _read_back(shelf, made, held)
    shelf.publish(made)
    fault_points.reach("archive.published")
    shelved = _register(engine, made, month, held, clock())
    fault_points.reach("archive.registered")
    return shelved, left, last.after


def _rounds(engine: Engine, month: int, after: int | None) -> Iterator[_Round]:
    """Messages of the month by the batch."""
    upto = first_seq(month + 1) - 1
    while after is not None:
        with reading(engine) as connection:
            found = archiving.look(connection, after, upto)
            gathered = archiving.gather(connection, found.seqs)
        whole = [one for one in gathered if _is_whole(one)]
        after = found.after
        yield _Round(whole, found.left + len(gathered) - len(whole), after)


def _is_whole(one: dict[str, Any]) -> bool:
    """A message whose bytes are those that were received; what is not stays where `carnet reconcile` finds it."""
    return one["body"] is not None and (
        one["body"] == sealed.ERASED or sha256(one["body"]) == one["message"]["sha256"]
    )


def _put(draft: Draft, held: _Gathered, messages: list[dict[str, Any]]) -> None:
    for one in messages:
        entry_ = held.add(one)
        place, frame = draft.data.put(msgspec.json.encode(one))
        draft.index.put(msgspec.structs.replace(entry_, place=place, frame=frame))


def _manifest(shelf: Shelf, name: str, month: int, held: _Gathered, now: datetime) -> Manifest:
    data, index, size = shelf.hashes(name, draft=True)
    return Manifest(
        name=name,
        month=archiving.month_text(month),
        created_at=now.isoformat(timespec="seconds"),
        revision=migrate.head(),
        tables=archiving.TABLES,
        messages=len(held.seqs),
        deliveries=len(held.deliveries),
        attempts=held.attempts,
        prepared=held.prepared,
        body_bytes=held.body_bytes,
        first_seq=held.seqs[0],
        last_seq=held.seqs[-1],
        first_id=min(held.ids),
        last_id=max(held.ids),
        counts=tuple((*key, n) for key, n in sorted(held.counts.items())),
        size=size,
        sha256=data,
        index_sha256=index,
        key=fingerprint(shelf.key),
    )


def _read_back(shelf: Shelf, made: Manifest, held: _Gathered) -> None:
    """Read a draft from the disk as a reader will. Raises: PermanentError("archive.altered") when anything is not there."""
    seen = _check(shelf, made, draft=True)
    if seen != held.seqs:
        raise PermanentError("archive.altered", where=made.name, reason="not all of it was written")


def _check(shelf: Shelf, made: Manifest, *, draft: bool = False) -> list[int]:
    """The numbers that an archive holds, each message's bytes compared with the hash it was received with."""
    seqs: list[int] = []
    deliveries = 0
    for one, found in zip(
        shelf.messages(made.name, draft=draft), shelf.entries(made.name, draft=draft), strict=True
    ):
        row = one["message"]
        body = msgspec.convert(one["body"], bytes, strict=False)
        wanted = msgspec.convert(row["sha256"], bytes, strict=False)
        is_as_received = body == sealed.ERASED or sha256(body) == wanted
        if row["seq"] != found.seq or row["id"] != found.id or not is_as_received:
            raise PermanentError("archive.altered", where=made.name, reason="a message differs")
        seqs.append(row["seq"])
        deliveries += len(one["deliveries"])
    if (len(seqs), deliveries) != (made.messages, made.deliveries):
        raise PermanentError("archive.altered", where=made.name, reason="it holds another number")
    return seqs


def verify(shelf: Shelf, known: Shelved) -> None:
    """Read a whole archive and compare it with what the ledger noted of it. Raises: PermanentError, SetupError."""
    expect(shelf, known)
    _check(shelf, shelf.manifest(known.name))


def bytes_of(message: dict[str, Any]) -> bytes:
    """The bytes as received of a message that was read from an archive. Health data.

    Raises: PermanentError("encryption.erased") where they were erased before it was archived.
    """
    body: bytes = msgspec.convert(message["body"], bytes, strict=False)
    if body == sealed.ERASED:
        raise sealed.erased(bodies.TABLE)
    return body


def expect(shelf: Shelf, known: Shelved) -> None:
    """That the files of an archive are there, byte for byte. Raises: SetupError("archive.away"), PermanentError."""
    made = shelf.manifest(known.name)
    data, index, _ = shelf.hashes(known.name)
    if data != known.sha256 or made.sha256 != known.sha256 or index != made.index_sha256:
        raise PermanentError(
            "archive.altered", where=known.name, reason="its SHA-256 is not the one that was noted"
        )


def _register(
    engine: Engine, made: Manifest, month: int, held: _Gathered, now: datetime
) -> Shelved:
    shelved = Shelved(
        made.name, month, made.first_seq, made.last_seq, made.messages, made.deliveries, made.size,
        made.sha256, made.first_id, made.last_id, now, None, None, None,
    )  # fmt: skip
    spans = {MESSAGE: list(_runs(held.seqs)), DELIVERY: list(_runs(sorted(held.deliveries)))}
    with writing(engine) as connection:
        archiving.register(connection, shelved, spans, held.counts)
        trail.write(connection, [entry("archived", shelved, now)], now)
    return shelved


def entry(act: str, of: Shelved, now: datetime, stage: str | None = None) -> TrailEntry:
    """What the trail says of an archive: its name, how much it holds, its SHA-256."""
    details = {"messages": of.messages, "deliveries": of.deliveries, "sha256": of.sha256}
    return TrailEntry(
        act=act, at=now, actor_kind="machine", actor="retention", subject=of.name, outcome=stage,
        software="carnet", details=msgspec.json.encode(details).decode(),
    )  # fmt: skip


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Rising numbers as runs without a gap."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
