"""`carnet mapping diff`: what a change of mappings does to messages, before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from broker.cli import map as map_command
from broker.cli import opened, output, send, setup
from broker.database.engine import reading
from broker.errors import ParseError, SetupError
from broker.mapper import Mapper
from broker.mapping import catalogue
from broker.mapping.comparison import Change, Kind, Seen, changes
from broker.mapping_sets import kept, sets_folder
from broker.records import mapping_sets, message_detail, messages_reading
from broker.settings import Settings

_PAGE = 200


def diff(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", help="Messages; a folder stands for all below it."),
    ] = None,
    config: setup.Config = None,
    new: Annotated[
        list[Path] | None,
        typer.Option(
            "--new",
            metavar="FOLDER",
            help="The changed mappings; once for each folder of the set. Default: the folders of the settings.",
        ),
    ] = None,
    old: Annotated[
        list[Path] | None,
        typer.Option(
            "--old",
            metavar="FOLDER",
            help="What to compare with. Default: the set that is active, else the folders of the settings.",
        ),
    ] = None,
    ledger: Annotated[
        int,
        typer.Option(
            "--ledger", metavar="N", min=0, help="Also the N messages the broker received last."
        ),
    ] = 0,
    source: Annotated[
        str | None, typer.Option("--source", help="With --ledger: only messages of this source.")
    ] = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values", help="Each change of each file with its old and new value: health data."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Map messages with two sets and say what differs, grouped by kind of change, most frequent first.

    Nothing is filed or sent. Without --values no value of a message is shown, only paths and counts; of messages from
    the ledger values are never shown.

        carnet mapping diff --ledger 5000
        carnet mapping diff --new next/mappings partner-files/
        carnet mapping diff --old mappings --new next/mappings partner-files/ --values

    JSON, one line a kind of change: {"kind": "added" | "removed" | "changed", "path", "messages", "times", "first"};
    with --values one line a change: {"message", "kind", "path", "old", "new"}.

    Exit codes: 0 no difference, 1 differences, 2 usage or set-up.
    """
    if not files and not ledger:
        raise SetupError(
            "usage.diff",
            where="carnet mapping diff",
            reason="no messages to compare",
            hint="name files or folders, or --ledger N for what was received last",
        )
    if values and ledger:
        raise SetupError(
            "usage.diff",
            where="--values",
            reason="values of the ledger's messages are not shown",
            hint="leave --values out, or compare files",
        )
    given = setup.read_settings(config)
    if old is None and new is None and not opened.has_ledger(given):
        raise SetupError(
            "usage.diff",
            where="carnet mapping diff",
            reason="nothing runs here yet to compare the folders with",
            hint="name the changed folder with --new",
        )
    sets = [
        catalogue.load(folders) for folders in (old or in_use(given), new or given.mappings.folders)
    ]
    before, after = (Mapper(one) for one in sets)
    bodies = _of_files(files or [], before)
    if ledger:
        bodies = chain(bodies, _of_ledger(opened.Ledger(given), ledger, source))
    groups: Counter[tuple[Kind, str]] = Counter()
    messages: Counter[tuple[Kind, str]] = Counter()
    first: dict[tuple[Kind, str], str] = {}
    compared = touched = 0
    with Progress(console=output.aside(), transient=True, disable=json) as progress:
        task = progress.add_task("comparing", total=None)
        for name, body in bodies:
            compared += 1
            progress.advance(task)
            found = changes(_seen(before, body), _seen(after, body))
            touched += bool(found)
            if values:
                for change in found:
                    _value(name, change, json)
            for group, times in Counter(change.group for change in found).items():
                groups[group] += times
                messages[group] += 1
                first.setdefault(group, name)
    if not values:
        _grouped(groups, messages, first, json)
    if not json:
        hashes = " → ".join(one.hash[:12] for one in sets)
        output.say(f"{compared} messages, {touched} with differences · {hashes}")
    raise typer.Exit(output.FOUND if touched else output.GOOD)


def in_use(given: Settings) -> Sequence[Path]:
    """The folders of the set that is active; those of the settings where none ever was."""
    if opened.has_ledger(given):
        ledger = opened.Ledger(given)
        with reading(ledger.engine) as connection:
            active = mapping_sets.active(connection)
            if active is not None:
                folder = sets_folder(given.site.data_folder)
                return kept(connection, active.hash, folder) or given.mappings.folders
    return given.mappings.folders


def _seen(mapper: Mapper, body: bytes) -> Seen:
    got = mapper.read(body, map_command.given(body), coverage=True)
    if got.failure is not None:
        return Seen(refusal=f"{got.failure.code} {got.failure.where}".strip())
    return Seen(got.documents, got.mapping, got.issues, got.unread)


def _of_files(paths: Iterable[Path], mapper: Mapper) -> Iterator[tuple[str, bytes]]:
    """The messages of each file by name and number; a file that holds none is compared as it is."""
    for path in send.files_of(paths):
        body = setup.bytes_of(path)
        try:
            bodies = mapper.messages_in(body) or [body]
        except ParseError:
            bodies = [body]
        for number, one in enumerate(bodies):
            yield (f"{path}[{number}]" if len(bodies) > 1 else str(path)), one


def _of_ledger(
    ledger: opened.Ledger, count: int, source: str | None
) -> Iterator[tuple[str, bytes]]:
    """The newest messages by id, a page at a time."""
    before = None
    left = count
    while left > 0:
        with reading(ledger.engine) as connection:
            page = messages_reading.listing(
                connection, source=source, before=before, limit=min(left, _PAGE)
            )
            kept = message_detail.bodies(connection, [line.seq for line in page.lines])
        for line in page.lines:
            if line.seq in kept:
                yield line.id, kept[line.seq]
                left -= 1
        before = page.before
        if before is None:
            return


def _value(name: str, change: Change, as_json: bool) -> None:
    if as_json:
        output.tell(
            {
                "message": name,
                "kind": change.kind,
                "path": change.path,
                "old": change.old,
                "new": change.new,
            }
        )
        return
    shown = {"added": change.new, "removed": change.old}.get(
        change.kind, f"{change.old} → {change.new}"
    )
    output.say(f"{escape(name)}  {change.kind} {escape(change.path)}  {escape(shown)}".rstrip())


def _grouped(
    groups: Counter[tuple[Kind, str]],
    messages: Counter[tuple[Kind, str]],
    first: dict[tuple[Kind, str], str],
    as_json: bool,
) -> None:
    ordered = sorted(groups, key=lambda group: (-messages[group], group))
    rows = [
        (kind, path, messages[kind, path], groups[kind, path], first[kind, path])
        for kind, path in ordered
    ]
    columns = ("kind", "path", "messages", "times", "first")
    if as_json:
        for row in rows:
            output.tell(dict(zip(columns, row, strict=True)))
    elif rows:
        output.table("", ("change", "path", "#messages", "#times", "first in"), rows)
