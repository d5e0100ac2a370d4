"""`carnet mapping anonymise`: real messages into test messages."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import track

from broker.anonymising.anonymise import Anonymised, anonymise
from broker.anonymising.words import Words
from broker.cli import output, send, setup
from broker.errors import ParseError, SetupError


def anonymise_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files; a folder stands for all below it.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where the results go, under the names they have. Default: standard output, for one file.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar="CARNET_ANONYMISE_KEY",
            show_default=False,
            help="Repeat a run: the same key gives the same replacements. Default: a new one, kept nowhere.",
        ),
    ] = None,
    keep_facilities: Annotated[
        bool,
        typer.Option(
            "--keep-facilities", help="Keep the names and numbers of applications and facilities."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Make test messages of real ones: other people, the same shape, lengths and characters.

        carnet mapping anonymise real/a01.hl7 > next/hl7v2/fr/adt.tests/our-a01.hl7
        carnet mapping anonymise partner-files/ --out test-files/
        carnet mapping anonymise partner-files/ --out test-files/ --json

    Replaced: names, addresses, telecoms, identifiers of people, numbers of orders, stays and documents, free text,
    narratives, Z segments and whatever is not known to be harmless. A letter becomes a letter, a digit a digit. All
    dates move by the same whole weeks. Kept: codes with system and display, numbers and units of results, types,
    separators, structure, OIDs of authorities.

    One value becomes the same value in all files of one run, so a patient stays one patient. An INS keeps a key that
    fits and gets the OID for tests, a digit longer. A CDA inside a message is replaced inside; a PDF or image gives
    way to an empty one, so embedded content changes length. Names of files stay as they are.

    Without the key nothing can be turned back; whoever has it can, so keep it like the messages themselves. This
    is no proof of anonymity: a rare disease, a combination of results and codes, a name in the display of a
    local code, or dates known from elsewhere can still point to a person. Read the result before you pass it
    on, and treat it with care.

    JSON, one line a file: {"file", "out", "format", "messages", "replaced": {place: count}}, or {"file", "reason",
    "place"} for one that cannot be read. Never a value.

    Exit codes: 0 all written, 1 some file could not be read and was left out, 2 usage or set-up.
    """
    targets = _targets(files, out)
    if out is None and (len(targets) != 1 or json):
        raise SetupError(
            "usage.anonymise",
            where="carnet mapping anonymise",
            reason="several files, or a report, do not fit on standard output",
            hint="name a folder with --out",
        )
    words = Words(key.encode() if key else secrets.token_bytes(32), keep_facilities=keep_facilities)
    left_out = 0
    shown = track(
        targets.items(),
        "anonymising",
        console=output.aside(),
        transient=True,
        disable=len(targets) < 50,
    )
    for path, target in shown:
        try:
            found = anonymise(setup.bytes_of(path), words)
        except ParseError as error:
            left_out += 1
            _left_out(path, error, json)
            continue
        _write(target, found)
        if json:
            output.tell(_line(path, target, found))
        elif target is not None:
            _say(target, found)
    raise typer.Exit(output.FOUND if left_out else output.GOOD)


def _targets(files: list[Path], out: Path | None) -> dict[Path, Path | None]:
    """Where the result of each file goes. Raises: SetupError where it would replace a file that is read, or another."""
    if out is None:
        return dict.fromkeys(send.files_of(files))
    targets: dict[Path, Path | None] = {path: out / name for path, name in _named(files)}
    read = {path.resolve() for path in targets}
    taken = [target.resolve() for target in targets.values() if target is not None]
    if not read.isdisjoint(taken):
        raise SetupError(
            "usage.anonymise",
            where="--out",
            reason="a result would replace the file it is made of",
            hint="name another folder",
        )
    if len(set(taken)) < len(taken):
        raise SetupError(
            "usage.anonymise",
            where="--out",
            reason="two files have the same name",
            hint="name the folder that holds both, or run them one after the other with one --key",
        )
    return targets


def _named(files: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Each file with its path below the folder it was named by."""
    for given in files:
        for path in send.files_of([given]):
            yield path, path.relative_to(given) if given.is_dir() else Path(path.name)


def _write(target: Path | None, found: Anonymised) -> None:
    if target is None:
        typer.echo(found.body, nl=False)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found.body)
    except OSError as error:
        raise SetupError(
            "usage.file", where=str(target), reason=error.strerror or "cannot be written"
        ) from error


def _line(path: Path, target: Path | None, found: Anonymised) -> dict[str, object]:
    return {
        "file": str(path),
        "out": str(target),
        "format": found.format,
        "messages": found.messages,
        "replaced": dict(sorted(found.places.items())),
    }


def _say(target: Path, found: Anonymised) -> None:
    count = sum(found.places.values())
    plural = "" if found.messages == 1 else "s"
    output.say(
        f"{escape(str(target))}: {found.format}, {found.messages} message{plural}, {count} values replaced in "
        f"{len(found.places)} places"
    )


def _left_out(path: Path, error: ParseError, as_json: bool) -> None:
    if as_json:
        output.tell({"file": str(path), "reason": error.code, "place": error.where or None})
        return
    said = f"{path}: left out, {error.code} {error.where}".strip()
    output.aside().print(said, markup=False)
