"""`carnet encryption`: begin to encrypt what is kept, seal what is older, rotate the master key, count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from broker import at_rest, encrypting
from broker.cli import acting, opened, output, setup
from broker.database.engine import reading
from broker.encryption import key_rows, keyring
from broker.records import sealing_older

group = typer.Typer(
    no_args_is_help=True,
    help="Encryption at rest: begun, counted, older rows sealed, the master key rotated.",
)

Operator = Annotated[str, typer.Option(help="Who does it, for the trail.")]


@group.command()
def init(
    because: Annotated[str, typer.Option(help="Why, in your words, for the trail.")],
    config: setup.Config = None,
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Encrypt what is received and filed from now on. Makes the keyring where there is none.

        carnet encryption init --because "decision of the security committee"

    A new installation on SQLite does this by itself. On PostgreSQL, and on an installation that has been at work, do it
    once every process runs this version: an older one cannot read what is sealed, and does not start any more. Then copy
    the keyring to every machine, and to a safe place apart from the backups of the database; restart all processes;
    and run `carnet encryption seal` for what is there already.

    JSON: {"master", "begun", "keyring"}; "begun" is false where it was encrypted already.

    Exit codes: 0 good, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    act = acting.act_of(operator, because)
    master, begun = encrypting.begin(ledger.engine, ledger.settings, act)
    place = at_rest.place(ledger.settings)
    if json:
        output.tell({"master": master, "begun": begun, "keyring": place})
        return
    if not begun:
        output.say(f"content is encrypted already, under the master key {master}")
        return
    output.say(f"content is encrypted from now on, under the master key {master} of {place}")
    output.say("keep a copy of the keyring, apart from the backups of the database;")
    output.say("restart all processes, then: carnet encryption seal")


@group.command()
def status(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Count what is sealed, plain and erased, and the keys by the master key that wraps them.

        carnet encryption status

    It looks at every row once, so it takes a while on a large database; nothing waits for it.

    JSON: {"master", "needed": […], "keyring", "rows": {table: {"sealed", "plain", "erased"}}, "keys": [{"kind",
    "master", "n"}]}; "needed" are the master keys that the keyring must have, "master" "" of a key is one destroyed.

    Exit codes: 0 all is sealed, 1 something is plain, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with output.aside().status("counting"), reading(ledger.engine) as connection:
        master, needed = key_rows.current_master(connection), key_rows.needed(connection)
        rows, keys = sealing_older.counts(connection), key_rows.counts(connection)
    is_plain = any(counted["plain"] for counted in rows.values())
    if json:
        output.tell(
            {
                "master": master,
                "needed": needed,
                "keyring": at_rest.place(ledger.settings),
                "rows": rows,
                "keys": [{"kind": kind, "master": by, "n": n} for kind, by, n in keys],
            }
        )
    else:
        output.say(
            f"master key {master}" if master else "nothing is encrypted: carnet encryption init"
        )
        output.table(
            "rows",
            ("table", "#sealed", "#plain", "#erased"),
            [(table, c["sealed"], c["plain"], c["erased"]) for table, c in rows.items()],
        )
        output.table(
            "data keys",
            ("kind", "wrapped by", "#keys"),
            [(k, by or "destroyed", n) for k, by, n in keys],
        )
    raise typer.Exit(output.FOUND if is_plain else output.GOOD)


@group.command()
def seal(
    config: setup.Config = None,
    because: Annotated[str, typer.Option(help="Why, in your words, for the trail.")] = "",
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Seal what was stored before content was encrypted. Stop it when you like: the next run goes on.

        carnet encryption seal

    It works beside everything else, a hundred rows a transaction. Every process has to be of this version: with the first
    number of a patient that is sealed (`patient_identifier`), older ones do not start any more. On SQLite a bounded rest of the old content stays in
    free pages of the file until they are used again; `carnet archive run --compact` rewrites it.

    JSON: {"done", "document_payload", "content", "message_body", "prepared", "patient", "attempt", "account",
    "patient_identifier", "identity_event", "delivery"}: rows passed of each.

    Exit codes: 0 done, 1 stopped before the end, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    stop = threading.Event()
    with acting.stopping(stop), _counting() as progress:
        passed = encrypting.seal(
            ledger.engine, acting.act_of(operator, because), progress, stop.is_set
        )
    if json:
        output.tell({"done": not stop.is_set(), **passed})
    else:
        output.say(", ".join(f"{table} {n:,}" for table, n in passed.items()))
        if stop.is_set():
            output.say("stopped; run it again to go on")
    raise typer.Exit(output.FOUND if stop.is_set() else output.GOOD)


@group.command()
def rotate(
    because: Annotated[str, typer.Option(help="Why, in your words, for the trail.")],
    config: setup.Config = None,
    operator: Operator = "operator",
    rewrap_only: Annotated[
        bool,
        typer.Option(
            "--rewrap-only", help="Go to the newest key that is in the keyring; add none to it."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Go to a new master key: added to the keyring, then every data key is wrapped again. Content stays as it is.

        carnet encryption rotate --because "yearly"

    With processes on several machines put the new key into all keyrings first, on one with `carnet encryption key >>
    keyring`, then copy the file; and rotate with `--rewrap-only`. Running processes read the keyring again by
    themselves. A run that was stopped goes on with `--rewrap-only`. Keep retired keys as long as you keep backups of
    before: those need them.

    JSON: {"master", "keys", "retired": […]}.

    Exit codes: 0 done, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    if not rewrap_only:
        encrypting.add_key(ledger.settings)
    with _counting() as progress:
        done = encrypting.rotate(
            ledger.engine, ledger.settings, acting.act_of(operator, because), progress
        )
    if json:
        output.tell({"master": done.master, "keys": done.keys, "retired": done.retired})
        return
    output.say(f"the master key is {done.master} now; {done.keys:,} data keys were wrapped again")
    for one in done.retired:
        output.say(f"{one} is retired: only backups of before need it")


@group.command()
def key() -> None:
    """Print a new master key as a line for a keyring, or for the secret that `encryption.master_keys` refers to.

        (umask 077; carnet encryption key >> /etc/carnet/keyring)

    The line is a secret. Exit codes: 0 good.
    """
    typer.echo(keyring.new_line())


@contextmanager
def _counting() -> Iterator[Callable[[str, int], None]]:
    """A line with how many rows were passed so far."""
    with Progress(
        "{task.description}", "{task.completed:,.0f}", console=output.aside(), transient=True
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def more(what: str, n: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], advance=n)

        yield more
