"""The ledger: received messages and where each stands. All statements are per batch.

Written by `intake` (see `receptions`), `pipeline` (transitions) and the sweeps; read by `carnet messages` and `status`.
A transition moves one message between fates in the bucket of the day it was *received*, in the transaction that
changes its state, so `received = sum of the fates` holds at each commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from broker.database import bulk, together
from broker.database.engine import is_sqlite
from broker.database.schema import UNSETTLED_BY_KEY, business_key, message
from broker.database.types import from_micros, to_micros
from broker.errors import PermanentError
from broker.records import bodies, tallies
from broker.records.lookups import among, any_of
from broker.values import Lane, MessageId, Seq, State


@dataclass(slots=True)
class Open:
    """An unsettled message as a worker sees it."""

    seq: Seq
    id: MessageId
    source: str
    received_at: datetime
    day: int
    format: str
    media: str
    type: str
    charset_declared: str
    control_id: str | None
    lane: Lane
    state: State
    attempts: int
    sha256: bytes
    trail: str | None
    body: bytes = field(repr=False)
    replay_of: Seq | None = None
    replay_run: int | None = None
    unreadable: PermanentError | None = None
    """Why there are no bytes: they were erased, or are not as they were received."""
    sender: str = ""
    """MSH-3|MSH-4 of an HL7v2 message."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What becomes of one message: its new state and everything said about it."""

    message: Open
    state: State
    at: datetime
    reason: str | None = None
    place: str | None = None
    args: str | None = None
    person: int | None = None
    mapping_set: str | None = None
    engine: str | None = None
    rules_version: str | None = None
    charset_used: str | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    duplicate_of: Seq | None = None
    answers: Seq | None = None
    trail: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One business key of a message: what people search by, as a keyed digest."""

    digest: int
    seq: Seq
    kind: int


KEY_KINDS: Mapping[str, int] = {
    "ins": 1,
    "local": 2,
    "name_birth": 3,
    "stay": 4,
    "placer": 5,
    "filler": 6,
    "accession": 7,
    "document": 8,
    "ward": 9,
    "sender": 11,
}
"""Kinds of business keys and their numbers in the table. 10 was never written, and is not given again."""

_TRANSITION_COLUMNS = (
    "state",
    "state_since",
    "reason",
    "reason_place",
    "reason_args",
    "person",
    "mapping_set",
    "engine",
    "rules_version",
    "charset_used",
    "attempts",
    "next_try_at",
    "duplicate_of",
    "answers",
    "trail",
)


def day_of(instant: datetime, zone: ZoneInfo) -> int:
    """The site's calendar day of an instant, as 20261123: the bucket a message is counted in for ever."""
    local = instant.astimezone(zone)
    return local.year * 10_000 + local.month * 100 + local.day


def claim(connection: Connection, seqs: Sequence[int]) -> list[Open]:
    """The unsettled messages among `seqs` with their bytes, oldest first.

    Without a lock: the pure stages run on this copy, and `lock` says later which of them are still ours to settle.
    """
    if not seqs:
        return []
    within, given = among(connection, "m.seq", seqs)
    rows = together.ask_bytes(
        connection, f"{_OPEN} {within} AND {UNSETTLED_BY_KEY.format('m.')} ORDER BY m.seq", (given,)
    )
    opened = bodies.opened(connection, [(seq, sha256, body) for seq, *_, sha256, body in rows])
    return [
        Open(
            Seq(seq), MessageId(str(name)), source, from_micros(received_at), day, format_, media or "", kind or "",
            charset or "", control_id, Lane(lane), State(state), attempts, sha256, trail, _bytes_of(opened[seq]),
            replay_of, replay_run, _error_of(opened[seq]), sender or "",
        )
        for (
            seq, name, source, received_at, day, format_, media, kind, charset, control_id, lane, state, attempts,
            trail, replay_of, replay_run, sender, sha256, _,
        ) in rows
    ]  # fmt: skip


_OPEN = (
    "SELECT m.seq, m.id, m.source, m.received_at, m.day, m.format, m.media, m.type, m.charset_declared, m.control_id, "
    "m.lane, m.state, m.attempts, m.trail, m.replay_of, m.replay_run, m.sender, m.sha256, b.body "
    "FROM message m JOIN message_body b ON b.seq = m.seq WHERE"
)


def _bytes_of(opened: bytes | PermanentError) -> bytes:
    return b"" if isinstance(opened, PermanentError) else opened


def _error_of(opened: bytes | PermanentError) -> PermanentError | None:
    return opened if isinstance(opened, PermanentError) else None


def lock(connection: Connection, seqs: Sequence[int]) -> dict[int, State]:
    """Lock the still unsettled rows among `seqs` until the transaction ends; returns their states."""
    if not seqs:
        return {}
    within, given = any_of(connection, "seq", seqs)
    lasting = "" if is_sqlite(connection) else " FOR UPDATE"
    rows = connection.execute(
        text(
            f"SELECT seq, state FROM message WHERE {within} AND {_UNSETTLED} ORDER BY seq{lasting}"  # noqa: S608
        ),
        given,
    )
    return {row.seq: State(row.state) for row in rows}


_UNSETTLED = UNSETTLED_BY_KEY.format("")


def transition(connection: Connection, changes: Sequence[Transition], writer: str) -> int:
    """Write new states, with the tallies of the days the messages were received. Returns how many rows changed.

    Only unsettled messages change; the caller has locked them.
    """
    counts: Counter[tuple[int, str, str]] = Counter()
    rows = []
    for change in changes:
        row = change.message
        if change.state != row.state:
            counts[(row.day, row.source, tallies.FATES_BY_STATE[row.state])] -= 1
            counts[(row.day, row.source, tallies.FATES_BY_STATE[change.state])] += 1
        rows.append(
            (
                row.seq,
                int(change.state),
                to_micros(change.at),
                change.reason,
                change.place,
                change.args,
                change.person,
                change.mapping_set,
                change.engine,
                change.rules_version,
                change.charset_used,
                change.attempts,
                None if change.next_try_at is None else to_micros(change.next_try_at),
                change.duplicate_of,
                change.answers,
                (row.trail or "") + change.trail,
            )
        )
    changed = bulk.update_rows(
        connection, message, "seq", _TRANSITION_COLUMNS, rows, where=UNSETTLED_BY_KEY.format("t.")
    )
    tallies.tally(connection, counts, writer)
    return changed


def add_keys(connection: Connection, keys: Iterable[Key], version: int = 1) -> None:
    """File the business keys of messages; the same key twice is one."""
    rows = {(key.digest, key.seq): (key.digest, key.seq, key.kind, version) for key in keys}
    columns = ("digest", "seq", "kind", "key_version")
    bulk.insert_missing(connection, business_key, columns, sorted(rows.values()))
