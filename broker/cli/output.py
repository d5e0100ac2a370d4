"""How the command speaks: JSON for programs on standard output, tables and sentences for people, notes on standard error.

One line a thing, stable keys, no patient data: what is shown of a message is its id, its place and its reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker.errors import CarnetError, SetupError
from broker.events import REASONS, words

GOOD, FOUND, SETUP = 0, 1, 2
"""Exit codes: good, something found, usage or set-up."""

WIDE = 400
"""Columns of a table that goes to a file or another program: nothing is folded there."""


def screen() -> Console:
    """Standard output, for results."""
    return Console(file=sys.stdout, emoji=False, highlight=False, soft_wrap=True)


def aside() -> Console:
    """Standard error, for progress and remarks."""
    return Console(file=sys.stderr, emoji=False, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line of a result; `text` may hold Rich markup, so escape what comes from outside."""
    screen().print(text)


def tell(value: Any) -> None:
    """One JSON value on one line of standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with plain cells; columns whose name begins with `#` are numbers."""
    if title:
        say(f"[bold]{escape(title)}[/]")
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        drawn.add_column(
            name.removeprefix("#"),
            justify="right" if name.startswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else WIDE
    Console(file=sys.stdout, emoji=False, highlight=False, width=width).print(drawn)


def failure(error: CarnetError) -> None:
    """An error for a person: what happened, where, what to do; of a set-up each reason, like the lines of lint."""
    known = REASONS.get(error.code)
    sentence = known.en if known else error.reason or error.code
    where = f" [dim]{escape(error.where)}[/]" if error.where else ""
    aside().print(f"[bold red]error[/] {escape(error.code)}{where}: {escape(sentence)}")
    if known and isinstance(error, SetupError) and error.reason:
        aside().print(escape(error.reason), soft_wrap=True)
    hint = error.hint or (known.help if known else "")
    if hint:
        aside().print(f"  {escape(hint)}")


def sentence(code: str | None, language: str = "en") -> str:
    """The words of a reason code."""
    if not code:
        return ""
    found = words(code)
    return found.fr if language == "fr" else found.en


def because(code: str | None) -> str:
    """A reason code with its words, where it has some of its own: `lane.behind: An earlier message …`."""
    said = sentence(code)
    return f"{code}: {said}" if code and said != code else code or ""


def ago(instant: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    return "" if instant is None else span(now - instant)


def span(length: timedelta) -> str:
    """A duration in one unit."""
    seconds = max(0, int(length.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
