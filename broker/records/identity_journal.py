"""The journal of identities, and the pointers it explains: nothing else writes `patient.merged_into`.

Append-only; what it tells (numbers that changed hands, documents) is sealed under the key of its month. A merge is a pointer from the absorbed person to the survivor; un-merging clears it, and both records are
what they would have been. What a message of one person did to a document of the other meanwhile is an event of its
own (`cross`) and is taken back with the merge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, text

from broker.access import Viewer
from broker.database import bulk, sequences
from broker.database.schema import (
    document,
    identity_event,
    identity_event_member,
    identity_link,
    patient,
)
from broker.database.types import from_micros, to_micros
from broker.encryption import findable, sealing
from broker.records.lookups import any_of, rows_of_pairs
from broker.records.patients import IDENTIFIER, each_form
from broker.values import month_of

Kind = Literal[
    "merge", "unmerge", "link", "unlink", "renumber", "remove", "cross", "move", "unmove"
]
SEQUENCE = "identity"
TABLE = b"identity_event"

ACTS: Mapping[str, str] = {
    "merge": "patient_merged",
    "unmerge": "patient_unmerged",
    "link": "patient_linked",
    "unlink": "patient_unlinked",
    "renumber": "patient_renumbered",
    "remove": "patient_renumbered",
    "move": "patient_moved",
    "unmove": "patient_move_undone",
}
"""The words of the trail for what stands in the journal."""
_COLUMNS = (
    "n", "at", "kind", "patient", "other", "by_kind", "by", "because", "message_seq", "reverts", "details",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """Who says so: a source by its message, or an operator with a reason."""

    by_kind: Literal["source", "operator"]
    by: str
    because: str | None = None
    message_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change to identities. `absorbed` and `survivors` are all persons of the two records as they were before."""

    kind: Kind
    patient: int
    said: Said
    other: int | None = None
    absorbed: Sequence[int] = ()
    survivors: Sequence[int] = ()
    reverts: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal."""

    n: int
    at: datetime
    kind: str
    patient: int
    other: int | None
    by_kind: str
    by: str
    because: str | None
    message_seq: int | None
    reverts: int | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody who looked at a record in a span of time: when, how often, and at which documents of which person."""

    visit: int
    viewer: Viewer
    patient: int
    first: datetime
    last: datetime
    listed: int
    read: tuple[tuple[str, int], ...]


def lock(connection: Connection, count: int, now: datetime) -> int:
    """Numbers for changes; whoever has them is alone in changing identities until the commit.

    Read pointers after this, not before: two merges at one moment must not close a circle.
    """
    return sequences.reserve(connection, SEQUENCE, max(count, 1), now)


def write(connection: Connection, first: int, changes: Sequence[Change], now: datetime) -> None:
    """Append changes, numbered from `first`, and move what they move."""
    if not changes:
        return
    at = to_micros(now)
    seal = sealing.sealing_of_month(connection, TABLE, month_of(now))
    rows, members = [], []
    for n, one in enumerate(changes, first):
        details = msgspec.json.encode(one.details).decode()
        rows.append(
            (
                n, at, one.kind, one.patient, one.other, one.said.by_kind, one.said.by, one.said.because,
                one.said.message_seq, one.reverts, sealing.seal_text(seal, _identity(n), details),
            )
        )  # fmt: skip
        absorbed = set(one.absorbed) or {one.patient}
        survivors = set(one.survivors) or ({one.other} if one.other is not None else set())
        members += [(person, n, "absorbed") for person in sorted(absorbed)]
        members += [(person, n, "survivor") for person in sorted(survivors - absorbed)]
    bulk.insert_rows(connection, identity_event, _COLUMNS, rows)
    bulk.insert_rows(connection, identity_event_member, ("patient", "n", "side"), members)
    pointers: dict[int, int | None] = {}
    for one in changes:
        if one.kind in ("merge", "unmerge"):
            pointers[one.patient] = one.other if one.kind == "merge" else None
    bulk.update_rows(connection, patient, "id", ("merged_into",), sorted(pointers.items()))
    _links(connection, changes, at)


def _links(connection: Connection, changes: Sequence[Change], at: int) -> None:
    for one in changes:
        if one.other is None or one.kind not in ("link", "unlink"):
            continue
        low, high = sorted((one.patient, one.other))
        if one.kind == "link":
            columns = ("one", "other", "since")
            bulk.insert_missing(connection, identity_link, columns, [(low, high, at)])
        else:
            connection.execute(
                text("DELETE FROM identity_link WHERE one = :low AND other = :high"),
                {"low": low, "high": high},
            )


