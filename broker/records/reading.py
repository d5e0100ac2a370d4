"""Read the record for somebody: every look is decided, and leaves its trace in the same transaction.

For the command, and later for pages. The decision and the writer of the trail are passed in (`rules.decide`,
`audit.trail`): stages do not import each other. What a viewer may not see leaves no trace in what they get: no
count, no gap in a page, and the same answer as for what does not exist (VIS-01, AUD-07).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine

from broker import access
from broker.access import Action, Decision, Entry, Viewer, particulars, snapshot
from broker.database.engine import reading, writing
from broker.database.types import to_micros
from broker.document import Document, decode
from broker.records import (
    care_team,
    content,
    document_rows,
    identity_circle,
    patients,
    payloads,
)
from broker.records.document_rows import DocumentRow
from broker.records.traces import (
    DecisionRow,
    Judged,
    Visit,
    decision_of,
    decisions,
    judged,
    keep_decisions,
    keep_visit,
    latest,
    visits,
)

__all__ = [
    "NOTHING",
    "Decide",
    "DecisionRow",
    "DocumentRow",
    "Item",
    "Listing",
    "ReadResult",
    "Trail",
    "Visit",
    "attachment",
    "decision_of",
    "decisions",
    "find_patient",
    "find_record",
    "hypothetical",
    "listing",
    "read",
    "visits",
]

_Answer = TypeVar("_Answer")

MAX_LIMIT = 200
NO_CURSOR = ""
INS = ("ins", "INS", "ins_nir", "ins_nia")

Trail = Callable[[Connection, Sequence[Entry], datetime], None]
"""`audit.trail.write`: called once, last in the transaction."""


class Decide(Protocol):
    """`rules.decide.Rules.reading`: without a document it decides on the record as a whole."""

    def __call__(
        self,
        viewer: Viewer,
        patient: patients.PatientRow,
        document: DocumentRow | None,
        now: datetime,
        action: Action = "read",
    ) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a list. The title is empty for operators: they see what it is, never what it says."""

    row: DocumentRow
    title: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the record, newest first. `next` continues it; it is empty at the end of what the viewer may see."""

    items: tuple[Item, ...] = ()
    next: str = NO_CURSOR


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A document that was read, under the reference of its decision; or nothing, for whatever reason."""

    document: Document | None = field(default=None, repr=False)
    row: DocumentRow | None = field(default=None, repr=False)
    reference: str = ""

    def __bool__(self) -> bool:
        return self.document is not None


NOTHING = ReadResult()


def find_patient(engine: Engine, system: str, value: str) -> int | None:
    """The patient of an identifier. `system` is an OID, `source:<name>`, or `ins` for any authority of the INS."""
    systems = patients.INS_SYSTEMS if system in INS else (system.removeprefix("urn:oid:"),)
    with reading(engine) as connection:
        found = patients.find(connection, {(name, value.strip()) for name in systems})
    return next(
        (found[name, value.strip()] for name in systems if (name, value.strip()) in found), None
    )


def find_record(engine: Engine, system: str, value: str) -> int | None:
    """The record of an identifier: of a merged patient the survivor's."""
    person = find_patient(engine, system, value)
    if person is None:
        return None
    with reading(engine) as connection:
        return identity_circle.around(connection, [person]).root(person)


# --- listing ----------------------------------------------------------------------------------------------------


