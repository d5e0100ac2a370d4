"""What a look into the record leaves behind: decisions under a speakable id, visits as the patient sees them.

Written in the transaction of the reading itself, with the names of that day: neither can be derived later.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, text

from broker.access import Decision, Viewer, shown_to, snapshot
from broker.database import bulk, sequences
from broker.database.engine import is_sqlite, reading
from broker.database.schema import access_line, decision, visit
from broker.database.together import ask_rows
from broker.database.types import from_micros, to_micros
from broker.records import identity_circle, notices
from broker.records.lookups import newest_of

SESSION = timedelta(hours=4)
"""Longest visit: emergency access ends with the session (EMG-08)."""

PAUSE = timedelta(minutes=30)
"""A look after a longer pause is another visit."""

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision about to be kept: on which subject (a document id, or `patient:<number>`), and its reference."""

    reference: str
    patient: int
    subject: str
    viewer: Viewer
    decision: Decision


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A kept decision, for operators and for replay."""

    reference: str
    at: datetime
    patient: int
    subject: str
    action: str
    actor: Viewer
    allowed: bool
    rule: str
    rules_version: str
    matrix_version: str
    consent_version: int
    inputs: dict[str, Any]

    @property
    def decision(self) -> Decision:
        """As a value again, for `rules.decide.explain`; the reason is not kept beside the rule."""
        return Decision(
            allowed=self.allowed,
            rule=self.rule,
            reason="",
            action=self.action,
            rules_version=self.rules_version,
            matrix_version=self.matrix_version,
            consent_version=self.consent_version,
            inputs=self.inputs,
        )


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looked, as the patient sees it: the actor as they were that day, when, how much."""

    id: int
    actor: Viewer
    mode: str
    motive: str | None
    started: datetime
    ended: datetime | None
    listed: int
    read: int
    first_of_actor: bool
    shown_to: tuple[str, ...]


def judged(viewer: Viewer, patient: int, subject: str, made: Decision) -> Judged:
    """Give a decision its reference: 60 random bits in letters that are read aloud without mistakes (Crockford)."""
    drawn = secrets.randbits(60)
    text_ = "".join(_LETTERS[drawn >> place & 31] for place in range(0, 60, 5))
    return Judged(f"D-{text_[:4]}-{text_[4:8]}-{text_[8:]}", patient, subject, viewer, made)


def keep_decisions(connection: Connection, rows: Sequence[Judged], now: datetime) -> None:
    """Store decisions; one statement. `decoy` says that the viewer was answered as if there were nothing."""
    columns = (
        "id", "at", "patient", "subject", "action", "actor", "allowed", "rule", "rules_version",
        "matrix_version", "consent_version", "decoy", "inputs",
    )  # fmt: skip
    values = [
        (
            row.reference, to_micros(now), row.patient, row.subject, row.decision.action, snapshot(row.viewer),
            row.decision.allowed, row.decision.rule, row.decision.rules_version, row.decision.matrix_version,
            row.decision.consent_version, not row.decision.allowed,
            msgspec.json.encode(row.decision.inputs).decode(),
        )
        for row in rows
    ]  # fmt: skip
    bulk.insert_rows(connection, decision, columns, values)


@dataclass(frozen=True, slots=True)
class Latest:
    """The last visit of an actor to a record, running or over."""

    id: int
    mode: str
    motive: str
    structure: str
    started: datetime
    ended: datetime

    def goes_on(self, viewer: Viewer, now: datetime) -> bool:
        """Whether a look still belongs to it: same mode, reason and place, and not too long ago."""
        return (
            (self.mode, self.motive, self.structure)
            == (viewer.mode, viewer.motive, viewer.structure)
            and now - self.started < SESSION
            and now - self.ended < PAUSE
        )


def latest_question(viewer: Viewer, patient: int) -> tuple[str, tuple[int, str]]:
    """The question for the last visit of this actor, for `together.ask_rows`; its answer goes to `latest_of`."""
    return _LATEST, (patient, _actor(viewer))


def latest_of(rows: Sequence[Sequence[Any]]) -> Latest | None:
    """The last visit out of the answer; None for an actor that was never here."""
    for number, mode, motive, structure, started, ended in rows:
        return Latest(
            int(number), mode, motive or "", structure or "", from_micros(int(started)),
            from_micros(int(started if ended is None else ended)),
        )  # fmt: skip
    return None


def latest(connection: Connection, viewer: Viewer, patient: int) -> Latest | None:
    """The last visit of this actor to a record."""
    (rows,) = ask_rows(connection, [latest_question(viewer, patient)])
    return latest_of(rows)


_LATEST = (
    "SELECT id, mode, motive, structure, started, ended FROM visit WHERE patient = %s AND actor = %s "
    "ORDER BY started DESC, id DESC LIMIT 1"
)


