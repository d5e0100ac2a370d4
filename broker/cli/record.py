"""`carnet record`: a patient's record through somebody's eyes. Every look is decided and leaves its trace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from broker.audit import trail
from broker.cli import opened, output, people, setup
from broker.document import encode
from broker.records import reading
from broker.rules import decide

group = typer.Typer(
    no_args_is_help=True,
    help="A patient's record through somebody's eyes; every look is decided and leaves its trace.",
)
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Also print what the documents say. It is health data.")
]


@group.command("list")
def list_(
    who: people.As,
    patient: people.PatientRef,
    system: people.System = "ins",
    config: setup.Config = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    before: Annotated[
        str, typer.Option(help="Go on from here (the `next` of the last page).")
    ] = "",
    motive: people.Motive = "",
    reveal: Reveal = False,
    json: setup.AsJson = False,
) -> None:
    """List a patient's documents as somebody would see them. It counts as an access.

        carnet record list --as physician,consent=explicit --patient 354042744143873
        echo 279053899904215 | carnet record list --as podiatrist,consent=explicit --patient - --json

    JSON, one line a document: {"id", "kind", "type_code", "status", "availability", "sort_at", "filed_at", "media",
    "size"} and with --reveal "title"; then {"next": …} when there is more.

    Exit codes: 0 shown (it may be empty), 1 no such patient, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    rules = decide.load(ledger.settings.rules.folder, ledger.settings.rules.switched)
    page = reading.listing(
        ledger.engine,
        people.viewer_of(who, motive),
        people.patient_of(ledger, patient, system),
        decide=rules.reading,
        trail=trail.write,
        now=datetime.now(UTC),
        limit=limit,
        before=before,
    )
    if json:
        for item in page.items:
            output.tell(line(item.row) | ({"title": item.title} if reveal else {}))
        if page.next:
            output.tell({"next": page.next})
        return
    columns = ("date", "type", "kind", "status", "id", *(("title",) if reveal else ()))
    rows = [
        (
            f"{item.row.sort_at:%Y-%m-%d}",
            item.row.type_code,
            item.row.kind,
            item.row.status,
            item.row.id,
            *((item.title,) if reveal else ()),
        )
        for item in page.items
    ]
    output.table("", columns, rows)
    if page.next:
        output.aside().print(f"more: --before {page.next}")


@group.command()
def read(
    document: Annotated[
        str, typer.Argument(metavar="DOCUMENT", help="The document's id, from `record list`.")
    ],
    who: people.As,
    config: setup.Config = None,
    motive: people.Motive = "",
    reveal: Reveal = False,
    json: setup.AsJson = False,
) -> None:
    """Read one document as somebody. What may not be seen is answered like what does not exist.

        carnet record read 019a… --as physician,consent=explicit
        carnet record read 019a… --as physician,consent=explicit --reveal | jq .title

    Exit codes: 0 read, 1 there is no such document for this viewer, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    rules = decide.load(ledger.settings.rules.folder, ledger.settings.rules.switched)
    result = reading.read(
        ledger.engine,
        people.viewer_of(who, motive),
        document,
        decide=rules.reading,
        trail=trail.write,
        now=datetime.now(UTC),
    )
    if result.document is None or result.row is None:
        output.aside().print("no such document")
        raise typer.Exit(output.FOUND)
    if reveal:
        output.tell(msgspec.Raw(encode(result.document)))
    elif json:
        output.tell(line(result.row) | {"decision": result.reference})
    else:
        row = result.row
        output.say(
            f"{row.sort_at:%Y-%m-%d} {escape(row.kind)} {escape(row.type_code or '')} {row.status}, "
            f"{row.size} bytes · decision {result.reference} · --reveal prints it"
        )


def line(row: reading.DocumentRow) -> dict[str, object]:
    """A document for programs, without a word of its content."""
    return {
        "id": row.id,
        "kind": row.kind,
        "type_code": row.type_code,
        "class_code": row.class_code,
        "status": row.status,
        "availability": row.availability,
        "sort_at": row.sort_at,
        "filed_at": row.filed_at,
        "media": row.media,
        "size": row.size,
    }
