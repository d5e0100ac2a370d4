"""Which messages a run of replay takes, and the rows it makes of them. For `broker.replay` and `broker.shadow`.

A range of time is a range of numbers, found by probes of the primary key (numbers rise with the time of reception, to
within a wait): a run walks that range by its key, a window at a time, and never looks outside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from broker.database import sequences
from broker.database.engine import is_sqlite
from broker.database.types import from_micros, to_micros
from broker.records import bodies, tallies
from broker.records.lookups import any_of, any_text
from broker.values import Lane, MessageId, Seq, State, first_seq, month_of, uuid7

WINDOW = 500
"""Rows looked at by one statement."""

MARGIN = timedelta(minutes=30)
"""A message's number is given at its commit, its time is that of its arrival: they differ by a wait."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of time and the numbers it lies within; `low` is the first to be looked at, `top` the last."""

    since: datetime
    until: datetime
    low: int
    top: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that may be read again: where it stands, without a word of its content."""

    seq: Seq
    id: MessageId
    source: str
    received_at: datetime
    day: int
    format: str
    media: str
    type: str
    charset_declared: str
    sha256: bytes
    size: int
    control_id: str | None
    lane: Lane
    state: State
    reason: str | None
    person: int | None
    mapping_set: str | None
    is_replay: bool


_COLUMNS = (
    "seq, id, source, received_at, day, format, media, type, charset_declared, sha256, size, control_id, lane, "
    "state, reason, person, mapping_set, replay_of"
)


# --- choosing -----------------------------------------------------------------------------------------------------


def span(connection: Connection, since: datetime, until: datetime) -> Span:
    """The numbers that messages received from `since` up to (not including) `until` may have."""
    newest = connection.execute(text("SELECT max(seq) FROM message")).scalar() or 0
    low = int(first_seq(month_of(since - MARGIN)))
    top = min(int(newest) + 1, first_seq(month_of(until + MARGIN) + 1))
    first = _first_from(connection, since - MARGIN, low, top)
    return Span(since, until, first, _first_from(connection, until + MARGIN, first, top) - 1)


def _first_from(connection: Connection, instant: datetime, low: int, high: int) -> int:
    """The lowest number from which on messages were received at `instant` or later; `high` where there are none."""
    statement = text(
        "SELECT seq, received_at FROM message WHERE seq >= :at AND seq < :high ORDER BY seq LIMIT 1"
    )
    cut = to_micros(instant)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(statement, {"at": middle, "high": high}).one_or_none()
        if row is None or row.received_at >= cut:
            high = middle
        else:
            low = int(row.seq) + 1
    return low


def window(
    connection: Connection, after: int, top: int, *, source: str | None = None, limit: int = WINDOW
) -> list[Candidate]:
    """The next messages above the number `after`, up to `top`, in the order they came; of one source or of all."""
    of_source = " AND source = :source" if source is not None else ""
    given: dict[str, Any] = {"after": after, "top": top, "limit": limit}
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM message WHERE seq > :after AND seq <= :top{of_source} "  # noqa: S608
            "ORDER BY seq LIMIT :limit"
        ),
        given | ({"source": source} if source is not None else {}),
    )
    return [_candidate(row) for row in rows]


def by_seq(connection: Connection, seqs: Sequence[int]) -> list[Candidate]:
    """Messages by their numbers, in the order they came."""
    within, given = any_of(connection, "seq", sorted(seqs))
    rows = connection.execute(
        text(f"SELECT {_COLUMNS} FROM message WHERE {within} ORDER BY seq"),  # noqa: S608
        given,
    )
    return [_candidate(row) for row in rows]


def seqs_of(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """The numbers of messages by their ids; those that are not there are left out."""
    within, given = any_text(connection, "id", ids, kind="uuid")
    rows = connection.execute(text(f"SELECT seq, id FROM message WHERE {within}"), given)  # noqa: S608
    return {str(row.id): int(row.seq) for row in rows}


def stories(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[bytes, str]]:
    """The bytes of messages, and their trail so far; of those whose bytes are kept. Health data."""
    within, given = any_of(connection, "m.seq", sorted(seqs))
    rows = connection.execute(
        text(f"SELECT m.seq, m.trail FROM message m WHERE {within}"),  # noqa: S608
        given,
    ).all()
    opened = bodies.legible(connection, seqs)
    return {int(row.seq): (opened[row.seq], row.trail or "") for row in rows if row.seq in opened}


def _candidate(row: Any) -> Candidate:
    return Candidate(
        seq=Seq(row.seq),
        id=MessageId(str(row.id)),
        source=row.source,
        received_at=from_micros(int(row.received_at)),
        day=row.day,
        format=row.format,
        media=row.media or "",
        type=row.type or "",
        charset_declared=row.charset_declared or "",
        sha256=bytes(row.sha256),
        size=row.size,
        control_id=row.control_id,
        lane=Lane(row.lane),
        state=State(row.state),
        reason=row.reason,
        person=row.person,
        mapping_set=row.mapping_set,
        is_replay=row.replay_of is not None,
    )


# --- runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was chosen (JSON), which numbers it walks, how far it got, how many messages it took."""

    number: int
    started_at: datetime
    started_by: str
    selection: str
    delivers: bool
    low: int
    top: int
    position: int
    replayed: int


