"""What a patient said of who may see and feed the record, for those who may know of it: for the record's API.

The last word on each matter, of each person of the record. Who is shown which is a rule (`rules.disclosure`), passed
in; a look is an access to the record like a list, and stands in the trail as `consent_read`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

from broker.access import Decision, Viewer, viewer_keys
from broker.database.together import writing_together
from broker.database.types import from_micros, to_micros
from broker.records import identity_circle
from broker.records.known import Known, Person
from broker.records.looking import Looker, Page, Place, let_in
from broker.records.lookups import any_of
from broker.records.traces import judged, keep_decisions, keep_visit

Shown = TypeVar("Shown")

MARK = "consent:"
"""Begins the name of a place among these, where one among documents has a document."""

START = Place(2**62, MARK, 0)
"""Before the newest."""

KINDS = (
    "filing", "consultation", "explicit", "block", "traitant", "emergency", "application", "mandate", "minor_act",
)  # fmt: skip
"""Kinds of words that are shown. The state of the space, and addresses, are none of them."""


class ShowsWord(Protocol):
    """`rules.disclosure.shows_word`: whether a reader is shown a word."""

    def __call__(self, reader: str, *, kind: str, is_about_reader: bool) -> bool: ...


@dataclass(frozen=True, slots=True)
class Word:
    """The last word on one matter (`kind`, `scope`) of a person; `first` is the number of the first, and never changes.

    by, on_behalf_of: who told it, and the professional it was collected for (CON-05)
    """

    person: int
    first: int
    kind: str
    scope: str
    value: str
    by: str
    on_behalf_of: str
    at: datetime

    @property
    def place(self) -> Place:
        """Where it stands among the words of a record."""
        return Place(to_micros(self.at), f"{MARK}{self.person:020d}.{self.first:010d}", 0)


def look(
    looker: Looker,
    shows: ShowsWord,
    patient_id: int,
    make: Callable[[Word, Person], Shown | None],
    *,
    limit: int,
    after: Place | None = None,
    oldest_first: bool = False,
) -> Page[Shown]:
    """A page of what was said that the viewer may know of and `make` makes something of, by the time it was said."""
    with writing_together(looker.engine) as connection:
        admitted = let_in(connection, looker, patient_id, "list")
        if admitted is None:
            return Page()
        looker, found, person, whole = admitted
        shown = _shown(connection, looker.viewer, shows, found.around)
        shown.sort(key=lambda one: _order(one.place), reverse=not oldest_first)
        items: list[Shown] = []
        place, more = after, False
        for one in shown:
            if after not in (None, START) and not _is_behind(one.place, after, oldest_first):
                continue
            made = make(one, person)
            if made is None:
                continue
            if len(items) == limit:
                more = True
                break
            items.append(made)
            place = one.place
        _trace(connection, looker, found, whole)
    return Page(person, tuple(items), place if more else None)


def open_word(looker: Looker, shows: ShowsWord, owner: int, n: int) -> tuple[Word, Person] | None:
    """The word on the matter that the word `n` of a person began; None where there is none for this viewer."""
    with writing_together(looker.engine) as connection:
        admitted = let_in(connection, looker, owner, "list")
        if admitted is None:
            return None
        looker, found, person, whole = admitted
        shown = _shown(connection, looker.viewer, shows, found.around)
        _trace(connection, looker, found, whole)
    word = next((one for one in shown if (one.person, one.first) == (owner, n)), None)
    return None if word is None else (word, person)


def words_of(connection: Connection, persons: Collection[int]) -> list[Word]:
    """The last word on each matter of some persons."""
    within, given = any_of(connection, "patient", sorted(persons))
    rows = connection.execute(
        text(
            "SELECT patient, n, kind, scope, value, by, on_behalf_of, at FROM consent_event "  # noqa: S608 - our own words
            f"WHERE {within} ORDER BY patient, n"
        ),
        given,
    )
    last: dict[tuple[int, str, str], Word] = {}
    for row in rows:
        if row.kind in KINDS:
            matter = int(row.patient), row.kind, row.scope
            first = last[matter].first if matter in last else int(row.n)
            last[matter] = Word(
                matter[0], first, row.kind, row.scope, row.value, row.by, row.on_behalf_of or "",
                from_micros(int(row.at)),
            )  # fmt: skip
    return list(last.values())


def _shown(
    connection: Connection, viewer: Viewer, shows: ShowsWord, around: identity_circle.Shown
) -> list[Word]:
    teams = {name for team, _ in around.record.team for name in (team, team.partition("#")[0])}
    return [
        one
        for one in words_of(connection, around.persons)
        if shows(viewer.kind, kind=one.kind, is_about_reader=_is_about(viewer, one, teams))
    ]


def _is_about(viewer: Viewer, one: Word, teams: Collection[str]) -> bool:
    """Whether a word names who reads it, or a team they are in today."""
    if viewer.kind != "professional":
        return one.scope == viewer.id
    if one.kind == "traitant":
        return one.value in viewer_keys(viewer)
    return one.scope in (teams if one.kind == "consultation" else viewer_keys(viewer))


def _order(place: Place) -> tuple[int, str]:
    return place.sort, place.document


def _is_behind(place: Place, after: Place | None, oldest_first: bool) -> bool:
    if after is None:
        return True
    one, other = _order(place), _order(after)
    return one > other if oldest_first else one < other


def _trace(connection: Connection, looker: Looker, found: Known, whole: Decision) -> None:
    patient = found.around.record.id
    kept = judged(looker.viewer, patient, f"patient:{patient}", whole)
    keep_decisions(connection, [kept], looker.now)
    keep_visit(connection, looker.viewer, patient, looker.now, found.latest)
    entry = looker.entry(
        "consent_read", kept.subject, whole.reason, patient=patient, decision=kept.reference
    )
    looker.trail(connection, [entry], looker.now)
