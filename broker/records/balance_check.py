"""What `reconcile` counts again: messages of a day by index range, and what must stand beside each of them.

Read-only, for the scheduler and `carnet reconcile`. A day is found by the message ids, which begin with the
millisecond of reception (UUIDv7), so no statement walks the whole ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.types import to_micros
from broker.records import archiving
from broker.records.tallies import FATES_BY_STATE
from broker.values import SETTLED, MessageId, State

SHOWN = 20
"""How many message ids a finding names."""

_MARGIN = timedelta(minutes=30)
"""A message is counted in the day of its commit, its id has the instant of its arrival: they differ by a wait."""


@dataclass(frozen=True, slots=True)
class Span:
    """One day of reception: its number (20261123) and the bounds of the message ids it may have."""

    day: int
    low: str
    high: str


def span(day: int, zone: ZoneInfo) -> Span:
    """The ids of a day in the site's time zone. Raises ValueError when `day` is no calendar day."""
    start = datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=zone)
    end = (start + timedelta(days=1)).astimezone(UTC) + _MARGIN
    return Span(day, _lowest_id(start.astimezone(UTC) - _MARGIN), _lowest_id(end))


def hold_snapshot(connection: Connection) -> None:
    """Let all following statements of this transaction see one instant. Call it before the first one."""
    if not is_sqlite(connection):
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def recount(connection: Connection, of: Span) -> dict[tuple[str, str], int]:
    """(source, fate) -> messages of the day by their rows, `received` included; what is archived counts as it was then."""
    counts = archiving.counts_of_day(connection, of.day)
    for (source, _), n in list(counts.items()):
        counts[(source, "received")] = counts.get((source, "received"), 0) + n
    beside = f" AND NOT {archiving.is_held('m.seq', archiving.MESSAGE)}" if counts else ""
    rows = connection.execute(
        text(
            f"SELECT m.source, m.state, count(*) AS n {day_from(connection)}{beside} GROUP BY m.source, m.state"
        ),
        day_given(of),
    )
    for row in rows:
        fate = FATES_BY_STATE.get(row.state, f"state {row.state}")
        counts[(row.source, fate)] = counts.get((row.source, fate), 0) + int(row.n)
        counts[(row.source, "received")] = counts.get((row.source, "received"), 0) + int(row.n)
    return counts