def unfinished(connection: Connection, selection: str, *, delivers: bool) -> Run | None:
    """The newest run of this selection that was not brought to its end."""
    row = connection.execute(
        text(
            "SELECT * FROM replay_run WHERE ended_at IS NULL AND selection = :selection AND delivers = :delivers "
            "ORDER BY number DESC LIMIT 1"
        ),
        {"selection": selection, "delivers": delivers},
    ).one_or_none()
    if row is None:
        return None
    return Run(
        row.number, from_micros(int(row.started_at)), row.started_by, row.selection, bool(row.delivers), row.low,
        row.top, row.position, row.replayed,
    )  # fmt: skip


def begin(
    connection: Connection,
    selection: str,
    *,
    delivers: bool,
    low: int,
    top: int,
    by: str,
    now: datetime,
) -> Run:
    """Note a new run; its numbers count from 1."""
    last = connection.execute(text("SELECT max(number) FROM replay_run")).scalar() or 0
    run = Run(int(last) + 1, now, by, selection, delivers, low, top, low - 1, 0)
    connection.execute(
        text(
            "INSERT INTO replay_run (number, started_at, started_by, selection, delivers, low, top, position, "
            "replayed) VALUES (:number, :at, :by, :selection, :delivers, :low, :top, :position, 0)"
        ),
        {
            "number": run.number, "at": to_micros(now), "by": by, "selection": selection, "delivers": delivers,
            "low": low, "top": top, "position": run.position,
        },
    )  # fmt: skip
    return run


def advance(connection: Connection, run: int, position: int, to: int, replayed: int) -> bool:
    """Note how far a run got; False where another process took it further meanwhile."""
    changed = connection.execute(
        text(
            "UPDATE replay_run SET position = :to, replayed = replayed + :n WHERE number = :run "
            "AND position = :position AND ended_at IS NULL"
        ),
        {"run": run, "position": position, "to": to, "n": replayed},
    )
    return changed.rowcount == 1


def end(connection: Connection, run: int, now: datetime) -> None:
    """Note that a run came to its end."""
    connection.execute(
        text("UPDATE replay_run SET ended_at = :now WHERE number = :run"),
        {"now": to_micros(now), "run": run},
    )


# --- receiving again ----------------------------------------------------------------------------------------------

_TAKEN_OVER = (
    "kind, format, media, type, version, charset_declared, size, sha256, digest, control_id, sender, peer, "
    "transport_keys, lane"
)


def receive(
    connection: Connection,
    chosen: Sequence[Candidate],
    run: int,
    *,
    day: int,
    now: datetime,
    writer: str,
) -> list[tuple[Candidate, Seq, MessageId]]:
    """Receive messages again, in their order, each in its lane: (original, number, id) of each new row.

    Nobody sent them, so they answer no duplicate: they are not found by their control id. Their bytes are copied, so
    that each message has its own whatever is pruned.
    """
    first = sequences.reserve(connection, "message", len(chosen), now)
    made = [(one, Seq(first + n), uuid7(now)) for n, one in enumerate(chosen)]
    source, given = _given(connection, made)
    given |= {"now": to_micros(now), "day": day, "run": run}
    taken = ", ".join(f"m.{name}" for name in _TAKEN_OVER.split(", "))
    connection.execute(
        text(
            f"INSERT INTO message (seq, id, source, received_at, day, state, state_since, replay_of, replay_run, {_TAKEN_OVER}) "  # noqa: S608
            f"SELECT n.seq, n.id, m.source, :now, :day, {int(State.RECEIVED)}, :now, m.seq, :run, {taken} "
            f"FROM {source} JOIN message m ON m.seq = n.original"
        ),
        given,
    )
    bodies.copy(connection, {one.seq: seq for one, seq, _ in made}, month_of(now))
    counts: Counter[tuple[int, str, str]] = Counter()
    for one in chosen:
        counts[(day, one.source, "received")] += 1
        counts[(day, one.source, tallies.FATES_BY_STATE[State.RECEIVED])] += 1
    tallies.tally(connection, counts, writer)
    flows = Counter((one.source, "replayed") for one in chosen)
    tallies.flow(connection, flows, now, writer)
    return made


def _given(
    connection: Connection, made: Sequence[tuple[Candidate, Seq, MessageId]]
) -> tuple[str, dict[str, Any]]:
    """The new rows as `n(seq, id, original)`."""
    if is_sqlite(connection):
        rows = msgspec.json.encode([(seq, name, one.seq) for one, seq, name in made]).decode()
        return (
            "(SELECT value ->> 0 AS seq, value ->> 1 AS id, value ->> 2 AS original FROM json_each(:rows)) AS n",
            {"rows": rows},
        )
    return (
        "unnest(CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:originals AS bigint[])) AS n(seq, id, original)",
        {
            "seqs": [seq for _, seq, _ in made],
            "ids": [str(name) for _, _, name in made],
            "originals": [one.seq for one, _, _ in made],
        },
    )
