"""`carnet drill`: kill -9 at every fault point under load, then prove the promises and write it down."""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
import tempfile
import threading
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from broker.cli import output, setup
from broker.drill import report, run
from broker.errors import SetupError


class SetUp(StrEnum):
    """What the broker of the drill stands on."""

    EMBEDDED = "embedded"
    FULL = "full"


def drill(
    config: setup.Config = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The same seed gives the same orders. Default: a new one, which is said."
        ),
    ] = None,
    kills: Annotated[int, typer.Option(min=1, max=100_000, help="At least so many kills.")] = 100,
    set_up: Annotated[
        SetUp,
        typer.Option(
            help="embedded: SQLite, nothing to give. full: PostgreSQL and a queue of yours."
        ),
    ] = SetUp.EMBEDDED,
    database: Annotated[
        str,
        typer.Option(
            envvar="CARNET_DRILL_DATABASE",
            help="Of --set-up full: an empty database, postgresql+psycopg://….",
            show_default=False,
        ),
    ] = "",
    queue: Annotated[
        str,
        typer.Option(
            envvar="CARNET_DRILL_QUEUE",
            help="Of --set-up full: amqp://…, or embedded.",
            show_default=False,
        ),
    ] = "",
    points: Annotated[
        list[str] | None,
        typer.Option(help="Only at this point; may be given again. Default: every point."),
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write the report here, as Markdown.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder of the drill: settings, log, orders.")
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Kill a broker at its worst moments, many times, and prove that it kept every promise.

    The drill starts a broker of its own in a temporary folder, sends it messages of invented patients over many
    connections, and lets its processes die by SIGKILL at named points: before and after each commit, between commit
    and answer, while work goes to the queue, while a delivery is sent. Each is started again, and what was not
    answered is sent again, as a hospital does.

    Then it waits until nothing moves and reads the result row by row: what was answered AA is filed exactly once, in
    the order of each patient; what is owed arrived, and a second time only where the outcome was shown as unknown; the
    balance closes and the audit trail verifies.

    It never touches a site: the database must be empty, and where the settings at hand are a production site's it
    refuses. One kill takes about half a second on two cores, and what was sent meanwhile has to be settled.

        carnet drill
        carnet drill --kills 1000 --report drill.md
        carnet drill --seed 7 --points intake.committed --points filing.written
        carnet drill --set-up full --database postgresql+psycopg://carnet@localhost/drill --queue amqp://localhost

    JSON: {"good", "set_up", "seed", "kills", "points": {point: kills}, "promises": [{"name", "holds", "says",
    "figures", "breaks", "findings"}], "figures", "began", "seconds", "killing_seconds", "again"}.

    Exit codes: 0 every promise held, 1 one did not or a point was not reached, 2 it could not begin.
    """
    _refuse_production(config)
    if report_file is not None and not report_file.absolute().parent.is_dir():
        raise SetupError("usage.file", where="--report", reason="its folder is not there")
    folder = Path(tempfile.mkdtemp(prefix="carnet-drill-"))
    try:
        database_url, queue_url = _stores(set_up, database, queue, folder)
        plan = run.Plan(
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            kills=kills,
            database_url=database_url,
            queue_url=queue_url,
            points=tuple(points or ()),
        )
        outcome = _run(plan, folder)
    finally:
        if keep:
            output.aside().print(f"kept {escape(str(folder))}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if report_file is not None:
        report_file.write_text(report.as_markdown(outcome, version("carnet")), encoding="utf-8")
    if json:
        output.tell(report.as_json(outcome))
    else:
        show(outcome)
    raise typer.Exit(output.GOOD if outcome.is_good else output.FOUND)


def show(outcome: run.Outcome) -> None:
    """The promises and what broke them; the report says more."""
    colour = "green" if outcome.is_good else "bold red"
    output.say(f"[{colour}]{report.title(outcome)}[/] in {outcome.seconds:.0f} s")
    for promise in outcome.promises:
        mark = "[green]✓[/]" if promise.holds else "[bold red]✗[/]"
        output.say(f"  {mark} {escape(promise.says)} [dim]{escape(promise.figures)}[/]")
        for finding in promise.findings:
            output.say(f"      {escape(finding)}")
    output.say(f"  again: [cyan]{escape(report.again(outcome))}[/]")


def _refuse_production(config: Path | None) -> None:
    """Whoever stands on a production site and drills has mistaken the shell. Raises: SetupError."""
    if setup.read_settings(config).site.production:
        raise SetupError(
            "drill.production",
            where=str(config or setup.DEFAULT_FILE),
            reason="these are the settings of a production site",
            hint="run the drill on another machine, or in a folder without those settings",
        )


def _stores(set_up: SetUp, database: str, queue: str, folder: Path) -> tuple[str, str]:
    """The addresses of database and queue. Raises: SetupError when addresses and set-up do not fit."""
    if set_up == SetUp.EMBEDDED:
        if database or queue:
            raise SetupError(
                "usage.set_up",
                where="--set-up",
                reason="the embedded set-up takes no addresses",
                hint="say --set-up full to drill on them",
            )
        return f"sqlite:///{folder / 'carnet.db'}", "embedded"
    if not database.startswith("postgresql") or not queue:
        raise SetupError(
            "usage.set_up",
            where="--set-up",
            reason="the full set-up needs --database and --queue",
            hint="an empty PostgreSQL database, and the address of a RabbitMQ",
        )
    return database, queue


def _run(plan: run.Plan, folder: Path) -> run.Outcome:
    """Under a progress bar; Ctrl-C or SIGTERM ends the killing, and what was done so far is proved."""
    stop = threading.Event()
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda *_: threading.Thread(target=stop.set, daemon=True).start())
        for number in wanted
    ]
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(
            "{task.completed:.0f} of {task.total:.0f} kills · {task.fields[taken]} answered AA"
        ),
        TimeElapsedColumn(),
        console=output.aside(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    try:
        with bar:
            task = bar.add_task("starting the broker", total=plan.kills, taken=0)

            def tell(now: run.Progress) -> None:
                bar.update(
                    task,
                    description=now.step,
                    completed=now.kills,
                    total=max(plan.kills, now.kills),
                    taken=now.acknowledged,
                )

            return run.run(plan, folder, tell, stop)
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
