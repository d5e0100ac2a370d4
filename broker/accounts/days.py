"""The days of the life-cycle, in the zone of the site: when a window ends, an archive ends, a child is of age. Pure.

A window of 42 days counts from the day of sending: what is said on day 42 counts, what follows happens from 00:00 of
day 43. Midnight is the zone's, whatever the clocks do that day. Source: CSP R.1111-28, R.1111-36; the counting of days
is our reading.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
"""The zone of the life-cycle, whatever that of the site: a holder lives by its days."""

WINDOW_DAYS = 42
"""Six weeks: to oppose the opening (R.1111-28), to object to a suspension (R.1111-36), and a code is valid."""

ARCHIVE_YEARS = 10
DELETION_MONTHS = 3
MAJORITY_YEARS = 18


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant."""
    return instant.astimezone(zone).date()


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day, in UTC."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def window_ends(since: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after six weeks: 00:00 of day 43."""
    return midnight(day_of(since, zone) + timedelta(days=WINDOW_DAYS + 1), zone)


def archive_ends(closed: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after the tenth anniversary of the closing; that of 29 February is 28 February."""
    last = plus_years(day_of(closed, zone), ARCHIVE_YEARS)
    return midnight(last + timedelta(days=1), zone)


def deletion_deadline(requested: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which a deletion that was asked for is late: after three months."""
    return midnight(last_day_to_delete(requested, zone) + timedelta(days=1), zone)


def last_day_to_delete(requested: datetime, zone: ZoneInfo) -> date:
    """The day three months after a request; the last of the month where that month is shorter."""
    day = day_of(requested, zone)
    months = day.month - 1 + DELETION_MONTHS
    year, month = day.year + months // 12, months % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def of_age(born: date, zone: ZoneInfo) -> datetime:
    """00:00 of the 18th birthday (M5); who was born on a 29 February has it on 28 February."""
    return midnight(plus_years(born, MAJORITY_YEARS), zone)


def next_midnight(now: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of tomorrow."""
    return midnight(day_of(now, zone) + timedelta(days=1), zone)


def number_of(day: date) -> int:
    """2026-11-30 as 20261130."""
    return day.year * 10_000 + day.month * 100 + day.day


def plus_years(day: date, years: int) -> date:
    """The anniversary of a day; of 29 February, in a year without one, 28 February."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)
