"""What the ledger gives to an archive: settled messages of old months with all that belongs to them, and the note of it.

Walked by their numbers, below what an archive holds already: a run costs what is new, and what stands still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.schema import archive, archive_day, archive_span
from broker.database.types import from_micros, to_micros
from broker.encryption import sealed, sealing
from broker.errors import PermanentError
from broker.records import bodies, outbox, partner_answers
from broker.records.lookups import any_of
from broker.records.receptions import control_key
from broker.values import SEQ_MONTH_SHIFT, State

TABLES = ("message", "message_body", "delivery", "prepared", "attempt", "expectation")
MESSAGE, DELIVERY = "message", "delivery"
_BATCH = 200
_BATCH_BYTES = 8 * 1024 * 1024
_FINAL = ", ".join(
    str(int(state)) for state in State if state >= State.FILED and state != State.PARKED
)
_OPEN = (
    "EXISTS (SELECT 1 FROM delivery d WHERE d.message_seq = m.seq AND "
    "(d.settled_at IS NULL OR d.state IN ('parked', 'unknown') OR EXISTS (SELECT 1 FROM expectation e "
    "WHERE e.delivery_id = d.id AND e.state IN ('open', 'overdue'))))"
)


@dataclass(frozen=True, slots=True)
class Shelved:
    """An archive as the ledger knows it: its months, its numbers, and what was pruned of it."""

    name: str
    month: int
    first_seq: int
    last_seq: int
    messages: int
    deliveries: int
    size: int
    sha256: str
    first_id: str
    last_id: str
    created_at: datetime
    bodies_pruned_at: datetime | None
    deliveries_pruned_at: datetime | None
    messages_pruned_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """A round of the walk: messages that can be archived, and how far the walk came (None: to its end)."""

    seqs: Sequence[int]
    left: int
    after: int | None


def look(connection: Connection, after: int, upto: int) -> Found:
    """The next settled messages above `after` and up to `upto` that no archive holds, as many as one read takes.

    Settled means with every delivery: what is held, parked, owed, of unknown outcome or awaits an answer stays, and is
    counted in `left`.
    """
    span = _span_over(connection, MESSAGE, after + 1)
    if span is not None:
        after = span[1]
    fence = _next_span(connection, MESSAGE, after)
    top = upto if fence is None else min(upto, fence - 1)
    rows = connection.execute(
        text(
            f"SELECT m.seq, m.size, (m.state IN ({_FINAL}) AND NOT {_OPEN}) AS is_final FROM message m "  # noqa: S608
            "WHERE m.seq > :after AND m.seq <= :top ORDER BY m.seq LIMIT :n"
        ),
        {"after": after, "top": top, "n": _BATCH},
    ).all()
    seqs: list[int] = []
    left = size = 0
    for row in rows:
        size += row.size
        if seqs and size > _BATCH_BYTES:
            return Found(seqs, left, seqs[-1])
        if row.is_final:
            seqs.append(int(row.seq))
        else:
            left += 1
    if len(rows) == _BATCH:
        return Found(seqs, left, int(rows[-1].seq))
    return Found(seqs, left, None if top == upto else top)


def gather(connection: Connection, seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Everything of these messages, in order: {"message", "body", "deliveries": [{…, "prepared", "attempts",
    "expectations"}]}.

    Values as they are stored (instants are microseconds), but for bodies, answers and the INS that left (`OID|value`):
    those are as they were, since an archive has a key of its own. A body is None where the bytes are not there or not to
    be opened, `sealed.ERASED` where they were erased.
    """
    if not seqs:
        return []
    messages = _rows(connection, "message", "seq", seqs, "seq")
    kept = bodies.read(connection, seqs)
    deliveries = _rows(connection, "delivery", "message_seq", seqs, "id")
    ids = [row["id"] for row in deliveries]
    prepared = _prepared(connection, ids)
    ins = _ins(connection, ids)
    tries: dict[int, list[dict[str, Any]]] = {}
    for row in _attempts(connection, ids):
        tries.setdefault(row["delivery_id"], []).append(row)
    awaited: dict[int, list[dict[str, Any]]] = {}
    for row in _rows(connection, "expectation", "delivery_id", ids, "delivery_id, kind"):
        awaited.setdefault(row["delivery_id"], []).append(row)
    owed: dict[int, list[dict[str, Any]]] = {}
    for row in deliveries:
        whole = {
            **row,
            "ins_used": ins.get(row["id"], row["ins_used"]),
            "prepared": prepared.get(row["id"]),
            "attempts": tries.get(row["id"], []),
            "expectations": awaited.get(row["id"], []),
        }
        owed.setdefault(row["message_seq"], []).append(whole)
    return [
        {
            "message": row,
            "body": _body(kept.get(row["seq"])),
            "deliveries": owed.get(row["seq"], []),
        }
        for row in messages
    ]


