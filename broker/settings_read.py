"""Turns a TOML table into typed settings, strictly: for `settings`, and for the settings classes of plug-ins.

Every problem is found in one reading, each with its file, line, key and a hint. A secret is a reference,
`{ env = "NAME" }` or `{ file = "/path" }`, wherever a text is expected; it is resolved here and its value appears in
no message.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
UNITS |= {"month": 31 * UNITS["d"], "year": 366 * UNITS["d"]}
"""A month and a year at their longest: what is to be kept so long is never kept shorter."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(?:(ms|s|m|h|d)|\s*(month|year)s?)")
_SECRET_KEY = re.compile(
    r"(^|_)(password|passphrase|token|secret|digest_key|archive_key|master_key)s?$"
)
_SECRET_URL = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@")
_MISSING: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the settings: where, what, and what to do. Never a secret's value."""

    file: str
    line: int
    key: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.text}" + (f" {self.hint}" if self.hint else "")


@dataclass
class Reader:
    """Reads one settings file: what it needs to know, and what it gathers while converting."""

    file: str
    folder: Path
    environ: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    trusted: frozenset[str] = frozenset()

    def problem(self, key: str, text: str, hint: str = "") -> None:
        """Note a problem at `key`, with the line of the key or of the nearest table around it."""
        self.problems.append(Problem(self.file, self._line(key), key, text, hint))

    def unknown(self, key: str, name: str, known: list[str], what: str = "key") -> None:
        """Note that `name` is not one of `known`, and which one was perhaps meant."""
        close = get_close_matches(name, known, n=1, cutoff=0.6)
        hint = (
            f'Did you mean "{close[0]}"?'
            if close
            else f"Known: {', '.join(sorted(known)) or 'none'}."
        )
        self.problem(key, f'unknown {what} "{name}".', hint)

    def struct(
        self, table: Mapping[str, Any], cls: type[Any], key: str, also: tuple[str, ...] = ()
    ) -> Any:
        """An instance of the msgspec Struct `cls` made from `table`, or UNSET when a required field is not there.

        What is wrong is noted and its default taken instead, so that the rest can still be checked; nobody uses
        the result when there are problems. `also` are keys of the table that belong to somebody else.
        """
        fields = {f.encode_name: f for f in msgspec.structs.fields(cls)}
        for name in table:
            if name not in fields and name not in also:
                self.unknown(_join(key, name), name, [*fields, *also])
        values: dict[str, Any] = {}
        for name, info in fields.items():
            if name in table:
                values[info.name] = self.value(table[name], info.type, _join(key, name))
            elif info.required:
                self.problem(_join(key, name), "is required.", f"Add it to [{key}].")
        good = {name: value for name, value in values.items() if value is not _MISSING}
        if any(info.required and info.name not in good for info in fields.values()):
            return _MISSING
        try:
            return cls(**good)
        except (ValueError, TypeError) as error:
            self.problem(key, f"{error}.")
            return _MISSING

    def value(self, value: Any, kind: Any, key: str) -> Any:
        """`value` as `kind`, or UNSET after noting what is wrong with it."""
        members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        if str in members and isinstance(value, dict):
            return self._secret(value, key)
        if isinstance(value, str) and str in members:
            self._refuse_literal_secret(value, key)
        structs = [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]
        if isinstance(value, dict) and len(structs) == 1:
            return self.struct(value, structs[0], key)
        for member in members:
            origin, inner = get_origin(member), get_args(member)
            if origin in (list, tuple) and isinstance(value, list) and inner:
                items = [self.value(v, inner[0], f"{key}[{n}]") for n, v in enumerate(value)]
                items = [item for item in items if item is not _MISSING]
                return items if origin is list else tuple(items)
            if origin in (dict, Mapping) and isinstance(value, dict) and len(inner) == 2:
                return {
                    name: self.value(v, inner[1], _join(key, name)) for name, v in value.items()
                }
        if timedelta in members and isinstance(value, str | int | float):
            return self._duration(value, key)
        return self._plain(value, kind, key)

    def _plain(self, value: Any, kind: Any, key: str) -> Any:
        try:
            return msgspec.convert(value, kind, strict=True, dec_hook=self._hook)
        except msgspec.ValidationError as error:
            choices = [str(c) for c in get_args(kind)] if get_origin(kind) is Literal else []
            if choices and isinstance(value, str):
                self.unknown(key, value, choices, what="value")
            else:
                text = str(error).replace("`", "").partition(" - at ")[0]
                self.problem(key, f"{text[0].lower()}{text[1:]}.")
            return _MISSING

    def _hook(self, kind: type, value: Any) -> Any:
        if kind is Path and isinstance(value, str):
            return self.folder / Path(value).expanduser()
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")

    def _duration(self, value: str | float, key: str) -> Any:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.problem(key, "expected a duration.", 'Write "500ms", "30s", "10m", "72h" or "7d".')
            return _MISSING
        return timedelta(seconds=float(match[1]) * UNITS[match[2] or match[3]])

    def _secret(self, table: dict[str, Any], key: str) -> Any:
        text = _MISSING
        if set(table) == {"env"} and isinstance(table["env"], str):
            text = self.environ.get(table["env"], "")
            if not text:
                self.problem(key, f"the environment variable {table['env']} is not set or empty.")
        elif set(table) == {"file"} and isinstance(table["file"], str):
            text = self._secret_file(self.folder / Path(table["file"]).expanduser(), key)
        else:
            self.problem(
                key,
                "expected a text or a reference.",
                'Write { env = "NAME" } or { file = "/path" }.',
            )
            return _MISSING
        if not text:
            return _MISSING
        self.secrets.add(key)
        return text

    def _secret_file(self, path: Path, key: str) -> str:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problem(key, f"the secret's file {path} cannot be read ({type(error).__name__}).")
            return ""
        if not text:
            self.problem(key, f"the secret's file {path} is empty.")
        return text

    def _refuse_literal_secret(self, value: str, key: str) -> None:
        if key in self.trusted:
            return
        names = [part.partition("[")[0] for part in key.split(".")]
        above = names[-2] if len(names) > 1 else ""
        named = _SECRET_KEY.search(names[-1]) or (above.endswith("s") and _SECRET_KEY.search(above))
        if (named and value) or _SECRET_URL.search(value):
            self.problem(
                key,
                "a secret must not stand in this file.",
                'Refer to it: { env = "NAME" } or { file = "/path" }.',
            )

    def _line(self, key: str) -> int:
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition("[")[0] if key.endswith("]") else key.rpartition(".")[0]
        return 0


def key_lines(text: str) -> dict[str, int]:
    """The line of each table and key of a TOML text, by dotted name; arrays of tables as `route[0]`.

    A help for messages, not a parser: a key it does not recognise is reported at its table's line.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[\s*([^\]]+?)\s*\]\]", line):
            name = _bare(header[1])
            counts[name] = counts.get(name, -1) + 1
            table = f"{name}[{counts[name]}]"
            lines[table] = number
        elif header := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            table = _bare(header[1])
            lines.setdefault(table, number)
        elif pair := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            lines.setdefault(_join(table, _bare(pair[1])), number)
    return lines


def _bare(name: str) -> str:
    return re.sub(r"[\"'\s]", "", name)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
