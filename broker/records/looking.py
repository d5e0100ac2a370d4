"""Look into a record by question and page: for the record's API. Everything of one look is one transaction.

Each document is decided before its content is opened; what was refused, the visit and the trail are written with the
reading itself. What is hidden influences nothing that comes back: the page is filled past it, its place is only that
of what was shown, and the statements are the same whether it is there or not (VIS-01, AUD-07).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.access import Action, Decision, Entry, Viewer, particulars, snapshot
from broker.database.engine import reading, writing
from broker.database.types import from_micros, to_micros
from broker.document import Document, Patient, decode
from broker.records import content, document_rows, identity_circle, payloads, people
from broker.records.document_rows import DocumentRow
from broker.records.lookups import any_of
from broker.records.reading import Decide, Trail, as_seen, nobody
from broker.records.traces import Judged, judged, keep_decisions, keep_visit

Shown = TypeVar("Shown")

WINDOW = 1_000
"""Rows asked for in one statement: a record of fewer is walked by the same statements, whatever is hidden in it."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the document last shown from, and how many of its items were shown."""

    sort: int
    document: str
    used: int


@dataclass(frozen=True, slots=True)
class Want:
    """What is looked for, as far as rows tell it; `make` of `look` tells the rest.

    only_current: leave out what was superseded; `since`/`until` bound the instant of the document (inclusive,
    exclusive). `action`: "list" shows what a document is, "read" also
    what it says.
    """

    action: Action = "list"
    only_current: bool = True
    oldest_first: bool = False
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who the record is of, for a viewer that was let in: number, traits and identifiers as (system, value, kind)."""

    id: int
    traits: Patient = field(repr=False)
    identifiers: tuple[tuple[str, str, str], ...] = field(repr=False)
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[Shown]):
    """What may be shown, and where to go on; `person` is None where the viewer was not let in, or nobody is there."""

    person: Person | None = None
    items: tuple[Shown, ...] = ()
    next: Place | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """One document that was opened, with its row and whom it is about."""

    row: DocumentRow
    document: Document = field(repr=False)
    person: Person = field(repr=False)


@dataclass(frozen=True, slots=True)
class Looker:
    """Who looks, by which rules, with which software: what every look needs."""

    engine: Engine
    viewer: Viewer
    software: str
    now: datetime
    decide: Decide
    trail: Trail

    def entry(self, act: str, subject: str, outcome: str, **more: Any) -> Entry:
        """A line of the trail by this viewer."""
        return Entry(
            act=act,
            at=self.now,
            actor_kind=self.viewer.kind,
            actor=self.viewer.id,
            actor_snapshot=snapshot(self.viewer),
            mode="representative" if self.viewer.kind == "representative" else self.viewer.mode,
            motive=self.viewer.motive or None,
            software=self.software or None,
            subject=subject,
            outcome=outcome,
            **more,
        )


def look(
    looker: Looker,
    patient_id: int,
    want: Want,
    make: Callable[[DocumentRow, Document, Person], Sequence[Shown]],
    *,
    limit: int,
    after: Place | None = None,
) -> Page[Shown]:
    """A page of what `make` finds in the documents of a patient that the viewer may see.

    A patient that does not exist, and one whose record is closed to the viewer, are the same empty page.
    """
    with writing(looker.engine) as connection:
        admitted = let_in(connection, looker, patient_id, "list")
        if admitted is None:
            return Page()
        looker, person, around, whole = admitted
        walk = _Walk(connection, looker, around, want, after)
        items: list[Shown] = []
        place: Place | None = after
        more = False
        for row, document in walk.allowed(limit + 1):
            made = make(row, document, person)
            used = after.used if after is not None and after.document == row.id else 0
            for number, one in enumerate(made[used:], used + 1):
                if len(items) == limit:
                    more = True
                    break
                items.append(one)
                place = Place(to_micros(row.sort_at), row.id, number)
                walk.show(row)
            if more:
                break
        else:
            walk.end()
        _leave_traces(connection, looker, around.record.id, whole, walk)
    return Page(person, tuple(items), place if more else None)


def open_document(looker: Looker, document_id: str) -> Opened | None:
    """Open one document: decided, counted in a visit, in the trail; or None, hidden or absent, by as many statements."""
    with writing(looker.engine) as connection:
        row = document_rows.load(connection, document_id) if document_id else None
        looker, around = _seen(connection, looker, row.patient if row is not None else 0)
        person = _person(connection, around)
        made = (
            looker.decide(looker.viewer, around.record, row, looker.now, "read")
            if row is not None and person is not None
            else None
        )
        if row is None or person is None or made is None or not made.allowed:
            subject = row.id if row is not None else f"document:{document_id[:36]}"
            number = person.id if person is not None else None
            told = document_rows.told_of(made, row) if row is not None else None
            _refuse(connection, looker, number, subject, made, told)
            return None
        document = decode(payloads.one(connection, row.id))
        kept = judged(looker.viewer, person.id, row.id, made)
        keep_decisions(connection, [kept], looker.now)
        keep_visit(connection, looker.viewer, person.id, looker.now, read=row.id)
        entry = looker.entry(
            "document_read",
            row.id,
            made.reason,
            patient=person.id,
            decision=kept.reference,
            details=document_rows.told_of(made, row, document),
        )
        looker.trail(connection, [entry], looker.now)
    return Opened(row, document, person)


def open_person(looker: Looker, patient_id: int) -> Person | None:
    """Who a patient is: an access to the record as a whole (AUD-05)."""
    with writing(looker.engine) as connection:
        admitted = let_in(connection, looker, patient_id, "list")
        if admitted is None:
            return None
        looker, person, around, whole = admitted
        walk = _Walk(connection, looker, around, Want(), None)
        _leave_traces(connection, looker, around.record.id, whole, walk)
    return person


def bytes_of(engine: Engine, opened: Opened, sha256: str) -> bytes:
    """The bytes of an attachment of a document that was opened; of no other one. Raises: KeyError."""
    held = {one.sha256 for one in opened.document.attachments} | {opened.document.original.sha256}
    if not sha256 or sha256 not in held:
        raise KeyError("attachment")
    with reading(engine) as connection:
        return content.open(connection, opened.row.patient, sha256)


# --- who ---------------------------------------------------------------------------------------------------------


def let_in(
    connection: Connection, looker: Looker, patient_id: int, action: Action
) -> tuple[Looker, Person, identity_circle.Shown, Decision] | None:
    """The record as a whole, decided for this viewer; None, and a refusal that is kept, where it is not for them."""
    looker, around = _seen(connection, looker, patient_id)
    person = _person(connection, around)
    made = None
    if person is not None:
        made = looker.decide(looker.viewer, around.record, None, looker.now, action)
    if person is None or made is None or not made.allowed:
        _refuse(connection, looker, person.id if person else None, f"patient:{patient_id}", made)
        return None
    return looker, person, around, made


def _seen(
    connection: Connection, looker: Looker, patient_id: int
) -> tuple[Looker, identity_circle.Shown]:
    """The record as rules see it, and who looks at it. Who is not there, or said nothing, costs what others cost."""
    around = identity_circle.shown(connection, patient_id) or nobody(connection, patient_id)
    if not any(row.consent_version for row in around.by_person.values()):
        connection.execute(
            text("SELECT n FROM consent_event WHERE patient = :id ORDER BY n"), {"id": patient_id}
        ).all()
    looker = replace(looker, viewer=identity_circle.as_holder(looker.viewer, around))
    return looker, as_seen(connection, around, looker.viewer, looker.now)


def _person(connection: Connection, around: identity_circle.Shown) -> Person | None:
    """Who the record is of, with the identifiers of all its persons."""
    number = around.record.id
    row = connection.execute(
        text("SELECT traits, updated_at FROM patient WHERE id = :id"), {"id": number}
    ).first()
    within, given = any_of(connection, "patient", sorted(around.persons))
    rows = connection.execute(
        text(
            f"SELECT system, value, kind FROM patient_identifier WHERE {within} ORDER BY system, value"  # noqa: S608
        ),
        given,
    ).all()
    if row is None:
        return None
    said = people.opened(connection, [(number, bytes(row.traits))])[number]
    return Person(
        number,
        people.decode(said),
        tuple((one.system, one.value, one.kind) for one in rows),
        from_micros(int(row.updated_at)),
    )


def _refuse(
    connection: Connection,
    looker: Looker,
    patient: int | None,
    subject: str,
    made: Decision | None,
    details: str | None = None,
) -> None:
    """A refusal is kept where operators find it; what is not there costs as many statements."""
    reference = None
    if made is not None and patient is not None:
        kept = judged(looker.viewer, patient, subject, made)
        reference = kept.reference
        keep_decisions(connection, [kept], looker.now)
    else:
        connection.execute(text("SELECT 1 FROM decision WHERE id = :id"), {"id": ""}).all()
    reason = made.reason if made is not None else "access.absent"
    entry = looker.entry(
        "refused", subject, reason, patient=patient, decision=reference, details=details or particulars(made)
    )  # fmt: skip
    looker.trail(connection, [entry], looker.now)


# --- the walk ----------------------------------------------------------------------------------------------------


class _Walk:
    """Goes through a record's documents in order, decides each, and remembers what must be kept of it."""

    def __init__(
        self,
        connection: Connection,
        looker: Looker,
        around: identity_circle.Shown,
        want: Want,
        after: Place | None,
    ) -> None:
        self._connection, self._looker, self._around = connection, looker, around
        is_holder = looker.viewer.kind in ("patient", "representative")
        self._persons = around.persons if is_holder else (*around.persons, *around.linked)
        self._want, self._after = want, after
        self._pending: list[Judged] = []
        self._made: dict[str, Decision] = {}
        self.refused: list[Judged] = []
        self.shown: list[str] = []
        self.read: list[Judged] = []
        self.told: dict[str, str | None] = {}

    def allowed(self, at_once: int) -> Iterator[tuple[DocumentRow, Document]]:
        """Documents that the viewer may see, with their content; content is fetched for `at_once` of them."""
        chunk: list[DocumentRow] = []
        before: dict[str, list[Judged]] = {}
        met: list[Judged] = []
        looker = self._looker
        for row in self._rows():
            patient = self._around.of(row.patient)
            made = looker.decide(looker.viewer, patient, row, looker.now, self._want.action)
            if not made.allowed:
                met.append(judged(looker.viewer, patient.id, row.id, made))
                continue
            self._made[row.id] = made
            before[row.id], met = met, []
            chunk.append(row)
            if len(chunk) == at_once:
                yield from self._open(chunk, before)
                chunk, before = [], {}
        yield from self._open(chunk, before)
        self._pending += met

    def _open(
        self, chunk: list[DocumentRow], before: dict[str, list[Judged]]
    ) -> Iterator[tuple[DocumentRow, Document]]:
        contents = payloads.read(self._connection, [row.id for row in chunk])
        for row in chunk:
            self._pending += before[row.id]
            document = decode(contents[row.id])
            if self._want.action == "read":
                self.told[row.id] = document_rows.told_of(self._made[row.id], row, document)
            yield row, document

    def show(self, row: DocumentRow) -> None:
        """Something of this document is shown: that is an access, and the refusals before it belong to the page."""
        self.end()
        if self.shown and self.shown[-1] == row.id:
            return
        self.shown.append(row.id)
        if self._want.action == "read":
            made = self._made[row.id]
            patient = self._around.of(row.patient)
            self.read.append(judged(self._looker.viewer, patient.id, row.id, made))

    def end(self) -> None:
        """The refusals met so far belong to this page."""
        self.refused, self._pending = [*self.refused, *self._pending], []

    def _rows(self) -> Iterator[DocumentRow]:
        place = None if self._after is None else (self._after.sort, self._after.document)
        is_inclusive = True
        while True:
            count, last = 0, None
            for row in document_rows.wanted(
                self._connection,
                self._persons,
                self._want,
                place,
                WINDOW,
                is_inclusive=is_inclusive,
            ):
                count, last = count + 1, row
                yield row
            if count < WINDOW or last is None:
                return
            place, is_inclusive = (to_micros(last.sort_at), last.id), False


def _leave_traces(
    connection: Connection, looker: Looker, patient: int, whole: Decision, walk: _Walk
) -> None:
    """Decisions, visit and trail of a page; the search itself is a decision too, so there is always one."""
    kept = judged(looker.viewer, patient, f"patient:{patient}", whole)
    keep_decisions(connection, [kept, *walk.read, *walk.refused], looker.now)
    read = [one.subject for one in walk.read]
    keep_visit(
        connection, looker.viewer, patient, looker.now, listed=len(walk.shown), also_read=read
    )
    listed = looker.entry(
        "document_listed",
        kept.subject,
        whole.reason,
        patient=patient,
        decision=kept.reference,
        details=particulars(whole, listed=len(walk.shown)),
    )
    opened = [
        looker.entry(
            "document_read",
            one.subject,
            one.decision.reason,
            patient=patient,
            decision=one.reference,
            details=walk.told[one.subject],
        )
        for one in walk.read
    ]
    looker.trail(connection, [listed, *opened], looker.now)