def take_keys(connection: Connection, pairs: Collection[tuple[str, str]]) -> None:
    """Take identifiers off whoever has them: they name nobody until they are seen again."""
    for within, given in each_form(connection, pairs).values():
        connection.execute(text(f"DELETE FROM patient_identifier WHERE {within}"), given)  # noqa: S608


def filed_under(
    connection: Connection, pairs: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    """The documents filed for the persons of some identifiers since they had them: to be looked at when they lose them."""
    select = "SELECT t.system, t.value, t.patient, t.since FROM patient_identifier AS t"
    findable.seek(connection)
    wanted = findable.forms(connection, IDENTIFIER, pairs)
    keys = rows_of_pairs(connection, select, sorted(wanted)) if pairs else ()
    if not keys:
        return {}
    within, given = any_of(connection, "patient", sorted({int(key.patient) for key in keys}))
    papers = connection.execute(
        text(
            f"SELECT id, patient, filed_at FROM document WHERE {within} AND availability <> 'deleted' "  # noqa: S608
            "ORDER BY filed_at, id"
        ),
        given,
    ).all()
    return {
        wanted[key.system, key.value]: [
            str(paper.id)
            for paper in papers
            if paper.patient == key.patient and paper.filed_at >= key.since
        ]
        for key in keys
    }


def linked(connection: Connection, persons: Collection[int]) -> list[int]:
    """Whom some persons are linked to, themselves left out."""
    if not persons:
        return []
    one, given = any_of(connection, "one", sorted(persons))
    other, _ = any_of(connection, "other", sorted(persons))
    rows = connection.execute(
        text(
            f"SELECT other AS person FROM identity_link WHERE {one} "  # noqa: S608 - our own words
            f"UNION SELECT one FROM identity_link WHERE {other}"
        ),
        given,
    )
    return sorted({int(row.person) for row in rows} - set(persons))


_EVENT = (
    "SELECT e.n, e.at, e.kind, e.patient, e.other, e.by_kind, e.by, e.because, e.message_seq, e.reverts, e.details "
    "FROM identity_event e "
)


def history(
    connection: Connection, persons: Collection[int], *, limit: int = 50, before: int | None = None
) -> list[Event]:
    """What became of some persons, newest first. `before` is the number of the last event seen."""
    within, given = any_of(connection, "m.patient", sorted(persons))
    bound = "" if before is None else " AND m.n < :before"
    rows = connection.execute(
        text(
            f"{_EVENT}WHERE e.n IN (SELECT m.n FROM identity_event_member m WHERE {within}{bound} "  # noqa: S608
            "ORDER BY m.n DESC LIMIT :most) ORDER BY e.n DESC LIMIT :limit"
        ),
        given
        | {"limit": limit, "most": limit * max(len(persons), 1)}
        | ({} if before is None else {"before": before}),
    )
    return _events(connection, rows.all())


def merge_of(connection: Connection, absorbed: int) -> Event | None:
    """The merge that put a person where it is: its newest."""
    row = connection.execute(
        text(
            f"{_EVENT}WHERE e.n = (SELECT max(m.n) FROM identity_event_member m JOIN identity_event x ON x.n = m.n "  # noqa: S608
            "WHERE m.patient = :person AND x.patient = :person AND x.kind = 'merge')"
        ),
        {"person": absorbed},
    ).first()
    return None if row is None else _events(connection, [row])[0]


def parted(connection: Connection, persons: Collection[int]) -> set[frozenset[int]]:
    """Pairs among some persons that a person un-merged, and nobody merged again since."""
    if not persons:
        return set()
    within, given = any_of(connection, "m.patient", sorted(persons))
    rows = connection.execute(
        text(
            "SELECT DISTINCT e.n, e.kind, e.patient, e.other FROM identity_event e "  # noqa: S608 - our own words
            f"JOIN identity_event_member m ON m.n = e.n WHERE {within} AND e.kind IN ('merge', 'unmerge') ORDER BY e.n"
        ),
        given,
    )
    last = {frozenset((int(row.patient), int(row.other))): row.kind for row in rows}
    return {pair for pair, kind in last.items() if kind == "unmerge" and pair <= set(persons)}


def event(connection: Connection, number: int) -> Event | None:
    """One line of the journal by its number."""
    row = connection.execute(text(f"{_EVENT}WHERE e.n = :n"), {"n": number}).first()
    return None if row is None else _events(connection, [row])[0]


def is_reverted(connection: Connection, one: Event) -> bool:
    """Whether a later event took this one back."""
    return (
        connection.execute(
            text(
                "SELECT 1 FROM identity_event e JOIN identity_event_member m ON m.n = e.n "
                "WHERE m.patient = :patient AND e.reverts = :n"
            ),
            {"patient": one.patient, "n": one.n},
        ).first()
        is not None
    )


def moves_taken_back(connection: Connection, persons: Collection[int]) -> list[Event]:
    """The moves from some persons that a person took back."""
    within, given = any_of(connection, "m.patient", sorted(persons))
    rows = connection.execute(
        text(
            f"{_EVENT}WHERE e.kind = 'move' AND e.n IN (SELECT u.reverts FROM identity_event u "  # noqa: S608
            f"JOIN identity_event_member m ON m.n = u.n WHERE u.kind = 'unmove' AND {within})"
        ),
        given,
    )
    return _events(connection, rows.all())


@dataclass(frozen=True, slots=True)
class Crossing:
    """A document of one person that a message of another changed: what it was, and what it became."""

    n: int
    document: str
    was: str
    became: str
    owner: int
    by: int


def crossings(
    connection: Connection, one: Collection[int], other: Collection[int], since: int
) -> list[Crossing]:
    """What messages of either side did to documents of the other after the event `since`; newest first."""
    within, given = any_of(connection, "m.patient", sorted({*one, *other}))
    rows = connection.execute(
        text(
            f"{_EVENT}WHERE e.kind = 'cross' AND e.n > :since AND e.n IN "  # noqa: S608 - our own words
            f"(SELECT m.n FROM identity_event_member m WHERE {within} AND m.n > :since) ORDER BY e.n DESC"
        ),
        given | {"since": since},
    )
    sides = (set(one), set(other))
    found = []
    for event in _events(connection, rows.all()):
        if any(event.patient in a and event.other in b for a, b in (sides, sides[::-1])):
            details = event.details
            found.append(
                Crossing(
                    event.n, details["document"], details["was"], details["became"], event.patient,
                    event.other or 0,
                )
            )  # fmt: skip
    return found


def give_back(connection: Connection, found: Sequence[Crossing]) -> None:
    """Undo what crossed, newest first, where the document still is what that made of it."""
    for one in found:
        connection.execute(
            text(
                f"UPDATE {document.name} SET availability = :was WHERE id = :id AND availability = :became"  # noqa: S608
            ),
            {"was": one.was, "id": one.document, "became": one.became},
        )


def looks(
    connection: Connection, persons: Collection[int], since: datetime, until: datetime
) -> list[Look]:
    """Who looked at any of these persons' records in a span of time, oldest first. Operators are among them."""
    within, given = any_of(connection, "v.patient", sorted(persons))
    rows = connection.execute(
        text(
            "SELECT v.id, v.patient, v.actor_snapshot, l.at, l.act, l.document_id, d.patient AS owner FROM visit v "  # noqa: S608
            "JOIN access_line l ON l.visit = v.id LEFT JOIN document d ON d.id = l.document_id "
            f"WHERE {within} AND v.started < :until AND coalesce(v.ended, v.started) >= :since "
            "AND l.at >= :since AND l.at < :until ORDER BY l.at, v.id, l.n"
        ),
        given | {"since": to_micros(since), "until": to_micros(until)},
    ).all()
    by_visit: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        by_visit[int(row.id)].append(row)
    return [
        Look(
            visit=number,
            viewer=msgspec.json.decode(lines[0].actor_snapshot, type=Viewer),
            patient=int(lines[0].patient),
            first=from_micros(int(lines[0].at)),
            last=from_micros(int(lines[-1].at)),
            listed=sum(line.act == "list" for line in lines),
            read=tuple(
                dict.fromkeys(
                    (str(line.document_id), int(line.owner or 0))
                    for line in lines
                    if line.document_id is not None
                )
            ),
        )
        for number, lines in by_visit.items()
    ]


def _events(connection: Connection, rows: Sequence[Any]) -> list[Event]:
    values = [(_identity(row.n), row.details) for row in rows]
    details = sealing.open_texts(connection, TABLE, values, is_plain)
    return [_event(row, said) for row, said in zip(rows, details, strict=True)]


def is_plain(details: str) -> bool:
    """Whether what an event tells stands as it is: base64 has no brace."""
    return details.startswith("{")


def _identity(n: int) -> bytes:
    return str(n).encode()


def _event(row: Any, details: str) -> Event:
    return Event(
        n=int(row.n),
        at=from_micros(int(row.at)),
        kind=row.kind,
        patient=int(row.patient),
        other=None if row.other is None else int(row.other),
        by_kind=row.by_kind,
        by=row.by,
        because=row.because,
        message_seq=row.message_seq,
        reverts=row.reverts,
        details=msgspec.json.decode(details),
    )
