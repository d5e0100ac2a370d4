"""`carnet mapping coverage`: what the messages of a site say and no rule reads, counted as they came."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from broker.cli import opened, output, setup
from broker.database.engine import reading
from broker.records import coverage as seen


def coverage(
    config: setup.Config = None,
    source: Annotated[str | None, typer.Option(help="Only what this source sends.")] = None,
    mapping: Annotated[str | None, typer.Option(help="Only this mapping.")] = None,
    limit: Annotated[int, typer.Option(help="How many places, the most frequent first.")] = 100,
    json: setup.AsJson = False,
) -> None:
    """Show the places that messages fill and no rule reads, with how often and since when; never a value.

        carnet mapping coverage
        carnet mapping coverage --source laboratory --json

    Counted for each source, mapping and version while messages are filed: every HL7v2 message, one in sixteen of CDA
    and FHIR. A place that is worth nothing gets an `ignore` with its reason in the mapping; another one a rule.

    JSON, one line a place: {"source", "mapping", "version", "path", "n", "messages", "first_seen", "last_seen"}.

    Exit codes: 0 everything is read or ignored, 1 something is not, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = seen.unread(connection, source=source, mapping=mapping)
        looked_at = seen.looked_at(connection, source=source, mapping=mapping)
    for one in found[:limit]:
        if json:
            output.tell(one)
            continue
        output.say(
            f"{escape(one.path):<16} populated in {one.n:,} of {one.messages:,}, never mapped, first seen "
            f"{one.first_seen:%Y-%m-%d}, last {one.last_seen:%Y-%m-%d} · {escape(one.source)} · "
            f"{escape(one.mapping)} {escape(one.version)}"
        )
    if not json:
        more = f", {len(found) - limit:,} more" if len(found) > limit else ""
        output.aside().print(f"{len(found):,} places{more}; {looked_at:,} messages looked at")
    raise typer.Exit(output.FOUND if found else output.GOOD)
