"""A ledger full of generated rows: messages of invented sources with their tallies, audit entries, documents and keys.

Rows are written by bulk insert in the shape intake and the pipeline leave them; no person stands behind any of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text

from broker.database import bulk, migrate, partitions, sequences
from broker.database.engine import is_sqlite, open_engine, writing
from broker.database.schema import (
    access_line,
    account,
    account_due,
    account_event,
    attempt,
    audit_entry,
    business_key,
    control,
    correlation,
    delivery,
    document,
    expectation,
    lane,
    message,
    message_body,
    notice,
    patient,
    source_now,
    tally_day,
    visit,
)
from broker.database.types import to_micros
from broker.records import correlations
from broker.records.messages import day_of
from broker.records.receptions import control_key
from broker.records.tallies import FATES_BY_STATE
from broker.values import State, first_seq, month_of, uuid7

PARIS = ZoneInfo("Europe/Paris")
START = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
DAYS = 20
SOURCES = tuple(f"lab{n:02d}" for n in range(20))
_BATCH = 20_000

_MESSAGE = (
    "seq", "id", "source", "received_at", "day", "kind", "answer_code", "format", "type", "size", "sha256", "digest",
    "control_id", "lane", "state", "state_since", "reason", "trail",
)  # fmt: skip
_DOCUMENT = (
    "id", "patient", "series", "kind", "status", "availability", "sort_at", "filed_at", "masked_ps",
    "hidden_from_reps", "confidentiality", "deposited_by", "size", "message_seq",
)  # fmt: skip
_AUDIT = ("n", "at", "act", "actor_kind", "actor", "subject")


@dataclass(frozen=True, slots=True)
class Row:
    """One generated message."""

    seq: int
    id: str
    source: str
    at: datetime
    state: State
    reason: str | None
    control_id: str


def new(url: str) -> Engine:
    """An empty ledger of the current schema."""
    engine = open_engine(url)
    migrate.upgrade(engine, START)
    return engine


def fill(engine: Engine, count: int, *, seed: int = 7) -> list[Row]:
    """Generate `count` messages over DAYS days and SOURCES, and everything that stands beside them.

    Returns the last 2,000 rows.
    """
    last: list[Row] = []
    generated = _rows(count, Random(seed))
    entry = first_seq(month_of(START)) + 1
    while batch := list(islice(generated, _BATCH)):
        with writing(engine) as connection:
            partitions.ensure(connection, batch[0].at)
            entry = write(connection, batch, entry)
        last = [*last, *batch][-2_000:]
    settle_statistics(engine)
    return last


def write(connection: Connection, rows: list[Row], entry: int) -> int:
    """Write rows and what belongs beside them; `entry` is the first free audit number. Returns the next one."""
    bulk.insert_rows(connection, message, _MESSAGE, [_message(row) for row in rows])
    bulk.insert_rows(connection, message_body, ("seq", "body"), [(row.seq, b"x") for row in rows])
    received = [
        (control_key(row.source, row.control_id, row.seq), row.seq, row.seq) for row in rows
    ]
    bulk.insert_rows(connection, control, ("key", "digest", "seq"), received)
    filed = [row for row in rows if row.state == State.FILED]
    documents = [_document(row) for row in filed]
    bulk.insert_rows(connection, document, _DOCUMENT, documents)
    acts = [(row, "received", row.id) for row in rows]
    acts += [(row, "filed", str(made[0])) for row, made in zip(filed, documents, strict=True)]
    acts += [(row, FATES_BY_STATE[row.state], row.id) for row in rows if row.state > State.FILED]
    bulk.insert_rows(
        connection,
        audit_entry,
        _AUDIT,
        [
            (entry + n, to_micros(row.at), act, "machine", row.source, subject)
            for n, (row, act, subject) in enumerate(acts)
        ],
    )
    keys = [(row.seq % 5_000 + 1, row.seq, 1, 1) for row in rows]
    bulk.insert_rows(connection, business_key, ("digest", "seq", "kind", "key_version"), keys)
    counts: Counter[tuple[int, str, str, str]] = Counter()
    for row in rows:
        day = day_of(row.at, PARIS)
        counts[(day, row.source, "received", "gateway-0")] += 1
        counts[(day, row.source, FATES_BY_STATE[row.state], "worker-0")] += 1
    bulk.add_counts(
        connection,
        tally_day,
        ("day", "source", "fate", "writer", "n"),
        [(*key, n) for key, n in counts.items()],
    )
    seen = {row.source: to_micros(row.at) for row in rows}
    bulk.insert_missing(
        connection,
        source_now,
        ("source", "writer", "received_at"),
        [(source, "gateway-0", at) for source, at in sorted(seen.items())],
    )
    return entry + len(acts)


def deliver(engine: Engine, rows: list[Row], count: int) -> None:
    """Generate `count` deliveries to three destinations, one in a hundred parked, unknown, owed or tried again.

    The last of them writes to recipients. And a lane of filing that does not flow for one in fifty.
    """
    random = Random(11)
    base = first_seq(month_of(START)) + 1
    columns = (
        "id", "message_seq", "destination", "recipient", "intent", "lane", "state", "created_at", "settled_at",
        "next_try_at", "attempts", "reason",
    )  # fmt: skip
    made, tries, keys, awaited = [], [], [], []
    for n in range(count):
        row = rows[n % len(rows)]
        at = to_micros(row.at)
        state = random.choices(("sent", "parked", "unknown", "owed"), (97, 1, 1, 1))[0]
        is_open = state in ("unknown", "owed")
        made.append(
            (
                base + n, row.seq, f"partner{n % 3}", f"r{n % 5}@ville.invalid" if n % 3 == 2 else "", "new",
                n % 7_000 + 1, state, at, None if is_open else at,
                at if state == "owed" and n % 2 else None, 1, None if state == "sent" else "mllp.refused",
            )
        )  # fmt: skip
        tries.append((base + n, 1, at, at, state, n % 9_000))
        key = ("msh10+sender", f"{row.control_id}|lab|carnet")
        keys.append((correlations.digest_of(key), base + n, *key))
        stands = random.choices(("answered", "open", "overdue"), (97, 2, 1))[0]
        answer = row.seq if stands == "answered" else None
        awaited.append((base + n, "application", f"partner{n % 3}", at, stands, answer))
    blocked = [
        ("filing", "", n + 1, "held" if n % 2 else "waiting", 1, to_micros(START), "identity.conflict")
        for n in range(count // 50)
    ]  # fmt: skip
    with writing(engine) as connection:
        bulk.insert_rows(connection, delivery, columns, made)
        bulk.insert_rows(
            connection,
            attempt,
            ("delivery_id", "number", "started_at", "ended_at", "outcome", "sent_digest"),
            tries,
        )
        bulk.insert_rows(connection, correlation, ("digest", "delivery_id", "kind", "key"), keys)
        columns = ("delivery_id", "kind", "destination", "due_at", "state", "answer_seq")
        bulk.insert_rows(connection, expectation, columns, awaited)
        bulk.insert_rows(
            connection,
            lane,
            ("kind", "destination", "lane", "state", "head_seq", "since", "reason"),
            blocked,
        )
        sequences.reserve(connection, "delivery", count, START)
    settle_statistics(engine)


_SNAPSHOT = '{"kind":"professional","id":"p"}'


def spaces(engine: Engine, count: int) -> None:
    """Generate `count` patients with a space that nothing is due to, a visit, a notice that was sent; one in 500 is due."""
    at = to_micros(START)
    far = at + 10 * 365 * 86_400_000_000
    base = first_seq(month_of(START)) + 1
    with writing(engine) as connection:
        columns = (
            "id", "created_at", "updated_at", "account", "account_since", "traits", "traits_digest",
        )  # fmt: skip
        people = [(n, at, at, "active", at, b"{}", 7_919 * n) for n in range(1, count + 1)]
        bulk.insert_rows(connection, patient, columns, people)
        rows = [(n, "active", at, 1) for n in range(1, count + 1)]
        bulk.insert_rows(connection, account, ("patient", "state", "since", "events"), rows)
        columns = (
            "patient", "n", "transition", "from_state", "to_state", "actor_kind", "actor", "channel", "rule", "at",
        )  # fmt: skip
        steps = [
            (n, 1, "T5", "presumed", "active", "operator", "jd", "phone", "R.1111-32", at)
            for n in range(1, count + 1)
        ]
        bulk.insert_rows(connection, account_event, columns, steps)
        dates = [(n, "T12", far if n % 500 else at + n) for n in range(1, count + 1)]
        bulk.insert_rows(connection, account_due, ("patient", "name", "due_at"), dates)
        columns = (
            "id", "patient", "actor_kind", "actor", "actor_snapshot", "mode", "started", "listed", "read",
            "first_of_actor", "shown_to",
        )  # fmt: skip
        step = DAYS * 86_400_000_000 // count
        visits = [
            (
                base + n,
                n,
                "professional",
                "p",
                _SNAPSHOT,
                "normal",
                at + n * step,
                1,
                0,
                True,
                "holder",
            )
            for n in range(1, count + 1)
        ]
        bulk.insert_rows(connection, visit, columns, visits)
        lines = [(base + n, 1, at + n * step, "list") for n in range(1, count + 1)]
        bulk.insert_rows(connection, access_line, ("visit", "n", "at", "act"), lines)
        columns = (
            "id", "patient", "kind", "cause", "day", "lines", "created_at", "due_at", "state",
        )  # fmt: skip
        told = [
            (n, n, "first_access", "p", day_of(START + n * step * timedelta(microseconds=1), PARIS), 1, at, at,
             "sent" if n % 500 else "due")
            for n in range(1, count + 1)
        ]  # fmt: skip
        bulk.insert_rows(connection, notice, columns, told)
    settle_statistics(engine)


def settle_statistics(engine: Engine) -> None:
    """Let the planner know the tables, as autovacuum does in time."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not is_sqlite(connection):
            connection.execute(text("VACUUM ANALYZE"))


