"""`carnet reconcile`: the balance proved, not only shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from broker import reconcile as balance
from broker.cli import fates, opened, orphaned, output, setup
from broker.database.engine import reading
from broker.records import messages_reading


def reconcile(
    config: setup.Config = None,
    day: Annotated[
        str | None,
        typer.Option(
            help="Day of reception, like 2026-11-23. Default: every day with messages, newest 31."
        ),
    ] = None,
    json: setup.AsJson = False,
) -> None:
    """Count the messages again and compare with everything that was said about them.

    Per day: the tallies against the rows, received against the sum of the fates, the bytes, the audit entries
    "received" and "filed", the documents in the records, what is owed to destinations and its attempts, whether
    anything was forgotten, and that accesses, lines the patient sees and notices are the same.

        carnet reconcile
        carnet reconcile --day 2026-11-23 --json

    JSON, one line a day: {"day", "received", "counts", "beside", "findings": [{"check", "text", "source",
    "expected", "found", "messages", "deliveries", "patients"}], "checks"};
    then {"orphans": […]} where something is left of what is no longer configured.

    Exit codes: 0 everything agrees, 1 something does not, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    if day is not None:
        days = [opened.parse_day(day, ledger.today())]
    else:
        with reading(ledger.engine) as connection:
            days = messages_reading.days(connection, 31) or [ledger.today()]
    found = False
    with output.aside().status("counting again") as progress:
        for one in days:
            progress.update(f"counting {one} again")
            result = balance.reconcile(
                ledger.engine, one, zone=ledger.settings.site.zone, now=datetime.now(UTC),
                shelf=ledger.indexes(),
            )  # fmt: skip
            found = found or not result.closes
            if json:
                output.tell(result)
            else:
                show(result)
    orphaned.remark(ledger, json)
    raise typer.Exit(output.FOUND if found else output.GOOD)


def show(result: balance.Reconciliation) -> None:
    """One day for a person: the line, then what does not agree."""
    found = {fate: n for fate, n in result.counts.items() if fate != "received"}
    line = messages_reading.Balance(result.received, found, result.beside)
    output.say(f"{result.day}  {fates.balance_line(line)}")
    if result.closes:
        output.say(f"  [green]agrees[/]: {', '.join(result.checks)}")
    for finding in result.findings:
        source = f" ({finding.source})" if finding.source else ""
        output.say(f"  [bold red]{finding.check}[/]{source}: {finding.text}")
        for message_id in finding.messages:
            output.say(f"    carnet messages show {message_id}")
        for name in finding.deliveries:
            output.say(f"    carnet parked show {name}")
        for number in finding.patients:
            output.say(f"    carnet account show --patient {number}")