def keep_visit(
    connection: Connection,
    viewer: Viewer,
    patient: int,
    now: datetime,
    before: Latest | None,
    *,
    listed: int = 0,
    read: str | None = None,
    also_read: Sequence[str] = (),
) -> int:
    """Add a look to the actor's running visit, or begin one; returns its number.

    `before` is the actor's last visit (`latest`). `listed` documents were listed, or the document `read` was read: one
    line for either. `also_read` are documents whose content the list itself showed: a line for each.
    """
    at = to_micros(now)
    goes_on = before is not None and before.goes_on(viewer, now)
    if before is not None and goes_on:
        number = before.id
    else:
        number = _begin(connection, viewer, patient, now, is_first=before is None)
    # This locks the visit: lines of another look at the same time are there before it goes on, or come after.
    given = (at, listed, (0 if read is None else 1) + len(also_read), number)
    mark = "?" if is_sqlite(connection) else "%s"
    bulk.execute(connection, _ADD_LOOK.replace("%s", mark), given)
    lines = [("list" if read is None else "read", read), *(("read", one) for one in also_read)]
    bulk.insert_behind(
        connection,
        access_line,
        ("n", "visit", "at", "act", "document_id"),
        [(number, at, act, document) for act, document in lines],
        owner=("visit", number),
    )
    notices.due_for(
        connection, viewer, patient, now, visit=number, is_first=before is None, lines=len(lines)
    )
    return number


_ADD_LOOK = 'UPDATE visit SET ended = %s, listed = listed + %s, "read" = "read" + %s WHERE id = %s'


def _begin(
    connection: Connection, viewer: Viewer, patient: int, now: datetime, *, is_first: bool
) -> int:
    """The number of a new visit."""
    number = sequences.reserve(connection, "visit", 1, now)
    columns = (
        "id", "patient", "actor_kind", "actor", "actor_snapshot", "structure", "mode", "motive", "started",
        "listed", "read", "first_of_actor", "shown_to",
    )  # fmt: skip
    row = (
        number, patient, viewer.kind, _actor(viewer), snapshot(viewer), viewer.structure or None, viewer.mode,
        viewer.motive or None, to_micros(now), 0, 0, is_first, shown_to(viewer),
    )  # fmt: skip
    bulk.insert_rows(connection, visit, columns, [row])
    return number


def _actor(viewer: Viewer) -> str:
    return f"{viewer.kind}:{viewer.id}"


def visits(
    engine: Engine,
    patient: int,
    *,
    shown_to: str = "holder",
    limit: int = 50,
    before: int | None = None,
) -> list[Visit]:
    """Who looked at the record of a person, newest first, as far as a class of viewer may see it.

    `before` is the id of the last one seen.
    """
    bound = "" if before is None else " AND id < :before"
    given: dict[str, Any] = {"limit": limit} | ({} if before is None else {"before": before})
    columns = (
        'id, actor_snapshot, mode, motive, started, ended, listed, "read", first_of_actor, shown_to'
    )
    select = (
        f"SELECT {columns} FROM visit WHERE patient = {{patient}}{bound} "  # noqa: S608 - our own words
        "ORDER BY started DESC, id DESC LIMIT :limit"
    )
    with reading(engine) as connection:
        persons = identity_circle.around(connection, [patient]).members(patient)
        statement, numbers = newest_of(select, persons, "started DESC, id DESC")
        rows = connection.execute(text(statement), given | numbers).all()
    found = [_visit(row) for row in rows]
    return [one for one in found if shown_to in one.shown_to]


def _visit(row: Any) -> Visit:
    return Visit(
        id=int(row.id),
        actor=msgspec.json.decode(row.actor_snapshot, type=Viewer),
        mode=row.mode,
        motive=row.motive,
        started=from_micros(int(row.started)),
        ended=None if row.ended is None else from_micros(int(row.ended)),
        listed=int(row.listed),
        read=int(row.read),
        first_of_actor=bool(row.first_of_actor),
        shown_to=tuple(row.shown_to.split(",")),
    )


def decisions(
    engine: Engine, *, patient: int | None = None, subject: str | None = None, limit: int = 50
) -> list[DecisionRow]:
    """Decisions on a patient or on one subject, newest first. For operators; never for whom they refused."""
    condition = "subject = :subject" if subject is not None else "patient = :patient"
    with reading(engine) as connection:
        rows = connection.execute(
            text(f"SELECT * FROM decision WHERE {condition} ORDER BY at DESC, id LIMIT :limit"),  # noqa: S608
            {"limit": limit}
            | ({"subject": subject} if subject is not None else {"patient": patient}),
        ).all()
    return [_decision(row) for row in rows]


def decision_of(engine: Engine, reference: str) -> DecisionRow | None:
    """The decision a reference names, as it was made."""
    with reading(engine) as connection:
        row = connection.execute(
            text("SELECT * FROM decision WHERE id = :id"), {"id": reference.strip().upper()}
        ).first()
    return None if row is None else _decision(row)


def _decision(row: Any) -> DecisionRow:
    return DecisionRow(
        reference=row.id,
        at=from_micros(int(row.at)),
        patient=int(row.patient),
        subject=row.subject,
        action=row.action,
        actor=msgspec.json.decode(row.actor, type=Viewer),
        allowed=bool(row.allowed),
        rule=row.rule,
        rules_version=row.rules_version,
        matrix_version=row.matrix_version,
        consent_version=int(row.consent_version),
        inputs=msgspec.json.decode(row.inputs),
    )
