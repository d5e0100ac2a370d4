"""How many decisions on access one core makes in a second: `scripts/bench decide`.

    python -m tests.benchmarks.decide [--seconds 5] [--json FILE] [--profile]

One process, one thread, no database: facts gathered of a patient, a viewer and a document, judged, and made into the
decision that is stored. Three ways, in turn, so that a slow moment meets all of them:

- page: one professional goes through the 500 documents of a record, as a list does
- one: each decision is of another viewer and patient, nothing is remembered from the one before
- replay: stored decisions are judged again

Processor time; the figure is the median over the turns. Exit code: 0 the goal is met by `page`, 1 it was missed.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from broker.access import Viewer
from broker.rules import decide

_FOLDER = Path(__file__).resolve().parents[2] / "mappings" / "rules"
_NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
_TEAM = "structure:990000001#V1"
_GOAL, _AIM = 30_000, 50_000
_DOCUMENTS = 500
_PROFESSIONS = ("G15_10/SM26", "G15_80", "G15_60", "G15_21/A", "G15_70", "G15_10")


@dataclass(frozen=True, slots=True)
class Person:
    """A patient with the consents of a few years."""

    id: int
    account: str = "active"
    consent_version: int = 9
    filing_opposed: bool = False
    consents: dict[tuple[str, str], tuple[str, datetime]] = field(default_factory=dict)
    team: tuple[tuple[str, int], ...] = ((_TEAM, 1),)
    born: date | None = date(1979, 5, 28)


@dataclass(frozen=True, slots=True)
class Paper:
    """A filed document."""

    id: str
    type_code: str | None
    masked_ps: bool
    visible_from: datetime
    author_keys: tuple[str, ...]
    hidden_from_reps: bool = False
    availability: str = "current"
    kind: str = "clinical_document"


def _person(number: int) -> Person:
    said = {
        ("filing", ""): ("INO", _NOW),
        ("consultation", _TEAM): ("IC", _NOW),
        ("consultation", "structure:990000001#V0"): ("IC", _NOW - timedelta(days=400)),
        ("emergency", "centre_15"): ("allowed", _NOW),
        ("block", "ps|899900000045"): ("blocked", _NOW),
        ("traitant", ""): ("ps|899900000053", _NOW),
    }
    return Person(id=number, consents=said)


def _viewer(number: int) -> Viewer:
    return Viewer(
        kind="professional",
        id=f"8999{number:08d}",
        name="Dr Essai",
        profession=_PROFESSIONS[number % len(_PROFESSIONS)],
        structure="990000001",
    )


def _papers(rules: decide.Rules) -> list[Paper]:
    types = sorted(rules.matrix.types)
    return [
        Paper(
            id=f"0192f0c4-0000-7000-8000-{n:012d}",
            type_code=types[n % len(types)],
            masked_ps=n % 17 == 0,
            visible_from=_NOW - timedelta(hours=n),
            author_keys=(f"ps|8999{n % 40:08d}",),
        )
        for n in range(_DOCUMENTS)
    ]


def _ways(rules: decide.Rules) -> dict[str, Callable[[], int]]:
    papers, viewers = _papers(rules), [_viewer(n) for n in range(_DOCUMENTS)]
    people = [_person(n) for n in range(_DOCUMENTS)]
    stored = [
        msgspec.json.decode(msgspec.json.encode(rules.reading(v, p, d, _NOW).inputs))
        for v, p, d in zip(viewers, people, papers, strict=True)
    ]

    def page() -> int:
        viewer, person, read = viewers[0], people[0], rules.reading
        return sum(read(viewer, person, paper, _NOW, "list").allowed for paper in papers)

    def one() -> int:
        read = rules.reading
        return sum(
            read(viewer, person, paper, _NOW).allowed
            for viewer, person, paper in zip(viewers, people, papers, strict=True)
        )

    def replay() -> int:
        again = rules.replay
        return sum(again(inputs).allowed for inputs in stored)

    return {"page": page, "one": one, "replay": replay}


def main() -> int:
    """Measure, print, and say whether the goal is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    ways = _ways(decide.load(_FOLDER))
    for run in ways.values():
        run()
    gc.collect()
    gc.freeze()
    if given.profile:
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(20):
            ways["page"]()
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return 0
    rates: dict[str, list[float]] = {name: [] for name in ways}
    until = time.monotonic() + given.seconds
    while time.monotonic() < until or not all(rates.values()):
        for name, run in ways.items():
            start = time.process_time()
            for _ in range(4):
                run()
            rates[name].append(4 * _DOCUMENTS / (time.process_time() - start))
    found = {name: median(values) for name, values in rates.items()}
    table = Table(title="decisions a second per core (processor time)")
    for heading in ("way", "decisions/s", "us each", "turns"):
        table.add_column(heading, justify="right" if heading != "way" else "left")
    for name, rate in found.items():
        table.add_row(name, f"{rate:,.0f}", f"{1e6 / rate:.1f}", str(len(rates[name])))
    console = Console()
    console.print(table)
    console.print(f"goal {_GOAL:,}, aim {_AIM:,}: {'met' if found['page'] >= _GOAL else 'missed'}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0 if found["page"] >= _GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
