"""`carnet account`: the life-cycle of patients' spaces; every change is in the history, in the trail, and told.

Longer than other modules because each command is a few lines of code and its help.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from broker import app, plugins
from broker.access import particulars
from broker.account_acts import Accounts, Result
from broker.account_jobs import AccountJobs
from broker.account_migration import AT_ONCE, Migration, examine
from broker.acts import Done
from broker.audit import trail
from broker.cli import account_showing, acting, opened, output, people, setup
from broker.cli.people import By
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.records import account_rows, accounts, patients
from broker.records.account_moves import By as Who
from broker.telemetry import Telemetry

group = typer.Typer(
    no_args_is_help=True,
    help="Patients' spaces: inform, open, close, delete; what will happen, and what has happened.",
)

Channel = Annotated[
    str, typer.Option(help="How it was said: online, phone (3422), letter, counter.")
]
Reason = Annotated[str, typer.Option(help="Why, for the history. Name no patient.")]
Words = Annotated[Literal["en", "fr"], typer.Option(help="Language of the words.")]
Many = Annotated[
    Path | None,
    typer.Option(
        "--file", help="Many patients: internal numbers, one a line; - is standard input."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
One = Annotated[
    str | None,
    typer.Option(
        "--patient",
        "-p",
        metavar="NUMBER|-",
        help="The patient's internal number; - reads an identifier from standard input (see --system).",
        show_default=False,
    ),
]


@group.command()
def show(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    language: Words = "en",
    json: setup.AsJson = False,
) -> None:
    """Show a patient's space: its state, what will happen by the clock, and its history in words.

        carnet account show --patient 354042744143873
        carnet account show --patient 354042744143873 --language fr

    JSON: {"patient", "account", "state", "since", "outside", "former", "due", "delete_by", "holders", "waiting",
    "filing_opposed", "consent_version", "said": […], "history": […], "notices": […]}.

    Exit codes: 0 shown, 1 no such patient, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    account_showing.show(ledger, number, json=json, language=language)


@group.command("list")
def list_(
    config: setup.Config = None,
    due: Annotated[
        str, typer.Option("--due", help="Due up to this day: 2026-12-31, or today.")
    ] = "today",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    json: setup.AsJson = False,
) -> None:
    """List what is due to spaces, the oldest first: openings, closings, deletions, 18th birthdays.

        carnet account list --due 2026-12-31
        carnet account list --due today --json

    What is due in the past has not been done yet: the scheduler does it within a minute.

    A deletion that was asked for has its last day too: three months after the request (R.1111-36).

    JSON, one line each: {"patient", "transition", "due_at", "latest"}.

    Exit codes: 0 shown, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = opened.parse_day(due, ledger.today())
    last = datetime(
        number // 10_000, number // 100 % 100, number % 100, 23, 59, 59, 999_999,
        tzinfo=ledger.settings.site.zone,
    )  # fmt: skip
    with reading(ledger.engine) as connection:
        found = account_rows.due(connection, last.astimezone(UTC), limit)
    if json:
        for patient, name, at in found:
            latest = account_showing.latest(name, at)
            output.tell({"patient": patient, "transition": name, "due_at": at, "latest": latest})
        return
    rows = [
        (
            patient, name, account_showing.DUE_WORDS[name][0], f"{at:%Y-%m-%d %H:%M}",
            account_showing.latest(name, at) or "",
        )
        for patient, name, at in found
    ]  # fmt: skip
    columns = ("#patient", "transition", "what", "due (UTC)", "at the latest")
    output.table("due to spaces", columns, rows)


@group.command()
def inform(
    patient: One = None,
    file: Many = None,
    system: people.System = "ins",
    config: setup.Config = None,
    mail: Annotated[
        bool, typer.Option("--mail", help="Read the holder's mail address from standard input.")
    ] = False,
    card: Annotated[
        bool,
        typer.Option("--card", help="Read the carte Vitale's serial number from standard input."),
    ] = False,
    language: Annotated[str, typer.Option(help="Language of the holder: fr or en.")] = "",
    by: By = "operator",
    channel: Channel = "online",
    dry_run: DryRun = False,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Inform people that a space will be opened (T1): the letter goes out with a code, six weeks begin.

        carnet account inform --patient 354042744143873 --mail --card
        carnet account inform --file newborns.txt --dry-run

    The address is the first line of standard input, the serial number the next; neither stands in the command.
    Only a keyed digest of code and serial number is kept.

    JSON, one line a patient: {"patient", "done", "transitions", "reason"}.

    Exit codes: 0 done, 1 some were left, 2 usage or set-up.
    """
    acting.expect(language or None, ("fr", "en"), "--language")
    ledger, numbers = _chosen(config, patient, file, system)
    address = sys.stdin.readline().strip() if mail else ""
    serial = sys.stdin.readline().strip() if card else ""
    if (address or serial) and len(numbers) > 1:
        raise SetupError("usage.option", where="--mail", reason="one address is of one person")
    if dry_run:
        _would(ledger, numbers, "inform", json)
    acting.confirm(f"inform {len(numbers):,} people", len(numbers), yes)
    done = _accounts(ledger).inform(
        numbers, Who(by, channel=channel), _now(), mail=address, language=language, card=serial
    )
    _tell(ledger, numbers, done, json)


