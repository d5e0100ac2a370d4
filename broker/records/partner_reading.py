"""All partners at one moment: who sent what lately, who fell silent, who was sent what, and what went wrong last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from broker.records import destinations, messages_reading, silence, tallies


@dataclass(frozen=True, slots=True)
class Fallen:
    """A source that is silent: since when, and what it usually sends; None where that is too long ago to be known."""

    since: datetime
    usual: silence.Usual | None


@dataclass(frozen=True, slots=True)
class Partners:
    """All of them at one moment; `rates` are of the hour before it."""

    sources: list[messages_reading.Partner]
    destinations: list[destinations.Destination]
    rates: dict[tuple[str, str], int]
    silent: dict[str, Fallen]

    def received(self, source: str) -> int:
        """How many messages of a source came in the last hour."""
        return self.rates.get((source, "received"), 0)

    def delivered(self, destination: str) -> int:
        """How many deliveries a destination took in the last hour."""
        return self.rates.get((destination, "delivered"), 0)


def read(connection: Connection, now: datetime, zone: ZoneInfo) -> Partners:
    """What the gateways, the couriers and the scheduler noted."""
    sources = messages_reading.partners(connection, now)
    last = {one.source: one.received_at for one in sources}
    said = {
        source: one
        for source, one in silence.said(connection).items()
        if last.get(source) == one.since
    }
    silent = {
        source: Fallen(
            one.since,
            silence.missed(connection, {source: one.since}, one.said_at, zone).get(source),
        )
        for source, one in said.items()
    }
    return Partners(
        sources, destinations.listing(connection), tallies.last_hour(connection, now), silent
    )
