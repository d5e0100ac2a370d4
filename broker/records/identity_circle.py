"""Which persons make up one record: the pointers from absorbed to survivor, read upwards and downwards at once.

A person is what documents are filed under, and never moves. A record is all persons with one root (ADR 0018). One
statement for a batch or a page; records that were never merged cost an index probe each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text

from broker.access import Viewer
from broker.records import patients
from broker.records.lookups import any_of
from broker.records.patients import UNKNOWN_ACCOUNT, PatientRow

DENIES = frozenset(
    {
        ("filing", "IO"), ("consultation", "INC"), ("account", "FERME"), ("emergency", "opposed"),
        ("account", "closed"), ("account", "opposed"), ("account", "suspended"), ("account", "deleted"),
    }
)  # fmt: skip
"""What says no, by its kind and value: in a merged record it wins over whatever another member said, and when."""

_SEVEREST = ("deleted", "closed", "suspended", "opposed", "not_eligible", "informed")
"""States of the space that are not open, the one that weighs most first."""

_AROUND = (
    "WITH RECURSIVE up(id, above) AS ("
    "SELECT id, merged_into FROM patient WHERE {within} "
    "UNION SELECT p.id, p.merged_into FROM patient p JOIN up ON p.id = up.above), "
    "down(root, id, above) AS ("
    "SELECT id, id, above FROM up WHERE above IS NULL "
    "UNION SELECT down.root, p.id, p.merged_into FROM patient p JOIN down ON p.merged_into = down.id "
    "WHERE p.merged_into IS NOT NULL) "
    "SELECT root, id, above FROM down"
)

JOINED = (
    "(p.merged_into IS NOT NULL OR EXISTS (SELECT 1 FROM patient o WHERE o.merged_into = p.id) "
    "OR EXISTS (SELECT 1 FROM identity_link l WHERE l.one = p.id) "
    "OR EXISTS (SELECT 1 FROM identity_link l WHERE l.other = p.id))"
)
"""Whether a patient `p` is merged with anybody or linked to them: hardly one is, and of who is not the record is one row."""

_IS_JOINED = f"SELECT {JOINED} FROM patient p WHERE p.id = :person"  # noqa: S608 - our own words

_SHOWN = (
    "WITH RECURSIVE up(id, above) AS ("
    "SELECT id, merged_into FROM patient WHERE id = :person "
    "UNION SELECT p.id, p.merged_into FROM patient p JOIN up ON p.id = up.above), "
    "own(id, above) AS ("
    "SELECT id, above FROM up WHERE above IS NULL "
    "UNION SELECT p.id, p.merged_into FROM patient p JOIN own ON p.merged_into = own.id "
    "WHERE p.merged_into IS NOT NULL), "
    "beside(id) AS ("
    "SELECT l.other FROM own JOIN identity_link l ON l.one = own.id "
    "UNION SELECT l.one FROM own JOIN identity_link l ON l.other = own.id), "
    "higher(id, above) AS ("
    "SELECT p.id, p.merged_into FROM beside JOIN patient p ON p.id = beside.id "
    "UNION SELECT p.id, p.merged_into FROM patient p JOIN higher ON p.id = higher.above), "
    "all_of(id, above) AS ("
    "SELECT id, above FROM higher WHERE above IS NULL "
    "UNION SELECT p.id, p.merged_into FROM patient p JOIN all_of ON p.merged_into = all_of.id "
    "WHERE p.merged_into IS NOT NULL) "
    "SELECT id, above FROM own UNION SELECT id, above FROM all_of"
)


class Circle:
    """The records around some persons, changed as a batch merges. A person it never heard of stands alone."""

    def __init__(self, rows: Iterable[tuple[int, int | None]] = ()) -> None:
        self._above: dict[int, int] = {}
        self._persons: set[int] = set()
        for person, above in rows:
            self._persons.add(person)
            if above is not None:
                self._above[person] = above

    @property
    def persons(self) -> set[int]:
        """Everybody the circle was read for, and all who belong with them."""
        return set(self._persons)

    def root(self, person: int) -> int:
        """The person whose record it is now."""
        seen = {person}
        while (above := self._above.get(person)) is not None and above not in seen:
            seen.add(above)
            person = above
        return person

    def members(self, person: int) -> tuple[int, ...]:
        """All persons of the record, the lowest number first; one alone where nobody was merged."""
        if not self._above:
            return (person,)
        root = self.root(person)
        return tuple(sorted(one for one in self._persons | {root} if self.root(one) == root))

    def is_under(self, person: int, other: int) -> bool:
        """Whether the way up from `person` passes `other`."""
        seen: set[int] = set()
        while (above := self._above.get(person)) is not None and above not in seen:
            if above == other:
                return True
            seen.add(above)
            person = above
        return False

    def above(self, person: int) -> int | None:
        """Into whom a person was merged."""
        return self._above.get(person)

    def below(self, person: int) -> tuple[int, ...]:
        """A person with all who were merged into it, directly or not: what would part if it were un-merged."""
        return tuple(
            sorted(one for one in self._persons if one == person or self.is_under(one, person))
        )

    def add(self, person: int) -> None:
        """Take in a person that is being created."""
        self._persons.add(person)

    def merge(self, absorbed: int, survivor: int) -> None:
        """Put one root under another."""
        self._persons |= {absorbed, survivor}
        self._above[absorbed] = survivor

    def part(self, person: int) -> None:
        """Take a person out of the record it was merged into, with all below it."""
        self._above.pop(person, None)


def around(connection: Connection, persons: Collection[int]) -> Circle:
    """The records of some persons, whole."""
    if not persons:
        return Circle()
    within, given = any_of(connection, "id", sorted(persons))
    rows = connection.execute(text(_AROUND.format(within=within)), given)
    return Circle((int(row.id), row.above) for row in rows)


def load(connection: Connection, persons: Collection[int]) -> dict[int, PatientRow]:
    """For each person the record it belongs to: what rules look at, no matter under which number it is asked for."""
    circle = around(connection, persons)
    rows = patients.load(connection, circle.persons)
    return {
        person: together(rows, circle.members(person), circle.root(person))
        for person in persons
        if person in rows
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """A record as it is shown: its own persons, and those of the records it is linked to, each judged by its own rules."""

    record: PatientRow
    persons: tuple[int, ...]
    linked: tuple[int, ...] = ()
    by_person: Mapping[int, PatientRow] = field(default_factory=dict)

    def of(self, person: int) -> PatientRow:
        """The record that a document filed under this person belongs to."""
        return self.by_person.get(person, self.record)


def shown(connection: Connection, person: int) -> Shown | None:
    """The record a person belongs to with those linked to it; None where there is no such person.

    Four statements at most, however large the records are.
    """
    joined = connection.execute(text(_IS_JOINED), {"person": person}).scalar()
    if joined is None:
        return None
    circle = beside(connection, person) if joined else Circle([(person, None)])
    return as_shown(circle, patients.load(connection, circle.persons), person)


def beside(connection: Connection, person: int) -> Circle:
    """The record of a person, and the records linked to it, whole."""
    found = connection.execute(text(_SHOWN), {"person": person})
    return Circle((int(row.id), row.above) for row in found)


def as_shown(circle: Circle, rows: Mapping[int, PatientRow], person: int) -> Shown:
    """The record of a person in a circle of its own and linked records, out of the rows of all of them."""
    by_person = {
        one: together(rows, circle.members(one), circle.root(one))
        for one in sorted(circle.persons & rows.keys())
    }
    own = circle.members(person)
    others = tuple(one for one in by_person if one not in own)
    return Shown(by_person[person], own, others, by_person)


def as_holder(viewer: Viewer, around: Shown) -> Viewer:
    """A holder who comes under the number of any person of the record is the holder of the record."""
    if viewer.kind != "patient" or viewer.id not in {str(person) for person in around.persons}:
        return viewer
    return msgspec.structs.replace(viewer, id=str(around.record.id))


def together(rows: Mapping[int, PatientRow], members: Collection[int], root: int) -> PatientRow:
    """The persons of a record as one: no wins over yes, else the newest word counts.

    A closed or opposed space of any member closes the record. `consent_version` is the sum of the members', so that
    it rises with every word of any of them.
    """
    if len(members) == 1:
        return rows[root]
    people = [rows[member] for member in sorted(members) if member in rows]
    state, since = _state(people)
    return replace(
        rows[root],
        account=state,
        account_since=since,
        consent_version=sum(person.consent_version for person in people),
        consents=_consents(people),
    )


def _state(people: Collection[PatientRow]) -> tuple[str, datetime | None]:
    by_state = {person.account: person.account_since for person in people}
    for state in (*_SEVEREST, "active", UNKNOWN_ACCOUNT):
        if state in by_state:
            return state, by_state[state]
    first = next(iter(people))
    return first.account, first.account_since


def _consents(people: Collection[PatientRow]) -> dict[tuple[str, str], tuple[str, datetime]]:
    said: dict[tuple[str, str], list[tuple[str, datetime]]] = defaultdict(list)
    for person in people:
        for matter, word in person.consents.items():
            said[matter].append(word)
    return {
        matter: max(words, key=lambda word: ((matter[0], word[0]) in DENIES, word[1], word[0]))
        for matter, words in said.items()
    }
