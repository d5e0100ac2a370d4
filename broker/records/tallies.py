"""Counting in the transaction: the balance by day of reception, and rates by the minute.

Two families that must not be mixed: `tally_day` counts each outcome in the day its message was *received* (so that the
balance closes at each commit), `flow_minute` counts events by the clock. Every writer has rows of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.schema import flow_minute, tally_day
from broker.records.lookups import any_text
from broker.values import State

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 5_000)
"""Upper bounds of the twelve latency buckets (the last is open), as measures `answer_le_5` … `answer_le_inf`."""

_BOUNDS_SECONDS = tuple(bound / 1000 for bound in LATENCY_BOUNDS_MS)

FATES_BY_STATE: Mapping[int, str] = {
    State.RECEIVED: "in_flight",
    State.WAITING: "waiting",
    State.RETRYING: "retrying",
    State.HELD: "held",
    State.FILED: "filed",
    State.DELIVERED_ONLY: "delivered_only",
    State.FILTERED: "filtered",
    State.PARKED: "parked",
    State.SKIPPED: "skipped",
    State.DISCARDED: "discarded",
    State.ANSWER_MATCHED: "answer_matched",
}
"""State number -> the fate it is counted under. `received` itself counts every message once."""

BESIDE = ("refused_at_door", "duplicate_answered")
"""Counted beside the balance: what was never received, and what was received before."""


def tally(connection: Connection, counts: Mapping[tuple[int, str, str], int], writer: str) -> None:
    """Add to the day tallies: (day received, source, fate) -> how many more (or fewer)."""
    rows = [(*key, writer, n) for key, n in counts.items() if n]
    bulk.add_counts(connection, tally_day, ("day", "source", "fate", "writer", "n"), rows)


def flow(
    connection: Connection, counts: Mapping[tuple[str, str], int], now: datetime, writer: str
) -> None:
    """Add to this minute's flow: (source or destination, measure) -> how many."""
    slot = int(now.timestamp() // 60)
    rows = [(source, slot, measure, writer, n) for (source, measure), n in counts.items() if n]
    bulk.add_counts(connection, flow_minute, ("source", "slot", "measure", "writer", "n"), rows)


def latency_measures(prefix: str, waited: Iterable[float]) -> Counter[str]:
    """How many of these durations (seconds) fall into each bucket, by its measure: `answer_le_5`."""
    names = _measures(prefix)
    return Counter([names[bisect_left(_BOUNDS_SECONDS, seconds)] for seconds in waited])


@lru_cache(maxsize=8)
def _measures(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_le_{bound}" for bound in (*LATENCY_BOUNDS_MS, "inf"))


AN_HOUR = 60
"""Slots of `flow_minute` in an hour."""


def last_hour(
    connection: Connection, now: datetime, measures: Collection[str] = ("received", "delivered")
) -> dict[tuple[str, str], int]:
    """(source or destination, measure) -> how many in the hour up to this minute. Reads an hour of one index."""
    within, given = any_text(connection, "measure", measures)
    rows = connection.execute(
        text(
            "SELECT source, measure, sum(n) AS n FROM flow_minute "  # noqa: S608 - our own words
            f"WHERE slot > :since AND {within} GROUP BY source, measure"
        ),
        {"since": int(now.timestamp() // 60) - AN_HOUR, **given},
    )
    return {(row.source, row.measure): int(row.n) for row in rows}


def fates(connection: Connection, day: int | None = None) -> dict[tuple[int, str, str], int]:
    """The balance from the tallies: (day, source, fate) -> n. Reads aggregates only."""
    statement = "SELECT day, source, fate, sum(n) AS n FROM tally_day"
    statement += " WHERE day = :day" if day is not None else ""
    rows = connection.execute(
        text(statement + " GROUP BY day, source, fate"), {} if day is None else {"day": day}
    )
    return {(row.day, row.source, row.fate): int(row.n) for row in rows}


KEEP_MINUTES = timedelta(days=2)
KEEP_QUARTERS = timedelta(days=90)


def fold(
    connection: Connection,
    now: datetime,
    keep_minutes: timedelta = KEEP_MINUTES,
    keep_quarters: timedelta = KEEP_QUARTERS,
) -> None:
    """Move minutes older than `keep_minutes` into quarters of an hour, quarters older than `keep_quarters` into days.

    Only closed slots move, and all writers fold into one row each.
    """
    minute = int(now.timestamp() // 60)
    minutes = int(keep_minutes.total_seconds() // 60)
    quarters = int(keep_quarters.total_seconds() // 900)
    _move(connection, "flow_minute", "flow_quarter", 15, (minute - minutes) // 15 * 15)
    _move(connection, "flow_quarter", "flow_day", 96, (minute // 15 - quarters) // 96 * 96)


def _move(connection: Connection, fine: str, coarse: str, ratio: int, before: int) -> None:
    connection.execute(
        text(
            f"INSERT INTO {coarse} (source, slot, measure, writer, n) "  # noqa: S608 - table names of our own
            f"SELECT source, slot / {ratio}, measure, '', sum(n) FROM {fine} WHERE slot < :before "
            "GROUP BY source, slot / " + str(ratio) + ", measure "
            f"ON CONFLICT (source, slot, measure, writer) DO UPDATE SET n = {coarse}.n + excluded.n"
        ),
        {"before": before},
    )
    connection.execute(text(f"DELETE FROM {fine} WHERE slot < :before"), {"before": before})  # noqa: S608
