"""`carnet send`: a real client that prints the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import track

from broker import plugins
from broker.cli import output, sending, setup

To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="URL",
        help="mllp://H:P, mllps://H:P, http://… or https://…",
        show_default=False,
    ),
]
Token = Annotated[
    str,
    typer.Option(
        envvar="CARNET_TOKEN",
        help="Bearer token for HTTP; better by CARNET_TOKEN.",
        show_default=False,
    ),
]


def send(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files; a folder stands for its files.")
    ],
    to: To,
    token: Token = "",
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is", help="Send each file as one message; otherwise batches are taken apart."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Send messages to any receiver and print its answers.

        carnet send samples/01-adt-a01.hl7 --to mllp://127.0.0.1:2575
        carnet send letters/ --to http://127.0.0.1:8075/ --json

    JSON, one line a message: {"file", "index", "outcome", "code", "where", "answer"}; outcome is accepted, refused,
    unknown (sent, and no answer came) or unsent.

    Exit codes: 0 everything accepted, 1 something was not, 2 usage or set-up.
    """
    outgoing = [
        message for path in files_of(files) for message in sending.messages_of(path, as_is=as_is)
    ]
    client = sending.destination(to, plugins.adapters(), token)
    accepted = 0
    try:
        for message in track(
            outgoing, "sending", console=output.aside(), transient=True, disable=len(outgoing) < 20
        ):
            answer = sending.deliver(client, message)
            accepted += answer.outcome == "accepted"
            if json:
                output.tell(answer)
            else:
                show(answer)
    finally:
        client.close()
    output.aside().print(f"{accepted} of {len(outgoing)} accepted")
    raise typer.Exit(output.GOOD if accepted == len(outgoing) else output.FOUND)


def show(answer: sending.Answer) -> None:
    """One answer for a person: the outcome, then the answer's own lines."""
    colour = "green" if answer.outcome == "accepted" else "bold red"
    place = f" {escape(answer.where)}" if answer.where else ""
    output.say(
        f"[{colour}]{answer.outcome}[/] {escape(answer.code)}{place}  [dim]{escape(answer.file)}[{answer.index}][/]"
    )
    for line in answer.answer.splitlines():
        output.say(f"  {escape(line)}")


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and those below folders in order of their names; hidden ones are left out."""
    for path in paths:
        if path.is_dir():
            yield from sorted(
                p
                for p in path.rglob("*")
                if p.is_file()
                and not any(part.startswith(".") for part in p.relative_to(path).parts)
            )
        else:
            yield path
