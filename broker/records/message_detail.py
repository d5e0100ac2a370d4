"""One message as the console and the command show it: where it stands, its way so far, what is owed for it.

Every statement is an index probe. The bytes have a call of their own, since they are health data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from broker.database.schema import attempt, delivery, message
from broker.errors import PermanentError
from broker.records import bodies as stored_bodies
from broker.records.messages_reading import PAGE, Line, by_control_id, by_seq, line_of
from broker.values import Lane, Seq

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Detail:
    """One message in full but for its bytes; `trail` is the packed story, see `timeline`."""

    line: Line
    media: str
    version: str
    charset_declared: str
    charset_used: str
    sender: str
    answer_code: str
    answered_at: datetime | None
    reason_args: str | None
    mapping_set: str | None
    engine: str | None
    rules_version: str | None
    sha256: str
    lane: Lane
    edited_from: Seq | None
    replay_of: Seq | None
    answers: Seq | None
    trail: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Owed:
    """One delivery owed for a message, and its attempts in order as (number, started, ended, outcome, code)."""

    id: int
    destination: str
    recipient: str
    intent: str
    state: str
    created_at: datetime
    settled_at: datetime | None
    reason: str | None
    attempts: Sequence[tuple[int, datetime, datetime | None, str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a message's way: when its commit was, how long the step took, how it ended when not well."""

    at: datetime
    name: str
    microseconds: int
    outcome: str


def find(connection: Connection, reference: str) -> list[Line]:
    """What a person typed: a message id, a sequence number, or a control id (which may name several)."""
    name = reference.strip().lower()
    if _UUID.fullmatch(name):
        found = detail(connection, name)
        return [found.line] if found else []
    if name.isdecimal() and len(name) > 12:
        lines = by_seq(connection, [int(name)])
        if lines:
            return lines
    return by_control_id(connection, reference.strip())


def detail(connection: Connection, message_id: str) -> Detail | None:
    """One message by its id, without its bytes; None when there is none (or the text is no id)."""
    if not _UUID.fullmatch(message_id):
        return None
    row = connection.execute(message.select().where(message.c.id == message_id)).one_or_none()
    if row is None:
        return None
    return Detail(
        line=line_of(row),
        media=row.media or "",
        version=row.version or "",
        charset_declared=row.charset_declared or "",
        charset_used=row.charset_used or "",
        sender=row.sender or "",
        answer_code=row.answer_code or "",
        answered_at=row.answered_at,
        reason_args=row.reason_args,
        mapping_set=row.mapping_set,
        engine=row.engine,
        rules_version=row.rules_version,
        sha256=bytes(row.sha256).hex(),
        lane=Lane(row.lane),
        edited_from=row.edited_from,
        replay_of=row.replay_of,
        answers=row.answers,
        trail=row.trail or "",
    )


def body(connection: Connection, seq: int) -> bytes | None:
    """The bytes as received; None for those that are not kept. Health data: the caller has the right, and leaves a trace.

    Raises: PermanentError("encryption.erased"), ("encryption.altered"); TransientError("encryption.key_missing").
    """
    found = stored_bodies.read(connection, [seq]).get(seq)
    if isinstance(found, PermanentError):
        raise found
    return found


def bodies(connection: Connection, seqs: Sequence[int]) -> dict[int, bytes]:
    """The bytes of several messages by number, those that are kept, in one statement. Health data, as `body`'s."""
    return stored_bodies.legible(connection, seqs)


def timeline(trail: str) -> list[Step]:
    """The steps of a packed trail (`Detail.trail`): one JSON line a commit, in the order of the commits."""
    steps = []
    for line in trail.splitlines():
        commit = msgspec.json.decode(line)
        at = datetime.fromisoformat(commit["at"])
        steps += [Step(at, name, took, outcome) for name, took, outcome in commit["steps"]]
    return steps


def owed(connection: Connection, seq: int) -> list[Owed]:
    """The deliveries of a message with their attempts, in order of their number."""
    rows = connection.execute(
        delivery.select().where(delivery.c.message_seq == seq).order_by(delivery.c.id).limit(PAGE)
    ).all()
    tries: dict[int, list[tuple[int, datetime, datetime | None, str | None, str | None]]] = {}
    if rows:
        found = connection.execute(
            attempt.select()
            .where(attempt.c.delivery_id.in_([row.id for row in rows]))
            .order_by(attempt.c.delivery_id, attempt.c.number)
        )
        for row in found:
            tries.setdefault(row.delivery_id, []).append(
                (row.number, row.started_at, row.ended_at, row.outcome, row.answer_code)
            )
    return [
        Owed(
            row.id, row.destination, row.recipient, row.intent, row.state, row.created_at, row.settled_at, row.reason,
            tuple(tries.get(row.id, ())),
        )
        for row in rows
    ]  # fmt: skip
