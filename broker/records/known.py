"""What a look must know of a record before anything of it is decided, asked in one exchange.

The record of somebody who was merged or linked takes two more: who belongs to it is only known behind the first. Who
is not there, and what the viewer may not see, are asked by the same statements as what they may (AUD-07).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from broker.access import Viewer
from broker.database.together import ask_rows
from broker.database.types import from_micros
from broker.document import Patient
from broker.records import care_team, document_rows, identity_circle, patients, people, traces
from broker.records.document_rows import Wanted
from broker.records.identity_circle import Circle, Shown
from broker.records.lookups import among

Rows = Sequence[tuple[Any, ...]]

WINDOW = 125
"""Rows of documents asked for at a time: a record of fewer is walked by the same statements, whatever is hidden in it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who the record is of, for a viewer that was let in: number, traits and identifiers as (system, value, kind)."""

    id: int
    traits: Patient = field(repr=False)
    identifiers: tuple[tuple[str, str, str], ...] = field(repr=False)
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """A record as rules see it for this viewer. `person` is None where nobody is there.

    `latest` is the viewer's last visit; `documents` the first window of those wanted (`document_rows.row_of`).
    """

    viewer: Viewer
    around: Shown
    person: Person | None
    latest: traces.Latest | None
    documents: Rows = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Window:
    """Documents wanted of a record, from a position on, that row again."""

    want: Wanted
    position: tuple[int, str] | None


def persons_of(viewer: Viewer, around: Shown) -> tuple[int, ...]:
    """Whose documents a viewer may be shown: of the record alone as its holder, of those linked to it too as another."""
    is_holder = viewer.kind in ("patient", "representative")
    return around.persons if is_holder else (*around.persons, *around.linked)


def ask(
    connection: Connection,
    viewer: Viewer,
    patient: int,
    now: datetime,
    window: Window | None = None,
) -> Known:
    """The record that a person belongs to."""
    circle = Circle([(patient, None)])
    answers = _ask(connection, viewer, circle, patient, (patient,), now, window)
    if any(joined for *_, joined in answers[0]):
        circle = identity_circle.beside(connection, patient)
        around = Shown(patients.PatientRow(circle.root(patient)), circle.members(patient))
        viewer = identity_circle.as_holder(viewer, around)
        others = tuple(sorted(circle.persons - set(around.persons)))
        wanted = persons_of(viewer, replace(around, linked=others))
        answers = _ask(connection, viewer, circle, around.record.id, wanted, now, window)
    people_, words, team, identifiers, visits, *documents = answers
    said = patients.last_words(words)
    rows = {int(one[0]): patients.row_of(one, said.get(int(one[0]), {})) for one in people_}
    traits = {int(one[0]): (bytes(one[6]), int(one[7])) for one in people_}
    who = people.opened(connection, [(number, kept) for number, (kept, _) in traits.items()])
    around = (
        identity_circle.as_shown(circle, rows, patient)
        if patient in rows
        else Shown(patients.PatientRow(patient), (patient,))
    )
    around = _seen(around, team, {number: people.decode(one) for number, one in who.items()})
    number = around.record.id
    person = None
    if number in rows:
        person = Person(
            number,
            people.decode(who[number]),
            tuple(
                (system, value, kind)
                for owner, system, value, kind in patients.opened_keys(connection, identifiers)
                if owner in around.persons
            ),
            from_micros(traits[number][1]),
        )
    latest = traces.latest_of(visits)
    return Known(viewer, around, person, latest, documents[0] if documents else ())


def _ask(
    connection: Connection,
    viewer: Viewer,
    circle: Circle,
    record: int,
    wanted: Collection[int],
    now: datetime,
    window: Window | None,
) -> list[Rows]:
    of_ids, ids = among(connection, "id", sorted(circle.persons))
    of_patients, _ = among(connection, "patient", ())
    questions: list[tuple[str, Sequence[Any]]] = [
        (
            f"SELECT {patients.COLUMNS}, traits, updated_at, {identity_circle.JOINED} FROM patient p WHERE {of_ids}",  # noqa: S608 - our own words
            (ids,),
        ),
        (
            f"SELECT {patients.WORDS} FROM consent_event WHERE {of_patients} ORDER BY patient, n",  # noqa: S608 - our own words
            (ids,),
        ),
        care_team.open_question(connection, circle.persons, viewer, now),
        (
            f"SELECT patient, system, value, kind FROM patient_identifier WHERE {of_patients}",  # noqa: S608 - our own words
            (ids,),
        ),
        traces.latest_question(viewer, record),
    ]
    if window is not None:
        questions.append(
            document_rows.wanted(
                connection, wanted, window.want, window.position, WINDOW, is_inclusive=True
            )
        )
    return ask_rows(connection, questions)


def _seen(around: Shown, team: Rows, who: dict[int, Patient]) -> Shown:
    """The record, and those linked to it, each with who takes part in the care of any of its persons."""
    members: dict[int, set[int]] = defaultdict(set)
    for person, row in around.by_person.items():
        members[row.id].add(person)
    records = {row.id: row for row in (around.record, *around.by_person.values())}
    seen = {
        number: replace(
            row,
            team=care_team.open_of(team, members.get(number, {number})),
            born=care_team.born(who.get(number)),
        )
        for number, row in records.items()
    }
    return replace(
        around,
        record=seen[around.record.id],
        by_person={person: seen[row.id] for person, row in around.by_person.items()},
    )
