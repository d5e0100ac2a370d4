"""`carnet patient`: what the broker holds about a patient's space, without names or identifiers."""

from __future__ import annotations

import typer
from rich.markup import escape

from broker.cli import opened, output, people, setup
from broker.cli.patient_identity import register
from broker.database.engine import reading as reading_of
from broker.records import accounts, identity_circle, reading

group = typer.Typer(
    no_args_is_help=True,
    help="A patient's space and identity: its state, consents, who looked; merging and un-merging.",
)
register(group)


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

    Of a merged patient it is the record that is shown: all its persons, and as state what the strictest of them says.

    JSON: {"patient", "record", "persons", "linked", "account", "since", "filing_opposed", "consent_version", "said": […],
    "visits": […]}.

    Exit codes: 0 shown, 1 no such patient, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    with reading_of(ledger.engine) as connection:
        around = identity_circle.shown(connection, number)
    if around is None:
        output.aside().print("no such patient")
        raise typer.Exit(output.FOUND)
    row = around.record
    said = [one for person in around.persons for one in accounts.history(ledger.engine, person)]
    visits = reading.visits(ledger.engine, number)
    if json:
        output.tell(
            {
                "patient": number,
                "record": row.id,
                "persons": around.persons,
                "linked": around.linked,
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
    if len(around.persons) > 1:
        others = ", ".join(str(one) for one in around.persons if one != number)
        output.say(f"  one record with {others}; the survivor is {row.id}")
    if around.linked:
        output.say(f"  shown together with {', '.join(map(str, around.linked))}")
    for one in sorted(said, key=lambda one: (one.at, one.n)):
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


@group.command()
def find(
    system: people.System = "ins",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Say which internal number an identifier leads to. The identifier is read from standard input.

        echo 279053899904215 | carnet patient find
        echo 77001 | carnet patient find --system 1.2.250.1.999.2

    JSON: {"patient", "record", "persons": […], "linked": […]}.

    Exit codes: 0 found, 1 no patient has it, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, "-", system)
    with reading_of(ledger.engine) as connection:
        around = identity_circle.shown(connection, number)
    if around is None:
        raise typer.Exit(output.FOUND)
    if json:
        output.tell(
            {
                "patient": number,
                "record": around.record.id,
                "persons": around.persons,
                "linked": around.linked,
            }
        )
        return
    output.say(f"patient {number}")
    if len(around.persons) > 1:
        output.say(f"  record {around.record.id}: {', '.join(map(str, around.persons))}")
