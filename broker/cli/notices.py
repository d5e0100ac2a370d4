"""`carnet notices`: what holders were told, what is still due, and sending it now."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from broker import app
from broker.accounts.notices import SUPPRESSED_WORDS
from broker.cli import opened, output, people, setup
from broker.database.engine import reading
from broker.records import notices
from broker.telemetry import Telemetry

group = typer.Typer(
    no_args_is_help=True, help="Notices to holders: listed, shown, and sent when they are due."
)


@group.command("list")
def list_(
    config: setup.Config = None,
    patient: Annotated[
        str | None,
        typer.Option(
            "--patient",
            "-p",
            help="Of this patient, newest first. Default: what is due, the oldest first.",
        ),
    ] = None,
    system: people.System = "ins",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    json: setup.AsJson = False,
) -> None:
    """List notices: those of a patient, or those that wait to be sent.

        carnet notices list
        carnet notices list --patient 354042744143873 --json

    JSON, one line each: {"id", "patient", "kind", "state", "due_at", "lines", "channel", "attempts", "suppressed",
    "reason", "settled_at"}.

    Exit codes: 0 shown, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = None if patient is None else people.patient_of(ledger, patient, system)
    with reading(ledger.engine) as connection:
        found = notices.listing(connection, patient=number, limit=limit)
    if json:
        for one in found:
            output.tell(_shown(one))
        return
    rows = [
        (one.id, one.patient, one.kind, one.lines, one.state, f"{one.due_at:%Y-%m-%d %H:%M}", one.channel, one.suppressed or one.reason)
        for one in found
    ]  # fmt: skip
    columns = ("#notice", "#patient", "kind", "#lines", "state", "due (UTC)", "channel", "why")
    output.table("notices", columns, rows)


@group.command()
def show(
    notice: Annotated[int, typer.Argument(help="Number of the notice.")],
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Show one notice: what caused it, when it is due, what became of it. Its text is not kept.

        carnet notices show -- -4611686018427387904

    JSON: as `carnet notices list`, with "cause" and "audit_n".

    Exit codes: 0 shown, 1 no such notice, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        one = notices.one(connection, notice)
    if one is None:
        output.aside().print("no such notice")
        raise typer.Exit(output.FOUND)
    if json:
        output.tell({**_shown(one), "cause": one.cause, "audit_n": one.audit_n})
        return
    output.say(f"notice {one.id}: {one.kind} of patient {one.patient}, {one.lines} lines")
    output.say(f"  caused {one.created_at:%Y-%m-%d %H:%M}, due {one.due_at:%Y-%m-%d %H:%M} UTC")
    if one.audit_n:
        output.say(f"  from entry {one.audit_n} of the trail on")
    output.say(f"  {one.state} {one.channel}, {one.attempts} attempts {one.reason}".rstrip())
    if one.suppressed:
        output.say(f"  {one.suppressed}: {SUPPRESSED_WORDS.get(one.suppressed, '')}")


@group.command()
def send(
    config: setup.Config = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many. Default: all that is due.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many are due; send none.")
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Send what is due now, as the scheduler does by itself.

        carnet notices send --dry-run
        carnet notices send --limit 100

    JSON: {"sent", "suppressed", "failed", "due"}: how many came to which end; `due` are tried again later.

    Exit codes: 0 good, 1 some failed, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    now = datetime.now(UTC)
    if dry_run:
        with reading(ledger.engine) as connection:
            waiting = len(notices.listing(connection, now=now, limit=limit or 1_000))
        output.tell({"due": waiting}) if json else output.say(
            f"{waiting:,} are due (at most {limit or 1_000:,} are counted)"
        )
        return
    telemetry = Telemetry("command", level="error", stream=io.StringIO())
    notifier = app.notifier_of(ledger.settings, ledger.engine, telemetry)
    try:
        with output.aside().status("sending notices"):
            ends = notifier.send(limit)
    finally:
        notifier.close()
    if json:
        output.tell({state: ends[state] for state in ("sent", "suppressed", "failed", "due")})
    else:
        output.say(
            ", ".join(f"{n:,} {state}" for state, n in sorted(ends.items())) or "nothing is due"
        )
    raise typer.Exit(output.FOUND if ends["failed"] else output.GOOD)


def _shown(one: notices.Row) -> dict[str, Any]:
    return {
        "id": one.id, "patient": one.patient, "kind": one.kind, "state": one.state, "due_at": one.due_at,
        "lines": one.lines, "channel": one.channel, "attempts": one.attempts, "suppressed": one.suppressed,
        "reason": one.reason, "settled_at": one.settled_at,
    }  # fmt: skip
