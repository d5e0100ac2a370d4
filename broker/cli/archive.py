"""`carnet archive`: what is old leaves the database for files, and is found and read there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from broker import app, archive_reading, archiving
from broker.archive_reading import Place
from broker.audit import trail
from broker.cli import fates, opened, output, setup
from broker.database import space
from broker.database.engine import reading, writing
from broker.errors import CarnetError, SetupError
from broker.records.archiving import Shelved, month_text
from broker.telemetry import Telemetry

group = typer.Typer(
    no_args_is_help=True,
    help="Settled messages of old months: write them to archives, prune them, find and read them again.",
)

Operator = Annotated[str, typer.Option(envvar="CARNET_OPERATOR", help="Who, for the trail.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="ARCHIVE…", help="Names of archives. Default: all.")
]


@group.command()
def run(
    config: setup.Config = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Rewrite an SQLite database that an older version made, so that it gives room back. Stop Carnet first.",
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Archive and prune what is due by the settings of [retention]. The scheduler does the same by itself.

        carnet archive run
        carnet archive run --json

    Whole months: one is archived when all of it is older than the first bound, read back from the disk, noted, and only
    then pruned. Messages that are not settled stay, and keep their month alive. It may be killed and begun again.

    JSON, one line a thing: {"archived": name, "messages", "deliveries", "size"}, {"pruned": name, "stage"}, {"left":
    "2024-11", "messages"}, {"refused": name, "code"}.

    Exit codes: 0 done, or nothing was due; 1 an archive is away or altered, so nothing of it was pruned; 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    if ledger.settings.retention.archives_after is None:
        output.aside().print("nothing is ever pruned: [retention] sets no bound", markup=False)
    with output.aside().status("archiving") as status:
        total = 0

        def progress(name: str, messages: int) -> None:
            nonlocal total
            total += messages
            status.update(f"{name}: {messages}")

        keeper = app.keeper_of(
            ledger.settings, ledger.engine, Telemetry("archive", level="error"), progress=progress
        )
        report = keeper.run()
        if compact:
            status.update("rewriting the database")
            space.rewrite(ledger.engine)
    for made in report.archived:
        _say(json, {"archived": made.name, **_sizes(made)}, f"archived {made.name}: {made.messages} messages")  # fmt: skip
    for name, stage in report.pruned:
        _say(json, {"pruned": name, "stage": stage}, f"pruned {name}: {stage}")
    for month, left in report.left.items():
        text = month_text(month)
        _say(json, {"left": text, "messages": left}, f"{text}: {left} messages are not settled and stay")  # fmt: skip
    for name, code in report.refused.items():
        _say(json, {"refused": name, "code": code}, f"[bold red]{name}[/]: {output.because(code)}")
    if report.pruned and not compact and not report.gives_back:
        output.aside().print(
            "the database file does not get shorter: stop Carnet once and use --compact"
        )
    raise typer.Exit(output.FOUND if report.refused else output.GOOD)


@group.command("list")
def list_(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """List the archives: what each holds, what of it was pruned, and whether its files are in their folder.

        carnet archive list

    JSON, one line an archive: {"name", "month", "messages", "deliveries", "size", "sha256", "created_at", "first_id",
    "last_id", "bodies_pruned_at", "deliveries_pruned_at", "messages_pruned_at", "is_here"}.

    Exit codes: 0 listed, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = archive_reading.all_of(connection)
    shelf = ledger.indexes()
    here = {one.name: shelf.path(one.name).exists() for one in found}
    if json:
        for one in found:
            plain: dict[str, Any] = msgspec.to_builtins(one)
            output.tell({**plain, "month": month_text(one.month), "is_here": here[one.name]})
        return
    output.table(
        "",
        ("archive", "#messages", "#deliveries", "#MB", "pruned", "files"),
        [
            (
                one.name, one.messages, one.deliveries, f"{one.size / 1e6:.1f}",
                ", ".join(_pruned(one)) or "nothing yet", "here" if here[one.name] else "away",
            )
            for one in found
        ],
    )  # fmt: skip


