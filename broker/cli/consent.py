"""`carnet consent`: what a patient says of who may see the record; every word is an event and an audit entry.

Long because it is a list: one command for each thing that can be said.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker.access import parse_viewer, particulars, snapshot
from broker.audit import trail
from broker.cli import opened, output, people, setup
from broker.cli.people import By
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.records import accounts, care_team, consents, document_rows, patients, sight
from broker.records.consents import Said
from broker.rules import decide, holder, minors, orders

group = typer.Typer(
    no_args_is_help=True,
    help="Who may see a patient's record: consent, care team, blocks, mandates, masks.",
)

Channel = Annotated[
    str, typer.Option(help="How it was said: counter, phone, letter, online, message.")
]
OnBehalf = Annotated[
    str | None,
    typer.Option(
        "--on-behalf-of", metavar="ID", help="Collected for another professional (CON-05)."
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="WHOM",
        help="structure:FINESS#VISIT, group:ID, or a professional's national id.",
    ),
]
Professional = Annotated[
    str,
    typer.Argument(metavar="ID", help="The professional's national id (8 + RPPS, or the RPPS)."),
]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take it back.")]

_Do = Callable[[Any, int, Said], None]


@group.command()
def give(
    patient: people.PatientRef,
    to: To,
    system: people.System = "ins",
    on_behalf_of: OnBehalf = None,
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that the patient consents to a care team, or to one professional at this consultation.

    To a team it is the initial consent, once for each episode, and stands for all its members (CON-02, CON-03). To a
    professional outside the team it is of this consultation and ends with it (CON-04).

        carnet consent give --patient 354042744143873 --to structure:990000001#V2026030901
        carnet consent give --patient 354042744143873 --to 899900000029 --on-behalf-of 899900000037

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    _consent(config, patient, system, json, by, channel, on_behalf_of, to, "IC")


@group.command()
def refuse(
    patient: people.PatientRef,
    to: To = "",
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that the patient, informed, refuses; no reason is needed. Without --to: every care team.

        carnet consent refuse --patient 354042744143873 --to structure:990000001#V2026030901
        carnet consent refuse --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    _consent(config, patient, system, json, by, channel, None, to, "INC")


@group.command()
def withdraw(
    patient: people.PatientRef,
    to: To,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that the patient takes a consent back, at any time (CON-09).

        carnet consent withdraw --patient 354042744143873 --to 899900000029 --channel online

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    _consent(config, patient, system, json, by, channel, None, to, "withdrawn")


@group.command()
def block(
    professional: Professional,
    patient: people.PatientRef,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Block a professional: they read nothing any more, authorised or not (ACC-05).

        carnet consent block 899900000029 --patient 354042744143873 --channel online

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def do(connection: Any, number: int, said: Said) -> None:
        consents.block(connection, number, professional, True, said)

    _set(config, patient, system, json, by, channel, "block", do, about=consents.key(professional))


@group.command()
def unblock(
    professional: Professional,
    patient: people.PatientRef,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Take a block back.

        carnet consent unblock 899900000029 --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def do(connection: Any, number: int, said: Said) -> None:
        consents.block(connection, number, professional, False, said)

    _set(
        config, patient, system, json, by, channel, "unblock", do, about=consents.key(professional)
    )


@group.command()
def team(
    member: Annotated[
        str,
        typer.Argument(
            metavar="MEMBER", help="structure:FINESS, group:ID, or a professional's national id."
        ),
    ],
    patient: people.PatientRef,
    visit: Annotated[str, typer.Option(help="The visit, for a structure.")] = "",
    leave: Annotated[bool, typer.Option("--leave", help="They leave the care team.")] = False,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that somebody enters the patient's care team, or leaves it (L.1110-12).

    Visits enter and leave by themselves with ADT messages. A member still needs the team's consent.

        carnet consent team 899900000029 --patient 354042744143873
        carnet consent team structure:990000001 --visit V2026030901 --leave --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    named = member if consents.is_team(member) else consents.key(member)

    def do(connection: Any, number: int, said: Said) -> None:
        event = care_team.TeamEvent(
            patient=number,
            member=named,
            act="leave" if leave else "enter",
            at=said.now,
            branch=care_team.branch_of(named),
            by=said.by,
            channel=said.channel,
            episode=visit,
        )
        care_team.note(connection, [event], said.now)

    _set(config, patient, system, json, by, channel, "care team", do, about=named)


_MAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{3,190}")


@group.command()
def traitant(
    professional: Annotated[
        str, typer.Argument(metavar="ID", help="National id of the physician; none for nobody.")
    ],
    patient: people.PatientRef,
    mssante: Annotated[
        bool, typer.Option("--mssante", help="Read their MSSanté address from standard input.")
    ] = False,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Declare the patient's médecin traitant DMP, who also sees what is masked (ACC-07).

        carnet consent traitant 899900000029 --patient 354042744143873 --mssante
        carnet consent traitant none --patient 354042744143873

    Where their MSSanté address is known they are told of emergency accesses (EMG-04, `[notices] mssante`).

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    address = sys.stdin.readline().strip() if mssante else ""
    if mssante and not _MAIL.fullmatch(address):
        raise SetupError(
            "usage.option",
            where="--mssante",
            reason="standard input holds no mail address",
            hint="echo anne.exemple@medecin.mssante.fr | carnet consent traitant …",
        )

    def do(connection: Any, number: int, said: Said) -> None:
        consents.traitant(connection, number, professional, said, address)

    _set(config, patient, system, json, by, channel, "médecin traitant", do, about=professional)


@group.command("oppose-emergency")
def oppose_emergency(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="bris_de_glace or centre_15.")],
    patient: people.PatientRef,
    withdraw: Withdraw = False,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that the patient opposes one emergency mode beforehand; each mode by itself (EMG-03).

        carnet consent oppose-emergency bris_de_glace --patient 354042744143873
        carnet consent oppose-emergency centre_15 --withdraw --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def do(connection: Any, number: int, said: Said) -> None:
        consents.oppose_emergency(connection, number, mode, not withdraw, said)

    _set(config, patient, system, json, by, channel, "emergency opposition", do, about=mode)


@group.command()
def mandate(
    representative: Annotated[
        str, typer.Argument(metavar="ID", help="What the representative signs in with.")
    ],
    patient: people.PatientRef,
    kind: Annotated[
        str, typer.Option(help="parent, representation, assistance, carer, or ended.")
    ] = "parent",
    scope: Annotated[str, typer.Option(help="person, property or all.")] = "all",
    start: Annotated[str, typer.Option("--from", help="First day, 2026-01-01.")] = "",
    end: Annotated[str, typer.Option("--until", help="Last day, 2027-12-31.")] = "",
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Declare what lets somebody act for the patient: parental authority, or a judgment with its scope and end.

    Assistance and carers read nothing (ADU-01, ADU-02). A parent's access ends on the 18th birthday by itself.

        carnet consent mandate p-0001 --patient 354042744143873
        carnet consent mandate t-0001 --kind representation --scope person --until 2027-12-31 --patient 354042744143873
        carnet consent mandate p-0001 --kind ended --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    if not representative.strip():
        raise SetupError(
            "consent.unknown",
            where="ID",
            reason="a mandate is somebody's: an empty id is nobody's",
            hint="give what the representative signs in with",
        )
    try:
        value = str(holder.Mandate.parse(f"{kind}/{scope}/{start}/{end}"))
    except ValueError as error:
        raise SetupError(
            "consent.unknown",
            where="--kind, --scope, --from or --until",
            reason="no such mandate",
            hint=", ".join((*holder.MANDATES, *holder.SCOPES)),
        ) from error

    def do(connection: Any, number: int, said: Said) -> None:
        consents.mandate(connection, number, representative, value, said)

    _set(config, patient, system, json, by, channel, "mandate", do, about=representative)


@group.command()
def application(
    name: Annotated[str, typer.Argument(metavar="ID", help="The application's id.")],
    patient: people.PatientRef,
    withdraw: Withdraw = False,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "online",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Authorise an application to read what the patient reads, or take it back (CON-09).

        carnet consent application carnet-de-vaccination --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def do(connection: Any, number: int, said: Said) -> None:
        consents.application(connection, number, name, not withdraw, said)

    _set(config, patient, system, json, by, channel, "application", do, about=name)


@group.command("minor-act")
def minor_act(
    article: Annotated[str, typer.Argument(metavar="ARTICLE", help="L.1111-5, L.2212-7, …")],
    patient: people.PatientRef,
    withdraw: Withdraw = False,
    system: people.System = "ins",
    by: By = "operator",
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Note that a minor objects to the mention of acts under an article (MIN-02, R.1111-33).

        carnet consent minor-act L.1111-5 --patient 354042744143873

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """
    known = minors.articles(setup.read_settings(config).rules.folder)
    if article not in known:
        raise SetupError(
            "consent.unknown", where="ARTICLE", reason="no such article", hint=", ".join(known)
        )

    def do(connection: Any, number: int, said: Said) -> None:
        consents.object_to_act(connection, number, article, not withdraw, said)

    _set(config, patient, system, json, by, channel, "minor act", do)


