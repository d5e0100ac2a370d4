"""People and papers that the tests of rules are about; none of them exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from broker.access import Viewer
from broker.rules import decide

FOLDER = Path(__file__).parents[3] / "mappings" / "rules"
RULES = decide.load(FOLDER)
NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
DISCHARGE = "34112-3"
TEAM = "structure:990000001#V1"

Consents = dict[tuple[str, str], tuple[str, datetime]]


@dataclass(frozen=True)
class Person:
    """A patient; nobody is in the care team and nothing was said, unless given."""

    id: int = 1
    account: str = "active"
    consent_version: int = 3
    filing_opposed: bool = False
    consents: Consents = field(default_factory=dict)
    team: tuple[tuple[str, int], ...] = ()
    born: date | None = date(1979, 5, 28)


@dataclass(frozen=True)
class Paper:
    """A filed document."""

    id: str = "0192f0c4-0000-7000-8000-000000000001"
    type_code: str | None = DISCHARGE
    masked_ps: bool = False
    visible_from: datetime | None = None
    hidden_from_reps: bool = False
    availability: str = "current"
    author_keys: tuple[str, ...] = ()
    kind: str = "clinical_document"


def physician(**given: object) -> Viewer:
    return _viewer("G15_10/SM26", "899900000029", given)


def podiatrist(**given: object) -> Viewer:
    return _viewer("G15_80", "899900000011", given)


def somebody(profession: str, **given: object) -> Viewer:
    return _viewer(profession, "899900000037", given)


def _viewer(profession: str, number: str, given: dict[str, object]) -> Viewer:
    return Viewer(**({"kind": "professional", "id": number, "profession": profession} | given))  # type: ignore[arg-type]


HOLDER = Viewer(kind="patient", id="1")
PARENT = Viewer(kind="representative", id="p-1")


def said(*words: tuple[str, str, str], at: datetime = NOW) -> Consents:
    """Consents of (kind, scope, value)."""
    return {(kind, scope): (value, at) for kind, scope, value in words}


def in_team(word: str = "IC", *more: tuple[str, str, str], **given: object) -> Person:
    """A patient with an open visit of the viewer's structure, and the team's consent."""
    words = ((("consultation", TEAM, word),) if word else ()) + more
    return Person(team=((TEAM, 1),), consents=said(*words), **given)  # type: ignore[arg-type]


def child(value: str = "parent/all//", *more: tuple[str, str, str], **given: object) -> Person:
    """A patient of sixteen with a representative."""
    words = (("mandate", "p-1", value), *more)
    return Person(**({"born": date(2010, 11, 10), "consents": said(*words)} | given))  # type: ignore[arg-type]


def rule(
    viewer: Viewer, person: Person, paper: Paper | None, now: datetime = NOW, action: str = "read"
) -> tuple[bool, str]:
    """(allowed, rule) of a reading."""
    made = RULES.reading(viewer, person, paper, now, action)  # type: ignore[arg-type]
    return made.allowed, made.rule
