"""`carnet mapping`: mappings checked, tested, and shown as they take effect."""

from __future__ import annotations

import difflib
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import track

from broker import golden_tests
from broker.cli import (
    mapping_anonymise,
    mapping_coverage,
    mapping_diff,
    mapping_sets_command,
    output,
    setup,
)
from broker.errors import SetupError
from broker.mapping import catalogue, golden_update, language_schema
from broker.mapping.problems import Problem
from broker.routing import load as routing_rules

group = typer.Typer(
    no_args_is_help=True,
    help="Check, test and compare mappings, and show one as it takes effect.",
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
    """Read every mapping, table and routing rule, and show every problem at once with file, line and hint.

        carnet mapping lint
        carnet mapping lint my-mappings/

    Of folders that are named without --config, the destinations and sources of routing rules are not looked up.

    JSON: {"hash", "mappings": [names], "rules": [names], "problems": [{"severity", "text"}]}.

    Exit codes: 0 nothing wrong, 1 problems, 2 usage or set-up.
    """
    given = setup.read_settings(config) if config is not None or not folders else None
    found = catalogue.examine(folders or (given.mappings.folders if given is not None else ()))
    names = sorted([*found.mappings, *found.outbound])
    ruled = routing_rules.examined(found.rule_files, given)
    problems = [
        {"severity": problem.severity, "text": source.render(problem)}
        for source in (found.problems, ruled.problems)
        for problem in sorted(source.found, key=_by_place)
    ]
    rules = [rule.id for rule in ruled.rules]
    if json:
        output.tell({"hash": found.hash, "mappings": names, "rules": rules, "problems": problems})
    else:
        for problem in problems:
            output.say(escape(problem["text"]))
        errors = sum(problem["severity"] == "error" for problem in problems)
        output.say(
            f"{len(names)} mappings, {f'{len(rules)} routing rules, ' if rules else ''}{errors} errors, {len(problems) - errors} warnings · set {found.hash[:12]}"
        )
    raise typer.Exit(
        output.FOUND if any(p["severity"] == "error" for p in problems) else output.GOOD
    )


def _by_place(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return place.file, place.line, place.column


@group.command("test")
def run_tests(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]…", help="Default: the folders of the settings."),
    ] = None,
    config: setup.Config = None,
    only: Annotated[
        str,
        typer.Option(metavar="GLOB", help="Only the tests whose name fits, like 'oru.tests/*'."),
    ] = "*",
    update: Annotated[
        bool,
        typer.Option(
            "--update", help="Write what the messages become now into the files that differ."
        ),
    ] = False,
    json: setup.AsJson = False,
) -> None:
    """Map every message that lies beside a mapping in NAME.tests/ and compare it with its .expect.yaml.

        carnet mapping test
        carnet mapping test my-mappings/ --only 'oru.tests/*'
        carnet mapping test --update

    A file says some values by their path, the paths that give nothing, the issues, and the populated places that no
    rule reads; `unread` and `issues` must fit exactly, so that a new loss is a failed test. --update changes only what
    a file already says, and prints the change: review it as you review code.

    JSON, one line a test: {"test", "file", "good", "differences": [text], "updated"}.

    Exit codes: 0 all good (or updated), 1 differences, 2 usage or set-up.
    """
    wanted = folders or setup.read_settings(config).mappings.folders
    mapping_set = catalogue.load(wanted)
    cases = [case for case in golden_tests.cases(wanted) if fnmatch(case.name, only)]
    if not cases:
        raise SetupError("mapping.test_invalid", where=only, reason="no golden test fits")
    bad = 0
    for case in track(
        cases, "testing", console=output.aside(), transient=True, disable=json or len(cases) < 50
    ):
        outcome = golden_tests.run(mapping_set, case)
        change = _update(outcome) if update and outcome.differences else ""
        bad += bool(outcome.differences) and not change
        if json:
            output.tell(
                {
                    "test": case.name,
                    "file": str(case.expectation),
                    "good": not outcome.differences,
                    "differences": outcome.differences,
                    "updated": bool(change),
                }
            )
        elif change:
            output.say(escape(change))
        elif outcome.differences:
            output.say(f"[bold]{escape(case.name)}[/]  {escape(str(case.expectation))}")
            for line in outcome.differences:
                output.say(f"  {escape(line)}")
    if not json:
        output.say(f"{len(cases)} tests, {bad} with differences · set {mapping_set.hash[:12]}")
    raise typer.Exit(output.FOUND if bad else output.GOOD)


def _update(outcome: golden_tests.Outcome) -> str:
    """Rewrite one expectation; returns the difference, or nothing where the file was left as it is."""
    path = outcome.case.expectation
    before = path.read_text(encoding="utf-8")
    try:
        after = outcome.written or golden_update.updated(
            before, path.name, outcome.mapped, outcome.rejected
        )
    except ValueError as error:
        output.aside().print(escape(str(error)))
        return ""
    path.write_text(after, encoding="utf-8")
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), n=1, lineterm=""
    )
    return "\n".join(lines)


group.command()(mapping_diff.diff)
group.command()(mapping_sets_command.activate)
group.command()(mapping_sets_command.sets)
group.command()(mapping_coverage.coverage)
group.command("anonymise")(mapping_anonymise.anonymise_)


@group.command()
def schema() -> None:
    """Print the JSON Schema of mapping files, for editors: keywords and target fields complete as you type.

        carnet mapping schema > mapping.schema.json

    An editor with the YAML language server takes it from the first line of a mapping:

        # yaml-language-server: $schema=mapping.schema.json

    It knows every keyword and every field of the document model. Paths, conditions, tables and shapes are for lint.
    """
    typer.echo(language_schema.text(), nl=False)


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
        for one in sorted([*found.mappings, *found.outbound]):
            output.tell({"mapping": one}) if json else output.say(escape(one))
        return
    chosen = found.mappings.get(name)
    compiled = found.outbound.get(name) if chosen is None else chosen.compiled()
    if compiled is None:
        raise SetupError(
            "mapping.unknown",
            where=name,
            reason="no such mapping",
            hint="`carnet mapping show` lists them",
        )
    rules = [
        (rule.target.replace("[{}]", ""), rule.source, rule.table, str(rule.place))
        for rule in compiled.rules
    ]
    if json:
        for target, source, table, place in rules:
            output.tell({"target": target, "source": source, "table": table, "rule": place})
        return
    columns = ("target", "from", "table", "rule") if effective else ("target", "from", "table")
    output.table(f"{name}: {len(rules)} rules", columns, [row[: len(columns)] for row in rules])
