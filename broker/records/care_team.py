"""Who takes part in a patient's care (L.1110-12), since when and until when. Append-only; the same word twice is one.

Branch 1: an open visit at a structure (PV1-19, ADT A01 to A03). Branch 2: a professional the patient recognised.
Branch 3: a declared group. Members are `structure:<FINESS or name>`, a professional's key, `group:<id>`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, text

from broker.access import Viewer, professional_key, viewer_keys
from broker.database import bulk
from broker.database import schema as tables
from broker.database.engine import reading
from broker.database.together import ask_rows
from broker.database.types import from_micros, to_micros
from broker.document import Document, Patient
from broker.header import earliest
from broker.records import people
from broker.records.lookups import among, among_texts
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
    question = open_question(connection, persons or (row.id,), viewer, now)
    (rows,) = ask_rows(connection, [question])
    return replace(row, team=open_of(rows), born=born(people.of(connection, [row.id]).get(row.id)))


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


def open_question(
    connection: Connection, persons: Collection[int], viewer: Viewer, now: datetime
) -> tuple[str, tuple[Any, ...]]:
    """The question by which care teams of some persons a viewer may be there, for `together.ask_rows`.

    It finds nothing for who is no professional. Its answer goes to `open_of`.
    """
    members = members_of(viewer) if viewer.kind == "professional" else []
    within, given = among_texts(connection, "member", members)
    of_persons, numbers = among(connection, "patient", sorted(persons))
    statement = (
        "SELECT patient, member, episode, branch, "  # noqa: S608 - our own words
        "max(CASE WHEN act = 'enter' THEN at END) AS entered, max(CASE WHEN act = 'leave' THEN at END) AS gone "
        f"FROM care_team WHERE {of_persons} AND at <= %s AND {within} "
        "GROUP BY patient, member, episode, branch ORDER BY member, episode, branch, patient"
    )
    return statement, (numbers, to_micros(now), given)


def open_of(
    rows: Iterable[Sequence[Any]], persons: Collection[int] | None = None
) -> tuple[tuple[str, int], ...]:
    """The memberships that are open, as team and branch; of all persons in the answer, or of some as one."""
    last: dict[tuple[str, str, int], tuple[int, int]] = {}
    for person, member, episode, branch, entered, gone in rows:
        if persons is None or int(person) in persons:
            matter = member, episode, int(branch)
            before = last.get(matter, (_NEVER, _NEVER))
            last[matter] = (
                max(before[0], _NEVER if entered is None else int(entered)),
                max(before[1], _NEVER if gone is None else int(gone)),
            )
    return tuple(
        (f"{member}#{episode}" if episode else member, branch)
        for (member, episode, branch), (entered, gone) in last.items()
        if entered > gone
    )


_NEVER = -(2**63)


def born(who: Patient | None) -> date | None:
    """The birth date of a patient, where it is whole."""
    try:
        return date.fromisoformat(who.birth_date.value[:10]) if who and who.birth_date else None
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
