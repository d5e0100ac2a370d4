"""Documents that go from one person to another (A43, A44, A45): found, sealed anew under the other's key, and counted.

A merge moves no row (ADR 0018); a move must: what was filed under the wrong person is not theirs, and must neither be
erased with their record nor stay readable by their key. Rare, and never a query of any other message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from broker.document import Document, decode
from broker.records import content, payloads
from broker.records.lookups import any_of, any_text
from broker.values import State

AT_ONCE = 200
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
"""Bytes that a document refers to, wherever in it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A document and the person it is filed under."""

    id: str
    person: int


def is_behind(
    connection: Connection,
    persons: Collection[int],
    lanes: Collection[int],
    seq: int,
    but: Collection[int],
) -> State | None:
    """Whether messages of these persons that came before `seq` are not settled: what they bring must move as well.

    `lanes` are those of the numbers a message names; those their documents came by are looked up. `but` are messages
    in the same hand. HELD where a person is needed before they go on, WAITING where they go on by themselves.
    """
    theirs, given = any_of(connection, "d.patient", sorted(persons), "persons")
    rows = connection.execute(
        text(
            "SELECT DISTINCT m.lane FROM document d JOIN message m ON m.seq = d.message_seq "  # noqa: S608 - our own words
            f"WHERE {theirs} AND m.lane <> 0"
        ),
        given,
    )
    wanted = sorted({int(row.lane) for row in rows} | {lane for lane in lanes if lane})
    within, given = any_of(connection, "m.lane", wanted)
    open_ = connection.execute(
        text(
            "SELECT m.seq, m.state, b.held_by FROM message m LEFT JOIN lane b ON b.kind = 'filing' "  # noqa: S608
            f"AND b.destination = '' AND b.lane = m.lane WHERE m.state < 10 AND {within} AND m.seq < :seq"
        ),
        given | {"seq": seq},
    )
    before = [row for row in open_ if int(row.seq) not in but]
    if not before:
        return None
    is_stuck = any(row.state == State.HELD or row.held_by is not None for row in before)
    return State.HELD if is_stuck else State.WAITING


def wait_for_a_space(connection: Connection, persons: Collection[int]) -> bool:
    """Whether documents of these persons wait for what becomes of a space: they come by their own way later."""
    within, given = any_of(connection, "patient", sorted(persons))
    statement = f"SELECT 1 FROM account_wait WHERE {within} LIMIT 1"  # noqa: S608 - our own words
    return connection.execute(text(statement), given).first() is not None


def move(
    connection: Connection,
    persons: Collection[int],
    to: int,
    before: int,
    holds: Callable[[Document], bool],
) -> list[Placed]:
    """Move what came before message `before` for these persons and `holds` says yes to; as it was filed, oldest first.

    Masks, order and versions stay with a document. One whose content was erased stays where it is.
    """
    within, given = any_of(connection, "patient", sorted(persons))
    rows = connection.execute(
        text(
            f"SELECT id, patient, message_seq FROM document WHERE {within} ORDER BY filed_at, id"  # noqa: S608
        ),
        given,
    ).all()
    came = {Placed(str(row.id), int(row.patient)): int(row.message_seq) for row in rows}
    going: list[Placed] = []
    kept: set[content.Name] = set()
    for one, payload in _read(connection, list(came)):
        if came[one] < before and holds(decode(payload)):
            going.append(one)
        else:
            kept |= _names(one.person, payload)
    _carry(connection, going, to, kept)
    return going


def still_at(connection: Connection, placed: Sequence[Placed], person: int) -> set[str]:
    """Which of these documents are filed under this person now."""
    within, given = any_text(connection, "id", sorted(one.id for one in placed), kind="uuid")
    rows = connection.execute(
        text(f"SELECT id FROM document WHERE patient = :person AND {within}"),  # noqa: S608
        given | {"person": person},
    )
    return {str(row.id) for row in rows}


def move_back(connection: Connection, placed: Sequence[Placed], at: int) -> None:
    """Give documents that are at `at` back to the persons they were taken from."""
    rows = connection.execute(text("SELECT id FROM document WHERE patient = :at"), {"at": at}).all()
    going = {one.id for one in placed}
    stay = [Placed(str(row.id), at) for row in rows if str(row.id) not in going]
    kept = {name for _, payload in _read(connection, stay) for name in _names(at, payload)}
    persons = sorted({one.person for one in placed})
    for person in persons:
        back = [Placed(one.id, at) for one in placed if one.person == person]
        others = [Placed(one.id, at) for one in placed if one.person > person]
        later = {name for _, payload in _read(connection, others) for name in _names(at, payload)}
        _carry(connection, back, person, kept | later)


def _read(connection: Connection, placed: Sequence[Placed]) -> Iterator[tuple[Placed, bytes]]:
    """Content by document, without what was erased."""
    for some in _pages(placed):
        found = payloads.found(connection, [one.id for one in some])
        for one in some:
            payload = found.get(one.id)
            if isinstance(payload, bytes):
                yield one, payload


def _pages(placed: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    return (placed[n : n + AT_ONCE] for n in range(0, len(placed), AT_ONCE))


def _carry(
    connection: Connection, placed: Sequence[Placed], to: int, kept: Collection[content.Name]
) -> None:
    """Seal content and attachments under the key of `to`, and let go of what nothing else of the old ones needs."""
    for some in _pages(placed):
        ids = [one.id for one in some]
        read = payloads.read(connection, ids)
        within, given = any_text(connection, "id", sorted(ids), kind="uuid")
        connection.execute(text(f"DELETE FROM document_payload WHERE {within}"), given)  # noqa: S608
        payloads.write(connection, [(name, to, read[name]) for name in ids])
        names = {name for one in some for name in _names(one.person, read[one.id])}
        for person, digest in sorted(content.present(connection, names)):
            content.store(connection, {(to, digest): content.open(connection, person, digest)})
            if (person, digest) not in kept:
                connection.execute(
                    text("DELETE FROM attachment WHERE patient = :person AND sha256 = :digest"),
                    {"person": person, "digest": bytes.fromhex(digest)},
                )
        connection.execute(
            text(f"UPDATE document SET patient = :to WHERE {within}"),  # noqa: S608 - our own words
            given | {"to": to},
        )


def _names(person: int, payload: bytes) -> set[content.Name]:
    """The bytes a document refers to, in its person's store."""
    return {(person, found.decode()) for found in _DIGEST.findall(payload)}
