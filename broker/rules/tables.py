"""Reading the files of a rules folder. No rule stands here."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from pathlib import Path

from broker.errors import SetupError


def read_manifest(folder: Path) -> dict[str, dict[str, object]]:
    """`manifest.toml` of a rules folder."""
    try:
        return tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SetupError(
            "rules.invalid", where="manifest.toml", reason=type(error).__name__
        ) from error


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV of the rules folder."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise SetupError("rules.invalid", where=path.name, reason=type(error).__name__) from error


def invalid(name: str, line: int, reason: str) -> SetupError:
    """A file of rules that makes no sense, with its place."""
    return SetupError("rules.invalid", where=f"{name}:{line}", reason=reason)
