"""How received messages get into the ledger, and are found again when they come again.

On PostgreSQL what a commit received is one row, `reception`, which costs the sender's answer a small part of what its
messages, their bytes and the entries of the trail would. Whoever needs those unpacks first (`broker.unpacking`): no
reader ever meets a message that is known only here. A long body goes to its own row at once: it would cost as much
again to move. On SQLite all rows are written at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from broker.database import bulk, together
from broker.database.engine import is_sqlite
from broker.database.packing import Packing
from broker.database.schema import control, message, message_body
from broker.database.shapes import Row, shape_of
from broker.database.types import from_micros, to_micros
from broker.encryption import sealing
from broker.errors import TransientError
from broker.records import bodies as bodies_of
from broker.records import tallies
from broker.values import Lane, MessageId, Seq, State, digest64, month_of


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


@dataclass(frozen=True, slots=True)
class Packed:
    """A reception that is still one row: its numbers, how many messages it holds, and how many bytes."""

    first: int
    last: int
    messages: int
    size: int


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

LAYOUT = 2
"""Number of the columns and their order below, kept with each packed row: another order needs another number.

In the one before every body is packed; in this one some stand in `message_body` already.
"""
_ALL_PACKED = 1

COLUMNS = (*_OWN_COLUMNS, "body", *_SHARED_COLUMNS)
_PACKING = Packing(
    {message_body: ("seq", "body"), message: (*_OWN_COLUMNS, *_SHARED_COLUMNS)},
    COLUMNS,
    len(_SHARED_COLUMNS),
    optional={message_body: "body"},
)
_BODY = len(_OWN_COLUMNS)
LONG_BODY = 32 * 1024
"""Bytes from which on a body is not packed."""

_UNPACKED_AT_ONCE = 64
_BYTES_AT_ONCE = 8 * 1024 * 1024


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

    Same bytes win over another message with the same control id. What is found has to be unpacked.
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


def write(
    connection: Connection,
    rows: Sequence[Received],
    answered_at: datetime,
    writer: str,
    *,
    reserved: int,
    first: int = 0,
) -> None:
    """Keep received messages and their bytes, and count them. `answered_at` is when the positive answers are released.

    The transaction has just reserved `reserved` numbers of the messages' sequence. On PostgreSQL nobody needs to know
    them yet: the rows are numbered from `first`, which stands for the first of them.
    """
    if not rows:
        return
    seal = sealing.sealing_of_month(connection, bodies_of.TABLE, month_of(answered_at))
    values = _values(rows, answered_at, seal)
    if is_sqlite(connection):
        of_bodies = [(value[0], value[_BODY]) for value in values]
        bulk.insert_rows(connection, message_body, ("seq", "body"), of_bodies)
        keys = [(row.key, row.digest, row.seq) for row in rows]
        bulk.insert_rows(connection, control, ("key", "digest", "seq"), keys)
        columns = (*_OWN_COLUMNS, *_SHARED_COLUMNS)
        plain = [(*value[:_BODY], *value[_BODY + 1 :]) for value in values]
        bulk.insert_rows(connection, message, columns, plain)
        counts = Counter((row.day, row.source, "received") for row in rows)
        counts.update((row.day, row.source, tallies.FATES_BY_STATE[row.state]) for row in rows)
        tallies.tally(connection, counts, writer)
        return
    if first:
        values = [(value[0] - first, *value[1:]) for value in values]
    long = [(value[0], value[_BODY]) for value in values if len(value[_BODY]) >= LONG_BODY]
    if long:
        values = [
            value if len(value[_BODY]) < LONG_BODY else (*value[:_BODY], None, *value[_BODY + 1 :])
            for value in values
        ]
    own, alike, bodies = _PACKING.pack(values)
    if any(_LOOKS_UNSTORABLE in text and _UNSTORABLE.search(text) for text in (own, alike)):
        raise ValueError("a text with a NUL character cannot be stored")
    bulk.execute(
        connection,
        _WRITE_LONG if long else _WRITE,
        (
            reserved,
            reserved,
            len(rows),
            LAYOUT if long else _ALL_PACKED,
            own,
            alike,
            bodies,
            *(_LONG.encode(long) if long else ()),
            _array([row.key for row in rows]),
            _array([row.digest for row in rows]),
            _array([value[0] for value in values]),
        ),
    )


_LOOKS_UNSTORABLE = "\\u0000"
_UNSTORABLE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL character in JSON, and not a backslash that these five characters stand behind."""
_LONG = shape_of(postgresql.dialect(), (message_body,), ("seq", "body"))  # type: ignore[no-untyped-call]


