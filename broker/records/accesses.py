"""The accesses to a record, line by line, for those who may see them: for the record's API.

Read from what each look left (`records.traces`). Who sees which line is a rule (`rules.disclosure`), passed in. A line
about a document that the reader may not see would tell of it, and is passed by like a hidden document (AUD-07).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, text

from broker.access import Decision, Viewer, particulars, viewer_keys
from broker.database.together import ask_rows, writing_together
from broker.database.types import from_micros
from broker.records import document_rows, identity_circle
from broker.records.known import Person
from broker.records.looking import Looker, Page, Place, let_in
from broker.records.lookups import newest_of

Shown = TypeVar("Shown")
Reader = Literal["holder", "representatives", "medecin_traitant", "professional"]

MARK = "visit:"
"""Begins the name of a place among accesses, where one among documents has a document."""

START = Place(2**62, f"{MARK}{2**62}", 0)
"""Before the newest access."""

WINDOW = 500


class Shows(Protocol):
    """`rules.disclosure.shows`: whether a reader of the trail is shown a line."""

    def __call__(
        self,
        reader: Reader,
        *,
        is_own_action: bool,
        is_denied: bool,
        is_secret: bool,
        may_see_document: bool,
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class Access:
    """One line: who (as they were that day) did what, when, and to which document; `act` is list or read."""

    visit: int
    n: int
    person: int
    at: datetime
    act: str
    document: str
    actor: Viewer
    started: int
    shown_to: tuple[str, ...]

    @property
    def place(self) -> Place:
        """Where it stands among the accesses of a record."""
        return Place(self.started, f"{MARK}{self.visit}", self.n)


def look(
    looker: Looker,
    shows: Shows,
    patient_id: int,
    make: Callable[[Access, Person], Shown | None],
    *,
    limit: int,
    after: Place | None = None,
    oldest_first: bool = False,
) -> Page[Shown]:
    """A page of the accesses that the viewer may see and `make` makes something of; it is traced itself."""
    with writing_together(looker.engine) as connection:
        admitted = let_in(connection, looker, patient_id, "list")
        if admitted is None:
            return Page()
        looker, found, person, whole = admitted
        around = found.around
        eyes = _Eyes(connection, looker, shows, around)
        items: list[Shown] = []
        place, more, position = after, False, after
        while not more:
            rows = rows_of(
                connection, around.persons, eyes.actor, position, oldest_first=oldest_first
            )
            for one in eyes.shown(rows):
                made = make(one, person)
                if made is None:
                    continue
                if len(items) == limit:
                    more = True
                    break
                items.append(made)
                place = one.place
            if len(rows) < WINDOW:
                break
            position = rows[-1].place
        _trace(connection, looker, person.id, whole)
    return Page(person, tuple(items), place if more else None)


def open_access(looker: Looker, shows: Shows, visit: int, n: int) -> tuple[Access, Person] | None:
    """One access; None where it is not there, or not for this viewer."""
    with writing_together(looker.engine) as connection:
        question = f"{_SELECT} WHERE v.id = %s AND a.visit = v.id AND a.n = %s", (visit, n)
        (rows,) = ask_rows(connection, [question])
        access = next(map(_access, rows), None)
        admitted = let_in(connection, looker, access.person if access else 0, "list")
        if access is None or admitted is None:
            return None
        looker, known, person, whole = admitted
        shown = _Eyes(connection, looker, shows, known.around).shown([access])
        _trace(connection, looker, person.id, whole)
    return (shown[0], person) if shown else None


class _Eyes:
    """What one viewer sees of the accesses to one record."""

    def __init__(
        self,
        connection: Connection,
        looker: Looker,
        shows: Shows,
        around: identity_circle.Shown,
    ) -> None:
        self._connection, self._looker, self._shows = connection, looker, shows
        self._around = around
        self._own = f"{looker.viewer.kind}:{looker.viewer.id}"
        self._reader = _reader(looker.viewer, around)

    @property
    def actor(self) -> str:
        """Whose lines alone are read; empty for everybody's."""
        return self._own if self._reader == "professional" else ""

    def shown(self, rows: Sequence[Access]) -> list[Access]:
        """Of some lines those that are shown; their documents are decided as of today."""
        names = sorted({one.document for one in rows if one.document})
        documents = document_rows.by_ids(self._connection, names)
        seen = {name: self._may_see(row) for name, row in documents.items()}
        return [one for one in rows if self._is_shown(one, seen)]

    def _is_shown(self, one: Access, seen: dict[str, bool]) -> bool:
        is_own = f"{one.actor.kind}:{one.actor.id}" == self._own
        if not is_own and self._reader not in one.shown_to:
            return False
        return self._shows(
            self._reader,
            is_own_action=is_own,
            is_denied=False,
            is_secret="representatives" not in one.shown_to,
            may_see_document=not one.document or seen.get(one.document, False),
        )

    def _may_see(self, row: document_rows.DocumentRow) -> bool:
        looker = self._looker
        patient = self._around.of(row.patient)
        return looker.decide(looker.viewer, patient, row, looker.now, "list").allowed


