"""Notices as rows, written in the transaction of their cause: what the holder is to be told, when, and what became of it.

One row a (patient, kind, cause), counting its lines: further causes of the day join a notice that is not sent yet, and
one that was sent is due again the next night. So nothing is told twice for one access, and nothing is lost: for every
access line of somebody else there is one line of a notice (`notice_check`). Rows hold no text, no name, no title.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker import header
from broker.access import Viewer, keys_of
from broker.accounts import days
from broker.accounts.notices import GATHER, NEUTRAL_AFTER, TRAITANT
from broker.database import bulk, sequences
from broker.database.schema import notice
from broker.database.types import from_micros, to_micros
from broker.records import filing
from broker.records.lookups import any_of
from broker.values import digest64

STATES = ("due", "sending", "sent", "suppressed", "failed")
SECRET_MODE = "connexion_secrete"  # noqa: S105 - a mode of access
BOTH = "|both"
"""Ends the cause of an emergency that the médecin traitant has a notice of too; those of older versions have none."""
_EVENTS = ("encounter_event", "patient_event")


@dataclass(frozen=True, slots=True)
class New:
    """A notice to write. `secret`: of an act that a minor's representatives are not to learn of."""

    patient: int
    kind: str
    cause: str
    due_at: datetime
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A notice as it stands."""

    id: int
    patient: int
    kind: str
    cause: str
    lines: int
    created_at: datetime
    due_at: datetime
    state: str
    channel: str
    attempts: int
    settled_at: datetime | None
    suppressed: str
    reason: str
    secret: bool
    audit_n: int | None

    @property
    def document(self) -> str:
        """The document it is about, where it is about one alone."""
        return self.cause if self.kind in ("new_document", "neutral") and "-" in self.cause else ""

    @property
    def actor(self) -> str:
        """Key of the professional whose access it is of; empty for any other notice."""
        if self.kind != TRAITANT:
            return ""
        (key,) = keys_of(self.cause.removesuffix(BOTH).rsplit("|", 2)[0].partition(":")[2])
        return key


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a notice in hand: `sent`, `suppressed` (why), `failed` (reason), or `due` again at `due_at`."""

    id: int
    state: str
    at: datetime
    channel: str = ""
    suppressed: str = ""
    reason: str = ""
    due_at: datetime | None = None
    attempts: int = 0


# --- writing ------------------------------------------------------------------------------------------------------


def due_for(connection: Connection, viewer: Viewer, patient: int, now: datetime, *, visit: int, is_first: bool, lines: int = 1) -> None:  # fmt: skip
    """The notice of new lines of a visit, in their transaction: NOT-01, NOT-02, EMG-04. None of the patient's own looks.

    The first access of a professional is due at once, as an emergency is; further ones once a day. `is_first`: this is
    the first line of the first visit of this actor. Beside each notice of an emergency stands one to the médecin
    traitant, declared or not: whether there is somebody to tell is judged when it is sent.
    """
    if viewer.kind == "patient":
        return
    day = days.number_of(days.day_of(now, days.PARIS))
    actor = f"{viewer.kind}:{viewer.id}|{day}"
    secret = str(viewer.mode) == SECRET_MODE
    if viewer.mode in ("bris_de_glace", "centre_15"):
        kind, cause, due = "emergency_access", f"{actor}|{visit}{BOTH}", now
    elif is_first and viewer.kind == "professional":
        kind, cause, due = "first_access", actor, now
    else:
        kind, cause, due = "access", actor, days.next_midnight(now, days.PARIS)
    if secret:
        cause = f"{cause}|secret"
    rows = [New(patient, kind, cause, due, secret)] * lines
    if kind == "emergency_access":
        rows += [New(patient, TRAITANT, cause, due, secret)] * lines
    # They name the entry that this transaction writes next: the row of the counter is locked from here on.
    add(connection, rows, now, following=("audit_n", "audit", sequences.base(now)))


def of_filings(connection: Connection, filings: Sequence[filing.Filing], now: datetime) -> None:
    """The notices of what is filed, in its transaction: NOT-03; NOT-04 and VIS-02 for what the patient does not see."""
    day = days.number_of(days.day_of(now, days.PARIS))
    rows: list[New] = []
    for one in filings:
        if one.action == "delete" or one.document.kind in _EVENTS:
            continue
        if filing.deposited_by(one.document) == "patient":
            continue
        rows += _of_filing(one.patient, one.document.id, one.visibility, day, now)
    add(connection, rows, now)


def _of_filing(patient: int, document: str, seen: header.Visibility, day: int, now: datetime) -> list[New]:  # fmt: skip
    secret = seen.hidden_from_reps
    if seen.visible_from <= now:
        cause = f"{day}|secret" if secret else str(day)
        return [New(patient, "new_document", cause, now + GATHER, secret)]
    return [
        New(patient, "new_document", document, seen.visible_from, secret),
        New(patient, "neutral", document, now + NEUTRAL_AFTER, secret),
    ]


def became_visible(connection: Connection, patient: int, document: str, now: datetime) -> None:
    """A document that the patient did not see was shown before its time (VIS-03): its notice is due now."""
    connection.execute(
        text("UPDATE notice SET due_at = :now WHERE id = :id AND state = 'due'"),
        {"now": to_micros(now), "id": _id(patient, "new_document", document)},
    )


_FIRST = ("patient", "kind", "cause", "day", "created_at", "due_at", "secret", "audit_n")


