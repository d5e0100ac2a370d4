"""A source that usually sends and has fallen silent is said so once, and once that it is back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from broker.cli import status_partners
from broker.database.engine import reading, writing
from broker.records import partner_reading, partners, tallies
from broker.records.partners import Seen
from broker.silence import Silence
from broker.telemetry import Telemetry

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 10, 10, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Watched:
    """A ledger whose sources have a history, and the scheduler's looks at them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = NOW
        self._log = io.StringIO()

    def sent(self, source: str, at: datetime, count: int = 1) -> None:
        """So many messages came in the minute of `at`."""
        self.sent_often(source, [at], count)

    def sent_often(self, source: str, instants: Iterable[datetime], count: int) -> None:
        """So many came at each of these instants, in their order."""
        with writing(self.engine) as connection:
            for at in instants:
                tallies.flow(connection, {(source, "received"): count}, at, "gateway-0")
                last = Seen(received_at=at)
            partners.note(connection, {source: last}, "gateway-0", at)

    def usually(
        self, source: str, count: int, *, every: timedelta = HOUR, until: datetime = NOW
    ) -> None:
        """It sent `count` messages at once, `every` so long, since two weeks and a day, and no more from `until` on."""
        begun = NOW - timedelta(days=15)
        times = -((begun - until) // every)
        self.sent_often(source, (begun + n * every for n in range(times)), count)

    def look(self, *sources: str) -> None:
        """As a scheduler that just started, which knows nothing but the ledger."""
        telemetry = Telemetry("scheduler", strict=True, stream=self._log)
        Silence(self.engine, telemetry, lambda: self.now, sources, PARIS).look()

    @property
    def events(self) -> list[tuple[str, str, int, int | None]]:
        """(event, source, seconds, count) in order."""
        lines = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [(one["event"], one["source"], one["seconds"], one.get("count")) for one in lines]

    def status(self) -> partner_reading.Partners:
        with reading(self.engine) as connection:
            return partner_reading.read(connection, self.now, PARIS)


@pytest.fixture
def watched(empty_ledger: Engine) -> Watched:
    return Watched(empty_ledger)


def test_a_source_that_falls_silent_is_said_so_once_and_once_that_it_is_back(
    watched: Watched,
) -> None:
    watched.usually("lab", 12, every=30 * MINUTE, until=NOW - 80 * MINUTE)
    last = NOW - 90 * MINUTE

    watched.look("lab")
    watched.now = NOW + 20 * MINUTE
    watched.look("lab")
    during = watched.status().silent["lab"]
    watched.now = NOW + 30 * MINUTE
    watched.sent("lab", watched.now - MINUTE)
    shown = watched.status().silent
    watched.look("lab")
    watched.look("lab")

    assert watched.events == [
        ("source_silent", "lab", 5400, 24),
        ("source_back", "lab", 7140, None),
    ]
    assert during.since == last
    assert during.usual is not None
    assert (during.usual.count, during.usual.span) == (24, HOUR)
    assert shown == {}, "it has sent, whether that was said already or not"


def test_people_and_programs_are_shown_who_is_silent(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.usually("lab", 12, every=30 * MINUTE, until=NOW - 80 * MINUTE)
    watched.look("lab")
    with writing(watched.engine) as connection:
        refused = Seen(error_code="size.exceeded", error_at=NOW - 5 * MINUTE, connections=2)
        partners.note(connection, {"lab": refused}, "gateway-0", NOW)

    found = watched.status()
    status_partners.show(found, NOW, PARIS)

    (lab,) = status_partners.plain_sources(found)
    assert (lab["silent_since"], lab["usually"]) == (NOW - 90 * MINUTE, 24)
    assert (lab["usually_in_seconds"], lab["last_hour"], lab["connections"]) == (3600, 0, 2)
    line, _, row = capsys.readouterr().out.splitlines()
    since = "source lab: silent since 2026-11-10 09:35"
    assert line == f"{since} (usually 24 or more in 1 h at this time)"
    assert " ".join(row.split()) == "lab 1 h ago 0 2 size.exceeded, 5 min ago"


def test_one_that_was_back_can_fall_silent_again(watched: Watched) -> None:
    watched.usually("lab", 12, every=30 * MINUTE, until=NOW - 80 * MINUTE)
    watched.look("lab")
    watched.now = NOW + HOUR
    watched.sent("lab", watched.now)
    watched.look("lab")
    watched.now += 2 * HOUR

    # Three weeks of history end at NOW: what is usual two hours later is that of the weeks before.
    watched.look("lab")

    assert [name for name, *_ in watched.events] == [
        "source_silent",
        "source_back",
        "source_silent",
    ]


def test_history_is_found_in_minutes_and_in_quarters(watched: Watched) -> None:
    watched.usually("lab", 12, every=30 * MINUTE, until=NOW - 80 * MINUTE)
    with writing(watched.engine) as connection:
        tallies.fold(connection, NOW, keep_minutes=timedelta(days=10))

    watched.look("lab")

    assert watched.events == [("source_silent", "lab", 5400, 24)]


def test_a_source_that_sends_little_is_looked_at_over_a_longer_span(watched: Watched) -> None:
    watched.usually("ward", 3, until=NOW - 6 * HOUR)

    watched.now = NOW - 2 * HOUR
    watched.look("ward")
    early = list(watched.events)
    watched.now = NOW
    watched.look("ward")

    assert early == []
    assert [(name, count) for name, _, _, count in watched.events] == [("source_silent", 18)]


def quiet_on_tuesdays(watched: Watched) -> None:
    for days in range(1, 22):
        at = NOW - days * DAY
        if at.weekday() != NOW.weekday():
            watched.sent("clinic", at - 30 * MINUTE, 50)
    watched.sent("clinic", NOW - DAY)


def new_here(watched: Watched) -> None:
    watched.sent_often("clinic", (NOW - hours * HOUR for hours in range(13 * 24, 1, -1)), 50)


def sends_by_chance(watched: Watched) -> None:
    watched.sent_often("clinic", (NOW - hours * HOUR for hours in range(21 * 24, 1, -7)), 1)


def sends(watched: Watched) -> None:
    watched.usually("clinic", 50, every=30 * MINUTE)


@pytest.mark.parametrize("history", [quiet_on_tuesdays, new_here, sends_by_chance, sends])
def test_who_is_not_expected_now_is_not_missed(
    watched: Watched, history: Callable[[Watched], None]
) -> None:
    history(watched)

    watched.look("clinic")

    assert watched.events == []


def test_the_hour_is_that_of_the_sites_clock(watched: Watched) -> None:
    """Clocks went back on 25 October 2026: what begins at 8 in the morning begins an hour later by UTC."""
    for day in (7, 14, 21, 22, 28):
        begins = datetime(2026, 10, day, 8, 0, tzinfo=PARIS)
        minutes = (begins + n * MINUTE for n in range(0, 600, 5))
        watched.sent_often("lab", (one.astimezone(UTC) for one in minutes), 5)
    before, after = (
        datetime(2026, 10, 29, hour, minute, tzinfo=PARIS).astimezone(UTC)
        for hour, minute in ((7, 50), (9, 20))
    )
    for week in (1, 2):
        begins = datetime(2026, 10, 29, 8, 0, tzinfo=PARIS) - week * timedelta(weeks=1)
        watched.sent("lab", begins.astimezone(UTC), 50)
    watched.sent("lab", datetime(2026, 10, 28, 18, 0, tzinfo=PARIS).astimezone(UTC))

    watched.now = before
    watched.look("lab")
    early = list(watched.events)
    watched.now = after
    watched.look("lab")

    assert early == []
    assert [name for name, *_ in watched.events] == ["source_silent"]


def test_who_is_no_longer_configured_is_not_missed(watched: Watched) -> None:
    watched.usually("lab", 12, every=30 * MINUTE, until=NOW - 80 * MINUTE)
    watched.look("other")
    watched.look("lab")

    watched.look("other")
    shown = watched.status().silent
    watched.look("lab")

    assert shown == {}
    assert [name for name, *_ in watched.events] == ["source_silent", "source_silent"]


def test_the_last_hour_is_counted_for_sources_and_destinations(watched: Watched) -> None:
    with writing(watched.engine) as connection:
        for minutes in (0, 59, 61):
            at = NOW - minutes * MINUTE
            counts = {("lab", "received"): 10, ("lab", "bytes"): 999, ("dmp", "delivered"): 4}
            tallies.flow(connection, counts, at, "gateway-0")

    found = watched.status()

    assert (found.received("lab"), found.delivered("dmp"), found.received("dmp")) == (20, 8, 0)
