"""The ledger: received messages and where each stands. All statements are per batch.

Written by `intake` (reception), `pipeline` (transitions) and the sweeps; read by `carnet messages` and `status`.
A transition moves one message between fates in the bucket of the day it was *received*, in the transaction that
changes its state, so `received = sum of the fates` holds at each commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, select, text

from broker.database import bulk, together
from broker.database.engine import is_sqlite
from broker.database.schema import business_key, control, message, message_body
from broker.database.types import from_micros, to_micros
from broker.records import tallies
from broker.values import Lane, MessageId, Seq, State, digest64


class Received(msgspec.Struct, kw_only=True, gc=False):
    """A message about to be stored, with what its first glance told (never more than the first segment needs).

    `digest` begins `sha256`; `key` is what a message is looked up by when it comes again (`control_key`).
    """

    seq: Seq
    id: MessageId
    source: str
    received_at: datetime
    day: int
    kind: str
    format: str
    media: str
    type: str
    version: str
    charset_declared: str
    body: bytes
    sha256: bytes
    digest: int
    key: int
    control_id: str | None
    sender: str
    peer: str
    transport_keys: str | None
    lane: Lane
    answer_code: str
    state: State = State.RECEIVED
    reason: str | None = None
    conflicts_with: Seq | None = None

    def __repr__(self) -> str:
        return f"Received({self.id})"


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier reception with the same control id (or, without one, the same bytes)."""

    seq: Seq
    id: MessageId
    received_at: datetime
    answer_code: str
    same_bytes: bool


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
    "batch": 10,
}

_OWN_COLUMNS = (
    "seq",
    "id",
    "received_at",
    "size",
    "sha256",
    "digest",
    "control_id",
    "transport_keys",
    "lane",
    "state_since",
    "conflicts_with",
)
_SHARED_COLUMNS = (
    "source",
    "answered_at",
    "day",
    "kind",
    "answer_code",
    "format",
    "media",
    "type",
    "version",
    "charset_declared",
    "sender",
    "peer",
    "state",
    "reason",
)
"""What most messages of one commit have in common."""

_RECEPTION_COLUMNS = (*_OWN_COLUMNS, "key", "body", *_SHARED_COLUMNS)
_RECEPTION = {
    message_body: ("seq", "body"),
    control: ("key", "digest", "seq"),
    message: (*_OWN_COLUMNS, *_SHARED_COLUMNS),
}

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
    "trail",
)


def day_of(instant: datetime, zone: ZoneInfo) -> int:
    """The site's calendar day of an instant, as 20261123: the bucket a message is counted in for ever."""
    local = instant.astimezone(zone)
    return local.year * 10_000 + local.month * 100 + local.day


def control_key(source: str, control_id: str | None, digest: int) -> int:
    """What a message is looked up by when it comes again: its control id, or its bytes where it has none."""
    return digest64(
        f"{source}\0{control_id}".encode()
        if control_id is not None
        else f"{source}\0\0{digest}".encode()
    )


def probe(connection: Connection, wanted: Sequence[tuple[int, int]]) -> tuple[str, tuple[str]]:
    """The question whether (control key, digest of the bytes) pairs were received before; `known` reads its answer.

    One index probe a pair, however often a sender reused an id; a second only where something is found.
    """
    pairs = [{"i": i, "k": k, "d": d} for i, (k, d) in enumerate(wanted)]
    statement = _KNOWN_SQLITE if is_sqlite(connection) else _KNOWN_POSTGRESQL
    return statement, (msgspec.json.encode(pairs).decode(),)


def probe_any(wanted: Sequence[tuple[int, int]]) -> tuple[str, tuple[str]]:
    """The question whether any of the pairs of `probe` has a control key that was received before (PostgreSQL).

    A third of `probe`'s cost, for who expects that none has: it does not say which.
    """
    keys = ",".join([str(key) for key, _ in wanted])
    statement = "SELECT 1 FROM control WHERE key = ANY(%s::text::bigint[]) LIMIT 1"
    return statement, (f"{{{keys}}}",)


