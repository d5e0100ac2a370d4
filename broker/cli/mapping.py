"""`carnet mapping`: mappings checked, and shown as they take effect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from broker.cli import output, setup
from broker.errors import SetupError
from broker.mapping import catalogue

group = typer.Typer(
    no_args_is_help=True, help="Check mappings, and show one as it takes effect after inheritance."
)


@group.command()
def lint(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]…", help="Default: the folders of the settings."),
    ] = None,
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Read every mapping and table, and show every problem at once with file, line and hint.

        carnet mapping lint
        carnet mapping lint my-mappings/

    JSON: {"hash", "mappings": [names], "problems": [{"severity", "text"}]}.

    Exit codes: 0 nothing wrong, 1 problems, 2 usage or set-up.
    """
    found = catalogue.examine(folders or setup.read_settings(config).mappings.folders)
    problems = [
        {"severity": problem.severity, "text": found.problems.render(problem)}
        for problem in found.problems.found
    ]
    if json:
        output.tell({"hash": found.hash, "mappings": sorted(found.mappings), "problems": problems})
    else:
        for problem in problems:
            output.say(escape(problem["text"]))
        errors = sum(problem["severity"] == "error" for problem in problems)
        output.say(
            f"{len(found.mappings)} mappings, {errors} errors, {len(problems) - errors} warnings · set {found.hash[:12]}"
        )
    raise typer.Exit(
        output.FOUND if any(p["severity"] == "error" for p in problems) else output.GOOD
    )


@group.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="Name of a mapping; without it their list.")
    ] = None,
    config: setup.Config = None,
    effective: Annotated[
        bool,
        typer.Option(
            "--effective", help="Every rule after inheritance, with the line it comes from."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """List the mappings, or show one mapping's rules.

        carnet mapping show
        carnet mapping show hl7v2/oru-r01 --effective

    JSON, one line a rule: {"target", "source", "table", "rule"}.

    Exit codes: 0 shown, 2 usage or set-up.
    """
    found = catalogue.load(setup.read_settings(config).mappings.folders)
    if name is None:
        for one in sorted(found.mappings):
            output.tell({"mapping": one}) if json else output.say(escape(one))
        return
    if name not in found.mappings:
        raise SetupError(
            "mapping.unknown",
            where=name,
            reason="no such mapping",
            hint="`carnet mapping show` lists them",
        )
    rules = [
        (rule.target.replace("[{}]", ""), rule.source, rule.table, str(rule.place))
        for rule in found.mappings[name].rules
    ]
    if json:
        for target, source, table, place in rules:
            output.tell({"target": target, "source": source, "table": table, "rule": place})
        return
    columns = ("target", "from", "table", "rule") if effective else ("target", "from", "table")
    output.table(f"{name}: {len(rules)} rules", columns, [row[: len(columns)] for row in rules])
