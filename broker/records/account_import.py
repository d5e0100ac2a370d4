"""Former records as rows: spaces, blocks and access lists of many people, and how far a run got. For `account_migration`.

Documents are filed by `records.filing`, as any others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, text

from broker.access import Viewer, professional_key, shown_to, snapshot
from broker.accounts import days, machine
from broker.accounts.manifest import FormerAccess, FormerRecord
from broker.database import bulk, sequences
from broker.database.schema import visit
from broker.database.types import to_micros
from broker.records import account_rows, patients
from broker.records.account_rows import Space, Step

NO_MESSAGE = 0
"""`document.message_seq` of what was taken over: it came in no message, and stands in no balance."""

RULE = "R.1111-40"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run got: lines of the manifest, people taken, documents filed, lines left out."""

    position: int = 0
    taken: int = 0
    documents: int = 0
    left_out: int = 0
    is_over: bool = False


def begin(connection: Connection, digest: str, by: str, now: datetime) -> Progress:
    """The run of a manifest, by its digest: a new one, or the one that was begun."""
    connection.execute(
        text(
            "INSERT INTO account_migration (digest, started_at, started_by, position, taken, documents, left_out) "
            "VALUES (:digest, :now, :by, 0, 0, 0, 0) ON CONFLICT (digest) DO NOTHING"
        ),
        {"digest": digest, "now": to_micros(now), "by": by},
    )
    row = connection.execute(
        text("SELECT * FROM account_migration WHERE digest = :digest"), {"digest": digest}
    ).one()
    return Progress(
        int(row.position), int(row.taken), int(row.documents), int(row.left_out), row.ended_at is not None
    )  # fmt: skip


def advance(connection: Connection, digest: str, before: Progress, after: Progress) -> bool:
    """Note how far a run got; False where another process took it further meanwhile."""
    done = connection.execute(
        text(
            "UPDATE account_migration SET position = :position, taken = :taken, documents = :documents, "
            "left_out = :left_out WHERE digest = :digest AND position = :before AND ended_at IS NULL"
        ),
        {
            "digest": digest, "before": before.position, "position": after.position, "taken": after.taken,
            "documents": after.documents, "left_out": after.left_out,
        },
    )  # fmt: skip
    return done.rowcount == 1


def end(connection: Connection, digest: str, now: datetime) -> None:
    """Note that a manifest was read to its end."""
    connection.execute(
        text("UPDATE account_migration SET ended_at = :now WHERE digest = :digest"),
        {"digest": digest, "now": to_micros(now)},
    )


def spaces(
    connection: Connection, records: Mapping[int, FormerRecord], by: str, now: datetime
) -> list[Step]:
    """Where the spaces of these people stand once their former records are here; the steps made."""
    before = account_rows.load(connection, records, lock=True)
    after, steps = [], []
    for number, space in before.items():
        moved = _taken_over(space, records[number], now)
        steps.append(
            Step(
                number, moved.events, "MIG", space.state, moved.state, "operator", by, "migration", "", RULE, now
            )
        )  # fmt: skip
        after.append(moved)
    account_rows.store(connection, before, after, now)
    account_rows.tell(connection, steps)
    return steps


def _taken_over(space: Space, record: FormerRecord, now: datetime) -> Space:
    """An open space has it at once, an opposed one archives it; else it goes on as before, until T3 or T4."""
    due = dict(space.due)
    state = machine.NOT_ELIGIBLE if space.state == machine.PRESUMED else space.state
    if record.status == "FERME" and state == machine.NOT_ELIGIBLE:
        state = machine.CLOSED
    if state in (machine.OPPOSED, machine.CLOSED):
        due["T12"] = days.archive_ends(record.closed or now, days.PARIS)
    return replace(
        space,
        state=state,
        since=(record.closed if state == machine.CLOSED else None) or space.since or now,
        events=space.events + 1,
        has_former=True,
        is_attached=space.is_attached or space.state in (machine.OPEN, machine.ACTIVE),
        mail=space.mail or record.mail,
        due=due,
    )


def blocks(connection: Connection, records: Mapping[int, FormerRecord], by: str, now: datetime) -> None:  # fmt: skip
    """Blocked professionals stay blocked (ACC-05): events of the consent history."""
    events = [
        patients.NewConsent(
            number, "block", "blocked", by, "migration", now, scope=professional_key("", one)
        )
        for number, record in records.items()
        for one in record.blocked
    ]
    patients.add_consents(connection, events, now)


def accesses(connection: Connection, records: Mapping[int, FormerRecord], now: datetime) -> None:
    """The access lists are kept: visits, as their patients see them."""
    rows = [(number, one) for number, record in records.items() for one in record.access]
    if not rows:
        return
    first = sequences.reserve(connection, "visit", len(rows), now)
    columns = (
        "id", "patient", "actor_kind", "actor", "actor_snapshot", "structure", "mode", "motive", "started", "ended",
        "listed", "read", "first_of_actor", "shown_to",
    )  # fmt: skip
    values = []
    seen: set[tuple[int, str]] = set()
    for n, (number, one) in enumerate(sorted(rows, key=lambda row: (row[0], row[1].at))):
        viewer = _viewer(one)
        at, actor = to_micros(one.at), f"{viewer.kind}:{viewer.id}"
        values.append(
            (
                first + n, number, viewer.kind, actor, snapshot(viewer), one.structure or None, one.mode,
                one.motive or None, at, at, 0, one.read, (number, actor) not in seen, shown_to(viewer),
            )
        )  # fmt: skip
        seen.add((number, actor))
    bulk.insert_rows(connection, visit, columns, values)


def _viewer(one: FormerAccess) -> Viewer:
    return Viewer(
        kind="professional", id=one.id, name=one.name, profession=one.profession,
        structure=one.structure, mode=one.mode, motive=one.motive,
    )  # fmt: skip


def taken(connection: Connection, numbers: Sequence[int]) -> set[int]:
    """Those of whom a former record is here already."""
    found = account_rows.load(connection, numbers)
    return {number for number, space in found.items() if space.has_former}