@group.command()
def document(
    change: Annotated[
        str,
        typer.Argument(
            metavar="CHANGE",
            help="mask, unmask, show_patient, hide_representatives, show_representatives or delete.",
        ),
    ],
    number: Annotated[str, typer.Argument(metavar="DOCUMENT", help="The document's id.")],
    who: people.As,
    channel: Channel = "counter",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Change who sees one document, as the patient or its author; what the rules refuse is refused with its reason.

    Masking is lifted as it was set. Opening to representatives is for good (VIS-04).

        carnet consent document mask 019a… --as patient:354042744143873
        carnet consent document show_patient 019a… --as profession=G15_10,id=899900000029

    JSON: {"allowed", "rule", "reason", "rules_version", "matrix_version", "consent_version", "en", "fr"}.

    Exit codes: 0 done, 1 refused or no such document, 2 usage or set-up.
    """
    wanted = next((one for one in orders.CHANGES if one == change and one in sight.CHANGES), None)
    if wanted is None:
        raise SetupError(
            "consent.unknown",
            where="CHANGE",
            reason="no such change",
            hint=", ".join(sight.CHANGES),
        )
    ledger = opened.open_ledger(config)
    rules = decide.load(ledger.settings.rules.folder, ledger.settings.rules.switched)
    viewer, now = parse_viewer(who), datetime.now(UTC)
    with writing(ledger.engine) as connection:
        row = document_rows.load(connection, number.strip().lower()) or document_rows.ABSENT
        known = patients.load(connection, [row.patient]).get(row.patient)
        person = care_team.for_viewer(
            connection, known or patients.PatientRow(row.patient), viewer, now
        )
        made = rules.changing(
            viewer, person, row, wanted, now, by_patient=row.deposited_by == "patient"
        )
        if made.allowed:
            one = sight.SightChange(
                row.id, wanted, f"{viewer.kind}:{viewer.id}", channel, made.rule
            )
            sight.change(connection, [one], now)
        entry = trail.Entry(
            act="consent_changed" if made.allowed else "refused",
            at=now,
            actor_kind=viewer.kind,
            actor=viewer.id,
            actor_snapshot=snapshot(viewer),
            mode=viewer.mode,
            motive=viewer.motive or None,
            subject=row.id if row.patient else "document:absent",
            patient=row.patient or None,
            outcome=f"{wanted} {made.rule}",
            software="carnet",
            details=particulars(
                made,
                change=wanted,
                channel=channel,
                type=row.type_code,
                **{"class": row.class_code},
            ),
        )
        trail.write(connection, [entry], now)
    if json:
        output.tell(_said(rules, made))
    else:
        output.say(
            f"{'done' if made.allowed else 'refused'} by rule {made.rule}: "
            f"{escape(decide.explain(rules, made, 'operator', 'en'))}"
        )
    raise typer.Exit(output.GOOD if made.allowed else output.FOUND)


@group.command()
def show(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Show everything that was said of who may see the record, and who is in the care team.

        carnet consent show --patient 354042744143873 --json

    JSON: {"patient", "consent_version", "said": […], "team": […]}.

    Exit codes: 0 shown, 1 no such patient, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    _show(ledger, people.patient_of(ledger, patient, system), json)


def _said(rules: decide.Rules, made: decide.Decision) -> dict[str, object]:
    return {
        "allowed": made.allowed,
        "rule": made.rule,
        "reason": made.reason,
        "rules_version": made.rules_version,
        "matrix_version": made.matrix_version,
        "consent_version": made.consent_version,
        "en": decide.explain(rules, made, "operator", "en"),
        "fr": decide.explain(rules, made, "operator", "fr"),
    }


def _consent(
    config: setup.Config,
    patient: str,
    system: str,
    as_json: bool,
    by: str,
    channel: str,
    on_behalf_of: str | None,
    to: str,
    word: consents.Word,
) -> None:
    def do(connection: Any, number: int, said: Said) -> None:
        consents.consent(connection, number, to, word, said)

    what = {"IC": "consent given", "INC": "consent refused", "withdrawn": "consent withdrawn"}[word]
    _set(config, patient, system, as_json, by, channel, what, do, on_behalf_of, to)


def _set(
    config: setup.Config,
    patient: str,
    system: str,
    as_json: bool,
    by: str,
    channel: str,
    what: str,
    do: _Do,
    on_behalf_of: str | None = None,
    about: str = "",
) -> None:
    """Make one change, then show how it stands."""
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    note(ledger, number, what, Said(by, channel, datetime.now(UTC), on_behalf_of), do, about)
    _show(ledger, number, as_json)


def note(
    ledger: opened.Ledger, number: int, what: str, said: Said, do: _Do, about: str = ""
) -> None:
    """Make one change and its audit entry in one transaction; nothing where there is no such patient.

    `about` is the professional, team, mode, representative or application concerned.
    """
    entry = trail.Entry(
        act="consent_changed",
        at=said.now,
        actor_kind="operator",
        actor=said.by,
        subject=f"patient:{number}",
        patient=number,
        outcome=what,
        software="carnet",
        details=particulars(
            change=what, about=about, channel=said.channel, on_behalf_of=said.on_behalf_of
        ),
    )
    with writing(ledger.engine) as connection:
        if number in patients.load(connection, [number]):
            do(connection, number, said)
            trail.write(connection, [entry], said.now)


def _show(ledger: opened.Ledger, number: int, as_json: bool) -> None:
    with reading(ledger.engine) as connection:
        row = patients.load(connection, [number]).get(number)
    if row is None:
        output.aside().print("no such patient")
        raise typer.Exit(output.FOUND)
    said = accounts.history(ledger.engine, number)
    members = care_team.history(ledger.engine, number)
    if as_json:
        output.tell(
            {
                "patient": number,
                "consent_version": row.consent_version,
                "said": said,
                "team": [
                    {
                        "member": one.member,
                        "episode": one.episode,
                        "act": one.act,
                        "branch": one.branch,
                        "at": one.at,
                        "by": one.by,
                    }
                    for one in members
                ],
            }
        )
        return
    output.say(f"patient {number}: consent version {row.consent_version}")
    for one in said:
        output.say(
            f"  {one.at:%Y-%m-%d %H:%M} {escape(one.kind)} {escape(one.scope)} {escape(one.value)} "
            f"by {escape(one.by)} ({escape(one.channel)})"
        )
    for member in members:
        output.say(
            f"  {member.at:%Y-%m-%d %H:%M} team {escape(member.team)} {member.act} "
            f"by {escape(member.by)} ({escape(member.channel)})"
        )
