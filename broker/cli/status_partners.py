"""Partners in `carnet status`: for people and for `--json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.markup import escape

from broker.cli import output
from broker.records import silence
from broker.records.partner_reading import Fallen, Partners


def plain_sources(partners: Partners) -> list[dict[str, Any]]:
    """Sources for `--json`."""
    return [
        {
            "source": one.source,
            "received_at": one.received_at,
            "last_hour": partners.received(one.source),
            "connections": one.connections,
            "error": one.error_code,
            "error_at": one.error_at,
            **_plain_silence(partners.silent.get(one.source)),
        }
        for one in partners.sources
    ]


def plain_destinations(partners: Partners) -> list[dict[str, Any]]:
    """Destinations for `--json`."""
    return [
        {
            "destination": one.destination,
            "delivered_at": one.delivered_at,
            "last_hour": partners.delivered(one.destination),
            "error": one.error_code or None,
            "error_at": one.error_at,
        }
        for one in partners.destinations
    ]


def show(partners: Partners, now: datetime, zone: ZoneInfo) -> None:
    """A line for each silent source, then both tables."""
    for name, one in partners.silent.items():
        since = f"{one.since.astimezone(zone):%Y-%m-%d %H:%M}"
        output.say(f"source {escape(name)}: silent since {since}{_usually(one.usual)}")
    if partners.sources:
        output.table(
            "",
            ("source", "last received", "#last hour", "#connections", "last error"),
            [
                (
                    one.source,
                    _ago(one.received_at, now),
                    partners.received(one.source),
                    one.connections,
                    _error(one.error_code, one.error_at, now),
                )
                for one in partners.sources
            ],
        )
    if partners.destinations:
        output.table(
            "",
            ("destination", "last delivered", "#last hour", "last error"),
            [
                (
                    one.destination,
                    _ago(one.delivered_at, now),
                    partners.delivered(one.destination),
                    _error(one.error_code, one.error_at, now),
                )
                for one in partners.destinations
            ],
        )


def _plain_silence(one: Fallen | None) -> dict[str, Any]:
    usual = one.usual if one is not None else None
    return {
        "silent_since": one.since if one is not None else None,
        "usually": usual.count if usual is not None else None,
        "usually_in_seconds": int(usual.span.total_seconds()) if usual is not None else None,
    }


def _usually(usual: silence.Usual | None) -> str:
    if usual is None:
        return ""
    return f" (usually {usual.count} or more in {output.span(usual.span)} at this time)"


def _ago(instant: datetime | None, now: datetime) -> str:
    return f"{output.ago(instant, now)} ago" if instant is not None else ""


def _error(code: str | None, at: datetime | None, now: datetime) -> str:
    if not code:
        return ""
    return f"{code}, {_ago(at, now)}" if at is not None else code
