"""`carnet account`: the state of a patient's space, shown and changed; every change is an event and an audit entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker.audit import trail
from broker.cli import output, people, setup
from broker.cli.people import By
from broker.database.engine import reading, writing
from broker.records import accounts, patients

group = typer.Typer(
    no_args_is_help=True,
    help="A patient's space: show, open, close it, or note an opposition to filing.",
)

Channel = Annotated[str, typer.Option(help="How it was said: phone, letter, counter, message.")]


@group.command()
def show(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Show the state of a patient's space and everything that was said about it.

        carnet account show --patient 354042744143873

    JSON: {"patient", "account", "since", "filing_opposed", "consent_version", "said": […]}.

    Exit codes: 0 shown, 1 no such patient, 2 usage or set-up.
    """
    ledger = setup.open_ledger(config)
    _show(ledger, people.patient_of(ledger, patient, system), json)


@group.command("open")
def open_(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    by: By = "operator",
    channel: Channel = "counter",
    json: setup.AsJson = False,
) -> None:
    """Open (or reopen) a patient's space.

        carnet account open --patient 354042744143873 --by jdupont --channel phone

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    _change(config, patient, system, json, by, "account open", _moved("active", by, channel))


@group.command()
def close(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    by: By = "operator",
    channel: Channel = "counter",
    json: setup.AsJson = False,
) -> None:
    """Close a patient's space: nothing more is filed, deliveries go on.

        carnet account close --patient 354042744143873 --by jdupont --channel letter

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    _change(config, patient, system, json, by, "account close", _moved("closed", by, channel))


@group.command()
def oppose(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="The patient no longer opposes.")
    ] = False,
    by: By = "operator",
    channel: Channel = "counter",
    json: setup.AsJson = False,
) -> None:
    """Note that a patient opposes filing (R.1111-47), or no longer does.

        carnet account oppose --patient 354042744143873 --channel counter
        carnet account oppose --patient 354042744143873 --withdraw

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def say(connection: Any, number: int, now: datetime) -> None:
        accounts.oppose_filing(connection, number, not withdraw, by=by, channel=channel, now=now)

    _change(config, patient, system, json, by, "filing opposition", say)


_Say = Callable[[Any, int, datetime], None]


def _moved(state: str, by: str, channel: str) -> _Say:
    def say(connection: Any, number: int, now: datetime) -> None:
        accounts.move(connection, number, state, by=by, channel=channel, now=now)

    return say


def _change(
    config: setup.Config, patient: str, system: str, as_json: bool, by: str, what: str, say: _Say
) -> None:
    """Make one change and its audit entry in one transaction, then show how it stands."""
    ledger = setup.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    now = datetime.now(UTC)
    entry = trail.Entry(
        act="consent_changed",
        at=now,
        actor_kind="operator",
        actor=by,
        subject=f"patient:{number}",
        patient=number,
        outcome=what,
        software="carnet",
    )
    with writing(ledger.engine) as connection:
        if number in patients.load(connection, [number]):
            say(connection, number, now)
            trail.write(connection, [entry], now)
    _show(ledger, number, as_json)


def _show(ledger: setup.Ledger, number: int, as_json: bool) -> None:
    with reading(ledger.engine) as connection:
        row = patients.load(connection, [number]).get(number)
    if row is None:
        output.aside().print("no such patient")
        raise typer.Exit(output.FOUND)
    said = accounts.history(ledger.engine, number)
    if as_json:
        output.tell(
            {
                "patient": number,
                "account": row.account,
                "since": row.account_since,
                "filing_opposed": row.filing_opposed,
                "consent_version": row.consent_version,
                "said": said,
            }
        )
        return
    opposed = " · opposes filing" if row.filing_opposed else ""
    output.say(
        f"patient {number}: space {row.account}{opposed} · consent version {row.consent_version}"
    )
    for one in said:
        output.say(
            f"  {one.at:%Y-%m-%d %H:%M} {escape(one.kind)} {escape(one.scope)} {escape(one.value)} "
            f"by {escape(one.by)} ({escape(one.channel)})"
        )