def _reader(viewer: Viewer, around: identity_circle.Shown) -> Reader:
    """The holder and the declared médecin traitant see all of it, any other professional what they did (AUD-02).

    Representatives see what the holder does, but for what a minor keeps from them (MIN-07).
    """
    if viewer.kind == "patient":
        return "holder"
    if viewer.kind == "representative":
        return "representatives"
    declared = around.record.consents.get(("traitant", ""), ("", None))[0]
    return "medecin_traitant" if declared in viewer_keys(viewer) else "professional"


_SELECT = (
    "SELECT v.id AS visit, a.n AS n, v.patient AS person, a.at AS at, a.act AS act, a.document_id AS document, "
    "v.actor_snapshot AS actor, v.started AS started, v.shown_to AS shown_to FROM visit v CROSS JOIN access_line a"
)


def rows_of(
    connection: Connection,
    persons: Sequence[int],
    actor: str,
    after: Place | None,
    *,
    oldest_first: bool,
) -> list[Access]:
    """The next window of lines of a record behind a place; of one actor, or of everybody."""
    way, sign = ("ASC", ">") if oldest_first else ("DESC", "<")
    given: dict[str, Any] = {"limit": WINDOW} | ({"actor": actor} if actor else {})
    bound = " AND v.actor = :actor" if actor else ""
    if after is not None:
        given |= {"at": after.sort, "visit": int(after.document.removeprefix(MARK)), "n": after.used}  # fmt: skip
        bound += (
            f" AND v.started {sign}= :at AND (v.started {sign} :at OR v.id {sign} :visit "
            f"OR (v.id = :visit AND a.n {sign} :n))"
        )
    order = f"started {way}, visit {way}, n {way}"
    select = f"{_SELECT} WHERE v.patient = {{patient}} AND a.visit = v.id{bound} ORDER BY {order} LIMIT :limit"
    statement, numbers = newest_of(select, persons, order)
    return [_access(row) for row in connection.execute(text(statement), given | numbers)]


def _access(values: Sequence[Any]) -> Access:
    visit, n, person, at, act, document, actor, started, shown_to = values
    return Access(
        visit=int(visit),
        n=int(n),
        person=int(person),
        at=from_micros(int(at)),
        act=act,
        document="" if document is None else str(document),
        actor=msgspec.json.decode(actor, type=Viewer),
        started=int(started),
        shown_to=tuple(shown_to.split(",")),
    )


def _trace(connection: Connection, looker: Looker, patient: int, whole: Decision) -> None:
    entry = looker.entry(
        "audit_read", f"patient:{patient}", whole.reason, patient=patient, details=particulars(whole)
    )  # fmt: skip
    looker.trail(connection, [entry], looker.now)
