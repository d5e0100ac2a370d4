"""`carnet status`: one look at the installation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from broker import plugins
from broker.cli import fates, opened, orphaned, output, setup, status_partners
from broker.contracts import INBOUND
from broker.database.engine import reading
from broker.errors import CarnetError
from broker.records import destinations, expectations, messages_reading, outbox, partner_reading
from broker.records.tallies import FATES_BY_STATE


def status(
    config: setup.Config = None,
    day: Annotated[str | None, typer.Option(help="Day of reception. Default: today.")] = None,
    json: setup.AsJson = False,
) -> None:
    """Show the balance of a day, what is not settled, what waits longest, and how each partner is doing.

        carnet status
        carnet status --day 2026-11-23
        carnet status --json | jq .balance.received

    JSON: {"day", "balance": {"received", "fates", "beside", "closes"}, "unsettled": {state: {"count", "oldest_id",
    "oldest_seconds"}}, "lanes": {state: n}, "queue": {topic: depth}, "owed": {destination: …}, "answers_overdue":
    {destination: {"count", "oldest_seconds"}}, "destinations": [those that are left alone or whose courier failed],
    "sources": [{"source", "received_at", "last_hour", "connections", "error", "error_at", "silent_since", "usually",
    "usually_in_seconds"}], "deliveries": [{"destination", "delivered_at", "last_hour", "error", "error_at"}], "orphans":
    [{"kind", "name", "open", "unknown", "parked"}]}. `last_hour` counts messages received, and deliveries taken; "error" is
    why a source was refused something last, or a delivery did not get through. A source is silent when nothing came for an
    hour (6 h, a day) in which one and two weeks before 10 messages or more came each time. Orphans are sources and
    destinations that are no longer configured and have something unsettled.

    Exit codes: 0 shown and the balance closes, 1 it does not, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    now = datetime.now(UTC)
    wanted = opened.parse_day(day, ledger.today())
    with reading(ledger.engine) as connection:
        balance = messages_reading.balance(connection, wanted)
        total = messages_reading.balance(connection)
        oldest = messages_reading.waiting_longest(connection)
        lanes = messages_reading.blocked_lanes(connection)
        partners = partner_reading.read(connection, now, ledger.settings.site.zone)
        owed = outbox.backlog(connection)
        late = expectations.late(connection)
        troubled = destinations.troubled(connection)
    left = orphaned.find(ledger)
    unsettled = {
        fate: {
            "count": total.fates.get(fate, 0),
            "oldest_id": line.id,
            "oldest_seconds": _seconds(line, now),
        }
        for state, line in oldest.items()
        if (fate := FATES_BY_STATE[state])
    }
    depths = _depths(ledger, list(owed))
    if json:
        output.tell(
            {
                "day": wanted,
                "balance": {
                    "received": balance.received,
                    "fates": balance.fates,
                    "beside": balance.beside,
                    "closes": balance.closes,
                },
                "unsettled": unsettled,
                "lanes": lanes,
                "queue": depths,
                "owed": {name: {"owed": b.owed, "unknown": b.unknown} for name, b in owed.items()},
                "answers_overdue": {
                    name: {"count": one.count, "oldest_seconds": _since(one.oldest, now)}
                    for name, one in late.items()
                },
                "destinations": [
                    {"destination": d.destination, "circuit": d.circuit, "error": d.error_code}
                    for d in troubled
                ],
                "sources": status_partners.plain_sources(partners),
                "deliveries": status_partners.plain_destinations(partners),
                "orphans": [orphaned.plain(one) for one in left],
            }
        )
    else:
        _show(wanted, balance, unsettled, lanes, depths, owed)
        _show_troubled(late, troubled, now)
        status_partners.show(partners, now, ledger.settings.site.zone)
        for one in left:
            output.say(orphaned.sentence(one))
    raise typer.Exit(output.GOOD if balance.closes else output.FOUND)


def _show(
    day: int,
    balance: messages_reading.Balance,
    unsettled: dict[str, dict[str, Any]],
    lanes: dict[str, int],
    depths: dict[str, int],
    owed: dict[str, outbox.Backlog],
) -> None:
    output.say(f"{day}  {fates.balance_line(balance)}")
    for fate, about in unsettled.items():
        output.say(
            f"{fates.WORDS[fate]}: {about['count']}, the oldest for {about['oldest_seconds']} s "
            f"(carnet messages show {about['oldest_id']})"
        )
    if lanes:
        output.say("lanes that wait: " + ", ".join(f"{n} {state}" for state, n in lanes.items()))
    for topic, depth in depths.items():
        output.say(f"queue {topic}: {depth}")
    for name, backlog in owed.items():
        output.say(f"owed to {name}: {backlog.owed}, outcome unknown: {backlog.unknown}")


def _show_troubled(
    late: dict[str, expectations.Late],
    troubled: list[destinations.Troubled],
    now: datetime,
) -> None:
    for name, one in late.items():
        output.say(
            f"answers overdue from {name}: {one.count}, the oldest for {_since(one.oldest, now)} s "
            "(carnet parked list --kind answer)"
        )
    for one_troubled in troubled:
        words = "its courier failed" if one_troubled.circuit == "failed" else "left alone"
        output.say(
            f"destination {one_troubled.destination}: {words} ({one_troubled.error_code}); tried again by itself"
        )


def _seconds(line: messages_reading.Line, now: datetime) -> int:
    return _since(line.received_at, now)


def _since(instant: datetime, now: datetime) -> int:
    return max(0, int((now - instant).total_seconds()))


def _depths(ledger: opened.Ledger, destinations: list[str]) -> dict[str, int]:
    """Work ready in the queue by topic; -1 where the queue does not answer (the ledger has the truth)."""
    topics = [INBOUND, *(f"outbound.{name}" for name in destinations)]
    try:
        queue = plugins.open_queue(ledger.settings)
    except CarnetError:
        return dict.fromkeys(topics, -1)
    try:
        return {topic: queue.depth(topic) for topic in topics}
    except CarnetError:
        return dict.fromkeys(topics, -1)
    finally:
        queue.close()