def listing(
    engine: Engine,
    viewer: Viewer,
    patient_id: int,
    *,
    decide: Decide,
    trail: Trail,
    now: datetime,
    limit: int = 50,
    before: str = NO_CURSOR,
) -> Listing:
    """List a patient's current documents for a viewer; a list is an access (AUD-05).

    Operators get every document, also replaced and deleted ones, without titles.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    with writing(engine) as connection:
        around = identity_circle.shown(connection, patient_id)
        if around is None:
            _note(
                connection, trail, viewer, now, "refused", f"patient:{patient_id}", "access.absent"
            )
            return Listing()
        viewer = identity_circle.as_holder(viewer, around)
        around = as_seen(connection, around, viewer, now)
        patient = around.record
        patient_id = patient.id
        whole = decide(viewer, patient, None, now, "list")
        own = () if whole.allowed else _own(connection, viewer, around, decide, now, limit, before)
        if not whole.allowed and not own:
            return _refuse(
                connection,
                trail,
                viewer,
                now,
                patient_id,
                f"patient:{patient_id}",
                whole,
                Listing(),
            )
        shown, hidden, more = own or _walk(connection, viewer, around, decide, now, limit, before)
        titles = (
            {}
            if viewer.kind == "operator"
            else document_rows.titles_of(connection, [row.id for row in shown])
        )
        keep_decisions(connection, hidden, now)
        if viewer.kind != "operator":
            last = latest(connection, viewer, patient_id)
            keep_visit(connection, viewer, patient_id, now, last, listed=len(shown))
        _note(
            connection,
            trail,
            viewer,
            now,
            "document_listed",
            f"patient:{patient_id}",
            "access.author" if own else whole.reason,
            patient=patient_id,
            details=particulars(whole, rule="ACC-06" if own else whole.rule, listed=len(shown)),
        )
    items = tuple(Item(row, titles.get(row.id, "")) for row in shown)
    return Listing(items, document_rows.cursor_of(shown[-1]) if more and shown else NO_CURSOR)


def as_seen(
    connection: Connection, around: identity_circle.Shown, viewer: Viewer, now: datetime
) -> identity_circle.Shown:
    """The record with what a decision about this viewer also looks at, for all persons of each record at once."""
    members: dict[int, list[int]] = defaultdict(list)
    for person, row in around.by_person.items():
        members[row.id].append(person)
    records = {row.id: row for row in (around.record, *around.by_person.values())}
    seen = {
        number: care_team.for_viewer(connection, row, viewer, now, members.get(number, [number]))
        for number, row in records.items()
    }
    return replace(
        around,
        record=seen[around.record.id],
        by_person={person: seen[row.id] for person, row in around.by_person.items()},
    )


def nobody(connection: Connection, person: int) -> identity_circle.Shown:
    """The record of somebody who is not there, at the cost of one who is."""
    patients.load(connection, [person])
    return identity_circle.Shown(patients.PatientRow(person), (person,))


_Walked = tuple[list[DocumentRow], list[Judged], bool]


def _own(
    connection: Connection,
    viewer: Viewer,
    around: identity_circle.Shown,
    decide: Decide,
    now: datetime,
    limit: int,
    before: str,
) -> _Walked | tuple[()]:
    """What they wrote themselves, for who may not look at the record otherwise (ACC-06); nothing when there is none.

    The refusals on the way are those of the whole record, and are not kept one by one.
    """
    if viewer.kind != "professional" or not document_rows.has_author(
        connection, around.persons, access.viewer_keys(viewer)
    ):
        return ()
    shown, _, more = _walk(connection, viewer, around, decide, now, limit, before)
    return (shown, [], more) if shown else ()


def _walk(
    connection: Connection,
    viewer: Viewer,
    around: identity_circle.Shown,
    decide: Decide,
    now: datetime,
    limit: int,
    before: str,
) -> _Walked:
    """(documents to show, refusals met on the way, whether the viewer may see more).

    Reads on past what is hidden until the page is full, so that a page's length and cursor tell nothing of it.
    """
    shown: list[DocumentRow] = []
    hidden: list[Judged] = []
    pending: list[Judged] = []
    position = document_rows.position_of(before)
    persons = around.persons if viewer.kind == "patient" else (*around.persons, *around.linked)
    while True:
        rows = document_rows.candidates(
            connection, persons, position, 2 * limit, only_current=viewer.kind != "operator"
        )
        for row in rows:
            patient = around.of(row.patient)
            made = decide(viewer, patient, row, now, "list")
            if not made.allowed:
                pending.append(judged(viewer, patient.id, row.id, made))
                continue
            if len(shown) == limit:
                return shown, hidden, True
            shown.append(row)
            hidden, pending = [*hidden, *pending], []
        if len(rows) < 2 * limit:
            return shown, [*hidden, *pending], False
        position = (to_micros(rows[-1].sort_at), rows[-1].id)


# --- reading ----------------------------------------------------------------------------------------------------


def read(
    engine: Engine, viewer: Viewer, document_id: str, *, decide: Decide, trail: Trail, now: datetime
) -> ReadResult:
    """Read one document for a viewer: decided, counted in a visit, and in the trail, or not at all.

    A refusal and an absence are the same `NOTHING`; the operator finds the refusal under `decisions`.
    """
    document_id = document_id.strip().lower()
    with writing(engine) as connection:
        # What does not exist takes the same steps as what is hidden, so that not even time tells them apart (AUD-07).
        row = document_rows.load(connection, document_id) or document_rows.ABSENT
        around = identity_circle.shown(connection, row.patient) or nobody(connection, row.patient)
        viewer = identity_circle.as_holder(viewer, around)
        patient = as_seen(connection, around, viewer, now).record
        made = decide(viewer, patient, row, now, "read")
        if not made.allowed:
            subject = row.id if row.patient else f"document:{document_id[:64]}"
            told = document_rows.told_of(made, row)
            return _refuse(connection, trail, viewer, now, patient.id, subject, made, NOTHING, told)
        document = decode(payloads.one(connection, row.id))
        kept = judged(viewer, patient.id, row.id, made)
        keep_decisions(connection, [kept], now)
        last = latest(connection, viewer, patient.id)
        keep_visit(connection, viewer, patient.id, now, last, read=row.id)
        act = "body_revealed" if viewer.kind == "operator" else "document_read"
        _note(
            connection,
            trail,
            viewer,
            now,
            act,
            row.id,
            made.reason,
            patient=patient.id,
            decision=kept.reference,
            details=document_rows.told_of(made, row, document),
        )
    return ReadResult(document, row, kept.reference)


def attachment(engine: Engine, result: ReadResult, sha256: str) -> bytes:
    """The bytes of an attachment of a document that was read; of no other one.

    Raises: KeyError when the document has no such attachment; PermanentError when the store lost it.
    """
    held = result.document.attachments if result.document is not None else ()
    if result.row is None or sha256 not in {one.sha256 for one in held}:
        raise KeyError(sha256)
    with reading(engine) as connection:
        return content.open(connection, result.row.patient, sha256)


def hypothetical(
    engine: Engine,
    viewer: Viewer,
    document_id: str,
    *,
    decide: Decide,
    now: datetime,
    action: Action = "read",
) -> Decision | None:
    """What would be decided, for `carnet decide`: nothing is shown, so nothing is traced. None: no such document."""
    with reading(engine) as connection:
        row = document_rows.load(connection, document_id.strip().lower())
        around = identity_circle.shown(connection, row.patient) if row is not None else None
        if around is not None:
            viewer = identity_circle.as_holder(viewer, around)
            around = as_seen(connection, around, viewer, now)
    if row is None or around is None:
        return None
    return decide(viewer, around.record, row, now, action)


def _refuse(
    connection: Connection,
    trail: Trail,
    viewer: Viewer,
    now: datetime,
    patient: int,
    subject: str,
    made: Decision,
    answer: _Answer,
    details: str | None = None,
) -> _Answer:
    """Keep a refusal where operators find it, and give the viewer the answer for what does not exist."""
    kept = judged(viewer, patient, subject, made)
    keep_decisions(connection, [kept], now)
    _note(
        connection,
        trail,
        viewer,
        now,
        "refused",
        subject,
        made.reason,
        patient=patient or None,
        decision=kept.reference,
        details=details or particulars(made),
    )
    return answer


def _note(
    connection: Connection,
    trail: Trail,
    viewer: Viewer,
    now: datetime,
    act: str,
    subject: str,
    outcome: str,
    *,
    patient: int | None = None,
    decision: str | None = None,
    details: str | None = None,
) -> None:
    entry = Entry(
        act=act,
        at=now,
        actor_kind=viewer.kind,
        actor=viewer.id,
        actor_snapshot=snapshot(viewer),
        mode=viewer.mode,
        motive=viewer.motive or None,
        patient=patient,
        subject=subject,
        decision=decision,
        outcome=outcome,
        software="carnet",
        details=details,
    )
    trail(connection, [entry], now)
