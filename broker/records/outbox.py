"""The outbox: what is owed to whom, in which order, every attempt, and what came back.

Owed in the transaction that files; sent by couriers. A lane is (destination, patient): a later delivery of a lane
never goes before an earlier one that is unsettled. A delivery in a courier's hands is marked with its journal
(`claimed_by`); of one whose courier died, `broker.delivery` says what is known. An unknown outcome is shown as unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from broker.contracts import Work
from broker.database import bulk, sequences, together
from broker.database.schema import OPEN_BY_KEY, attempt, delivery, prepared
from broker.database.types import from_micros, to_micros
from broker.encryption import findable, sealing
from broker.errors import PermanentError, TransientError
from broker.records import bodies, partner_answers
from broker.records.lookups import among, any_of, any_text
from broker.values import Lane, month_of

MEDIA = {
    "hl7v2": "x-application/hl7-v2+er7",
    "cda": "application/cda+xml",
    "fhir-r4": "application/fhir+json",
    "xdm": "application/zip",
}
"""Media type of a message sent on as it came, when its sender gave none."""

STATES = {
    "sent": "sent",
    "refused": "parked",
    "expired": "parked",
    "unknown": "unknown",
    "failed": "owed",
    "withheld": "withheld",
}
"""Outcome of an attempt to the state of its delivery. `unknown` stays unsettled: its lane waits for a person."""

_SETTLED = ("sent", "parked", "withheld")
_OPEN = OPEN_BY_KEY.format("")
_HELD = (
    "EXISTS (SELECT 1 FROM lane l WHERE l.kind = 'outbound' AND l.destination = d.destination "
    "AND l.lane = d.lane AND l.state = 'held')"
)
_LEASED = (
    "SELECT d.id, d.lane, d.recipient, d.state, d.attempts, d.created_at, d.next_try_at, d.claimed_by, d.message_seq, "  # noqa: S608
    "d.destination, m.id AS message_id, "
    "COALESCE((SELECT length(p.body) FROM prepared p WHERE p.delivery_id = d.id), m.size) AS size, "
    "(SELECT a.outcome FROM attempt a WHERE a.delivery_id = d.id AND a.number = d.attempts) AS last_outcome, "
    f"{_HELD} AS held, "
    "d.lane <> 0 AND EXISTS (SELECT 1 FROM delivery e WHERE e.destination = d.destination AND e.lane = d.lane "
    "AND e.recipient = d.recipient AND e.settled_at IS NULL AND e.id < d.id AND NOT (%s)) AS behind "
    "FROM delivery d JOIN message m ON m.seq = d.message_seq "
    f"WHERE d.destination = :destination AND {OPEN_BY_KEY.format('d.')} AND %s ORDER BY d.id"
)

PREPARED, DELIVERY = b"prepared", b"delivery"
"""What is sealed in these tables: the bytes to send, and the INS they carry (`OID|value`)."""
Body = tuple[bytes | PermanentError, str]
"""What a delivery sends, or why it cannot be opened, and its media type."""

A_DAY = timedelta(days=1)
"""The longest wait for another try, where a destination's own is not given."""
CLAIM_BYTES = 16 * 1024 * 1024
"""A courier takes deliveries in hand up to so many bytes, and one at least."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One delivery to make. `body` None sends the message on as it came; else these prepared bytes.

    recipient: the address it goes to, at a destination that is owed a document once a recipient
    ins_used: the INS that `body` carries, as (OID, value): after a change of identity it tells what left under which
    refused: why it is parked from the beginning, a person's business, while the filing of the message goes on: the
        document has no form the destination takes, or (with `body`) its recipient may not be written to
    signs: that the message goes round in a circle (`records.circles`), kept as `hops`
    """

    message_seq: int
    document_id: str | None
    destination: str
    lane: Lane
    intent: str
    media: str
    body: bytes | None = field(default=None, repr=False)
    reason: str = ""
    recipient: str = field(default="", repr=False)
    ins_used: tuple[str, str] | None = field(default=None, repr=False)
    signs: int = 0
    refused: str = ""
    refused_at: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery taken in hand: `attempts` counts the one that begins now, `last_outcome` is that of the one before."""

    id: int
    lane: Lane
    attempts: int
    created_at: datetime
    message_seq: int
    message_id: str
    destination: str
    recipient: str = field(default="", repr=False)
    last_outcome: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A delivery that a courier took in hand, for its attempt number `attempts`, and never put down."""

    id: int
    attempts: int
    claimed_by: str
    claimed_at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one attempt. `outcome` is sent, failed, refused, expired, unknown or withheld (not sent: consent).

    With `next_try_at` the delivery is owed again from then on, whatever the outcome was; `answer_code` is the
    receiver's own (`AA`), `code` ours. `answer` is what it said, `answer_matched` whether it named the message (None:
    its protocol needs no name), `peer` where it was sent. `keys` are what later answers may name it by, `expects` the kinds that are awaited
    and until when.
    """

    delivery_id: int
    destination: str
    number: int
    started_at: datetime
    ended_at: datetime
    outcome: str
    code: str = ""
    place: str = ""
    answer: bytes = field(default=b"", repr=False)
    answer_code: str = ""
    answer_matched: bool | None = None
    peer: str = ""
    sent_digest: int | None = None
    next_try_at: datetime | None = None
    keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    expects: tuple[tuple[str, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one destination is still owed."""

    owed: int
    unknown: int
    oldest: datetime | None