def _simple(event: str, text: str) -> Callable[..., None]:
    """A command that brings one event to one patient or to many."""

    def command(
        patient: One = None,
        file: Many = None,
        system: people.System = "ins",
        config: setup.Config = None,
        by: By = "operator",
        channel: Channel = "counter",
        reason: Reason = "",
        dry_run: DryRun = False,
        yes: acting.Yes = False,
        json: setup.AsJson = False,
    ) -> None:
        ledger, numbers = _chosen(config, patient, file, system)
        if dry_run:
            _would(ledger, numbers, event, json)
        acting.confirm(f"{event} {len(numbers):,} spaces", len(numbers), yes)
        who = Who(by, channel=channel, reason=reason)
        _tell(ledger, numbers, _accounts(ledger).bring(numbers, event, who, _now()), json)

    command.__doc__ = (
        f'{text}\n\n    JSON, one line a patient: {{"patient", "done", "transitions", "reason"}}.\n\n'
        "    Exit codes: 0 done, 1 some were left, 2 usage or set-up.\n    "
    )
    command.__name__ = event
    return command


_SIMPLE = {
    "oppose": (
        "oppose",
        """Note an opposition to the opening (T2), with a receipt; after the six weeks it closes the space (T7).

        carnet account oppose --patient 354042744143873 --channel phone
        carnet account oppose --file oppositions.txt --dry-run

    Documents that waited are dropped. Opposition to filing alone is `carnet account oppose-filing`.""",
    ),
    "close": (
        "close",
        """Close a space (T7): nothing more is filed, its content is archived for ten years; other deliveries go on.

        carnet account close --patient 354042744143873 --by jdupont --channel letter""",
    ),
    "reopen": (
        "reopen",
        """Open a closed space again (T11), what was archived is back in it; or open one after an opposition (T6).

        carnet account reopen --patient 354042744143873 --channel online""",
    ),
    "suspend": (
        "suspend",
        """Suspend a space for fraud or a malfunction (T9): the holder is told, six weeks later it is closed (T10).

        carnet account suspend --patient 354042744143873 --reason "card reported stolen" """,
    ),
    "object": (
        "object",
        """Note that the holder objects to a suspension, within six weeks: it no longer ends in a closing by itself.

        carnet account object --patient 354042744143873 --channel letter

    Then a person decides: `carnet account resume` where the objection is right, else `carnet account close`.""",
    ),
    "resume": (
        "resume",
        """Lift a suspension, since the holder's objection was accepted (T10b): documents that waited are filed.

        carnet account resume --patient 354042744143873 --channel phone""",
    ),
    "death": (
        "death",
        """Note a holder's death (T8): the space is closed, its content archived for ten years; nobody is written to.

        carnet account death --patient 354042744143873 --channel letter""",
    ),
    "delete": (
        "ask_deletion",
        """Note an express request to delete (T13): done by the scheduler, at the latest within three months, and told.

        carnet account delete --patient 354042744143873 --channel letter
        carnet account delete --file requests.txt --dry-run

    The last day is shown by `carnet account show` and `carnet account list`; a second request does not move it.
    The content is gone for good then; that there was something, and who saw it, stays in the trace.""",
    ),
}  # fmt: skip
for _name, (_event, _text) in _SIMPLE.items():
    group.command(_name)(_simple(_event, _text))


