"""The matrix of professions and document types, as data with a version. For `rules.decide`.

Source: arrêté of 26 October 2023 (CSP R.1111-46), as `mappings/rules/README.md` says; MAT-01 to MAT-09.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from broker.rules.tables import invalid, read_csv, read_manifest

UNKNOWN = ""
"""Group of a profession the matrix has no column for (MAT-05)."""

_CODE = re.compile(
    r"(?:(?P<system>[A-Z]\d{2})[_:])?(?P<code>[A-Za-z0-9_]+?)(?:/(?P<part>[A-Za-z0-9]+))?", re.ASCII
)
_RULES_OF_GROUPS = {"MEDECIN": "MAT-03", "SECRETARIAT": "MAT-09"}

PHYSICIANS = "MEDECIN"
SECRETARIES = "SECRETARIAT"
TRAINEE, HEALTH = "G16", "G15"
HEALTH_PROFESSIONS = (HEALTH, TRAINEE)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: O or N, where it comes from, and the rule that it stands for; `verdict` is what a decision says."""

    access: str
    status: str
    rule: str
    verdict: tuple[bool, str, str] = field(init=False)

    def __post_init__(self) -> None:
        reason = "access.matrix_open" if self.is_open else "access.matrix_closed"
        if self.rule == "MAT-05":
            reason = "access.matrix_unknown"
        object.__setattr__(self, "verdict", (self.is_open, self.rule, reason))

    @property
    def is_open(self) -> bool:
        return self.access == "O"


_NO_CELL = Cell("N", "derived", "MAT-05")


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix in force from a day on. Immutable; a change is another version.

    `barred` are those with no access whatever the holder says, `regimes` those who need express consent each time: a
    code as viewers give it, to the rule.
    """

    version: str
    valid_from: date
    cells: Mapping[tuple[str, str], Cell]
    groups: Mapping[tuple[str, str, str], str]
    names: Mapping[str, str]
    types: Mapping[str, str]
    barred: Mapping[str, str] = field(default_factory=dict)
    regimes: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def group_of(self, profession: str) -> str:
        """The group of a code (`G15_10/SM26`, `G15:80`, `80`, `R85:330`) or of a group's own name; UNKNOWN if none.

        A code without its system is of G15 (health professions). A trainee (G16) is of the group they train for
        (MAT-06). A pharmacist needs the section (`G15_21/A`): without it there is no column.
        """
        found = self._known.get(profession)
        if found is None:
            found = self._group_of(profession)
            if len(self._known) < _REMEMBERED:
                self._known[profession] = found
        return found

    def _group_of(self, profession: str) -> str:
        if profession in self.names:
            return profession
        found = _CODE.fullmatch(profession)
        if found is None:
            return UNKNOWN
        system, code, part = found["system"] or HEALTH, found["code"], found["part"] or ""
        systems = (TRAINEE, HEALTH) if system == TRAINEE else (system,)
        for one in systems:
            for key in ((one, code, part), (one, code, ""), (one, "*", "")):
                if key in self.groups:
                    return self.groups[key]
        return UNKNOWN

    def allows(self, group: str, type_code: str) -> Cell:
        """The cell; closed by MAT-05 where there is none."""
        return self.cells.get((group, type_code), _NO_CELL)

    def is_health_professional(self, code: str) -> bool:
        """A health profession or its trainee; a group counts when all its codes are of these."""
        group = self.group_of(code)
        if code == group:
            systems = {system for (system, _, _), name in self.groups.items() if name == group}
            return bool(systems) and systems <= set(HEALTH_PROFESSIONS)
        return bool(group) and (code[:3] in HEALTH_PROFESSIONS or code[:1].isdigit())

    def supposing(self, group: str, type_code: str, access: str) -> Matrix:
        """The matrix with one cell another way, for questions (`matrix:GROUP/TYPE=O`)."""
        cell = Cell(access, "supposed", _rule_of(group, ""))
        return replace(
            self,
            version=f"{self.version}+supposed",
            cells={**self.cells, (group, type_code): cell},
            _known={},
        )


_REMEMBERED = 4_096
"""Profession codes whose group is remembered."""


def load(folder: Path) -> Matrix:
    """The first matrix of a rules folder: its columns and types are those of all days.

    Raises: SetupError("rules.invalid") naming file and line.
    """
    return load_dated(folder)[0]


def load_dated(folder: Path) -> tuple[Matrix, ...]:
    """The matrix of a rules folder as it is from one day to the next, oldest first (MAT-07).

    A cell with a `valid_from` of its own is another cell from that day on; the version then names the day.
    Raises: SetupError("rules.invalid") naming file and line.
    """
    manifest = read_manifest(folder)
    groups: dict[tuple[str, str, str], str] = {}
    names: dict[str, str] = {}
    for line, row in read_csv(folder / "profession-groups.csv"):
        names[row["profession_group"]] = row["label_en"]
        for key in _codes(row["profession_codes"]):
            if groups.setdefault(key, row["profession_group"]) != row["profession_group"]:
                raise invalid("profession-groups.csv", line, "a code stands in two groups")
    dated: dict[date, dict[tuple[str, str], Cell]] = {date.min: {}}
    types: dict[str, str] = {}
    for line, row in read_csv(folder / "access-matrix.csv"):
        group, code = row["profession_group"], row["type_code"]
        cells = dated.setdefault(_day(row.get("valid_from") or "", line), {})
        if row["access"] not in ("O", "N") or group not in names or (group, code) in cells:
            raise invalid(
                "access-matrix.csv",
                line,
                "access is not O or N, or the cell is unknown or twice there",
            )
        cells[group, code] = Cell(row["access"], row["status"], _rule_of(group, row["status"]))
        types.setdefault(code, row["type_display_fr"])
    matrix = manifest.get("matrix", {})
    version, valid_from = matrix.get("version"), matrix.get("valid_from")
    if not isinstance(version, str) or not isinstance(valid_from, date):
        raise invalid("manifest.toml", 1, "matrix.version or matrix.valid_from is missing")
    barred = {row["code"]: row["rule"] for _, row in read_csv(folder / "barred.csv")}
    regimes = {row["code"]: row["rule"] for _, row in read_csv(folder / "regimes.csv")}
    made = [Matrix(version, valid_from, dated.pop(date.min), groups, names, types, barred, regimes)]
    for day, changed in sorted(dated.items()):
        cells = {**made[-1].cells, **changed}
        made.append(
            replace(made[-1], version=f"{version}@{day}", valid_from=day, cells=cells, _known={})
        )
    return tuple(made)


def _rule_of(group: str, status: str) -> str:
    return "MAT-08" if status == "press" else _RULES_OF_GROUPS.get(group, "MAT-02")


def _day(text: str, line: int) -> date:
    try:
        return date.fromisoformat(text) if text else date.min
    except ValueError as error:
        raise invalid("access-matrix.csv", line, "valid_from is not a day") from error


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
