"""`carnet serve` and the single roles: run until told to stop, then drain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import typer

from broker import supervisor
from broker.cli import output, setup
from broker.web import exposure


def serve(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Run the whole broker on this machine.

    Listens, files, delivers and keeps the clock: every role as a process of its own, started again if it dies.
    Ctrl-C (or SIGTERM) finishes what is in hand and ends.

        carnet serve
        carnet serve --config /etc/carnet/carnet.toml

    With --json one line is printed when everything listens: {"ready": {source: address}, "processes": {role: pid}}.

    Exit codes: 0 drained, 1 a role kept failing, 2 it could not start.
    """
    run(config, None, json)


def gateway(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Run the listeners only: MLLP, HTTP, file drops. What they acknowledge is in the database.

    carnet gateway --config carnet.toml
    """
    run(config, ["gateway"], json)


def worker(
    config: setup.Config = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="How many. Default: [worker] processes.")
    ] = None,
    json: setup.AsJson = False,
) -> None:
    """Run workers only: they take what was received into the records.

    carnet worker --processes 4
    """
    run(config, ["worker"], json, processes)


def courier(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Run the couriers only: they deliver what is owed to destinations.

    carnet courier --config carnet.toml
    """
    run(config, ["courier"], json)


def scheduler(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Run the scheduler only: sweeps, sealing of the trail, partitions. One is active, others stand by.

    carnet scheduler --config carnet.toml
    """
    run(config, ["scheduler"], json)


def web(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Run the record's API only (FHIR R4): what professionals' and patients' software reads. Needs [[web.issuer]].

    carnet web --config carnet.toml
    """
    exposure.check(setup.read_settings(config).web)
    run(config, ["web"], json)


def run(
    config: setup.Config, roles: list[str] | None, as_json: bool, processes: int | None = None
) -> None:
    """Supervise roles and end the command with the supervisor's code."""
    settings = setup.read_settings(config)
    if processes is not None:
        workers = msgspec.structs.replace(settings.worker, processes=processes)
        settings = msgspec.structs.replace(settings, worker=workers)

    def ready(addresses: dict[str, str], pids: Mapping[str, int]) -> None:
        if as_json:
            output.tell({"ready": addresses, "processes": dict(pids)})
            return
        for name, address in sorted(addresses.items()):
            output.aside().print(f"[green]listening[/] {name} on {address}")
        if not settings.sources and (roles is None or "gateway" in roles):
            output.aside().print(
                "[yellow]nothing listens[/]: no source is configured (see `carnet explain`)"
            )
        output.aside().print(f"ready: {', '.join(sorted(pids))} · Ctrl-C drains and ends")

    def failed(role: str, why: str) -> None:
        output.aside().print(f"[bold red]{role}[/]: {why}", markup=True)

    raise typer.Exit(supervisor.serve(settings, roles, ready=ready, failed=failed))
