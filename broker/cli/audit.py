"""`carnet audit`: the trail read, exported, verified, and the keys that sign it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from broker import installation
from broker.audit import export as exporting
from broker.audit import forms, keys, seal, trail, verify_standalone
from broker.audit import reading as trail_reading
from broker.audit import verify as verifying
from broker.audit.keys import KeyFolder, PublicKey
from broker.cli import opened, output, setup
from broker.database.engine import reading, writing
from broker.errors import SetupError

group = typer.Typer(
    no_args_is_help=True,
    help="The tamper-evident trail: read its end, export it, verify it, keep its keys.",
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
    ledger = opened.open_ledger(config)
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
    until: Annotated[str | None, typer.Option(help="Only what was sealed before this day.")] = None,
    form: Annotated[
        forms.FormName,
        typer.Option(
            "--format",
            help="jsonl; fhir: AuditEvent of FHIR R4, one a line; atna: DICOM audit messages, one a line.",
        ),
    ] = "jsonl",
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Write the sealed trail to a file that proves itself: `carnet audit verify FILE` needs no server.

    Segments are proved as a whole, so a day's export has those sealed on it. Each format holds the chain, its seals,
    their signatures and the public keys.

        carnet audit export audit.zip
        carnet audit export audit.jsonl --since 2026-11-01 --until 2026-12-01
        carnet audit export audit.zip --format fhir

    Exit codes: 0 written, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    start, end = _instant(ledger, since), _instant(ledger, until)
    signer = KeyFolder(installation.audit_keys(ledger.settings)).existing()
    _note(ledger, "exported", operator)
    with _counting("written", json) as progress:
        written = exporting.export(
            ledger.engine,
            file,
            start,
            end,
            form=forms.form(form, ledger.settings.site.name),
            signer=signer,
            progress=progress,
        )
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
    head: Annotated[
        Path | None, typer.Option(help="A file of such heads, as `carnet audit head` prints them.")
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="A public key (PEM) that you trust; of the database also those of the key folder."
        ),
    ] = None,
    json: setup.AsJson = False,
) -> None:
    """Prove that the trail was not changed, or name the first bad entry.

    For somebody without Carnet: `carnet audit verifier` prints a program that proves exports.

        carnet audit verify
        carnet audit verify audit.zip --key public.pem --head heads.txt
        carnet audit verify --expect 41:9f2c…

    JSON: {"good", "segments", "entries", "unsealed", "signed", "keys", "head", "bad": {"kind", "segment", "n", "line"} | null}.

    Exit codes: 0 proved, 1 something was changed, 2 usage or set-up.
    """
    if head is not None:
        expect = _text_of(head)
    given = [_public(path) for path in key or []]
    with _counting("verified", json) as progress:
        if file is not None:
            if not file.exists():
                raise SetupError("audit.no_file", where=str(file), reason="there is no such file")
            result = verifying.verify_export(file, expect, tuple(given), progress)
        else:
            ledger = opened.open_ledger(config)
            trusted = KeyFolder(installation.audit_keys(ledger.settings)).public()
            trusted += [
                PublicKey(id=verify_standalone.key_id(one), public=one.hex(), made_at=_NEVER)
                for one in given
            ]
            result = verifying.verify(ledger.engine, expect, trusted, progress)
    if json:
        output.tell(
            {
                "good": result.is_good,
                "segments": result.segments,
                "entries": result.entries,
                "unsealed": result.unsealed,
                "signed": result.signed,
                "keys": result.keys,
                "head": result.head,
                "bad": result.bad,
            }
        )
    else:
        output.say(said(result))
    raise typer.Exit(output.GOOD if result.is_good else output.FOUND)


@group.command()
def head(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Print the head of the chain, with its signature: keep it where nobody of this site can change it.

    One line, SEGMENT:HEAD:KEY:SIGNATURE. With it `carnet audit verify --head` finds that an older backup was restored.

        carnet audit head
        carnet audit head >> heads.txt

    Exit codes: 0 printed, 1 nothing is sealed yet, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        last = seal.last_seal(connection)
    if last is None:
        output.aside().print("nothing is sealed yet")
        raise typer.Exit(output.FOUND)
    text = seal.checkpoint(last)
    if json:
        output.tell({"head": text, "entries_to": last.to_n, "sealed_at": last.sealed_at})
    else:
        sys.stdout.write(text + "\n")


@group.command()
def verifier() -> None:
    """Print the program that verifies an export by itself: one file, for any Python from 3.9 on, no network.

        carnet audit verifier > verify.py

    The auditor runs `python3 verify.py audit.zip --key public.pem`.

    Exit codes: 0 printed.
    """
    sys.stdout.write(Path(verify_standalone.__file__).read_text(encoding="utf-8"))


@group.command("keys")
def list_keys(
    config: setup.Config = None,
    public: Annotated[
        bool, typer.Option("--public", help="Print the key in use as PEM, for an auditor.")
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Show the keys that sign the trail: which is in use, since when, and by which it was endorsed.

        carnet audit keys
        carnet audit keys --public > public.pem

    Exit codes: 0 shown, 1 there is none yet, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    folder = KeyFolder(installation.audit_keys(ledger.settings))
    current = folder.existing()
    known = {key.id: key for key in folder.public()}
    with reading(ledger.engine) as connection:
        known = {key.id: key for key in keys.registered(connection)} | known
    if public and current is not None:
        sys.stdout.write(current.key.pem())
        return
    for key in sorted(known.values(), key=lambda key: key.made_at):
        is_current = current is not None and key.id == current.key.id
        if json:
            output.tell(
                {
                    "id": key.id,
                    "public": key.public,
                    "made_at": key.made_at,
                    "endorsed_by": key.endorsed_by or None,
                    "in_use": is_current,
                }
            )
            continue
        by = f", endorsed by {key.endorsed_by}" if key.endorsed_by else ""
        use = " [green]in use[/]" if is_current else ""
        output.say(f"{key.id}  made {_cell('at', key.made_at)}{by}{use}")
    if not known:
        output.aside().print("no key yet: the scheduler makes the first one when it seals")
        raise typer.Exit(output.FOUND)


@group.command("rotate")
def rotate(
    because: Annotated[str, typer.Option(help="Why, in your words, for the trail.")],
    config: setup.Config = None,
    operator: Operator = "operator",
    json: setup.AsJson = False,
) -> None:
    """Sign the trail with a new key from now on. The key in use endorses it first; what it signed stays provable.

        carnet audit rotate --because "yearly"

    Run it where the scheduler runs: its key folder is the one that changes. A running scheduler takes the new key at
    its next seal. The secret of the old key is removed.

    Exit codes: 0 done, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    folder = KeyFolder(installation.audit_keys(ledger.settings))
    now = datetime.now(UTC)
    before = folder.signer(now)
    made = folder.draft(now)
    entry = trail.Entry(
        act="audit_key",
        at=now,
        actor_kind="operator",
        actor=operator,
        subject=f"key:{made.key.id}",
        motive=because,
        software="carnet",
    )
    with writing(ledger.engine) as connection:
        keys.register(connection, [before.key, made.key])
        trail.write(connection, [entry], now)
    folder.use(made)
    if json:
        output.tell({"id": made.key.id, "endorsed_by": before.key.id})
    else:
        output.say(f"the trail is signed by {made.key.id} now; {before.key.id} endorsed it")


