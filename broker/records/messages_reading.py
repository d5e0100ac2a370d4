"""What the console and the command read of the ledger: balance, partners and lists (one message: `message_detail`).

Every statement is an index probe of at most a window of rows, or a read of an aggregate; none counts, groups or sorts
messages. A list is a merge of *streams*: each stream walks one index newest first for at most a window of rows, and a
filter that no index covers is applied inside the window. A page therefore may hold fewer rows than asked for and still
say where to go on (`Page.before`). `tests/broker/test_plans.py` holds these statements to their plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, text

from broker.database.engine import is_sqlite
from broker.database.schema import control
from broker.database.types import from_micros, to_micros
from broker.records import partners as sources_now
from broker.records import receptions
from broker.records.tallies import BESIDE, FATES_BY_STATE
from broker.values import SETTLED, MessageId, Seq, State

PAGE = 50
WINDOW = 200
"""Rows a stream looks at when a filter has no index of its own."""

_NEWEST = 1 << 62
_NEVER = datetime.min.replace(tzinfo=UTC)
_COLUMNS = (
    "seq, id, source, received_at, day, format, type, size, control_id, state, state_since, reason, reason_place, "
    "attempts, next_try_at, duplicate_of, conflicts_with, mapping_set"
)


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance of one day, or of all days: what was received, what became of it, what stands beside it."""

    received: int
    fates: Mapping[str, int]
    beside: Mapping[str, int]

    @property
    def closes(self) -> bool:
        """Whether received = the sum of the fates."""
        return self.received == sum(self.fates.values())

    @property
    def unsettled(self) -> int:
        """How many messages still have something to happen."""
        return sum(self.fates.get(FATES_BY_STATE[state], 0) for state in State if state < SETTLED)

    @property
    def in_flight(self) -> int:
        """How many of the unsettled go on without a person: all but the held, and those that wait behind one."""
        return sum(self.fates.get(fate, 0) for fate in ("in_flight", "retrying"))


