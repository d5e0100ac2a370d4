"""What one message costs to understand, beside what a bare parse of the same bytes costs: `scripts/bench mapping`.

    python -m tests.benchmarks.mapping [--seconds 5] [--json FILE] [--profile adt|oru|cda]

One process, one thread, the collector set as the roles set it. The bare parse, the whole engine (nulls, issues, typed
targets, provenance, fast coverage) and the engine in full coverage mode take turns over a few dozen messages each, so
that a slow moment meets all of them; a ratio is the median over the turns, of medians within a turn. Processor time.
HL7v2 stands beside python-hl7, CDA beside lxml.
Exit code: 0 every goal met, 1 one was missed.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import hl7
from lxml import etree
from rich.console import Console
from rich.table import Table

from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from tests.benchmarks import messages

_PROJECT = Path(__file__).resolve().parents[2]
_MAPPINGS = _PROJECT / "mappings"
_CORPUS = _PROJECT.parent / "shared" / "corpus" / "cda"
_GIVEN = Given(message_id="018f0000-0000-7000-8000-000000000000", source="lab", sha256="00" * 32)
_MESSAGES = 300
_TURN = 50

_FASTER = {"adt": 4.0, "oru": 3.0}
"""How many times faster than python-hl7's bare parse."""
_SLOWER = {"cda": 8.0}
"""At most how many times lxml's bare parse."""
_FULL = 2.0
_COMPILE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Messages of one kind, and the bare parse they are measured against."""

    name: str
    bodies: Sequence[bytes]
    beside: str
    parse: Callable[[bytes], Any]


def kinds() -> list[Kind]:
    """ADT and 20-OBX ORU of the load generator, and a biology report of about 100 KB where the corpus has one."""
    now = datetime.now(UTC)
    found = []
    for name, make in (("adt", messages.adt), ("oru", messages.oru)):
        following = make("M", 1_000, 10**6, now)
        taken = [one for _ in range(_MESSAGES) if (one := following()) is not None]
        bodies = [frame[1:-2] for _, frame, _ in taken]
        found.append(Kind(name, bodies, "python-hl7", lambda body: hl7.parse(body.decode())))
    reports = biology(_CORPUS)
    if reports:
        found.append(Kind("cda", reports, "lxml", etree.fromstring))
    return found


def biology(corpus: Path) -> list[bytes]:
    """The CI-SIS biology reports of 80 to 130 KB with entries; none where the corpus is not beside the project."""
    if not corpus.is_dir():
        return []
    bodies = [path.read_bytes() for path in sorted(corpus.rglob("*.xml")) if _is_near(path)]
    return [body for body in bodies if b"1.3.6.1.4.1.19376.1.3.3" in body and b"<entry" in body]


def _is_near(path: Path) -> bool:
    return 80_000 < path.stat().st_size < 130_000


def measure(mapper: Mapper, kind: Kind, seconds: float) -> dict[str, Any]:
    """Medians in microseconds, and the medians of the ratios turn by turn."""
    runs: dict[str, Callable[[bytes], Any]] = {
        "parse": kind.parse,
        "engine": lambda body: mapper.read(body, _GIVEN, coverage="fast"),
        "full": lambda body: mapper.read(body, _GIVEN, coverage=True),
    }
    turns: list[dict[str, float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(turns) < 3:
        at = len(turns) * _TURN % len(kind.bodies)
        bodies = kind.bodies[at : at + _TURN]
        turns.append(
            {name: median(_cost(run, body) for body in bodies) for name, run in runs.items()}
        )
    del turns[0]  # it warmed up
    return {
        "kind": kind.name,
        "bytes": round(median(len(body) for body in kind.bodies)),
        "beside": kind.beside,
        **{f"{name}_us": median(turn[name] for turn in turns) for name in runs},
        "parse_by_engine": median(turn["parse"] / turn["engine"] for turn in turns),
        "engine_by_parse": median(turn["engine"] / turn["parse"] for turn in turns),
        "full_by_engine": median(turn["full"] / turn["engine"] for turn in turns),
        "turns": len(turns),
    }


def _cost(run: Callable[[bytes], Any], body: bytes) -> float:
    begun = time.thread_time_ns()
    run(body)
    return (time.thread_time_ns() - begun) / 1000 or 0.001


def compile_seconds() -> float:
    """The least of three times to load, check and compile the whole set."""
    times = []
    for _ in range(3):
        begun = time.process_time()
        load(_MAPPINGS)
        times.append(time.process_time() - begun)
    return min(times)


def verdicts(rows: Sequence[dict[str, Any]], compiling: float) -> list[tuple[bool, str]]:
    """Each goal, whether it was met, and its figure."""
    told = [(compiling < _COMPILE_SECONDS, f"compile of the whole set {compiling:.2f} s < 1 s")]
    for row in rows:
        name = row["kind"]
        if name in _FASTER:
            ratio, goal = row["parse_by_engine"], _FASTER[name]
            told.append(
                (ratio >= goal, f"{name}: {ratio:.2f} times faster than python-hl7 >= {goal:g}")
            )
        if name in _SLOWER:
            ratio, goal = row["engine_by_parse"], _SLOWER[name]
            told.append((ratio < goal, f"{name}: {ratio:.2f} times lxml's parse < {goal:g}"))
        full = row["full_by_engine"]
        told.append(
            (full < _FULL, f"{name}: full coverage {full:.2f} times the fast one < {_FULL:g}")
        )
    return told


def profile(mapper: Mapper, kind: Kind) -> None:
    """Where the time of a kind goes, by the function's own time."""
    profiler = cProfile.Profile()
    for body in kind.bodies:
        profiler.runcall(mapper.read, body, _GIVEN, coverage="fast")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench mapping",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--profile", metavar="KIND", help="profile one kind instead: adt, oru or cda"
    )
    options = parser.parse_args(arguments)
    mapper = Mapper(load(_MAPPINGS))
    # As the roles do: what lives for ever is not walked by the collector.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    found = kinds()
    if options.profile:
        profile(mapper, next(kind for kind in found if kind.name == options.profile))
        return 0
    rows = [measure(mapper, kind, options.seconds) for kind in found]
    compiling = compile_seconds()
    _show(rows)
    told = verdicts(rows, compiling)
    for is_met, text in told:
        sys.stdout.write(f"{'met   ' if is_met else 'MISSED'} {text}\n")
    if options.json:
        options.json.write_text(json.dumps({"kinds": rows, "compile_seconds": compiling}, indent=1))
    return 0 if all(is_met for is_met, _ in told) else 1


def _show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="one message, processor us, medians")
    for name in ("kind", "bytes", "beside", "parse", "engine", "full coverage", "turns"):
        table.add_column(name, justify="left" if name in ("kind", "beside") else "right")
    for row in rows:
        table.add_row(
            row["kind"],
            f"{row['bytes']:,}",
            row["beside"],
            f"{row['parse_us']:,.0f}",
            f"{row['engine_us']:,.0f}",
            f"{row['full_us']:,.0f}",
            f"{row['turns']:,}",
        )
    Console(width=None if Console().is_terminal else 110).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