def no_such_state(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day in a state that does not exist."""
    known = ", ".join(str(int(state)) for state in FATES_BY_STATE)
    return _ids(connection, of, f"m.state NOT IN ({known})")


def vanished(
    connection: Connection, of: Span, archived: Collection[str] = frozenset()
) -> list[MessageId]:
    """Messages that the trail says were received that day, and that are neither there nor `archived`."""
    is_there = f"SELECT 1 FROM message m WHERE m.id = {_as_id(connection, 'a.subject')}"  # noqa: S608
    rows = connection.execute(
        text(
            "SELECT a.subject FROM audit_entry a WHERE a.subject >= :low AND a.subject < :high "  # noqa: S608
            f"AND a.act = 'received' AND NOT EXISTS ({is_there}) LIMIT :most"
        ),
        {"low": of.low, "high": of.high, "most": SHOWN + len(archived)},
    )
    found = (MessageId(row.subject) for row in rows if row.subject not in archived)
    return list(islice(found, SHOWN))


def taken_back(connection: Connection, of: Span) -> list[MessageId]:
    """Unsettled messages of the day that the trail calls settled, and that no person released since."""
    subject = _text_id(connection)
    settled = ", ".join(f"'{fate}'" for state, fate in FATES_BY_STATE.items() if state > SETTLED)
    return _ids(
        connection,
        of,
        f"m.state < 10 AND EXISTS (SELECT 1 FROM audit_entry a WHERE a.subject = {subject} AND a.act IN ({settled}) "  # noqa: S608
        f"AND NOT EXISTS (SELECT 1 FROM audit_entry r WHERE r.subject = {subject} AND r.act = 'released' "
        "AND r.n > a.n))",
    )


def without_bytes(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day whose bytes are not there, nor in an archive."""
    return _ids(
        connection,
        of,
        "NOT EXISTS (SELECT 1 FROM message_body b WHERE b.seq = m.seq) "  # noqa: S608
        f"AND NOT {archiving.is_held('m.seq', archiving.MESSAGE)}",
    )


def without_entry(
    connection: Connection, of: Span, act: str, states: Sequence[int] = ()
) -> list[MessageId]:
    """Messages of the day (in one of `states`) that the trail has no entry `act` for."""
    missing = (
        "NOT EXISTS (SELECT 1 FROM audit_entry a WHERE a.subject = "  # noqa: S608 - our own words
        f"{_text_id(connection)} AND a.act = :act)"
    )
    return _ids(connection, of, _in_states(states) + missing, act=act)


def entries_twice(connection: Connection, of: Span, act: str) -> list[MessageId]:
    """Messages of the day that have the entry `act` more than once."""
    twice = (
        f"(SELECT count(*) FROM audit_entry a WHERE a.subject = {_text_id(connection)} "  # noqa: S608
        "AND a.act = :act) > 1"
    )
    return _ids(connection, of, twice, act=act)


def filed_without_document(connection: Connection, of: Span) -> list[MessageId]:
    """Filed messages of the day that no document names and that deleted none either."""
    deleted = (
        "SELECT 1 FROM document d JOIN audit_entry a ON a.subject = "  # noqa: S608 - our own words
        f"{_text_id(connection, 'd')} WHERE d.patient = m.person AND d.availability = 'deleted' "
        "AND a.act = 'deleted' AND a.actor = m.source "
        "AND coalesce(a.control_id, '') = coalesce(m.control_id, '')"
    )
    nothing = "m.state = 10 AND NOT EXISTS (SELECT 1 FROM document d WHERE d.message_seq = m.seq)"
    return _ids(connection, of, f"{nothing} AND NOT EXISTS ({deleted})")


def documents_without_entry(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day with a document in the record that the trail does not call filed or replaced."""
    entry = (
        "SELECT 1 FROM audit_entry a WHERE a.act IN ('filed', 'replaced') AND a.subject = "  # noqa: S608
        + _text_id(connection, "d")
    )
    return _ids(
        connection,
        of,
        f"EXISTS (SELECT 1 FROM document d WHERE d.message_seq = m.seq AND NOT EXISTS ({entry}))",  # noqa: S608
    )


def document_without_filing(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day that a document names although they are not filed."""
    return _ids(
        connection,
        of,
        "m.state <> 10 AND EXISTS (SELECT 1 FROM document d WHERE d.message_seq = m.seq)",
    )


def replay_of_nothing(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day that say they are a replay of one that is not there."""
    return _ids(
        connection,
        of,
        "m.replay_of IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message o WHERE o.seq = m.replay_of) "  # noqa: S608
        f"AND NOT ({archiving.is_held('m.replay_of', archiving.MESSAGE)})",
    )


def replay_without_entry(connection: Connection, of: Span) -> list[MessageId]:
    """Replays of the day that the trail does not say anybody asked for."""
    missing = (
        "NOT EXISTS (SELECT 1 FROM audit_entry a WHERE a.subject = "  # noqa: S608 - our own words
        f"{_text_id(connection)} AND a.act = 'replayed')"
    )
    return _ids(connection, of, f"m.replay_of IS NOT NULL AND {missing}")


def credited_twice(connection: Connection, of: Span) -> list[MessageId]:
    """Answers of the day that are credited to more than one delivery."""
    return _ids(
        connection,
        of,
        "(SELECT count(DISTINCT e.delivery_id) FROM expectation e WHERE e.answer_seq = m.seq "
        "AND e.answer_seq IS NOT NULL) > 1",
    )


def answer_to_nothing(connection: Connection, of: Span) -> list[MessageId]:
    """Messages of the day that count as matched answers and name no message that they answer."""
    return _ids(
        connection,
        of,
        f"m.state = {int(State.ANSWER_MATCHED)} AND NOT EXISTS (SELECT 1 FROM message q WHERE q.seq = m.answers) "  # noqa: S608
        f"AND NOT (m.answers IS NOT NULL AND {archiving.is_held('m.answers', archiving.MESSAGE)})",
    )


def overdue(connection: Connection, before: datetime, limit: int = SHOWN) -> list[MessageId]:
    """Messages that should have gone on by themselves and that nothing touched since `before`, oldest first.

    Held messages, and those that wait behind one in their lane, wait for a person and are not among them.
    """
    rows = connection.execute(
        text(
            "SELECT m.id FROM message m WHERE m.state < 10 AND m.state IN (1, 2, 3) AND m.state_since < :cut "
            "AND (m.next_try_at IS NULL OR m.next_try_at < :cut) "
            "AND NOT (m.state = 2 AND EXISTS (SELECT 1 FROM lane l WHERE l.kind = 'filing' "
            "AND l.destination = '' AND l.lane = m.lane)) LIMIT :n"
        ),
        {"cut": to_micros(before), "n": limit},
    )
    return [MessageId(str(row.id)) for row in rows]


def _ids(connection: Connection, of: Span, condition: str, **given: Any) -> list[MessageId]:
    rows = connection.execute(
        text(f"SELECT m.id {day_from(connection)} AND {condition} LIMIT :shown"),
        {**day_given(of), **given, "shown": SHOWN},
    )
    return [MessageId(str(row.id)) for row in rows]


def day_from(connection: Connection) -> str:
    """The messages of a day, as `m`, found by their ids; its parameters are `day_given`."""
    if is_sqlite(connection):
        return "FROM message m WHERE m.id >= :low AND m.id < :high AND m.day = :day"
    return "FROM message m WHERE m.id >= CAST(:low AS uuid) AND m.id < CAST(:high AS uuid) AND m.day = :day"


def _text_id(connection: Connection, alias: str = "m") -> str:
    """An id as the trail writes its subjects."""
    return f"{alias}.id" if is_sqlite(connection) else f"CAST({alias}.id AS text)"


def _as_id(connection: Connection, column: str) -> str:
    """A subject of the trail as an id; the caller made sure that it is one."""
    if is_sqlite(connection):
        return column
    return f"CASE WHEN a.act = 'received' THEN CAST({column} AS uuid) END"


def _in_states(states: Sequence[int]) -> str:
    return f"m.state IN ({', '.join(str(int(state)) for state in states)}) AND " if states else ""


def day_given(of: Span) -> dict[str, Any]:
    """The parameters of `day_from`."""
    return {"day": of.day, "low": of.low, "high": of.high}


def _lowest_id(instant: datetime) -> str:
    text_ = f"{int(instant.timestamp() * 1000):012x}" + "0" * 20
    return f"{text_[:8]}-{text_[8:12]}-{text_[12:16]}-{text_[16:20]}-{text_[20:]}"