def said(result: verifying.Verified) -> str:
    """The result in one line."""
    if result.bad is None:
        signed = f", {result.signed} signed" if result.signed else ""
        return (
            f"[green]proved[/]: {result.entries} entries in {result.segments} segments{signed}, {result.unsealed} not sealed yet"
            + (f" · head {result.head}" if result.head else "")
        )
    bad = result.bad
    line = f", line {bad.line} of the file" if bad.line is not None else ""
    entry = f" at entry {bad.n}" if bad.n is not None else ""
    return f"[bold red]not proved[/]: {bad.kind}{entry} in segment {bad.segment}{line}"


_NEVER = 2**62
"""When a key was made that somebody gave: nothing is said of seals before it."""


@contextmanager
def _counting(what: str, json: bool) -> Iterator[Callable[[int], None]]:
    """Says how many entries are done, on standard error."""
    if json:
        yield lambda _: None
        return
    with output.aside().status(what) as status:
        yield lambda entries: status.update(f"{entries} entries {what}")


def _instant(ledger: opened.Ledger, day: str | None) -> datetime | None:
    """The first moment of a day at the site."""
    if day is None:
        return None
    found = opened.parse_day(day, ledger.today())
    zone = ledger.settings.site.zone
    return datetime(found // 10_000, found // 100 % 100, found % 100, tzinfo=zone)


def _text_of(path: Path) -> str:
    try:
        return setup.bytes_of(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise SetupError("audit.head_invalid", where=str(path), reason="not a text") from error


def _public(path: Path) -> bytes:
    try:
        return verify_standalone.public_key_of(setup.bytes_of(path).decode("ascii"))
    except (verify_standalone.Unreadable, UnicodeDecodeError) as error:
        raise SetupError("audit.key_invalid", where=str(path), reason=escape(str(error))) from error


def _note(ledger: opened.Ledger, act: str, operator: str) -> None:
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