@dataclass(frozen=True, slots=True)
class Partner:
    """One source now. `error_code` is why it was refused something last, if it was; `connections` are open now."""

    source: str
    received_at: datetime | None
    error_code: str | None
    error_at: datetime | None
    connections: int

    def beside(self, other: Partner) -> Partner:
        """The same source, as two gateways saw it."""
        last = max(self, other, key=lambda one: one.error_at or _NEVER)
        return Partner(
            self.source,
            max(self.received_at or _NEVER, other.received_at or _NEVER)
            if self.received_at or other.received_at
            else None,
            last.error_code,
            last.error_at,
            self.connections + other.connections,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One message in a list: where it stands, without a word of its content."""

    seq: Seq
    id: MessageId
    source: str
    received_at: datetime
    day: int
    format: str
    type: str
    size: int
    control_id: str | None
    state: State
    state_since: datetime
    reason: str | None
    place: str | None
    attempts: int
    next_try_at: datetime | None
    duplicate_of: Seq | None
    conflicts_with: Seq | None
    mapping_set: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `before` is the position of the next page, None when there is nothing older."""

    lines: Sequence[Line]
    before: int | None


# --- aggregates -------------------------------------------------------------------------------------------------


def balance(connection: Connection, day: int | None = None, source: str | None = None) -> Balance:
    """The balance of a day of reception (20261123), or of all days kept; of one source or of all."""
    conditions = ["day = :day"] if day is not None else []
    conditions += ["source = :source"] if source is not None else []
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    given = {name: value for name, value in (("day", day), ("source", source)) if value is not None}
    statement = f"SELECT fate, sum(n) AS n FROM tally_day {where}GROUP BY fate"  # noqa: S608 - our own words
    counts = {row.fate: int(row.n) for row in connection.execute(text(statement), given)}
    fates = {fate: counts[fate] for fate in FATES_BY_STATE.values() if counts.get(fate)}
    unknown = {
        fate: n
        for fate, n in counts.items()
        if n and fate not in (*FATES_BY_STATE.values(), *BESIDE, "received")
    }
    return Balance(
        received=counts.get("received", 0),
        fates=fates | unknown,
        beside={fate: counts[fate] for fate in BESIDE if counts.get(fate)},
    )


def days(connection: Connection, limit: int = PAGE) -> list[int]:
    """The newest days that have a tally, newest first; one probe a day."""
    found: list[int] = []
    statement = text("SELECT max(day) FROM tally_day WHERE day < :before")
    before = 99_999_999
    while len(found) < limit:
        day = connection.execute(statement, {"before": before}).scalar()
        if day is None:
            break
        found.append(int(day))
        before = int(day)
    return found


def partners(connection: Connection, now: datetime) -> list[Partner]:
    """Every source that ever received something or refused it, by name.

    Connections are those of gateways that said so lately.
    """
    rows = connection.execute(
        text(
            "SELECT source, received_at, error_code, error_at, connections, heartbeat_at FROM source_now "
            "WHERE writer <> :scheduler ORDER BY source"
        ),
        {"scheduler": sources_now.SCHEDULER},
    )
    alive = to_micros(now - sources_now.GONE)
    found: dict[str, Partner] = {}
    for row in rows:
        one = Partner(
            row.source,
            _instant(row.received_at),
            row.error_code,
            _instant(row.error_at),
            int(row.connections) if (row.heartbeat_at or 0) >= alive else 0,
        )
        found[row.source] = one.beside(found[row.source]) if row.source in found else one
    return list(found.values())


def blocked_lanes(connection: Connection) -> dict[str, int]:
    """How many lanes do not flow, by state; lanes that flow have no row."""
    rows = connection.execute(text("SELECT state, count(*) AS n FROM lane GROUP BY state"))
    return {row.state: int(row.n) for row in rows}


def database_now(connection: Connection) -> datetime:
    """The clock of the database's machine."""
    micros = (
        "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
        if is_sqlite(connection)
        else "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    )
    return from_micros(int(connection.execute(text(f"SELECT {micros}")).scalar_one()))


# --- lists ------------------------------------------------------------------------------------------------------


def listing(
    connection: Connection,
    *,
    source: str | None = None,
    state: State | None = None,
    reason: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> Page:
    """Messages newest first, below the position `before`."""
    top = _NEWEST if before is None else before
    wanted = {"source": source, "state": None if state is None else int(state), "reason": reason}
    streams = _streams(connection, source, state, reason)
    covered = all(
        name in stream for stream in streams for name, value in wanted.items() if value is not None
    )
    return _merge(connection, streams, wanted, top, limit, limit if covered else max(limit, WINDOW))


def by_control_id(
    connection: Connection, control_id: str, source: str | None = None, limit: int = PAGE
) -> list[Line]:
    """Messages a sender named so, newest first; senders reuse control ids."""
    names = [source] if source is not None else sources(connection)
    if not names:
        return []
    keys = [receptions.control_key(name, control_id, 0) for name in names]
    found = select(control.c.seq).where(control.c.key.in_(keys)).limit(limit)
    lines = by_seq(connection, [row.seq for row in connection.execute(found)])
    return sorted(lines, key=lambda line: -line.seq)


def by_keys(
    connection: Connection,
    wanted: Sequence[Sequence[int]],
    *,
    before: int | None = None,
    limit: int = PAGE,
) -> Page:
    """Messages that hold one of each of these sets of business keys (digests, see `messages.add_keys`), newest first.

    One walk a digest of the first set, each of the others a probe: put the rarest first.
    """
    if not wanted or not all(wanted):
        return Page((), None)
    given: dict[str, Any] = {"before": _NEWEST if before is None else before, "k": limit}
    others = ""
    for n, digests in enumerate(wanted[1:]):
        names = [f"o{n}_{m}" for m in range(len(digests))]
        given |= dict(zip(names, digests, strict=True))
        marks = ", ".join(f":{name}" for name in names)
        others += f" AND EXISTS (SELECT 1 FROM business_key o{n} WHERE o{n}.digest IN ({marks}) AND o{n}.seq = k.seq)"  # noqa: S608
    parts = []
    for n, digest in enumerate(wanted[0]):
        given[f"d{n}"] = digest
        parts.append(
            f"SELECT * FROM (SELECT k.seq FROM business_key k WHERE k.digest = :d{n} AND k.seq < :before"  # noqa: S608
            f"{others} ORDER BY k.seq DESC LIMIT :k) AS q{n}"
        )
    rows = connection.execute(text(" UNION ".join(parts)), given)
    seqs = sorted((int(row.seq) for row in rows), reverse=True)[:limit]
    lines = sorted(by_seq(connection, seqs), key=lambda line: -line.seq)
    return Page(lines, seqs[-1] if len(seqs) == limit else None)


def waiting_longest(connection: Connection) -> dict[State, Line]:
    """For each unsettled state, the message that came first: one probe a state and source."""
    oldest: dict[State, Line] = {}
    names = sources(connection)
    for state in (state for state in State if state < SETTLED):
        parts = [
            f"SELECT * FROM (SELECT {_COLUMNS} FROM message WHERE source = :s{n}{_is_open(connection, state)} "  # noqa: S608
            f"ORDER BY seq LIMIT 1) AS q{n}"
            for n in range(len(names))
        ]
        if not parts:
            break
        given: dict[str, Any] = {f"s{n}": name for n, name in enumerate(names)}
        rows = connection.execute(text(" UNION ALL ".join(parts)), given)
        lines = [line_of(row) for row in rows]
        if lines:
            oldest[state] = min(lines, key=lambda line: line.seq)
    return oldest


# --- streams ----------------------------------------------------------------------------------------------------

_Stream = dict[str, Any]
"""The equalities of one index walk: which of `state`, `reason`, `source` it fixes."""


def _streams(
    connection: Connection, source: str | None, state: State | None, reason: str | None
) -> list[_Stream]:
    if reason is not None:
        return [{"reason": reason}]
    if state is not None and state < SETTLED:
        names = [source] if source is not None else sources(connection)
        return [{"state": int(state), "source": name} for name in names]
    if state is not None and state != State.FILED:
        # Whatever is neither open nor filed has a reason, and there are few distinct ones.
        return [{"reason": one} for one in reasons(connection)]
    return [{"source": source}] if source is not None else [{}]


def _merge(
    connection: Connection,
    streams: Sequence[_Stream],
    wanted: Mapping[str, Any],
    top: int,
    limit: int,
    window: int,
) -> Page:
    """The newest rows of all streams that are `wanted`, down to where every stream has been read."""
    if not streams:
        return Page((), None)
    parts, given = [], {"top": top, "window": window}
    for n, stream in enumerate(streams):
        values = {name: value for name, value in stream.items() if name != "state"}
        fixed = "".join(f" AND {name} = :{name}{n}" for name in values)
        if "state" in stream:
            fixed += _is_open(connection, stream["state"])
        given |= {f"{name}{n}": value for name, value in values.items()}
        parts.append(
            f"SELECT * FROM (SELECT {n} AS stream, {_COLUMNS} FROM message WHERE seq < :top{fixed} "  # noqa: S608
            f"ORDER BY seq DESC LIMIT :window) AS q{n}"
        )
    rows = connection.execute(text(" UNION ALL ".join(parts)), given).all()
    # A stream that gave a full window may have more below its last row: below that the merge is not complete.
    lowest: dict[int, list[int]] = {}
    for row in rows:
        lowest.setdefault(row.stream, []).append(row.seq)
    full = [min(seqs) for seqs in lowest.values() if len(seqs) == window]
    floor = max(full, default=0)
    lines = [
        line_of(row)
        for row in rows
        if row.seq >= floor
        and all(value is None or getattr(row, name) == value for name, value in wanted.items())
    ]
    lines.sort(key=lambda line: -line.seq)
    if len(lines) > limit:
        return Page(lines[:limit], lines[limit - 1].seq)
    return Page(lines, floor or None)


def _is_open(connection: Connection, state: int) -> str:
    """The condition of an unsettled state, as each engine needs it to take the partial index.

    SQLite wants the index's own condition repeated; PostgreSQL infers it from a literal, and would count a repeated
    one twice and estimate far too few rows.
    """
    return f" AND state = {int(state)}" + (" AND state < 10" if is_sqlite(connection) else "")


def sources(connection: Connection) -> list[str]:
    """The names of all sources that ever received something or refused it."""
    rows = connection.execute(text("SELECT DISTINCT source FROM source_now ORDER BY source"))
    return [row.source for row in rows]


def reasons(connection: Connection) -> list[str]:
    """Every reason that messages have, by jumping along the index: one probe for each."""
    rows = connection.execute(
        text(
            "WITH RECURSIVE r(reason) AS (SELECT min(reason) FROM message WHERE reason IS NOT NULL UNION ALL "
            "SELECT (SELECT min(m.reason) FROM message m WHERE m.reason IS NOT NULL AND m.reason > r.reason) "
            "FROM r WHERE r.reason IS NOT NULL) SELECT reason FROM r WHERE reason IS NOT NULL"
        )
    )
    return [row.reason for row in rows]


def by_seq(connection: Connection, seqs: Sequence[int]) -> list[Line]:
    """The messages of some numbers, in no order."""
    if not seqs:
        return []
    marks = ", ".join(f":q{n}" for n in range(len(seqs)))
    statement = f"SELECT {_COLUMNS} FROM message WHERE seq IN ({marks})"  # noqa: S608 - only marks
    rows = connection.execute(text(statement), {f"q{n}": seq for n, seq in enumerate(seqs)})
    return [line_of(row) for row in rows]


def line_of(row: Any) -> Line:
    """A row of `message` as a line."""
    return Line(
        seq=Seq(row.seq),
        id=MessageId(str(row.id)),
        source=row.source,
        received_at=_must(row.received_at),
        day=row.day,
        format=row.format,
        type=row.type or "",
        size=row.size,
        control_id=row.control_id,
        state=State(row.state),
        state_since=_must(row.state_since),
        reason=row.reason,
        place=row.reason_place,
        attempts=row.attempts,
        next_try_at=_instant(row.next_try_at),
        duplicate_of=row.duplicate_of,
        conflicts_with=row.conflicts_with,
        mapping_set=row.mapping_set,
    )


def _must(value: int | datetime) -> datetime:
    return value if isinstance(value, datetime) else from_micros(value)


def _instant(value: int | datetime | None) -> datetime | None:
    return None if value is None else _must(value)