def one(
    number: int, at: datetime, state: State, *, source: str = "lab00", reason: str | None = None
) -> Row:
    """One message by hand: the `number`-th of its month."""
    return Row(first_seq(month_of(at)) + number, uuid7(at), source, at, state, reason, f"C{number}")


def _rows(count: int, random: Random) -> Iterator[Row]:
    step = timedelta(days=DAYS) / max(count, 1)
    base = first_seq(month_of(START)) + 1
    for n in range(count):
        at = START + n * step
        state, reason = _fate(random)
        yield Row(
            base + n,
            uuid7(at),
            random.choice(SOURCES),
            at,
            state,
            reason,
            f"C{n % (count // 2 + 1)}",
        )


def _fate(random: Random) -> tuple[State, str | None]:
    lot = random.random()
    for share, state, reason in _FATES:
        if lot < share:
            return state, reason
        lot -= share
    return State.FILED, None


_FATES = (
    (0.02, State.FILTERED, "account.opposed"),
    (0.003, State.PARKED, "identity.missing"),
    (0.002, State.PARKED, "mapping.none"),
    (0.002, State.HELD, "control_id.conflict_held"),
    (0.002, State.RECEIVED, None),
    (0.001, State.WAITING, None),
    (0.01, State.DELIVERED_ONLY, "account.closed"),
)


def _message(row: Row) -> tuple[object, ...]:
    at = to_micros(row.at)
    return (
        row.seq, row.id, row.source, at, day_of(row.at, PARIS), "message", "accepted", "hl7v2", "ORU^R01", 1, b"\0" * 32,
        row.seq, row.control_id, row.seq % 900 + 1, int(row.state), at, row.reason, "",
    )  # fmt: skip


def _document(row: Row) -> tuple[object, ...]:
    at = to_micros(row.at)
    return (
        uuid7(row.at), row.seq % 900, row.seq, "result_report", "final", "available", at, at, False, False, "N",
        "professional", 1, row.seq,
    )  # fmt: skip
