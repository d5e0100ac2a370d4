"""`carnet codes`: codes that no table has, translated one by one or by a FHIR ConceptMap."""

from __future__ import annotations

import json as json_text
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker import mapping_sets
from broker.cli import held_codes, opened, output, setup
from broker.cli.people import By
from broker.database.engine import reading
from broker.errors import MappingError, SetupError
from broker.mapping import code_tables
from broker.pipeline import CODE_HELD
from broker.records import coverage, holds
from broker.routing.load import of_site

group = typer.Typer(
    no_args_is_help=True,
    help="Codes that no table has: list them, translate them, take tables from FHIR ConceptMaps.",
)

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="As `carnet codes list` names it.")]


@group.command("list")
def list_(
    table: Annotated[str | None, typer.Option(help="Only the codes of this table.")] = None,
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """List the codes that messages brought and a table did not have, the most frequent first.

        carnet codes list
        carnet codes list --table mappings/tables/units-to-ucum.csv

    What happens to such a code meanwhile is the mapping's `unmapped`: kept, dropped, refused, or `hold`: then the
    message and its patient's later ones wait for the translation.

    JSON, one line a code: {"source", "table", "system", "code", "display", "n", "first_seen", "last_seen"}.

    Exit codes: 0 none, 1 there are some, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = coverage.codes(connection, table=table)
        waiting = holds.waiting(connection, CODE_HELD)
    if json:
        for one in found:
            output.tell(one)
    else:
        output.table(
            "",
            ("table", "system", "code", "display", "#times", "source", "first seen", "last seen"),
            [
                (one.table, one.system, one.code, one.display, f"{one.n:,}", one.source,
                 f"{one.first_seen:%Y-%m-%d}", f"{one.last_seen:%Y-%m-%d}")
                for one in found
            ],
        )  # fmt: skip
        output.aside().print(f"{len(found)} codes; {waiting} messages wait for a translation")
    raise typer.Exit(output.FOUND if found else output.GOOD)


@group.command("map")
def map_(
    table: TableName,
    code: Annotated[str, typer.Argument(help="The sender's code.")],
    target: Annotated[str, typer.Argument(help="What it stands for.")],
    system: Annotated[str, typer.Option(help="The sender's code system; empty: any.")] = "",
    to_system: Annotated[str, typer.Option(help="The code system of the target.")] = "",
    display: Annotated[str, typer.Option(help="The target's name.")] = "",
    comment: Annotated[str, typer.Option(help="Why, for who reviews the table.")] = "",
    config: setup.Config = None,
    by: By = "operator",
    json: setup.AsJson = False,
) -> None:
    """Translate a code: add it to its table, activate the set, and let the messages go on that wait for it.

        carnet codes map mappings/tables/units-to-ucum.csv "mill/mm3" "10*6/uL"
        carnet codes map mappings/sites/chu/tables/lab.csv GLU 2345-7 --to-system http://loinc.org --display Glucose

    The row is written at the end of the table's file, for git and its reviewers. Where lint or a golden test does not
    hold any more, the file is left as it was and nothing changes. Messages are released in the order they came.

    JSON: {"table", "code", "target", "set", "released"}.

    Exit codes: 0 translated, 2 usage, set-up, or a set that does not hold.
    """
    ledger = opened.open_ledger(config)
    path = held_codes.file_of(ledger, table)
    row = code_tables.Translation(code, target, system, to_system, display, comment=comment)
    before = path.read_bytes()
    try:
        after = code_tables.with_row(before.decode(), row)
    except MappingError as error:
        raise SetupError(error.code, where=f"{table} {error.where}", reason=error.reason) from error
    now = datetime.now(UTC)
    path.write_bytes(after.encode())
    try:
        given = ledger.settings
        done = mapping_sets.activate(
            ledger.engine, given.mappings.folders, by, now, expect=of_site(given)
        )
    except BaseException:
        path.write_bytes(before)
        raise
    released = held_codes.release(ledger, {table: [code]}, by, now)
    if json:
        output.tell(
            {"table": table, "code": code, "target": target, "set": done.hash, "released": released}
        )
    else:
        output.say(
            f"{escape(code)} is {escape(target)} from now on · set {done.hash[:12]} is active · "
            f"{released} messages released"
        )


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="CONCEPTMAP.json", help="A FHIR ConceptMap.")],
) -> None:
    """Print a FHIR ConceptMap as a table, for a file that a mapping names under `tables`.

        carnet codes import ConceptMap-lab.json > mappings/sites/chu/tables/lab.csv

    Codes that match nothing are left out; of several targets the first is taken.

    Exit codes: 0 printed, 2 the file is no ConceptMap.
    """
    try:
        resource: Any = json_text.loads(setup.bytes_of(file))
        if not isinstance(resource, dict):
            raise MappingError("conceptmap.invalid", where="resource", reason="not a JSON object")
        typer.echo(code_tables.from_concept_map(resource), nl=False)
    except (ValueError, MappingError) as error:
        where = f"{file} {error.where}" if isinstance(error, MappingError) else str(file)
        reason = error.reason if isinstance(error, MappingError) else "not JSON"
        raise SetupError("conceptmap.invalid", where=where, reason=reason) from error


@group.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="TABLE.csv", help="A table file.")],
    url: Annotated[str, typer.Option(help="Canonical URL of the ConceptMap.")] = "",
) -> None:
    """Print a table as a FHIR R4 ConceptMap.

        carnet codes export mappings/tables/units-to-ucum.csv --url https://chu.example/fhir/ConceptMap/units

    Exit codes: 0 printed, 2 the file cannot be read or is no table.
    """
    name = "".join(part.capitalize() for part in file.stem.replace("_", "-").split("-"))
    try:
        text = setup.bytes_of(file).decode("utf-8-sig")
        found = code_tables.to_concept_map(
            text, url=url or f"urn:carnet:table:{file.stem}", name=name
        )
    except (UnicodeDecodeError, MappingError) as error:
        where = f"{file} {error.where}" if isinstance(error, MappingError) else str(file)
        reason = error.reason if isinstance(error, MappingError) else "not UTF-8"
        raise SetupError("table.invalid", where=where, reason=reason) from error
    typer.echo(json_text.dumps(found, indent=2, ensure_ascii=False))