def owe(connection: Connection, rows: Sequence[Owed], now: datetime) -> list[int]:
    """Owe deliveries, in order; returns their numbers. They exist if and only if the transaction commits."""
    if not rows:
        return []
    first = sequences.reserve(connection, "delivery", len(rows), now)
    created = to_micros(now)
    ins = findable.stored(connection, DELIVERY, {row.ins_used for row in rows if row.ins_used})
    columns = (
        "id", "message_seq", "document_id", "destination", "recipient", "intent", "lane", "state", "created_at",
        "settled_at", "reason", "reason_place", "ins_used", "hops", "attempts",
    )  # fmt: skip
    bulk.insert_rows(
        connection,
        delivery,
        columns,
        [
            (
                first + position, row.message_seq, row.document_id, row.destination, row.recipient, row.intent,
                row.lane, "parked" if row.refused else "owed", created, created if row.refused else None,
                row.refused or row.reason or None, row.refused_at or None,
                f"{row.ins_used[0]}|{ins[row.ins_used]}" if row.ins_used else None, row.signs, 0,
            )
            for position, row in enumerate(rows)
        ],
    )  # fmt: skip
    rendered = [
        (first + position, row.media, int(row.lane), row.body)
        for position, row in enumerate(rows)
        if row.body is not None
    ]
    bulk.insert_rows(
        connection,
        prepared,
        ("delivery_id", "media", "body"),
        sealed_rendering(connection, rendered, month_of(now)),
    )
    return list(range(first, first + len(rows)))


def sealed_rendering(
    connection: Connection, rendered: Sequence[tuple[int, str, int, bytes]], month: int
) -> list[tuple[int, str, bytes]]:
    """What was rendered (delivery, media, patient, bytes) under the key of its patient, or of the month for nobody's.

    Never packed: by its length in the row a courier knows how much it takes in hand (`CLAIM_BYTES`).
    """
    if not rendered:
        return []
    of_month = sealing.sealing_of_month(connection, PREPARED, month, packs=False)
    of_patients = iter(
        sealing.seal_of_patients(
            connection,
            PREPARED,
            [(patient, b"%d" % number, body) for number, _, patient, body in rendered if patient],
            packs=False,
        )
    )
    return [
        (number, media, next(of_patients) if patient else of_month(b"%d" % number, body))
        for number, media, patient, body in rendered
    ]


