"""`carnet mapping activate` and `sets`: which set of mappings runs, and since when."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from broker import mapping_sets as in_use
from broker.cli import held_codes, opened, output, setup
from broker.cli.people import By
from broker.database.engine import reading
from broker.mapping import catalogue
from broker.records import mapping_sets
from broker.routing.load import of_site


def activate(config: setup.Config = None, by: By = "operator", json: setup.AsJson = False) -> None:
    """Prove the mappings of the settings and let every running worker use them from its next batch on.

        carnet mapping diff --ledger 1000
        carnet mapping activate

    Lint and all golden tests must hold; else nothing changes. Workers swap whole sets between two batches within a
    few seconds, without a restart: no message is mapped by half of one and half of another, and each document names
    the set that made it. The set's files are kept in the ledger. Restarting a worker activates its folders, too, with lint
    only: activate first.
    Messages that were held for a code go on, in the order they came; whose code still has no row is held again.

    JSON: {"hash", "before", "tests", "changed", "released"}.

    Exit codes: 0 active, 2 usage, set-up, or a set that does not hold.
    """
    ledger = opened.open_ledger(config)
    now = datetime.now(UTC)
    with output.aside().status("proving the set"):
        given = ledger.settings
        done = in_use.activate(
            ledger.engine, given.mappings.folders, by, now, expect=of_site(given)
        )
    released = held_codes.release(ledger, held_codes.translated(ledger), by, now)
    if json:
        output.tell({**asdict(done), "released": released})
        return
    before = f", before it {done.before[:12]}" if done.before else ""
    said = f"is active{before}" if done.changed else "was active already"
    went_on = f" · {released} messages released" if released else ""
    output.say(f"set {done.hash[:12]} {said} · {done.tests} golden tests hold{went_on}")


def sets(
    config: setup.Config = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.")] = 20,
    json: setup.AsJson = False,
) -> None:
    """List the mapping sets that were used, the active one first.

        carnet mapping sets

    JSON, one line a set: {"hash", "activated_at", "activated_by", "active", "folders": whether it is the one of the
    settings' folders}.

    Exit codes: 0 shown, 1 the folders hold another set than the active one, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    here = catalogue.examine(ledger.settings.mappings.folders).hash
    with reading(ledger.engine) as connection:
        found = mapping_sets.used(connection, limit)
    rows = []
    for place, one in enumerate(found):
        if json:
            output.tell(
                {
                    "hash": one.hash,
                    "activated_at": one.activated_at,
                    "activated_by": one.activated_by,
                    "active": place == 0,
                    "folders": one.hash == here,
                }
            )
        marks = [*(["active"] if place == 0 else []), *(["folders"] if one.hash == here else [])]
        at = f"{one.activated_at:%Y-%m-%d %H:%M:%S}"
        rows.append((one.hash[:12], at, one.activated_by, ", ".join(marks)))
    if not json:
        output.table("", ("set", "activated (UTC)", "by", ""), rows)
    is_other = not found or found[0].hash != here
    if is_other and not json:
        output.aside().print(
            escape(f"the folders hold set {here[:12]}, which does not run: carnet mapping activate")
        )
    raise typer.Exit(output.FOUND if is_other else output.GOOD)