@group.command()
def activate(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    identified: Annotated[
        str, typer.Option("--identified-by", help="Identified otherwise: france_connect.")
    ] = "",
    by: By = "operator",
    channel: Channel = "online",
    json: setup.AsJson = False,
) -> None:
    """Activate a space (T4 within the six weeks, T5 later) with the code and the card's serial number.

        carnet account activate --patient 354042744143873
        carnet account activate --patient 354042744143873 --identified-by france_connect

    The code is the first line of standard input, the serial number the next. After five wrong attempts only a new code
    helps (`carnet account code`).

    JSON: {"patient", "done", "transitions", "reason"}.

    Exit codes: 0 activated, 1 refused, 2 usage or set-up.
    """
    acting.expect(identified or None, ("france_connect",), "--identified-by")
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    code = serial = ""
    if not identified:
        code, serial = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    who = Who(by, "patient" if channel == "online" else "operator", channel, identified)
    done, _ = _accounts(ledger).activate(
        number, code, serial, who, _now(), is_identified=bool(identified)
    )
    _tell(ledger, [number], done, json)


@group.command()
def code(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    by: By = "operator",
    channel: Channel = "phone",
    json: setup.AsJson = False,
) -> None:
    """Give a holder a new code (T5b): it goes out as a notice, the one before is void.

        carnet account code --patient 354042744143873 --channel phone

    The code itself is not shown here: it is for the holder.

    JSON: {"patient", "done", "transitions", "reason"}.

    Exit codes: 0 done, 1 the space needs no code, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    done = _accounts(ledger).renew_code(number, Who(by, channel=channel), _now())
    _tell(ledger, [number], done, json)


@group.command()
def attach(
    patient: people.PatientRef,
    parent: Annotated[int, typer.Option(help="Internal number of the parent.")],
    system: people.System = "ins",
    config: setup.Config = None,
    born: Annotated[str, typer.Option(help="The child's day of birth: 2015-03-01.")] = "",
    end: Annotated[
        bool, typer.Option("--end", help="This parent no longer reaches the space (M6).")
    ] = False,
    by: By = "operator",
    channel: Channel = "online",
    reason: Reason = "",
    json: setup.AsJson = False,
) -> None:
    """Let a child's space be reached from a parent's (M2), up to the 18th birthday (M5); or end it (M6).

        carnet account attach --patient 354042744143873 --parent 354042744143870 --born 2015-03-01
        carnet account attach --patient 354042744143873 --parent 354042744143870 --end --reason "by decision"

    JSON: {"patient", "done", "transitions", "reason"}.

    Exit codes: 0 done, 1 not possible, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    who, now = Who(by, channel=channel, reason=reason), _now()
    if end:
        done = _accounts(ledger).detach(number, parent, who, now)
    else:
        day = opened.parse_day(born or "missing", 0)
        birthday = date(day // 10_000, day // 100 % 100, day % 100)
        done = _accounts(ledger).attach(number, parent, birthday, who, now)
    _tell(ledger, [number], done, json)


@group.command("run-due")
def run_due(
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Do now what is due to spaces, as the scheduler does every minute: openings, closings, deletions.

        carnet account run-due

    JSON: {"transitions"}.

    Exit codes: 0 done, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    telemetry = Telemetry("command", level="error", stream=io.StringIO())
    queue = plugins.open_queue(ledger.settings)
    try:
        jobs = AccountJobs(
            ledger.engine,
            _accounts(ledger),
            telemetry,
            _now,
            lambda work: queue.put("inbound", work),
        )
        with output.aside().status("moving spaces"):
            made = jobs.move()
    finally:
        queue.close()
    if json:
        output.tell({"transitions": made})
    else:
        output.say(f"{made:,} transitions")


@group.command()
def migrate(
    manifest: Annotated[Path, typer.Argument(help="JSON lines, one person each.")],
    documents: Annotated[
        Path | None, typer.Option(help="Folder of the documents. Default: beside the manifest.")
    ] = None,
    config: setup.Config = None,
    by: By = "operator",
    batch: Annotated[int, typer.Option(help="People of one transaction, at most.")] = AT_ONCE,
    json: setup.AsJson = False,
) -> None:
    """Take over former records with their documents, masks, blocked professionals and access lists.

        carnet account migrate former.jsonl --documents former/ --by jdupont

    Started again after a stop or a kill it goes on behind the last person that was committed; nobody is taken twice.
    Such a record goes on as before until the space is opened (T3, T4); an opposition archives it (T2).

    JSON: {"lines", "position", "taken", "documents", "left_out", "over"}, and one line {"line", "left"} each left out.

    Exit codes: 0 all taken, 1 some lines were left out or it was stopped, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    given = examine(manifest, documents or manifest.parent)
    stop, left = threading.Event(), []
    columns = (
        TextColumn("taking over"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip

    def leave(line: int, why: str) -> None:
        left.append(line)
        if json:
            output.tell({"line": line, "left": why})
        else:
            output.aside().print(f"line {line} left out: {why}", markup=False)

    with (
        acting.stopping(stop),
        Progress(*columns, console=output.aside(), transient=True, disable=json) as progress,
    ):
        task = progress.add_task("", total=given.lines)
        migration = Migration(
            ledger.engine,
            production=ledger.settings.site.production,
            clock=_now,
            progress=lambda lines: progress.update(task, completed=lines),
            leave=leave,
            at_once=batch,
        )
        done = migration.run(given, by, stop)
    if json:
        output.tell(
            {
                "lines": given.lines, "position": done.position, "taken": done.taken, "documents": done.documents,
                "left_out": done.left_out, "over": done.is_over,
            }
        )  # fmt: skip
    else:
        over = "" if done.is_over else f"; stopped after line {done.position:,}, start it again"
        output.say(
            f"{done.taken:,} people and {done.documents:,} documents of {given.lines:,} lines taken over, "
            f"{done.left_out:,} left out{over}"
        )
    raise typer.Exit(output.GOOD if done.is_over and not done.left_out else output.FOUND)


# --- set past the machine, and consent ----------------------------------------------------------------------------


@group.command("open")
def open_(
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    by: By = "operator",
    channel: Channel = "counter",
    json: setup.AsJson = False,
) -> None:
    """Set a space to open and active, whatever it was: for installations that are told so from elsewhere.

        carnet account open --patient 354042744143873 --by jdupont --channel phone

    `activate` and `reopen` go by the rules; this does not, and the history says so.

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def say(connection: Any, number: int, now: datetime) -> None:
        accounts.move(connection, number, "active", by=by, channel=channel, now=now)

    _change(config, patient, system, json, by, channel, "account open", say)


@group.command("oppose-filing")
def oppose_filing(
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

        carnet account oppose-filing --patient 354042744143873 --channel counter
        carnet account oppose-filing --patient 354042744143873 --withdraw

    Exit codes: 0 done, 1 no such patient, 2 usage or set-up.
    """

    def say(connection: Any, number: int, now: datetime) -> None:
        accounts.oppose_filing(connection, number, not withdraw, by=by, channel=channel, now=now)

    _change(config, patient, system, json, by, channel, "filing opposition", say)


_Say = Callable[[Any, int, datetime], None]


def _change(
    config: setup.Config,
    patient: str,
    system: str,
    as_json: bool,
    by: str,
    channel: str,
    what: str,
    say: _Say,
) -> None:
    """Make one change and its audit entry in one transaction, then show how it stands."""
    ledger = opened.open_ledger(config)
    number = people.patient_of(ledger, patient, system)
    now = _now()
    entry = trail.Entry(
        act="consent_changed",
        at=now,
        actor_kind="operator",
        actor=by,
        subject=f"patient:{number}",
        patient=number,
        outcome=what,
        software="carnet",
        details=particulars(change=what, channel=channel),
    )
    with writing(ledger.engine) as connection:
        if number in patients.load(connection, [number]):
            say(connection, number, now)
            trail.write(connection, [entry], now)
    account_showing.show(ledger, number, json=as_json)


# --- what the commands share --------------------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC)


def _accounts(ledger: opened.Ledger) -> Accounts:
    return app.accounts_of(ledger.settings, ledger.engine)


def _chosen(
    config: setup.Config, patient: str | None, file: Path | None, system: str
) -> tuple[opened.Ledger, list[int]]:
    ledger = opened.open_ledger(config)
    if (patient is None) == (file is None):
        raise SetupError(
            "usage.patient", where="--patient", reason="one patient, or a file of many", hint="--file numbers.txt"
        )  # fmt: skip
    if patient is not None:
        return ledger, [people.patient_of(ledger, patient, system)]
    text = sys.stdin.read() if str(file) == "-" else setup.bytes_of(file or Path()).decode()
    words = text.split()
    if not all(word.isdigit() for word in words):
        raise SetupError("usage.patient", where="--file", reason="a line is no internal number")
    return ledger, list(dict.fromkeys(int(word) for word in words))


def _would(ledger: opened.Ledger, numbers: list[int], event: str, json: bool) -> None:
    """What an event would do, in a transaction that is taken back; ends the command."""
    done = _accounts(ledger).would(numbers, event, _now())
    _say_done(numbers, done, json, verb="would")
    raise typer.Exit(output.FOUND if done.left else output.GOOD)


def _tell(ledger: opened.Ledger, numbers: list[int], done: Result, json: bool) -> None:
    """Hand over what is received again, say what was done, and end the command: 1 where something was left."""
    acting.hand_over(ledger, Done(inbound=done.work))
    _say_done(numbers, done, json, verb="")
    raise typer.Exit(output.FOUND if done.left else output.GOOD)


def _say_done(numbers: list[int], done: Result, json: bool, *, verb: str) -> None:
    steps: dict[int, list[Any]] = {}
    for step in done.steps:
        steps.setdefault(step.patient, []).append(step)
    shown = numbers if json else numbers[: acting.SHOWN]
    for number in shown:
        mine = steps.get(number, [])
        reason = done.left.get(number, "")
        if json:
            made = [step.transition for step in mine]
            output.tell(
                {"patient": number, "done": bool(mine), "transitions": made, "reason": reason}
            )
        elif mine:
            for step in mine:
                output.say(f"patient {number} {verb}: {account_showing.sentence(step, 'en')}".replace(" :", ":"), )  # fmt: skip
        else:
            output.aside().print(f"left patient {number}: {output.because(reason)}", markup=False)
    if not json and len(numbers) > len(shown):
        output.say(f"… and {len(numbers) - len(shown):,} more")
    if done.work and not json:
        output.say(f"{len(done.work):,} messages that waited are received again")
    if done.dropped and not json:
        output.say(f"{done.dropped:,} messages that waited are not filed")