def ins_used(connection: Connection, ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """The INS, as (OID, value), that left or is to leave with each of these deliveries, where one does.

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    within, given = any_of(connection, "id", ids)
    rows = connection.execute(
        text(f"SELECT id, ins_used FROM delivery WHERE {within} AND ins_used IS NOT NULL"),  # noqa: S608
        given,
    ).all()
    pairs = [(oid, value) for oid, _, value in (row.ins_used.partition("|") for row in rows)]
    values = findable.opened(connection, DELIVERY, pairs)
    return {
        int(row.id): (oid, value) for row, (oid, _), value in zip(rows, pairs, values, strict=True)
    }


def recipients_of(
    connection: Connection, documents: Collection[str], destinations: Collection[str]
) -> dict[tuple[str, str], list[str]]:
    """(document, destination) -> whom the document was owed to there, each once, in that order."""
    within, given = any_text(connection, "x.id", documents, kind="uuid")
    of, also = any_text(connection, "o.destination", destinations, "destinations")
    rows = connection.execute(
        text(
            "SELECT o.document_id, o.destination, o.recipient FROM document x JOIN delivery o "  # noqa: S608
            f"ON o.message_seq = x.message_seq AND o.document_id = x.id WHERE {within} AND {of} "
            "AND o.recipient <> '' ORDER BY o.id"
        ),
        {**given, **also},
    )
    found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in rows:
        found[(str(row.document_id), row.destination)][row.recipient] = None
    return {key: list(names) for key, names in found.items()}


def claim(
    connection: Connection,
    destination: str,
    ids: Collection[int],
    by: str,
    now: datetime,
    limit: int,
    longest: timedelta = A_DAY,
) -> list[Due]:
    """Take deliveries of `ids` in hand, at most `limit` and `CLAIM_BYTES`, in the order they are to be sent in.

    Of a lane its oldest open delivery, and those behind it as far as they are among `ids`: whoever sends them stops
    at the first of a lane that fails. None whose time has not come, that is held, in other hands, or whose outcome
    a person has to settle. A time further off than `longest`, the longest wait there is, was written by a clock that
    has gone back since: it has come.

    Raises: TransientError("delivery.raced") when another courier took one in the same instant.
    """
    if not ids:
        return []
    earlier, _ = any_of(connection, "e.id", ids)
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(
        text(_LEASED % (earlier, within)), {"destination": destination, **given}
    )
    taken = _flowing(rows, to_micros(now), to_micros(now + longest), limit)
    if not taken:
        return []
    chosen, given = any_of(connection, "id", [row.id for row in taken])
    changed = connection.execute(
        text(
            "UPDATE delivery SET attempts = attempts + 1, claimed_by = :by, claimed_at = :now "  # noqa: S608
            f"WHERE {chosen} AND claimed_by IS NULL AND {_OPEN} AND state = 'owed'"
        ),
        {"by": by, "now": to_micros(now), **given},
    )
    if changed.rowcount != len(taken):
        raise TransientError("delivery.raced", where=destination)
    return [_due(row) for row in taken]


def _flowing(rows: Iterable[Any], now: int, furthest: int, limit: int) -> list[Any]:
    """Of leased deliveries in order, those that may go now."""
    taken: list[Any] = []
    stopped: set[tuple[int, str]] = set()
    size = 0
    for row in rows:
        lane = (row.lane, row.recipient)
        is_owed = row.state == "owed" and row.claimed_by is None
        is_time = row.next_try_at is None or not now < row.next_try_at <= furthest
        if not is_owed or not is_time or row.held or row.behind or lane in stopped:
            if row.lane:
                stopped.add(lane)
            continue
        if taken and (len(taken) >= limit or size + row.size > CLAIM_BYTES):
            break
        size += row.size
        taken.append(row)
    return taken


def ahead(
    connection: Connection, destination: str, ids: Collection[int], now: datetime, limit: int
) -> list[int]:
    """Deliveries that `ids` wait for: earlier ones of the same lanes, where the first of the lane may go now; oldest first.

    What the queue has lost is among them. As long as it has those behind it is never empty, so nothing is swept.
    """
    within, given = any_of(connection, "d.id", ids)
    rows = connection.execute(text(_AHEAD % within), {"destination": destination, "now": to_micros(now), "limit": limit, **given})  # fmt: skip
    return [int(row.id) for row in rows]


_AHEAD = (
    "SELECT e.id FROM (SELECT d.lane, d.recipient, max(d.id) AS last FROM delivery d "
    "WHERE d.destination = :destination AND d.lane <> 0 AND %s GROUP BY d.lane, d.recipient) AS l "
    "JOIN delivery h ON h.id = (SELECT f.id FROM delivery f WHERE f.destination = :destination AND f.lane = l.lane "
    "AND f.recipient = l.recipient AND f.settled_at IS NULL ORDER BY f.id LIMIT 1) "
    "JOIN delivery e ON e.destination = :destination AND e.lane = l.lane AND e.recipient = l.recipient "
    "WHERE h.state = 'owed' AND h.claimed_by IS NULL AND (h.next_try_at IS NULL OR h.next_try_at <= :now) "
    "AND e.settled_at IS NULL AND e.id < l.last ORDER BY e.id LIMIT :limit"
)


def withdraw(connection: Connection, ids: Collection[int], by: str) -> None:
    """Put down deliveries that `by` took in hand and did not begin: they are owed as before."""
    if not ids:
        return
    chosen, given = any_of(connection, "id", ids)
    connection.execute(
        text(
            "UPDATE delivery SET attempts = attempts - 1, claimed_by = NULL, claimed_at = NULL "  # noqa: S608
            f"WHERE {chosen} AND claimed_by = :by"
        ),
        {"by": by, **given},
    )


def unsettled(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of `ids` that will still be sent without anybody's help."""
    if not ids:
        return set()
    within, given = any_of(connection, "id", ids)
    rows = connection.execute(
        text(f"SELECT id FROM delivery WHERE {within} AND {_OPEN} AND state = 'owed'"),  # noqa: S608
        given,
    )
    return {int(row.id) for row in rows}


def overdue(
    connection: Connection,
    before: datetime,
    limit: int,
    destinations: Collection[str] | None = None,
) -> dict[str, list[Work]]:
    """Owed deliveries nobody touched since `before`, by destination, oldest first: what the sweep puts back.

    With `destinations` only theirs: what is owed to one that is no longer configured must not fill the limit for ever.
    """
    cut = to_micros(before)
    within, given = (
        ("1 = 1", {}) if destinations is None else any_text(connection, "destination", destinations)
    )
    rows = connection.execute(
        text(
            "SELECT id, lane, destination FROM delivery WHERE settled_at IS NULL AND state = 'owed' "  # noqa: S608
            f"AND {within} AND created_at < :cut AND (next_try_at IS NULL OR next_try_at < :cut) "
            "ORDER BY id LIMIT :limit"
        ),
        {"cut": cut, "limit": limit, **given},
    )
    found: dict[str, list[Work]] = defaultdict(list)
    for row in rows:
        found[row.destination].append(Work(int(row.id), Lane(int(row.lane))))
    return dict(found)


def bodies_of(connection: Connection, items: Sequence[Due | Interrupted]) -> dict[int, Body]:
    """Delivery -> (bytes, media) to send: as prepared, else the message as it came; the error of what cannot be opened.

    One that is missing has no content any more (pruned by retention), or was to be sent in a form it could not be
    given: the message's own bytes are never sent in its place.
    """
    if not items:
        return {}
    within, given = among(connection, "delivery_id", [item.id for item in items])
    question = f"SELECT delivery_id, media, body FROM prepared WHERE {within}"  # noqa: S608
    made = together.ask_bytes(connection, question, (given,))
    opened = sealing.open_all(connection, PREPARED, [(b"%d" % n, body) for n, _, body in made])
    found: dict[int, Body] = {
        number: (body, media) for (number, media, _), body in zip(made, opened, strict=True)
    }
    rest = [item.id for item in items if item.id not in found]
    if rest:
        within, given = among(connection, "d.id", rest)
        question = (
            "SELECT d.id, m.seq, m.media, m.format, m.sha256, b.body FROM delivery d "  # noqa: S608
            "JOIN message m ON m.seq = d.message_seq JOIN message_body b ON b.seq = m.seq "
            f"WHERE {within} AND d.document_id IS NULL"
        )
        own = together.ask_bytes(connection, question, (given,))
        stored = {seq: (sha256, body) for _, seq, _, _, sha256, body in own}
        bodies_by_seq = bodies.opened(connection, [(seq, *one) for seq, one in stored.items()])
        for number, seq, media, format_, _, _ in own:
            named = media or MEDIA.get(format_, "application/octet-stream")
            found[number] = (bodies_by_seq[seq], named)
    return found


def interrupted(
    connection: Connection, destination: str, ids: Collection[int] | None = None
) -> list[Interrupted]:
    """Deliveries (of `ids`, or all) in somebody's hands: their courier died over them, if it is not at work elsewhere."""
    within, given = ("1 = 1", {}) if ids is None else any_of(connection, "d.id", ids)
    is_open = "d.settled_at IS NULL" if ids is None else OPEN_BY_KEY.format("d.")
    rows = connection.execute(
        text(
            "SELECT d.id, d.attempts, d.claimed_by, d.claimed_at, m.id AS message_id "  # noqa: S608
            "FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.destination = :destination "
            f"AND {is_open} AND {within} AND d.claimed_by IS NOT NULL ORDER BY d.id"
        ),
        {"destination": destination, **given},
    )
    return [
        Interrupted(
            int(r.id),
            int(r.attempts),
            r.claimed_by,
            from_micros(int(r.claimed_at)),
            str(r.message_id),
        )
        for r in rows
    ]


def in_hand(connection: Connection, ids: Collection[int], by: str) -> set[int]:
    """Those of `ids` that are in the hands of `by`."""
    if not ids:
        return set()
    within, given = any_of(connection, "id", ids)
    rows = connection.execute(
        text(f"SELECT id FROM delivery WHERE {within} AND claimed_by = :by"),  # noqa: S608
        {"by": by, **given},
    )
    return {int(row.id) for row in rows}


_STANDS = ("state", "settled_at", "next_try_at", "reason", "reason_place", "answer_code",
           "claimed_by", "claimed_at")  # fmt: skip
_ATTEMPT = ("delivery_id", "number", "started_at", "ended_at", "outcome", "answer_code", "answer_matched",
            "latency_us", "peer", "sent_digest", "answer")  # fmt: skip


def note(connection: Connection, rows: Sequence[Ended]) -> None:
    """Note how attempts ended: one row each, and where their deliveries stand now; put them down."""
    if not rows:
        return
    kept = partner_answers.stored(
        connection, [((row.delivery_id, row.number), row.ended_at, row.answer) for row in rows]
    )
    made = [_attempt_row(row, answer) for row, answer in zip(rows, kept, strict=True)]
    bulk.insert_rows(connection, attempt, _ATTEMPT, made)
    deliveries = []
    for row in sorted(rows, key=lambda row: row.delivery_id):
        state = "owed" if row.next_try_at is not None else STATES[row.outcome]
        deliveries.append(
            (
                row.delivery_id,
                state,
                to_micros(row.ended_at) if state in _SETTLED else None,
                row.next_try_at and to_micros(row.next_try_at),
                None if state == "sent" else row.code or None,
                row.place or None,
                row.answer_code or (row.code if state == "sent" else None) or None,
                None,
                None,
            )
        )
    in_hand = "t.claimed_by IS NOT NULL"
    bulk.update_rows(connection, delivery, "id", _STANDS, deliveries, where=in_hand)


def _attempt_row(row: Ended, answer: bytes | None) -> tuple[Any, ...]:
    return (
        row.delivery_id,
        row.number,
        to_micros(row.started_at),
        to_micros(row.ended_at),
        row.outcome,
        row.answer_code or row.code or None,
        row.answer_matched,
        min(to_micros(row.ended_at) - to_micros(row.started_at), 2**31 - 1),
        row.peer or None,
        row.sent_digest,
        answer,
    )


def give_up(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Note those of `ids` that are in the hands of couriers that will never come back: their outcome is unknown."""
    within, given = any_of(connection, "id", ids)
    rows = connection.execute(
        text(
            "SELECT id, destination, attempts, claimed_at FROM delivery "  # noqa: S608
            f"WHERE {within} AND claimed_by IS NOT NULL AND {_OPEN}"
        ),
        given,
    )
    ended = [
        Ended(
            int(row.id), row.destination, int(row.attempts), from_micros(int(row.claimed_at)), now,
            "unknown", code="delivery.interrupted",
        )
        for row in rows
    ]  # fmt: skip
    note(connection, ended)


def backlog(connection: Connection) -> dict[str, Backlog]:
    """What each destination is still owed, by the index of open deliveries."""
    rows = connection.execute(
        text(
            "SELECT destination, sum(CASE WHEN state = 'owed' THEN 1 ELSE 0 END) AS owed, "
            "sum(CASE WHEN state = 'unknown' THEN 1 ELSE 0 END) AS unknown, min(created_at) AS oldest "
            "FROM delivery WHERE settled_at IS NULL GROUP BY destination"
        )
    )
    return {
        row.destination: Backlog(int(row.owed), int(row.unknown), from_micros(int(row.oldest)))
        for row in rows
    }


def _due(row: Any) -> Due:
    return Due(
        id=int(row.id),
        lane=Lane(int(row.lane)),
        attempts=int(row.attempts) + 1,
        created_at=from_micros(int(row.created_at)),
        message_seq=int(row.message_seq),
        message_id=str(row.message_id),
        destination=row.destination,
        recipient=row.recipient,
        last_outcome=row.last_outcome or "",
    )