@group.command()
def verify(archives: Names = None, config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Read archives from end to end: decrypt them, and compare each message's bytes with the hash it was received with.

        carnet archive verify
        carnet archive verify 2024-11-0001 --json

    JSON, one line an archive: {"name", "ok", "code", "where"}.

    Exit codes: 0 all are as they were written, 1 one is not, or is away, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        known = archive_reading.all_of(connection)
    chosen = [one for one in known if archives is None or one.name in archives]
    _expect_known(archives or [], known)
    shelf, is_bad = ledger.shelf(), False
    with output.aside().status("reading") as status:
        for one in chosen:
            status.update(f"reading {one.name}")
            code = where = ""
            try:
                archiving.verify(shelf, one)
            except CarnetError as error:
                code, where, is_bad = error.code, error.where, True
            result = {"name": one.name, "ok": not code, "code": code, "where": where}
            said = f"[bold red]{output.because(code)}[/]" if code else "as it was written"
            _say(json, result, f"{one.name}: {said}")
    raise typer.Exit(output.FOUND if is_bad else output.GOOD)


@group.command()
def read(
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE", help="The name of an archive.")],
    message: Annotated[
        str, typer.Argument(metavar="ID", help="A message id or its number, as `find` shows it.")
    ],
    config: setup.Config = None,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal", help="Write the bytes as received. They are health data: this is audited."
        ),
    ] = False,
    motive: Annotated[str, typer.Option(help="Why, for the trail; required with --reveal.")] = "",
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Read one message back from an archive: where it stood, its timeline and deliveries, or its bytes.

        carnet archive read 2024-11-0001 0193…-…
        carnet archive read 2024-11-0001 0193…-… --reveal --motive "ticket 4711" > message.hl7

    The bytes are those that were received, to the last one; the trail has the reading before they are shown.

    JSON: {"archive", "message": {…}, "deliveries": [{…, "attempts": […]}]}, without bodies.

    Exit codes: 0 shown, 1 it is not in this archive, 2 usage or set-up.
    """
    if reveal and not motive:
        raise SetupError(
            "usage.motive", where="--reveal", reason="needs a reason", hint='add --motive "…"'
        )
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        _expect_known([archive], archive_reading.all_of(connection))
        places = archive_reading.where(connection, ledger.indexes(), message)
    place = next((one for one in places if one.archive == archive), None)
    if place is None:
        output.aside().print("no such message in this archive: see `carnet archive find`")
        raise typer.Exit(output.FOUND)
    found = ledger.shelf().message(archive, place.entry)
    if reveal:
        _note(ledger, place, operator, motive)
        sys.stdout.buffer.write(archiving.bytes_of(found))
        sys.stdout.buffer.flush()
        return
    shown = _without_bodies(place, found)
    if json:
        output.tell(shown)
        return
    _detail(place, shown)


@group.command()
def find(
    message: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A message id, its number, or the sender's control id."),
    ] = None,
    config: setup.Config = None,
    day: Annotated[
        str | None, typer.Option(help="Instead: what was received on this day, like 2024-11-23.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="With --day: only of this source.")] = None,
    json: setup.AsJson = False,
) -> None:
    """Find archived messages: which archive holds them.

        carnet archive find 0193…-…
        carnet archive find MSG00001
        carnet archive find --day 2024-11-23 --source lab

    An id or a number is found at once; a control id is looked for in the index of every archive.

    JSON, one line a message: {"archive", "id", "seq", "day", "source", "fate"}.

    Exit codes: 0 found, 1 nothing found, 2 usage or set-up.
    """
    if (message is None) == (day is None):
        raise SetupError("usage.find", where="ID", reason="name a message, or a day with --day")
    ledger = opened.open_ledger(config)
    shelf, is_any = ledger.indexes(), False
    with reading(ledger.engine) as connection:
        places: Iterator[Place]
        if day is not None:
            wanted = opened.parse_day(day, ledger.today())
            places = archive_reading.of_day(connection, shelf, wanted, source)
        else:
            exact = archive_reading.where(connection, shelf, message or "")
            places = iter(exact) if exact else archive_reading.by_control_id(connection, shelf, message or "")  # fmt: skip
        for place in places:
            is_any = True
            e = place.entry
            _say(
                json,
                {"archive": place.archive, "id": e.id, "seq": e.seq, "day": e.day, "source": e.source, "fate": e.fate},
                f"{place.archive}  {e.id}  {e.day}  {escape(e.source)}  {fates.WORDS.get(e.fate, e.fate)}",
            )  # fmt: skip
    if not is_any:
        output.aside().print("no archive holds such a message")
    raise typer.Exit(output.GOOD if is_any else output.FOUND)


def _say(as_json: bool, plain: dict[str, Any], words: str) -> None:
    if as_json:
        output.tell(plain)
    else:
        output.say(words)


def _sizes(made: Shelved) -> dict[str, int]:
    return {"messages": made.messages, "deliveries": made.deliveries, "size": made.size}


def _pruned(one: Shelved) -> list[str]:
    if one.messages_pruned_at:
        return ["everything"]
    stages = {"bytes": one.bodies_pruned_at, "what was sent": one.deliveries_pruned_at}
    return [name for name, at in stages.items() if at]


def _expect_known(names: list[str], known: list[Shelved]) -> None:
    """Raises: SetupError("usage.archive") for a name that no archive has."""
    unknown = [name for name in names if name not in {one.name for one in known}]
    if unknown:
        raise SetupError(
            "usage.archive",
            where=unknown[0],
            reason="no such archive",
            hint="`carnet archive list`",
        )


def _note(ledger: opened.Ledger, place: Place, operator: str, motive: str) -> None:
    """The trace of a reading, committed before anything is shown."""
    now = datetime.now(UTC)
    entry = trail.Entry(
        act="body_revealed", at=now, actor_kind="operator", actor=operator,
        subject=place.entry.id, motive=motive, software="carnet", outcome="archive",
    )  # fmt: skip
    with writing(ledger.engine) as connection:
        trail.write(connection, [entry], now)


_BODIES = ("prepared", "answer", "ins_used")
"""What of a delivery is health data, and shown only with --reveal."""


def _without_bodies(place: Place, found: dict[str, Any]) -> dict[str, Any]:
    deliveries = [
        {name: value for name, value in one.items() if name not in _BODIES}
        | {"attempts": [{n: v for n, v in a.items() if n not in _BODIES} for a in one["attempts"]]}
        for one in found["deliveries"]
    ]
    return {"archive": place.archive, "message": found["message"], "deliveries": deliveries}


def _detail(place: Place, shown: dict[str, Any]) -> None:
    row = shown["message"]
    at = datetime.fromtimestamp(row["received_at"] / 1e6, tz=UTC)
    rows = [
        ("id", row["id"]),
        ("number", row["seq"]),
        ("archive", place.archive),
        ("source", row["source"]),
        ("received", at.isoformat(timespec="seconds")),
        ("what", f"{row['format']} {row['type'] or ''}, {row['size']} bytes"),
        ("control id", row["control_id"] or "none"),
        ("fate", fates.WORDS.get(place.entry.fate, place.entry.fate)),
        ("because", output.because(row["reason"])),
    ]
    output.table("", ("", ""), [one for one in rows if one[1] != ""])
    for owed in shown["deliveries"]:
        tries = ", ".join(f"{a['number']} {a['outcome']}" for a in owed["attempts"])
        whom = " ".join(filter(None, (owed["destination"], owed["recipient"])))
        output.say(escape(f"delivery:{owed['id']} to {whom}: {owed['state']} ({tries})"))
