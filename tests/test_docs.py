"""The documentation is true: generated pages are current, commands parse, settings load, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from broker import plugins
from broker.cli import assembled
from broker.settings import load

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), PROJECT / "samples" / "README.md"]
)
MAKE = runpy.run_path(str(PROJECT / "docs" / "make.py"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def command_lines() -> Iterator[tuple[str, str]]:
    """(page, command line) for each line of `carnet` in a block of code or in a cell of a table."""
    for page in PAGES:
        if page.is_relative_to(PROJECT / "docs" / "reference"):
            continue
        text = read(page)
        found = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
        found += [
            code
            for row in text.splitlines()
            if row.startswith("|")
            for code in re.findall(r"`([^`]+)`", row)
        ]
        for line in found:
            words = line.strip().removeprefix("$ ").rpartition(" | ")[2]
            if re.match(r"carnet \w", words):
                yield str(page.relative_to(PROJECT)), words


@pytest.mark.parametrize("name", MAKE["pages"]())
def test_a_generated_page_is_current(name: str) -> None:
    assert read(PROJECT / "docs" / name) == MAKE["pages"]()[name], "run: python docs/make.py"


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_each_command_line_in_the_docs_is_one_that_carnet_understands(page: str, line: str) -> None:
    command: Any = typer.main.get_command(assembled())
    words = shlex.split(re.split(" >>? ", line)[0], comments=True)[1:]

    while hasattr(command, "commands"):
        assert words, f"{page}: {line} names no command"
        assert words[0] in command.commands, f"{page}: there is no {words[0]}"
        command = command.commands[words.pop(0)]

    command.make_context(command.name, [word for word in words if word not in ("…", "...")]).close()


def test_each_command_is_named_on_some_page_that_a_person_wrote() -> None:
    lines = [line for _, line in command_lines()]
    written = " ".join(lines)

    silent = [" ".join(words) for words, _ in MAKE["commands"]() if " ".join(words) not in written]
    assert set(silent) <= UNWRITTEN


UNWRITTEN = {
    "carnet demo", "carnet explain", "carnet mapping lint", "carnet mapping show", "carnet messages show",
    "carnet messages find", "carnet record read", "carnet account show", "carnet account open",
    "carnet account close", "carnet account oppose", "carnet audit tail",
}  # fmt: skip
"""Commands only the reference page shows; a new one is either told somewhere or added here on purpose."""


def settings_blocks() -> list[Path]:
    """Pages with settings; those of the how-to on adapters belong to an adapter that its own test installs."""
    return [
        page
        for page in PAGES
        if page.name != "write-an-adapter.md"
        and any(kind == "toml" for kind, _ in BLOCK.findall(read(page)))
    ]


@pytest.mark.parametrize("page", settings_blocks(), ids=lambda page: page.name)
def test_the_settings_shown_on_a_page_load_together(page: Path, tmp_path: Path) -> None:
    text = "\n".join(block for kind, block in BLOCK.findall(read(page)) if kind == "toml")
    file = tmp_path / "carnet.toml"
    file.write_text(text, encoding="utf-8")

    settings = load(file, adapters=plugins.adapters(), queues=plugins.queues())

    assert settings.sources or settings.destinations or settings.web.issuer


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_each_link_and_each_script_on_a_page_exists(page: Path) -> None:
    text = read(page)

    missing = [
        link
        for link in LINK.findall(text)
        if "://" not in link and not (page.parent / link).exists()
    ]
    missing += [
        name for name in re.findall(r"\bscripts/\w+", text) if not (PROJECT / name).exists()
    ]
    assert missing == []


def test_samples_named_on_a_page_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"samples/[\w.-]+\.(?:hl7|xml|json|toml|csv)", read(page)):
            assert (PROJECT / name).exists(), f"{page.name}: {name}"


def test_each_decision_is_listed_and_has_its_four_parts() -> None:
    folder = PROJECT / "docs" / "adr"
    decisions = sorted(folder.glob("0*.md"))

    assert re.findall(r"\((0[^)]+\.md)\)", read(folder / "README.md")) == [
        page.name for page in decisions
    ]
    for page in decisions:
        assert re.findall(r"^## (.+)$", read(page), re.MULTILINE) == [
            "Context", "Decision", "Alternatives", "Consequences",
        ], page.name  # fmt: skip


def test_each_dependency_has_a_way_out_written_down() -> None:
    project = tomllib.loads(read(PROJECT / "pyproject.toml"))["project"]
    page = read(PROJECT / "docs" / "adr" / "0009-dependencies.md").lower()

    names = {re.split(r"[\[><=;!~ ]", line)[0].lower() for line in project["dependencies"]}
    assert {name for name in names if name not in page} == set()