def _writing(beside: str = "") -> str:
    """The statement that keeps one commit, and `beside` it what else is made of its numbers."""
    return (
        "WITH r AS (SELECT value + 1 - %s::bigint AS first FROM counter WHERE name = 'message'), k AS ("  # noqa: S608 - constants only
        "INSERT INTO reception (first_seq, last_seq, messages, layout, own, alike, bodies) "
        "SELECT first, first + %s::bigint - 1, %s::int, %s::smallint, %s::text, %s::text, %b::bytea FROM r)"
        f"{beside} INSERT INTO control (key, digest, seq) SELECT u.key, u.digest, r.first + u.place FROM r "
        "CROSS JOIN unnest(%s::text::bigint[], %s::text::bigint[], %s::text::int[]) AS u(key, digest, place)"
    )


_WRITE = _writing()
_WRITE_LONG = _writing(
    f", l AS (INSERT INTO message_body (seq, body) SELECT r.first + {_LONG.first}, {_LONG.values_after_first} "  # noqa: S608 - names of our own schema
    f"FROM r CROSS JOIN {_LONG.source})"
)


def _array(numbers: Sequence[int]) -> str:
    """Numbers as PostgreSQL reads an array."""
    return "{" + ",".join([str(number) for number in numbers]) + "}"


def _values(rows: Sequence[Received], answered_at: datetime, seal: sealing.Seal) -> list[Row]:
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
                seal(row.sha256, row.body),
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


def packed(connection: Connection, after: int) -> list[Packed]:
    """The oldest receptions above the number `after` that are still packed, as many as one transaction should unpack.

    They are locked until the transaction ends; what another transaction was unpacking is waited for, and left out.
    Raises: TransientError("ledger.newer_layout") when a newer version of Carnet packed them: its workers unpack them.
    """
    (rows,) = together.ask(connection, [(_PACKED, (after, _UNPACKED_AT_ONCE))])
    found: list[Packed] = []
    size = 0
    for first, last, messages, layout, length in ((int(n) for n in row) for row in rows):
        if layout > LAYOUT:
            raise TransientError("ledger.newer_layout", where="reception")
        size += length
        if found and size > _BYTES_AT_ONCE:
            break
        found.append(Packed(first, last, messages, length))
    return found


def unpack(connection: Connection, found: Sequence[Packed], writer: str) -> int:
    """Make the rows of what `packed` found, in its transaction, and count them; returns how many messages they are."""
    span = (found[0].first, found[-1].last)
    (counted,) = together.ask(connection, [(_UNPACK, span)])
    counts: Counter[tuple[int, str, str]] = Counter()
    for day, source, state, n in counted:
        counts[(int(day), _text(source), "received")] += int(n)
        counts[(int(day), _text(source), tallies.FATES_BY_STATE[int(state)])] += int(n)
    tallies.tally(connection, counts, writer)
    return sum(one.messages for one in found)


_PACKED = (
    "SELECT first_seq, last_seq, messages, layout, octet_length(bodies) FROM reception "
    "WHERE first_seq > %s::bigint ORDER BY first_seq LIMIT %s::int FOR UPDATE"
)
_UNPACK = _PACKING.unpack(
    "DELETE FROM reception WHERE first_seq BETWEEN %s::bigint AND %s::bigint "
    "RETURNING first_seq AS first, own, alike, bodies AS all_bytes",
    "SELECT day, source, state, count(*) FROM given GROUP BY day, source, state",
)