def add(connection: Connection, rows: Sequence[New], now: datetime, *, following: tuple[str, str, int] | None = None) -> None:  # fmt: skip
    """Write notices, or lines of those that are there. One statement; `following` as of `bulk.add_counts`."""
    merged: dict[int, list[Any]] = {}
    day = days.number_of(days.day_of(now, days.PARIS))
    for row in rows:
        number = _id(row.patient, row.kind, row.cause)
        if number in merged:
            merged[number][-1] += 1
            continue
        merged[number] = [
            number, row.patient, row.kind, row.cause, day, to_micros(now), to_micros(row.due_at), row.secret,
            None, "due", 1,
        ]  # fmt: skip
    bulk.add_counts(
        connection,
        notice,
        ("id", *_FIRST, "state", "lines"),
        [tuple(values) for _, values in sorted(merged.items())],
        count="lines",
        latest=("state",),
        first=_FIRST,
        following=following,
    )


def add_once(connection: Connection, rows: Sequence[New], now: datetime) -> None:
    """Write notices of the life-cycle; one that is there is left as it is."""
    day = days.number_of(days.day_of(now, days.PARIS))
    values = {
        _id(row.patient, row.kind, row.cause): (
            row.patient, row.kind, row.cause, day, to_micros(now), to_micros(row.due_at), row.secret, None, "due", 1,
        )
        for row in rows
    }  # fmt: skip
    bulk.insert_missing(
        connection,
        notice,
        ("id", *_FIRST, "state", "lines"),
        [(number, *row) for number, row in sorted(values.items())],
    )


def _id(patient: int, kind: str, cause: str) -> int:
    return digest64(f"{patient}|{kind}|{cause}".encode())


# --- sending ------------------------------------------------------------------------------------------------------


def claim(connection: Connection, now: datetime, limit: int) -> list[Row]:
    """Take notices in hand that are due, the oldest first; they are `sending` until they are settled."""
    rows = connection.execute(
        text(
            "SELECT * FROM notice WHERE state = 'due' AND due_at <= :now ORDER BY due_at, id LIMIT :limit"
        ),
        {"now": to_micros(now), "limit": limit},
    ).all()
    found = [_row(row) for row in rows]
    if not found:
        return []
    within, given = any_of(connection, "id", [one.id for one in found])
    taken = connection.execute(
        text(
            f"UPDATE notice SET state = 'sending', claimed_at = :now WHERE {within} AND state = 'due' RETURNING id"  # noqa: S608
        ),
        {"now": to_micros(now), **given},
    )
    mine = {int(row.id) for row in taken}
    return [one for one in found if one.id in mine]


def put_back(connection: Connection, before: datetime) -> int:
    """Notices that were in somebody's hands since before an instant are due again: whoever sent them died over them."""
    done = connection.execute(
        text("UPDATE notice SET state = 'due' WHERE state = 'sending' AND claimed_at < :before"),
        {"before": to_micros(before)},
    )
    return int(done.rowcount)


def settle(connection: Connection, rows: Sequence[Settled]) -> None:
    """Note what became of notices in hand. One that got a further line meanwhile is due again already, and stays so."""
    columns = (
        "state", "channel", "suppressed", "reason", "due_at", "settled_at", "attempts",
    )  # fmt: skip
    values = [
        (
            row.id, row.state, row.channel or None, row.suppressed or None, row.reason or None,
            to_micros(row.due_at or days.next_midnight(row.at, days.PARIS)),
            None if row.state == "due" else to_micros(row.at), row.attempts,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]  # fmt: skip
    bulk.update_rows(connection, notice, "id", columns, values, where="t.state = 'sending'")


# --- reading ------------------------------------------------------------------------------------------------------


def listing(
    connection: Connection,
    *,
    patient: int | None = None,
    now: datetime | None = None,
    limit: int = 50,
) -> list[Row]:
    """Notices of a patient, newest first; without one, those that are due up to `now`, the oldest first."""
    if patient is not None:
        rows = connection.execute(
            text(
                "SELECT * FROM notice WHERE patient = :patient ORDER BY created_at DESC, id LIMIT :limit"
            ),
            {"patient": patient, "limit": limit},
        )
    else:
        upto = "" if now is None else " AND due_at <= :now"
        rows = connection.execute(
            text(
                f"SELECT * FROM notice WHERE state = 'due'{upto} ORDER BY due_at, id LIMIT :limit"  # noqa: S608
            ),
            {"limit": limit} | ({} if now is None else {"now": to_micros(now)}),
        )
    return [_row(row) for row in rows]


def one(connection: Connection, number: int) -> Row | None:
    """A notice by its number."""
    found = connection.execute(text("SELECT * FROM notice WHERE id = :id"), {"id": number}).first()
    return None if found is None else _row(found)


def of_ids(connection: Connection, numbers: Collection[int]) -> list[Row]:
    """Notices by their numbers."""
    if not numbers:
        return []
    within, given = any_of(connection, "id", sorted(numbers))
    rows = connection.execute(text(f"SELECT * FROM notice WHERE {within} ORDER BY id"), given)  # noqa: S608
    return [_row(row) for row in rows]


def _row(row: Any) -> Row:
    return Row(
        id=int(row.id),
        patient=int(row.patient),
        kind=row.kind,
        cause=row.cause,
        lines=int(row.lines),
        created_at=from_micros(int(row.created_at)),
        due_at=from_micros(int(row.due_at)),
        state=row.state,
        channel=row.channel or "",
        attempts=int(row.attempts),
        settled_at=None if row.settled_at is None else from_micros(int(row.settled_at)),
        suppressed=row.suppressed or "",
        reason=row.reason or "",
        secret=bool(row.secret),
        audit_n=row.audit_n,
    )
