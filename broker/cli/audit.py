"""`carnet audit`: the trail read, exported and verified."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from broker.audit import export as exporting
from broker.audit import reading as trail_reading
from broker.audit import trail
from broker.audit import verify as verifying
from broker.cli import output, setup
from broker.database.engine import reading, writing
from broker.errors import SetupError

group = typer.Typer(
    no_args_is_help=True, help="The tamper-evident trail: read its end, export it, verify it."
)

Operator = Annotated[str, typer.Option(envvar="CARNET_OPERATOR", help="Who, for the trail.")]


@group.command()
def tail(
    config: setup.Config = None,
    limit: Annotated[
        int, typer.Option(min=1, max=500, help="How many of the newest entries.")
    ] = 20,
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Show the newest entries of the trail. Reading it is an entry of its own.

        carnet audit tail
        carnet audit tail --limit 100 --json

    Exit codes: 0 shown, 2 usage or set-up.
    """
    ledger = setup.open_ledger(config)
    _note(ledger, "audit_read", operator)
    with reading(ledger.engine) as connection:
        newest = trail_reading.newest(connection, limit)
    if json:
        for row in newest:
            output.tell(dict(zip(trail.COLUMNS, row, strict=True)))
        return
    columns = ("n", "at", "act", "actor_kind", "actor", "subject", "outcome")
    places = [trail.COLUMNS.index(name) for name in columns]
    output.table(
        "", columns, [[_cell(columns[i], row[p]) for i, p in enumerate(places)] for row in newest]
    )


@group.command()
def export(
    file: Annotated[
        Path, typer.Argument(help="Where to write; a name ending in .zip is compressed.")
    ],
    config: setup.Config = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was sealed on or after this day.")
    ] = None,
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Write the sealed trail to a file that proves itself: `carnet audit verify FILE` needs no server.

        carnet audit export audit.zip
        carnet audit export audit.jsonl --since 2026-11-01

    Exit codes: 0 written, 2 usage or set-up.
    """
    ledger = setup.open_ledger(config)
    start = None
    if since is not None:
        day = setup.parse_day(since, ledger.today())
        start = datetime(
            day // 10_000, day // 100 % 100, day % 100, tzinfo=ledger.settings.site.zone
        )
    _note(ledger, "exported", operator)
    with output.aside().status("writing"):
        written = exporting.export(ledger.engine, file, start)
    if json:
        output.tell({"file": str(file), "segments": written.segments, "entries": written.entries})
    else:
        output.say(f"{written.entries} entries in {written.segments} segments written to {file}")


@group.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(help="An export to verify; without it the trail of the database."),
    ] = None,
    config: setup.Config = None,
    expect: Annotated[
        str,
        typer.Option(
            help="A head noted earlier (SEGMENT:HEAD): proves that no older state was restored."
        ),
    ] = "",
    json: setup.AsJson = False,
) -> None:
    """Prove that the trail was not changed, or name the first bad entry.

        carnet audit verify
        carnet audit verify audit.zip
        carnet audit verify --expect 41:9f2c…

    JSON: {"good", "segments", "entries", "unsealed", "head", "bad": {"kind", "segment", "n", "line"} | null}.

    Exit codes: 0 proved, 1 something was changed, 2 usage or set-up.
    """
    with output.aside().status("verifying"):
        if file is not None:
            if not file.exists():
                raise SetupError("audit.no_file", where=str(file), reason="there is no such file")
            result = verifying.verify_export(file, expect)
        else:
            result = verifying.verify(setup.open_ledger(config).engine, expect)
    if json:
        output.tell(
            {
                "good": result.is_good,
                "segments": result.segments,
                "entries": result.entries,
                "unsealed": result.unsealed,
                "head": result.head,
                "bad": result.bad,
            }
        )
    else:
        output.say(said(result))
    raise typer.Exit(output.GOOD if result.is_good else output.FOUND)


def said(result: verifying.Verified) -> str:
    """The result in one line."""
    if result.bad is None:
        return (
            f"[green]proved[/]: {result.entries} entries in {result.segments} segments, {result.unsealed} not sealed yet"
            + (f" · head {result.head}" if result.head else "")
        )
    bad = result.bad
    line = f", line {bad.line} of the file" if bad.line is not None else ""
    entry = f" at entry {bad.n}" if bad.n is not None else ""
    return f"[bold red]not proved[/]: {bad.kind}{entry} in segment {bad.segment}{line}"


def _note(ledger: setup.Ledger, act: str, operator: str) -> None:
    now = datetime.now(UTC)
    entry = trail.Entry(
        act=act, at=now, actor_kind="operator", actor=operator, subject="audit", software="carnet"
    )
    with writing(ledger.engine) as connection:
        trail.write(connection, [entry], now)


def _cell(name: str, value: object) -> object:
    if name == "at" and isinstance(value, int):
        return datetime.fromtimestamp(value / 1_000_000, tz=UTC).isoformat(timespec="milliseconds")
    return value
