"""What the benchmark says: medians of the rounds, tables, the targets met or missed, and growth of memory."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

_WIDTH = 170
_OUT = Console(width=None if Console().is_terminal else _WIDTH)
_PROGRESS = Console(stderr=True)
_MEDIANS = (
    "answers_per_second", "filed_per_second", "p50_ms", "p95_ms", "p99_ms", "yardstick",
    "unpacked_per_second", "accepted_ratio", "filed_ratio", "cpu_us_per_message", "delivered_per_second",
    "delivered_ratio", "drain_seconds",
)  # fmt: skip
_FLOOR_OF = {"sqlite": "sqlite_commits", "postgres": "postgres_commits"}
_GROWTH_FACTOR, _GROWTH_MIB = 1.03, 4.0
"""Memory has grown when a role's median of the last three samples exceeds that of the third to fifth by more than this:
the first fifth fills caches and pools."""

_STORE_FACTOR = 1.2
"""How much slower a store of a million messages may be than an empty one."""

TARGETS = (
    ("intake", "postgres", "adt", 64, "accepted_ratio", ">=", 0.10),
    ("intake", "postgres", "oru", 64, "accepted_ratio", ">=", 0.10),
    ("end-to-end", "postgres", "adt", 64, "filed_ratio", ">=", 0.024),
    ("end-to-end", "postgres", "oru", 64, "filed_ratio", ">=", 0.012),
    ("delivery", "postgres", "adt", 64, "filed_ratio", ">=", 0.034),
    ("delivery", "postgres", "adt", 64, "delivered_ratio", ">=", 0.016),
    ("delivery", "postgres", "oru", 64, "filed_ratio", ">=", 0.017),
    ("intake", "postgres", "adt", 8, "p99_ms", "<", 15.0),
    ("intake", "postgres", "oru", 8, "p99_ms", "<", 15.0),
    ("end-to-end", "postgres", "adt", 8, "p99_ms", "<", 15.0),
    ("end-to-end", "postgres", "oru", 8, "p99_ms", "<", 15.0),
)


def say(text: str) -> None:
    _PROGRESS.print(text, markup=False, highlight=False)


def progress(text: str) -> None:
    """One line for what is measured now."""
    say(f"  {text}")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def summary(rows: Sequence[Row]) -> list[Row]:
    """One row a cell: medians of its rounds, with the least and the most of its rate."""
    cells: defaultdict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row["figure"], row["set_up"], row["kind"], row["connections"]].append(row)
    return [_summed(key, rounds) for key, rounds in cells.items()]


def _summed(key: tuple[str, str, str, int], rounds: Sequence[Row]) -> Row:
    figure, set_up, kind, connections = key
    main = "filed_per_second" if "filed_per_second" in rounds[0] else "answers_per_second"
    rates = [row[main] for row in rounds]
    names = sorted({name for row in rounds for name in row.get("cpu_us", {})})
    return {
        "figure": figure,
        "set_up": set_up,
        "kind": kind,
        "connections": connections,
        "rounds": len(rounds),
        "least": min(rates),
        "most": max(rates),
        **{name: median(row[name] for row in rounds) for name in _MEDIANS if name in rounds[0]},
        "cpu_us": {
            name: median(row.get("cpu_us", {}).get(name, 0.0) for row in rounds) for name in names
        },
        "rss_mib": rounds[-1].get("rss_mib", {}),
    }


def show(
    cells: Sequence[Row],
    floors: dict[str, float],
    memory: Sequence[Row],
    faults: Sequence[str],
    seconds: float,
) -> None:
    """Print everything for a person."""
    if floors:
        _OUT.print(_floors_table(floors))
    for figure in ("yardstick", "intake", "end-to-end", "delivery", "empty", "stored"):
        chosen = [cell for cell in cells if cell["figure"] == figure]
        if chosen:
            _OUT.print(_cells_table(figure, chosen, floors))
    for figure in ("intake", "end-to-end", "delivery", "empty", "stored"):
        chosen = [cell for cell in cells if cell["figure"] == figure]
        if chosen:
            _OUT.print(_cpu_table(figure, chosen))
    if memory:
        _OUT.print(_memory_table(memory))
    for line in verdicts(cells):
        _OUT.print(line, markup=False)
    for fault in faults:
        _OUT.print(f"FAULT  {fault}", markup=False)
    _OUT.print(f"{'FAULTS FOUND' if faults else 'no fault'}, {seconds:.0f} s")


def verdicts(cells: Sequence[Row]) -> list[str]:
    """Each target that was measured: met or missed, by how much."""
    lines = []
    for figure, set_up, kind, connections, name, sense, wanted in TARGETS:
        for cell in cells:
            if (cell["figure"], cell["set_up"], cell["kind"], cell["connections"]) != (
                figure, set_up, kind, connections,
            ):  # fmt: skip
                continue
            value = cell[name]
            is_met = value >= wanted if sense == ">=" else value < wanted
            what = f"{figure} {set_up} {kind} at {connections}: {name}"
            lines.append(
                f"{'met   ' if is_met else 'MISSED'} {what} {value:.4g} {sense} {wanted:g}"
            )
    return lines + grown_with_store(cells)


def grown_with_store(cells: Sequence[Row]) -> list[str]:
    """Whether what a message costs grows with what is stored: rate and latency beside those of an empty store."""
    by_cell = {(cell["figure"], cell["set_up"], cell["connections"]): cell for cell in cells}
    lines = []
    for (figure, set_up, connections), stored in by_cell.items():
        if figure != "stored":
            continue
        empty = by_cell["empty", set_up, connections]
        for what, factor in (
            ("filed per second, empty by stored", empty["filed_per_second"] / stored["filed_per_second"]),
            ("99th percentile, stored by empty", stored["p99_ms"] / empty["p99_ms"]),
        ):  # fmt: skip
            verdict = "met   " if factor <= _STORE_FACTOR else "MISSED"
            lines.append(
                f"{verdict} {set_up} at {connections}: {what} {factor:.2f} <= {_STORE_FACTOR}"
            )
    return lines


def grown(memory: Sequence[Row]) -> list[str]:
    """The roles whose memory went on growing after the first fifth of the messages."""
    sizes: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in memory:
        for name, mib in row["rss_mib"].items():
            sizes[row["set_up"], name].append(mib)
    found = []
    for (set_up, name), series in sizes.items():
        early, late = median(series[2:5]), median(series[-3:])
        if late > early * _GROWTH_FACTOR + _GROWTH_MIB:
            found.append(f"{set_up}: {name} grew from {early:.1f} to {late:.1f} MiB")
    return found


def _floors_table(floors: dict[str, float]) -> Table:
    table = Table("floor, 1 KB at a time", "per second", title="This machine")
    for name, rate in floors.items():
        table.add_row(name.replace("_", " "), f"{rate:,.0f}")
    return table


def _cells_table(figure: str, cells: Sequence[Row], floors: dict[str, float]) -> Table:
    table = Table(title=figure)
    for name in ("set-up", "kind", "conns", "accepted/s", "filed/s", "least-most", "p50 ms", "p99 ms"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("set-up", "kind") else "right")
    for name in ("yardstick/s", "of yardstick", "x commits", "unpacked/s", "delivered/s", "drain s"):  # fmt: skip
        table.add_column(name, justify="right")
    for cell in cells:
        is_filed = "filed_per_second" in cell
        main = cell["filed_per_second"] if is_filed else cell["answers_per_second"]
        ratio = cell.get("filed_ratio", cell.get("accepted_ratio"))
        floor = floors.get(_FLOOR_OF.get(cell["set_up"], ""))
        table.add_row(
            cell["set_up"],
            cell["kind"],
            str(cell["connections"]),
            f"{cell['answers_per_second']:,.0f}",
            f"{main:,.0f}" if is_filed else "",
            f"{cell['least']:,.0f}-{cell['most']:,.0f}",
            f"{cell['p50_ms']:.2f}",
            f"{cell['p99_ms']:.1f}",
            f"{cell['yardstick']:,.0f}" if "yardstick" in cell else "",
            f"{ratio:.1%}" if ratio is not None else "",
            f"{main / floor:.2f}" if floor else "",
            f"{cell['unpacked_per_second']:,.0f}"
            if cell["set_up"] == "postgres" and not is_filed
            else "",
            f"{cell['delivered_per_second']:,.0f}" if "delivered_per_second" in cell else "",
            f"{cell['drain_seconds']:.1f}" if "drain_seconds" in cell else "",
        )
    return table


def _cpu_table(figure: str, cells: Sequence[Row]) -> Table:
    """Processor microseconds a message, by role and service: where the time goes."""
    names = sorted({name for cell in cells for name in cell["cpu_us"]})
    table = Table("set-up", "kind", "conns", title=f"{figure}: processor us a message")
    for name in names:
        table.add_column(name, justify="right")
    for cell in cells:
        used = [f"{cell['cpu_us'].get(name, 0):,.0f}" for name in names]
        table.add_row(cell["set_up"], cell["kind"], str(cell["connections"]), *used)
    return table


def _memory_table(memory: Sequence[Row]) -> Table:
    names = sorted({name for row in memory for name in row["rss_mib"]})
    table = Table("set-up", "messages", *names, title="resident MiB")
    for row in memory:
        sizes = [f"{row['rss_mib'].get(name, 0):.1f}" for name in names]
        table.add_row(row["set_up"], f"{row['messages']:,}", *sizes)
    return table
