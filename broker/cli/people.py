"""How the command names patients and viewers: by internal number, or by an identifier on standard input."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from broker.access import Viewer, parse_viewer
from broker.cli import opened, output
from broker.errors import SetupError
from broker.records import reading

PatientRef = Annotated[
    str,
    typer.Option(
        "--patient",
        "-p",
        metavar="NUMBER|-",
        help="The patient's internal number; - reads an identifier from standard input (see --system).",
        show_default=False,
    ),
]
System = Annotated[
    str,
    typer.Option(
        help="Authority of the identifier on standard input: ins, an OID, or source:NAME."
    ),
]
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="WHO",
        help="physician, podiatrist, nurse, midwife, patient:NUMBER, operator:LOGIN, or profession=…,id=…,name=…; "
        "then structure=…, team=…, consent=explicit, mode=bris_de_glace as it is",
        show_default=False,
    ),
]
By = Annotated[str, typer.Option(envvar="CARNET_OPERATOR", help="Who says so, for the trail.")]
Motive = Annotated[str, typer.Option(help="Why, where a reason is asked for; it is kept.")]


def patient_of(ledger: opened.Ledger, reference: str, system: str) -> int:
    """The patient's internal number. Raises SetupError when there is none."""
    if reference.isdigit():
        return int(reference)
    if reference != "-":
        raise SetupError(
            "usage.patient",
            where="--patient",
            reason="not an internal number",
            hint="identifiers are read from standard input: echo 2790… | carnet patient show --patient -",
        )
    if sys.stdin.isatty():
        output.aside().print("identifier, then Enter:")
    found = reading.find_patient(ledger.engine, system, sys.stdin.readline().strip())
    if found is None:
        output.aside().print("no patient has this identifier")
        raise typer.Exit(output.FOUND)
    return found


def viewer_of(text: str, motive: str = "") -> Viewer:
    """The viewer of `--as`, with the reason that was typed."""
    made = parse_viewer(text)
    return msgspec.structs.replace(made, motive=motive or made.motive)
