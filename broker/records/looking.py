"""Look into a record by question and page: for the record's API. Everything of one look is one transaction.

Each document is decided before its content is opened; what was refused, the visit and the trail are written with the
reading itself. What is hidden influences nothing that comes back: the page is filled past it, its place is only that
of what was shown, and the statements are the same whether it is there or not (VIS-01, AUD-07).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, Engine

from broker.access import Action, Decision, Entry, Viewer, particulars, snapshot
from broker.database import bulk
from broker.database.engine import reading
from broker.database.together import ask_rows, writing_together
from broker.database.types import to_micros
from broker.document import Document, decode
from broker.records import content, document_rows, known, payloads
from broker.records.document_rows import DocumentRow
from broker.records.known import Known, Person
from broker.records.reading import Decide, Trail
from broker.records.traces import Judged, judged, keep_decisions, keep_visit

Shown = TypeVar("Shown")


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
    make: Callable[[DocumentRow, Document | None, Person], Sequence[Shown]],
    *,
    limit: int,
    after: Place | None = None,
    at_hand: Callable[[Sequence[DocumentRow], Person], Collection[str]] = lambda *_: (),
) -> Page[Shown]:
    """A page of what `make` finds in the documents of a patient that the viewer may see.

    `at_hand` names those of some documents that `make` needs no content of: it gets None for them. Where content is
    shown ("read"), it always is opened.
    A patient that does not exist, and one whose record is closed to the viewer, are the same empty page.
    """
    with writing_together(looker.engine) as connection:
        window = known.Window(want, None if after is None else (after.sort, after.document))
        admitted = let_in(connection, looker, patient_id, "list", window)
        if admitted is None:
            return Page()
        looker, found, person, whole = admitted
        walk = _Walk(connection, looker, found, want, lambda rows: at_hand(rows, person))
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
        _leave_traces(connection, looker, found, whole, walk)
    return Page(person, tuple(items), place if more else None)


def open_document(looker: Looker, document_id: str) -> Opened | None:
    """Open one document: decided, counted in a visit, in the trail; or None, hidden or absent, by as many statements."""
    with writing_together(looker.engine) as connection:
        row = document_rows.ask(connection, document_id)
        found = known.ask(connection, looker.viewer, row.patient if row else 0, looker.now)
        looker, person = replace(looker, viewer=found.viewer), found.person
        made = (
            looker.decide(looker.viewer, found.around.record, row, looker.now, "read")
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
        keep_visit(connection, looker.viewer, person.id, looker.now, found.latest, read=row.id)
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
    with writing_together(looker.engine) as connection:
        admitted = let_in(connection, looker, patient_id, "list")
        if admitted is None:
            return None
        looker, found, person, whole = admitted
        walk = _Walk(connection, looker, found, Want())
        _leave_traces(connection, looker, found, whole, walk)
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
    connection: Connection,
    looker: Looker,
    patient_id: int,
    action: Action,
    window: known.Window | None = None,
) -> tuple[Looker, Known, Person, Decision] | None:
    """The record as a whole, decided for this viewer; None, and a refusal that is kept, where it is not for them."""
    found = known.ask(connection, looker.viewer, patient_id, looker.now, window)
    looker, person = replace(looker, viewer=found.viewer), found.person
    made = None
    if person is not None:
        made = looker.decide(looker.viewer, found.around.record, None, looker.now, action)
    if person is None or made is None or not made.allowed:
        _refuse(connection, looker, person.id if person else None, f"patient:{patient_id}", made)
        return None
    return looker, found, person, made


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
        bulk.execute(connection, "SELECT 1 FROM decision WHERE id = ''", ())
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
        found: Known,
        want: Want,
        at_hand: Callable[[Sequence[DocumentRow]], Collection[str]] = lambda _: (),
    ) -> None:
        self._connection, self._looker, self._around = connection, looker, found.around
        self._first = found.documents
        self._want, self._at_hand = want, at_hand
        self._pending: list[Judged] = []
        self._made: dict[str, Decision] = {}
        self.refused: list[Judged] = []
        self.shown: list[str] = []
        self.read: list[Judged] = []
        self.told: dict[str, str | None] = {}

    def allowed(self, at_once: int) -> Iterator[tuple[DocumentRow, Document | None]]:
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
    ) -> Iterator[tuple[DocumentRow, Document | None]]:
        is_read = self._want.action == "read"
        at_hand = () if is_read else self._at_hand(chunk)
        contents = payloads.read(
            self._connection, [row.id for row in chunk if row.id not in at_hand]
        )
        for row in chunk:
            self._pending += before[row.id]
            document = decode(contents[row.id]) if row.id in contents else None
            if is_read:
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
        rows = self._first
        while True:
            row = None
            for values in rows:
                row = document_rows.row_of(values)
                yield row
            if len(rows) < known.WINDOW or row is None:
                return
            persons = known.persons_of(self._looker.viewer, self._around)
            place = to_micros(row.sort_at), row.id
            question = document_rows.wanted(
                self._connection, persons, self._want, place, known.WINDOW, is_inclusive=False
            )
            (rows,) = ask_rows(self._connection, [question])


def _leave_traces(
    connection: Connection, looker: Looker, found: Known, whole: Decision, walk: _Walk
) -> None:
    """Decisions, visit and trail of a page; the search itself is a decision too, so there is always one."""
    patient = found.around.record.id
    kept = judged(looker.viewer, patient, f"patient:{patient}", whole)
    keep_decisions(connection, [kept, *walk.read, *walk.refused], looker.now)
    read = [one.subject for one in walk.read]
    keep_visit(
        connection, looker.viewer, patient, looker.now, found.latest,
        listed=len(walk.shown), also_read=read,
    )  # fmt: skip
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
