"""Makes the reference pages from the code: `python docs/make.py`. A test fails when a committed page is not current."""
# ruff: noqa: INP001 - a folder of text with one script, not a package

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main

from broker import plugins, shapes_reference
from broker.cli import assembled
from broker.events import EVENTS, REASONS
from broker.mapping import language_reference
from broker.parsing import cda, fhir, hl7v2
from broker.retry import Policy
from broker.routing import reference as routing_reference
from broker.rules import reference as rules_reference
from broker.settings_fields import described, summary
from broker.settings_tables import TABLES, DestinationCommon, Issuer, Route, SourceCommon, When
from broker.telemetry import FIELDS, MEASURES
from broker.web import reference as api_reference

HEAD = "<!-- Made by docs/make.py from the code. Do not edit. -->\n"

ROOT = Path(__file__).resolve().parent.parent

BOUNDS = (
    ("bytes of an HL7v2 message", hl7v2.MAX_BYTES),
    ("segments of an HL7v2 message", hl7v2.MAX_SEGMENTS),
    ("bytes of a CDA", cda.MAX_BYTES),
    ("elements of a CDA", cda.MAX_ELEMENTS),
    ("elements within each other in a CDA", cda.MAX_DEPTH),
    ("values of a FHIR message", fhir.MAX_VALUES),
)


def pages() -> Mapping[str, str]:
    """Every generated page by its path below docs/."""
    return {
        "reference/commands.md": _commands(),
        "reference/settings.md": _settings(),
        "reference/events.md": _events(),
        "reference/reasons.md": _reasons(),
        "reference/mapping-language.md": HEAD + language_reference.page(BOUNDS),
        "reference/shapes.md": HEAD + shapes_reference.page(),
        "reference/api.md": HEAD + api_reference.page(),
        "reference/routing-rules.md": HEAD + routing_reference.page(),
        "reference/rules.md": HEAD
        + rules_reference.page(ROOT / "mappings" / "rules", ROOT / "tests"),
    }


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")


def _commands() -> str:
    parts = [
        HEAD,
        "# Commands\n\n",
        "Exit codes everywhere: 0 good, 1 something found, 2 usage or set-up.\n",
        "Results go to standard output, remarks and progress to standard error.\n\n",
    ]
    for words, command in commands():
        parts += [f"## {' '.join(words)}\n\n", f"{_help(command)}\n\n"]
        parts += [*_rows(("argument or option", "meaning"), _parameters(command)), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of `carnet` with the words that call it (typer brings its own click, hence Any)."""
    return _below(("carnet",), typer.main.get_command(assembled()))


def _below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, one in inner.items():
        yield from _below((*words, name), one)


def _help(command: Any) -> str:
    """The first paragraph of a command's help."""
    return " ".join((command.help or "").strip().partition("\n\n")[0].split())


def _parameters(command: Any) -> Iterator[Sequence[str]]:
    for one in command.params:
        is_option = one.param_type_name == "option"
        names = (
            ", ".join([*one.opts, *one.secondary_opts]) if is_option else one.metavar or one.name
        )
        yield f"`{names}`", one.help or ""


def _settings() -> str:
    parts = [
        HEAD,
        "# Settings\n\n",
        "Everything `carnet.toml` may hold.\n",
        "Without a file the defaults hold, and nothing listens.\n",
        "An unknown key is an error; all errors are reported at once, each with its file, line and key.\n",
        "Relative paths count from the folder of the file.\n",
        'Durations are texts: `"500ms"`, `"30s"`, `"10m"`, `"72h"`, `"7d"`.\n\n',
        "A secret never stands in the file.\n",
        'Wherever a text is expected, write `{ env = "NAME" }` or `{ file = "/path" }` instead.\n',
        "`carnet explain` shows the same in a terminal.\n\n",
    ]
    for name, settings in TABLES.items():
        parts += [f"## [{name}]\n\n", summary(settings), "\n\n", *_table(settings), "\n"]
    parts += ["### [[web.issuer]]\n\n", summary(Issuer), "\n\n", *_table(Issuer), "\n"]
    parts += ["## [source.NAME]\n\n", summary(SourceCommon), "\n\n", *_table(SourceCommon), "\n"]
    parts += [
        "## [destination.NAME]\n\n",
        summary(DestinationCommon),
        "\n\n",
        *_table(DestinationCommon),
        "\n",
    ]
    parts += ["### retry\n\n", summary(Policy), "\n\n", *_table(Policy), "\n"]
    parts += ["## [[route]]\n\n", summary(Route), "\n\n", *_table(Route), "\n"]
    parts += ["### when\n\n", summary(When), "\n\n", *_table(When), "\n"]
    parts.append("## Adapters\n\nThe built-in ones; an installed package may add others.\n\n")
    for name, adapter in plugins.adapters().items():
        parts.append(f"### {name}\n\n{adapter.summary}.\n\n")
        for word, cls in (
            ("source", adapter.source_settings),
            ("destination", adapter.destination_settings),
        ):
            if cls is not None:
                parts += [f"#### {name} as a {word}\n\n", summary(cls), "\n\n", *_table(cls), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def _events() -> str:
    parts = [
        HEAD,
        "# Events and metrics\n\n",
        "A log line is one event as JSON on standard error: `at_time`, `level`, `event`, `role`, `writer`, and fields.\n",
        "Every event is also a counter, `carnet_<event>_total`, with `role` and the labels named here.\n",
        "Neither holds patient data: a field holds an id, a code, a place or a number, and whatever does not look like\n",
        "one is dropped and counted in `carnet_telemetry_dropped_total`.\n",
        f"Fields any event may carry: {', '.join(f'`{name}`' for name in FIELDS)}.\n\n",
        "## Events\n\n",
        *_rows(
            ("event", "level", "what it means", "labels"),
            ((f"`{e.name}`", e.level, e.meaning, ", ".join(e.labels)) for e in EVENTS.values()),
        ),
        "\n## Timings and levels\n\n",
        *_rows(
            ("metric", "kind", "what it means", "labels"),
            (
                (f"`carnet_{name}`", m.kind, m.meaning, ", ".join(m.labels))
                for name, m in MEASURES.items()
            ),
        ),
    ]
    return "".join(parts)


def _reasons() -> str:
    parts = [
        HEAD,
        "# Reasons\n\n",
        "Why a message was refused, held, filtered or parked, as a code that can be counted, with its words.\n",
        "A mapping or a plug-in may add codes of its own.\n\n",
        *_rows(
            ("code", "English", "français", "what to do"),
            ((f"`{code}`", w.en, w.fr, w.help) for code, w in sorted(REASONS.items())),
        ),
    ]
    return "".join(parts)


def _table(settings: type[Any]) -> Iterator[str]:
    rows = ((f"`{one.name}`", f"`{one.default}`", one.meaning) for one in described(settings))
    return _rows(("setting", "default", "meaning"), rows)


def _rows(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"


if __name__ == "__main__":
    main()
