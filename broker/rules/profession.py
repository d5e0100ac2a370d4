"""The matrix of professions and document types, as data with a version. For `rules.decide`.

Source: arrêté of 26 October 2023 (CSP R.1111-46), as `mappings/rules/README.md` says; MAT-01 to MAT-09.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from broker.errors import SetupError

UNKNOWN = ""
"""Group of a profession the matrix has no column for (MAT-05)."""

_CODE = re.compile(
    r"(?:(?P<system>[A-Z]\d{2})[_:])?(?P<code>[A-Za-z0-9_]+?)(?:/(?P<part>[A-Za-z0-9]+))?", re.ASCII
)
_RULES_OF_GROUPS = {"MEDECIN": "MAT-03", "SECRETARIAT": "MAT-09"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: O or N, where it comes from, and the rule that it stands for."""

    access: str
    status: str
    rule: str

    @property
    def is_open(self) -> bool:
        return self.access == "O"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix in force from a day on. Immutable; a change is another version."""

    version: str
    valid_from: date
    cells: Mapping[tuple[str, str], Cell]
    groups: Mapping[tuple[str, str, str], str]
    names: Mapping[str, str]
    types: Mapping[str, str]

    def group_of(self, profession: str) -> str:
        """The group of a code (`G15_10/SM26`, `G15:80`, `80`, `R85:330`) or of a group's own name; UNKNOWN if none.

        A code without its system is of G15 (health professions). A trainee (G16) is of the group they train for
        (MAT-06). A pharmacist needs the section (`G15_21/A`): without it there is no column.
        """
        if profession in self.names:
            return profession
        found = _CODE.fullmatch(profession)
        if found is None:
            return UNKNOWN
        system, code, part = found["system"] or "G15", found["code"], found["part"] or ""
        for key in ((system, code, part), (system, code, ""), (system, "*", "")):
            if key in self.groups:
                return self.groups[key]
        return UNKNOWN

    def allows(self, group: str, type_code: str) -> Cell:
        """The cell; closed by MAT-05 where there is none."""
        return self.cells.get((group, type_code)) or Cell("N", "derived", "MAT-05")


def load(folder: Path) -> Matrix:
    """Read the matrix of a rules folder.

    Raises: SetupError("rules.invalid") naming file and line.
    """
    manifest = read_manifest(folder)
    groups: dict[tuple[str, str, str], str] = {}
    names: dict[str, str] = {}
    for line, row in read_csv(folder / "profession-groups.csv"):
        names[row["profession_group"]] = row["label_en"]
        for key in _codes(row["profession_codes"]):
            if groups.setdefault(key, row["profession_group"]) != row["profession_group"]:
                raise _invalid("profession-groups.csv", line, "a code stands in two groups")
    cells: dict[tuple[str, str], Cell] = {}
    types: dict[str, str] = {}
    for line, row in read_csv(folder / "access-matrix.csv"):
        group, code = row["profession_group"], row["type_code"]
        if row["access"] not in ("O", "N") or group not in names or (group, code) in cells:
            raise _invalid(
                "access-matrix.csv",
                line,
                "access is not O or N, or the cell is unknown or twice there",
            )
        rule = "MAT-08" if row["status"] == "press" else _RULES_OF_GROUPS.get(group, "MAT-02")
        cells[group, code] = Cell(row["access"], row["status"], rule)
        types.setdefault(code, row["type_display_fr"])
    matrix = manifest.get("matrix", {})
    version, valid_from = matrix.get("version"), matrix.get("valid_from")
    if not isinstance(version, str) or not isinstance(valid_from, date):
        raise _invalid("manifest.toml", 1, "matrix.version or matrix.valid_from is missing")
    return Matrix(version, valid_from, cells, groups, names, types)


def _codes(text: str) -> Iterator[tuple[str, str, str]]:
    """(system, code, part) of `G15:21/A,D;G16:21`, `R94:41-53`, `R85:other`; `unknown` names no code."""
    for one in text.split(";"):
        system, _, items = one.strip().partition(":")
        code, slash, parts = items.partition("/")
        if slash:
            yield from ((system, code, part) for part in parts.split(","))
            continue
        for item in items.split(","):
            low, dash, high = item.partition("-")
            if dash and low.isdigit() and high.isdigit():
                yield from ((system, str(number), "") for number in range(int(low), int(high) + 1))
            elif item != "unknown":
                yield system, "*" if item == "other" else item, ""


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


def _invalid(name: str, line: int, reason: str) -> SetupError:
    return SetupError("rules.invalid", where=f"{name}:{line}", reason=reason)
