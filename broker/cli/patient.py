"""`carnet patient`: what the broker holds about a patient's space, without names or identifiers."""

from __future__ import annotations

import typer
from rich.markup import escape

from broker.cli import output, people, setup
from broker.database.engine import reading as reading_of
from broker.records import accounts, patients, reading

group = typer.Typer(
    no_args_is_help=True, help="A patient's space: its state, consents, and who looked."
)


@group.callback()
def _group() -> None:
    return


@group.command()
def show(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Show the state of a patient's space, what was said about consent, and the last visits.

        carnet patient show --patient 354042744143873
        echo 279053899904215 | carnet patient show --patient -

    JSON: {"patient", "account", "since", "filing_opposed", "consent_version", "said": […], "visits": […]}.

    Exit codes: 0 shown, 1 no such patient, 2 usage or set-up.
    """
    ledger = setup.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    with reading_of(ledger.engine) as connection:
        row = patients.load(connection, [number]).get(number)
    if row is None:
        output.aside().print("no such patient")
        raise typer.Exit(output.FOUND)
    said = accounts.history(ledger.engine, number)
    visits = reading.visits(ledger.engine, number)
    if json:
        output.tell(
            {
                "patient": number,
                "account": row.account,
                "since": row.account_since,
                "filing_opposed": row.filing_opposed,
                "consent_version": row.consent_version,
                "said": said,
                "visits": [
                    {
                        "kind": visit.actor.kind,
                        "profession": visit.actor.profession,
                        "started": visit.started,
                        "listed": visit.listed,
                        "read": visit.read,
                    }
                    for visit in visits
                ],
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
    rows = [
        (f"{v.started:%Y-%m-%d %H:%M}", v.actor.kind, v.actor.profession, v.listed, v.read)
        for v in visits
    ]
    if rows:
        output.table("who looked", ("started", "kind", "profession", "#listed", "#read"), rows)
