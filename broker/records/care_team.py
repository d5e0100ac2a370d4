"""Who takes part in a patient's care (L.1110-12), since when and until when. Append-only; the same word twice is one.

Branch 1: an open visit at a structure (PV1-19, ADT A01 to A03). Branch 2: a professional the patient recognised.
Branch 3: a declared group. Members are `structure:<FINESS or name>`, a professional's key, `group:<id>`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from sqlalchemy import Connection, Engine, text

from broker.access import Viewer, professional_key, viewer_keys
from broker.database import bulk
from broker.database import schema as tables
from broker.database.engine import reading
from broker.database.types import from_micros, to_micros
from broker.document import Document
from broker.header import earliest
from broker.records import people
from broker.records.lookups import any_of, any_text
from broker.records.patients import PatientRow

Act = Literal["enter", "leave"]

STRUCTURE, RECOGNISED, GROUP = 1, 2, 3

_ENTERS = frozenset({"A01", "A02", "A04", "A06", "A07", "A13"})
"""Admission, transfer, registration, change of class, cancelled discharge: the visit is open (IHE PAM)."""
_LEAVES = frozenset({"A03", "A11"})
"""Discharge, cancelled admission."""


@dataclass(frozen=True, slots=True)
class TeamEvent:
    """Somebody enters or leaves a patient's care; `at` is when, `episode` the visit."""

    patient: int
    member: str
    act: Act
    at: datetime
    branch: int
    by: str
    channel: str
    episode: str = ""
    message_seq: int | None = None

    @property
    def team(self) -> str:
        """What consent is given to."""
        return f"{self.member}#{self.episode}" if self.episode else self.member


def structure(value: str) -> str:
    """The member that a structure is."""
    return f"structure:{value.strip()}"


def group(value: str) -> str:
    """The member that a formal care group is."""
    return f"group:{value.strip()}"


def branch_of(member: str) -> int:
    """The branch of L.1110-12 a member belongs by."""
    return {"structure": STRUCTURE, "group": GROUP}.get(member.partition(":")[0], RECOGNISED)


def team_of(document: Document) -> str:
    """The care team a message speaks of: the structure and the visit; empty where it names no structure."""
    for encounter in document.encounters:
        place = _structure(document)
        if place and encounter.identifier is not None and encounter.identifier.value:
            return f"{structure(place)}#{encounter.identifier.value}"
    place = _structure(document)
    return structure(place) if place else ""


def _structure(document: Document) -> str:
    """The facility of the place of care, else the one that sends."""
    for encounter in document.encounters:
        location = encounter.location
        if location is not None and location.facility is not None and location.facility.value:
            return location.facility.value
    facility = document.source.facility
    return facility.value if facility is not None else ""


def of_message(
    document: Document, patient: int, source: str, message_seq: int, now: datetime
) -> TeamEvent | None:
    """What an ADT says of the care team of its visit; None when it says nothing of it."""
    event = document.event
    if document.kind != "encounter_event" or event is None:
        return None
    enters, leaves = event.code in _ENTERS, event.code in _LEAVES
    member, hash_, episode = team_of(document).partition("#")
    if not (enters or leaves) or not member or not hash_:
        return None
    encounter = document.encounters[0]
    if event.code == "A03":
        when = encounter.end or event.occurred_at
    elif event.code in ("A01", "A04"):
        when = encounter.start or event.occurred_at
    else:
        when = event.recorded_at or event.occurred_at
    return TeamEvent(
        patient=patient,
        member=member,
        act="enter" if enters else "leave",
        at=min(earliest(when) or now, now),
        branch=STRUCTURE,
        by=source,
        channel="message",
        episode=episode,
        message_seq=message_seq,
    )


_COLUMNS = (
    "patient", "member", "episode", "at", "act", "branch", "by", "channel", "recorded_at", "message_seq",
)  # fmt: skip


def note(connection: Connection, events: Collection[TeamEvent], now: datetime) -> None:
    """Append what is news; one statement for all of them, and nothing is read."""
    rows = {
        (one.patient, one.member, one.episode, to_micros(one.at), one.act): (
            one.patient, one.member, one.episode, to_micros(one.at), one.act, one.branch, one.by, one.channel,
            to_micros(now), one.message_seq,
        )
        for one in events
    }  # fmt: skip
    bulk.insert_missing(connection, tables.care_team, _COLUMNS, [rows[key] for key in sorted(rows)])


def for_viewer(
    connection: Connection,
    row: PatientRow,
    viewer: Viewer,
    now: datetime,
    persons: Collection[int] = (),
) -> PatientRow:
    """The patient with what a decision about this viewer also looks at: memberships open now, and the birth date.

    `persons` are all of a merged record: who takes part in the care of one takes part in that of the record.
    """
    team = _open(connection, persons or (row.id,), viewer, now)
    return replace(row, team=team, born=_born(connection, row.id))


def members_of(viewer: Viewer) -> list[str]:
    """The members a viewer may be there as: their structure, themselves, the one they act for, their group."""
    found = set(viewer_keys(viewer))
    if viewer.responsible:
        found.add(professional_key("", viewer.responsible))
    if viewer.structure:
        found.add(structure(viewer.structure))
    if viewer.team:
        found.add(group(viewer.team))
    return sorted(found)


def _open(
    connection: Connection, persons: Collection[int], viewer: Viewer, now: datetime
) -> tuple[tuple[str, int], ...]:
    if viewer.kind != "professional":
        return ()
    within, given = any_text(connection, "member", members_of(viewer))
    among, of_persons = any_of(connection, "patient", sorted(persons))
    rows = connection.execute(
        text(
            "SELECT member, episode, branch, "  # noqa: S608 - our own words
            "max(CASE WHEN act = 'enter' THEN at END) AS entered, max(CASE WHEN act = 'leave' THEN at END) AS gone "
            f"FROM care_team WHERE {among} AND at <= :now AND {within} "
            "GROUP BY member, episode, branch ORDER BY member, episode"
        ),
        {"now": to_micros(now), **of_persons, **given},
    )
    return tuple(
        (f"{row.member}#{row.episode}" if row.episode else row.member, int(row.branch))
        for row in rows
        if row.entered is not None and (row.gone is None or row.gone < row.entered)
    )


def _born(connection: Connection, patient: int) -> date | None:
    known = people.of(connection, [patient]).get(patient)
    try:
        return (
            date.fromisoformat(known.birth_date.value[:10]) if known and known.birth_date else None
        )
    except ValueError:
        return None


def history(engine: Engine, patient: int) -> Sequence[TeamEvent]:
    """Everything that was said of a patient's care team, oldest first."""
    with reading(engine) as connection:
        rows = connection.execute(
            text("SELECT * FROM care_team WHERE patient = :id ORDER BY at, member, episode, act"),
            {"id": patient},
        ).all()
    return [
        TeamEvent(
            patient=int(row.patient),
            member=row.member,
            act=row.act,
            at=from_micros(int(row.at)),
            branch=int(row.branch),
            by=row.by,
            channel=row.channel,
            episode=row.episode,
            message_seq=row.message_seq,
        )
        for row in rows
    ]
