"""`carnet explain`: settings and adapters, from their own docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from broker import plugins
from broker.cli import output, setup
from broker.errors import SetupError
from broker.settings_tables import TABLES, DestinationCommon, Route, SourceCommon, When


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An adapter (mllp), or a table of carnet.toml (intake); without it a list."
        ),
    ] = None,
    json: setup.AsJson = False,
) -> None:
    """Explain an adapter or a table of carnet.toml: every setting, its type, its default and what it means.

        carnet explain
        carnet explain mllp
        carnet explain intake --json

    JSON, one line a setting: {"table", "setting", "type", "default", "meaning"}.

    Exit codes: 0 shown, 2 there is no such adapter or table.
    """
    adapters = plugins.adapters()
    if name is None:
        _list(adapters, json)
        return
    tables: list[tuple[str, type[Any]]] = []
    if name in adapters:
        adapter = adapters[name]
        if not json:
            output.say(f"[bold]{escape(adapter.name)}[/]: {escape(adapter.summary)}")
        if adapter.source_settings is not None:
            tables += [("source.NAME", SourceCommon), ("source.NAME", adapter.source_settings)]
        if adapter.destination_settings is not None:
            tables += [
                ("destination.NAME", DestinationCommon),
                ("destination.NAME", adapter.destination_settings),
            ]
    elif name in TABLES:
        tables = [(name, TABLES[name])]
    elif name == "route":
        tables = [("[route]", Route), ("[route].when", When)]
    else:
        known = ", ".join([*sorted(adapters), *TABLES, "route"])
        raise SetupError(
            "usage.explain", where=name, reason="no such adapter or table", hint=f"known: {known}"
        )
    for table, settings in tables:
        _show(table, settings, json)


def fields_of(settings: type[Any]) -> list[tuple[str, str, str, str]]:
    """(setting, type, default, meaning) of a settings class; the meanings stand in its docstring's `Fields:` block."""
    meanings = {}
    for line in inspect.getdoc(settings).partition("Fields:")[2].splitlines():  # type: ignore[union-attr]  # every settings class has one
        setting, colon, meaning = line.strip().partition(":")
        if colon:
            meanings[setting] = meaning.strip()
    return [
        (
            field.encode_name,
            str(getattr(field.type, "__name__", field.type)).replace("typing.", ""),
            _default(field),
            meanings.get(field.name, ""),
        )
        for field in msgspec.structs.fields(settings)
    ]


def _list(adapters: Mapping[str, Any], as_json: bool) -> None:
    for name, adapter in adapters.items():
        if as_json:
            output.tell({"adapter": name, "summary": adapter.summary})
        else:
            output.say(f"[bold]{escape(name)}[/]  {escape(adapter.summary)}")
    for name, settings in TABLES.items():
        summary = (inspect.getdoc(settings) or "").partition("\n")[0]
        if as_json:
            output.tell({"table": name, "summary": summary})
        else:
            output.say(f"[bold]\\[{escape(name)}][/]  {escape(summary)}")


def _show(table: str, settings: type[Any], as_json: bool) -> None:
    if as_json:
        for setting, kind, default, meaning in fields_of(settings):
            output.tell(
                {
                    "table": table,
                    "setting": setting,
                    "type": kind,
                    "default": default,
                    "meaning": meaning,
                }
            )
        return
    output.say("")
    output.table(
        f"[{table}]",
        ("setting", "default", "meaning"),
        [(s, d, m) for s, _, d, m in fields_of(settings)],
    )


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        value: Any = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return "required"
    plain = msgspec.to_builtins(value, enc_hook=str)
    return msgspec.json.encode(plain).decode()