def _body(body: bytes | PermanentError | None) -> bytes | None:
    if isinstance(body, PermanentError):
        return sealed.ERASED if body.code == "encryption.erased" else None
    return body


def _prepared(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    rows = _rows(connection, "prepared", "delivery_id", ids, "delivery_id")
    values = [(b"%d" % row["delivery_id"], bytes(row["body"])) for row in rows]
    opened = sealing.open_all(connection, outbox.PREPARED, values)
    return {
        row["delivery_id"]: {**row, "body": _body(body)}
        for row, body in zip(rows, opened, strict=True)
    }


def _ins(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The INS that left with these deliveries; none where one was altered: then they go as they are stored."""
    try:
        return {number: "|".join(pair) for number, pair in outbox.ins_used(connection, ids).items()}
    except PermanentError:
        return {}


def _attempts(connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    rows = _rows(connection, "attempt", "delivery_id", ids, "delivery_id, number")
    stored = {(row["delivery_id"], row["number"]): row["answer"] for row in rows if row["answer"]}
    opened = partner_answers.opened(connection, stored)
    return [
        {**row, "answer": _body(opened.get((row["delivery_id"], row["number"])))} for row in rows
    ]


def key_of(message: Mapping[str, Any]) -> int:
    """The digest of source and control id, by which a message is found in an index."""
    return control_key(message["source"], message["control_id"], message["digest"])


def register(
    connection: Connection,
    made: Shelved,
    spans: Mapping[str, Sequence[tuple[int, int]]],
    counts: Mapping[tuple[int, str, str], int],
) -> None:
    """Note an archive that is whole on the disk. From this commit on its messages may be pruned."""
    connection.execute(
        archive.insert().values(
            name=made.name, month=made.month, first_seq=made.first_seq, last_seq=made.last_seq,
            messages=made.messages, deliveries=made.deliveries, size=made.size,
            sha256=bytes.fromhex(made.sha256), first_id=made.first_id, last_id=made.last_id,
            created_at=made.created_at,
        )
    )  # fmt: skip
    rows = [(kind, first, last, made.name) for kind, runs in spans.items() for first, last in runs]
    bulk.insert_rows(connection, archive_span, ("kind", "first", "last", "archive"), rows)
    bulk.insert_rows(
        connection,
        archive_day,
        ("archive", "day", "source", "fate", "n"),
        [(made.name, *key, n) for key, n in counts.items()],
    )


def next_name(connection: Connection, month: int) -> str:
    """The name of the next archive of a month: `2024-11-0001`."""
    shelved = connection.execute(
        text("SELECT count(*) AS n FROM archive WHERE month = :month"), {"month": month}
    ).scalar_one()
    return f"{month_text(month)}-{int(shelved) + 1:04d}"


def month_text(month: int) -> str:
    """`2024-11` for a month as `values.month_of` counts them."""
    return f"{2000 + month // 12:04d}-{month % 12 + 1:02d}"


def first_month(connection: Connection) -> int | None:
    """The month of the oldest message that is there."""
    seq = connection.execute(text("SELECT min(seq) FROM message")).scalar()
    return None if seq is None else int(seq) >> SEQ_MONTH_SHIFT


def months_after(connection: Connection, month: int) -> int | None:
    """The next month above `month` that has messages."""
    seq = connection.execute(
        text("SELECT min(seq) FROM message WHERE seq >= :first"),
        {"first": (month + 1) << SEQ_MONTH_SHIFT},
    ).scalar()
    return None if seq is None else int(seq) >> SEQ_MONTH_SHIFT


# --- what archives there are --------------------------------------------------------------------------------------


def shelved(connection: Connection, condition: str = "", **given: Any) -> list[Shelved]:
    """Archives in the order of their names; `condition` is of our own words."""
    where = f" WHERE {condition}" if condition else ""
    rows = connection.execute(text(f"SELECT * FROM archive{where} ORDER BY name"), given)  # noqa: S608
    return [_shelved(row) for row in rows]


def holding(connection: Connection, seq: int) -> str | None:
    """The archive that holds the message of a number."""
    span = _span_over(connection, MESSAGE, seq)
    return None if span is None else span[2]


def maybe_holding(connection: Connection, message_id: str) -> list[Shelved]:
    """Archives in whose range an id lies: look into their indexes."""
    return shelved(connection, "first_id <= :id AND last_id >= :id", id=message_id)


def of_ids(connection: Connection, low: str, high: str) -> list[Shelved]:
    """Archives that may hold ids of a range."""
    return shelved(connection, "first_id < :high AND last_id >= :low", low=low, high=high)


def of_day(connection: Connection, day: int) -> list[Shelved]:
    """Archives that hold messages of a day."""
    return shelved(
        connection, "name IN (SELECT archive FROM archive_day WHERE day = :day)", day=day
    )


def counts_of_day(connection: Connection, day: int) -> dict[tuple[str, str], int]:
    """(source, fate) -> messages of a day in archives, `received` not among the fates."""
    rows = connection.execute(
        text(
            "SELECT source, fate, sum(n) AS n FROM archive_day WHERE day = :day GROUP BY source, fate"
        ),
        {"day": day},
    )
    return {(row.source, row.fate): int(row.n) for row in rows}


def counts_of(connection: Connection, name: str, day: int) -> dict[tuple[int, str, str], int]:
    """(day, source, fate) -> messages of a day in one archive."""
    rows = connection.execute(
        text("SELECT source, fate, n FROM archive_day WHERE archive = :name AND day = :day"),
        {"name": name, "day": day},
    )
    return {(day, row.source, row.fate): int(row.n) for row in rows}


def is_held(column: str, kind: str) -> str:
    """The condition that an archive holds the number in `column`; one probe, since spans do not overlap."""
    return (
        f"coalesce((SELECT s.last FROM archive_span s WHERE s.kind = '{kind}' AND s.first <= {column} "  # noqa: S608
        f"ORDER BY s.first DESC LIMIT 1), -1) >= {column}"
    )


def spans(connection: Connection, name: str, kind: str) -> list[tuple[int, int]]:
    """The runs of numbers of one archive, in order."""
    rows = connection.execute(
        text(
            "SELECT first, last FROM archive_span WHERE archive = :name AND kind = :kind ORDER BY first"
        ),
        {"name": name, "kind": kind},
    )
    return [(int(row.first), int(row.last)) for row in rows]


def _span_over(connection: Connection, kind: str, number: int) -> tuple[int, int, str] | None:
    row = connection.execute(
        text(
            "SELECT first, last, archive FROM archive_span WHERE kind = :kind AND first <= :number "
            "ORDER BY first DESC LIMIT 1"
        ),
        {"kind": kind, "number": number},
    ).first()
    if row is None or row.last < number:
        return None
    return int(row.first), int(row.last), row.archive


def _next_span(connection: Connection, kind: str, after: int) -> int | None:
    first = connection.execute(
        text("SELECT min(first) FROM archive_span WHERE kind = :kind AND first > :after"),
        {"kind": kind, "after": after},
    ).scalar()
    return None if first is None else int(first)


def _rows(
    connection: Connection, table: str, column: str, values: Sequence[int], order: str
) -> list[dict[str, Any]]:
    if not values:
        return []
    within, given = any_of(connection, column, values)
    rows = connection.execute(
        text(f"SELECT * FROM {table} WHERE {within} ORDER BY {order}"),  # noqa: S608 - our own words
        given,
    )
    return [{name: _plain(value) for name, value in row.items()} for row in rows.mappings()]


def _plain(value: Any) -> Any:
    """A stored value as JSON has it; bytes become Base64 there."""
    if value is None or isinstance(value, int | str | bytes):
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    return str(value)


def _shelved(row: Any) -> Shelved:
    def at(value: int | None) -> datetime | None:
        return None if value is None else from_micros(int(value))

    return Shelved(
        row.name, int(row.month), int(row.first_seq), int(row.last_seq), int(row.messages),
        int(row.deliveries), int(row.size), bytes(row.sha256).hex(), str(row.first_id), str(row.last_id),
        from_micros(int(row.created_at)), at(row.bodies_pruned_at), at(row.deliveries_pruned_at),
        at(row.messages_pruned_at),
    )  # fmt: skip


def pruned(connection: Connection, name: str, stage: str, now: datetime) -> None:
    """Note that a stage (`bodies`, `deliveries`, `messages`) of an archive is done."""
    connection.execute(
        text(f"UPDATE archive SET {stage}_pruned_at = :now WHERE name = :name"),  # noqa: S608
        {"now": to_micros(now), "name": name},
    )
