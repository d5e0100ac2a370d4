"""Sources that fell silent: what is usual of a source by its own history, and that it was said to be silent.

The rule: nothing has come for a span (an hour, six hours, a day), although in the same span one week and two weeks
before, by the clock of the site, at least `FEW` messages came each time. Sources that send little are looked at over
the longer spans, those that rest at night or on Sundays are not expected then, and one with less than two weeks of
history is expected to send nothing. History is counted in quarters of an hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.schema import source_now
from broker.database.types import from_micros, to_micros
from broker.records.lookups import any_text
from broker.records.partners import SCHEDULER

SPANS = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
WEEKS = (timedelta(weeks=1), timedelta(weeks=2))
FEW = 10
"""Messages a source must have sent in the span: of so many, none by chance is one time in twenty thousand."""

CODE = "source.silent"
_QUARTER = 900
_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Usual:
    """What a source sends in a span at least, at this time of the week."""

    count: int
    span: timedelta


@dataclass(frozen=True, slots=True)
class Silent:
    """A source that was said to be silent: its last reception, and when it was said."""

    since: datetime
    said_at: datetime


def last_received(connection: Connection) -> dict[str, datetime]:
    """Source -> its last reception, by all gateways."""
    rows = connection.execute(
        text(
            "SELECT source, max(received_at) AS at FROM source_now WHERE received_at IS NOT NULL GROUP BY source"
        )
    )
    return {row.source: from_micros(int(row.at)) for row in rows}


def said(connection: Connection) -> dict[str, Silent]:
    """The sources that were said to be silent, and not said to be back."""
    rows = connection.execute(
        text(
            "SELECT source, received_at, error_at FROM source_now WHERE writer = :writer AND error_code = :code"
        ),
        {"writer": SCHEDULER, "code": CODE},
    )
    return {
        row.source: Silent(from_micros(int(row.received_at)), from_micros(int(row.error_at)))
        for row in rows
    }


def missed(
    connection: Connection, last: Mapping[str, datetime], now: datetime, zone: ZoneInfo
) -> dict[str, Usual]:
    """Which of these sources, by their last reception, are silent now, and what is usual of them."""
    quiet = {source: now - at for source, at in last.items() if now - at >= SPANS[0]}
    if not quiet:
        return {}
    found: dict[str, Usual] = {}
    history = [_received(connection, quiet, _before(now, weeks, zone)) for weeks in WEEKS]
    for source, length in quiet.items():
        for n, span in enumerate(SPANS):
            count = min(counts[source][n] for counts in history)
            if length >= span and count >= FEW:
                found[source] = Usual(count, span)
                break
    return found


def say(connection: Connection, silent: Mapping[str, datetime], now: datetime) -> None:
    """Note that sources are silent since their last reception, and that it is being said."""
    _write(
        connection,
        [(source, to_micros(at), CODE, to_micros(now)) for source, at in silent.items()],
        now,
    )


def take_back(connection: Connection, sources: Collection[str], now: datetime) -> None:
    """Note that sources are silent no longer."""
    _write(connection, [(source, None, None, None) for source in sources], now)


def _write(
    connection: Connection,
    rows: Collection[tuple[str, int | None, str | None, int | None]],
    now: datetime,
) -> None:
    columns = ("source", "writer", "received_at", "error_code", "error_at", "heartbeat_at")
    full = [(source, SCHEDULER, *rest, to_micros(now)) for source, *rest in sorted(rows)]
    bulk.replace_rows(connection, source_now, columns, full, keys=("source", "writer"))


def _before(now: datetime, ago: timedelta, zone: ZoneInfo) -> datetime:
    """The same time by the site's clock, so long before."""
    return (now.astimezone(zone) - ago).astimezone(UTC)


def _received(
    connection: Connection, sources: Collection[str], before: datetime
) -> dict[str, list[int]]:
    """How many messages of each source came in each of `SPANS` up to an instant, in whole quarters of an hour.

    One range of the primary key a source, in the table that still has them: quarters are made of minutes that are old.
    """
    end = int(before.timestamp() // _QUARTER)
    start = end - int(SPANS[-1].total_seconds() // _QUARTER)
    within, given = any_text(connection, "source", sources)
    only = f"{within} AND measure = 'received'"
    rows = connection.execute(
        text(
            "SELECT source, slot, n FROM flow_quarter "  # noqa: S608 - our own words
            f"WHERE {only} AND slot >= :start AND slot < :end UNION ALL "
            f"SELECT source, slot / {_MINUTES} AS slot, n FROM flow_minute "
            f"WHERE {only} AND slot >= :first AND slot < :last"
        ),
        {"start": start, "end": end, "first": start * _MINUTES, "last": end * _MINUTES, **given},
    )
    found: dict[str, list[int]] = defaultdict(lambda: [0] * len(SPANS))
    for row in rows:
        for n, span in enumerate(SPANS):
            if row.slot >= end - int(span.total_seconds() // _QUARTER):
                found[row.source][n] += int(row.n)
    return found
