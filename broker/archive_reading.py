"""Find in archives what left the ledger: by id, by number, by control id. For the command and the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.archive.manifest import Entry
from broker.archive.shelf import Shelf
from broker.records import archiving, messages_reading, receptions
from broker.records.archiving import Shelved

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archived message lies."""

    archive: str
    entry: Entry


def where(connection: Connection, shelf: Shelf, reference: str) -> list[Place]:
    """Archived messages of an id or a number: the indexes of the archives that may hold it are looked through.

    A control id is found with `by_control_id`, which reads every index. Raises: PermanentError, SetupError("archive.away").
    """
    name = reference.strip().lower()
    if _UUID.fullmatch(name):
        candidates = [one.name for one in archiving.maybe_holding(connection, name)]
        return [
            Place(one, entry)
            for one in candidates
            for entry in shelf.entries(one)
            if entry.id == name
        ]
    if name.isdecimal() and len(name) > _NUMBER_DIGITS:
        held = archiving.holding(connection, int(name))
        if held is not None:
            return [Place(held, e) for e in shelf.entries(held) if e.seq == int(name)]
    return []


def by_control_id(connection: Connection, shelf: Shelf, control_id: str) -> Iterator[Place]:
    """Archived messages that a sender named so, oldest first: every index is read."""
    keys = {
        receptions.control_key(source, control_id, 0)
        for source in messages_reading.sources(connection)
    }
    for one in archiving.shelved(connection):
        for entry in shelf.entries(one.name):
            if entry.control in keys:
                yield Place(one.name, entry)


def of_day(
    connection: Connection, shelf: Shelf, day: int, source: str | None = None
) -> Iterator[Place]:
    """Archived messages of a day of reception (of a source), in their order."""
    for one in archiving.of_day(connection, day):
        for entry in shelf.entries(one.name):
            if entry.day == day and source in (None, entry.source):
                yield Place(one.name, entry)


def known(connection: Connection, name: str) -> Shelved | None:
    """What the ledger noted of an archive."""
    return next(iter(archiving.shelved(connection, "name = :name", name=name)), None)


def all_of(connection: Connection) -> list[Shelved]:
    """Every archive, oldest month first."""
    return archiving.shelved(connection)


def holding(connection: Connection, seq: int) -> str | None:
    """The archive that holds a message, which may still be in the ledger too."""
    return archiving.holding(connection, seq)