def known(
    connection: Connection, wanted: Sequence[tuple[int, int]], answer: Sequence[Sequence[Any]]
) -> dict[tuple[int, int], Known]:
    """The earlier reception of each pair asked for with `probe`; a pair that is new is left out.

    Same bytes win over another message with the same control id.
    """
    hits = {int(i): (same, int(same or other)) for i, same, other in answer}
    if not hits:
        return {}
    columns = "SELECT seq, id, received_at, answer_code FROM message WHERE seq IN"
    marks = "?" if is_sqlite(connection) else "%s::bigint"
    seqs = sorted({seq for _, seq in hits.values()})
    statement = f"{columns} ({', '.join([marks] * len(seqs))})"
    (rows,) = together.ask(connection, [(statement, seqs)])
    first = {int(row[0]): row for row in rows}
    return {
        wanted[i]: Known(
            Seq(seq),
            MessageId(_text(row[1])),
            from_micros(int(row[2])),
            _text(row[3]) if row[3] else "",
            same is not None,
        )
        for i, (same, seq) in hits.items()
        if (row := first.get(seq)) is not None
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_PROBES = (
    "SELECT i, CASE WHEN other IS NOT NULL THEN "
    "(SELECT c.seq FROM control c WHERE c.key = k AND c.digest = d LIMIT 1) END, other FROM ("
    "SELECT k.*, (SELECT c.seq FROM control c WHERE c.key = k.k LIMIT 1) AS other FROM "
)
_KNOWN_POSTGRESQL = (
    _PROBES
    + "json_to_recordset(%s::json) AS k(i int, k bigint, d bigint)) AS p WHERE other IS NOT NULL"
)
_KNOWN_SQLITE = _PROBES + (  # noqa: S608 - constants only
    "(SELECT value ->> 'i' AS i, value ->> 'k' AS k, value ->> 'd' AS d FROM json_each(?)) AS k) AS p "
    "WHERE other IS NOT NULL"
)


def store(
    connection: Connection,
    rows: Sequence[Received],
    answered_at: datetime,
    *,
    counter: str | None = None,
) -> None:
    """Insert received messages and their bytes. `answered_at` is when the positive answers are released.

    With `counter` each row's number is its place in what was just reserved of it (see `bulk.insert_across`).
    """
    bulk.insert_across(
        connection,
        _RECEPTION,
        _RECEPTION_COLUMNS,
        _values(rows, answered_at),
        shared=len(_SHARED_COLUMNS),
        counter=counter,
    )


def _values(rows: Sequence[Received], answered_at: datetime) -> list[bulk.Row]:
    answered = to_micros(answered_at)
    values = []
    for row in rows:
        received = to_micros(row.received_at)
        values.append(
            (
                row.seq,
                row.id,
                received,
                len(row.body),
                row.sha256,
                row.digest,
                row.control_id,
                row.transport_keys,
                row.lane,
                received,
                row.conflicts_with,
                row.key,
                row.body,
                row.source,
                answered,
                row.day,
                row.kind,
                row.answer_code,
                row.format,
                row.media,
                row.type,
                row.version,
                row.charset_declared,
                row.sender,
                row.peer,
                int(row.state),
                row.reason,
            )
        )
    return values


def claim(connection: Connection, seqs: Sequence[int]) -> list[Open]:
    """The unsettled messages among `seqs` with their bytes, oldest first.

    Without a lock: the pure stages run on this copy, and `lock` says later which of them are still ours to settle.
    """
    if not seqs:
        return []
    m = message.c
    statement = (
        select(
            m.seq,
            m.id,
            m.source,
            m.received_at,
            m.day,
            m.format,
            m.media,
            m.type,
            m.charset_declared,
            m.control_id,
            m.lane,
            m.state,
            m.attempts,
            m.sha256,
            m.trail,
            message_body.c.body,
        )
        .join(message_body, message_body.c.seq == m.seq)
        .where(
            m.seq.in_(seqs) if is_sqlite(connection) else m.seq == text("ANY(:seqs)"), m.state < 10
        )
        .order_by(m.seq)
    )
    parameters = {} if is_sqlite(connection) else {"seqs": list(seqs)}
    return [
        Open(
            Seq(row.seq), MessageId(str(row.id)), row.source, row.received_at, row.day, row.format,
            row.media or "", row.type or "", row.charset_declared or "", row.control_id, Lane(row.lane),
            State(row.state), row.attempts, bytes(row.sha256), row.trail, bytes(row.body),
        )
        for row in connection.execute(statement, parameters)
    ]  # fmt: skip


def lock(connection: Connection, seqs: Sequence[int]) -> dict[int, State]:
    """Lock the still unsettled rows among `seqs` until the transaction ends; returns their states."""
    if not seqs:
        return {}
    m = message.c
    if is_sqlite(connection):
        statement = select(m.seq, m.state).where(m.seq.in_(seqs), m.state < 10)
        return {row.seq: State(row.state) for row in connection.execute(statement)}
    rows = connection.execute(
        text(
            "SELECT seq, state FROM message WHERE seq = ANY(:seqs) AND state < 10 ORDER BY seq FOR UPDATE"
        ),
        {"seqs": list(seqs)},
    )
    return {row.seq: State(row.state) for row in rows}


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
                (row.trail or "") + change.trail,
            )
        )
    changed = bulk.update_rows(
        connection, message, "seq", _TRANSITION_COLUMNS, rows, where="t.state < 10"
    )
    tallies.tally(connection, counts, writer)
    return changed


def add_keys(connection: Connection, keys: Iterable[Key], version: int = 1) -> None:
    """File the business keys of messages; the same key twice is one."""
    rows = sorted({(key.digest, key.seq, key.kind, version) for key in keys})
    unique = [next(group) for _, group in groupby(rows, key=lambda row: row[:2])]
    bulk.insert_missing(connection, business_key, ("digest", "seq", "kind", "key_version"), unique)
