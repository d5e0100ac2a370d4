"""What a rule may name: destinations and sources of the settings, codes of the rules folder. For `routing.checks`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.rules import profession, tables


@dataclass(frozen=True, slots=True)
class Codes:
    """The code systems of a rules folder: what exists in each condition that has one.

    combined: professions with their speciality (`G15_10/SM03`)
    group_of: the group of the matrix a profession's code belongs to, empty for none
    """

    types: Collection[str]
    classes: Collection[str]
    confidentiality: Collection[str]
    groups: Collection[str]
    professions: Collection[str]
    specialities: Collection[str]
    combined: Collection[str]
    group_of: Callable[[str], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """What the check of rules is done against. `destinations` and `sources` None: there are no settings to ask.

    routes: names of the routes of the settings, which share their names with rules
    """

    codes: Codes
    destinations: Collection[str] | None = None
    sources: Collection[str] | None = None
    routes: Collection[str] = ()


def load(folder: Path) -> Codes:
    """Read the code systems of a rules folder. Raises: SetupError("rules.invalid") naming file and line."""
    matrix = profession.load(folder)
    return Codes(
        types=_column(folder, "document-types.csv", "type_code"),
        classes=_column(folder, "document-classes.csv", "class_code"),
        confidentiality=_column(folder, "confidentiality-codes.csv", "code"),
        groups=matrix.names.keys(),
        professions=_column(folder, "professions.csv", "cda_author_code"),
        specialities=_column(folder, "specialities.csv", "speciality_code"),
        combined=_column(folder, "specialities.csv", "cda_author_code"),
        group_of=matrix.group_of,
    )


def by_condition(codes: Codes) -> Mapping[str, Collection[str]]:
    """The codes of each condition that has a code system."""
    return {
        "type_code": codes.types,
        "class_code": codes.classes,
        "confidentiality": codes.confidentiality,
        "author_profession": [*codes.groups, *codes.professions, *codes.combined],
        "author_speciality": codes.specialities,
    }


def _column(folder: Path, name: str, column: str) -> set[str]:
    return {row[column] for _, row in tables.read_csv(folder / name) if row[column]}
