"""Which process dies where, and when: the same seed gives the same orders. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from broker.fault_points import POINTS, Order, Point

ALL_PROCESSES = "all.processes"
"""The supervisor and every role die at once, from outside, as when the machine dies."""

EVERYTHING = Point(("drill",), "supervisor and roles are killed together, wherever each of them is")


def passable(names: Sequence[str], *, is_postgresql: bool) -> dict[str, Point]:
    """The points of a drill on a set-up: those named, or all. Raises: ValueError for a name that is none."""
    known = {**POINTS, ALL_PROCESSES: EVERYTHING}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no point '{unknown[0]}'; known: {', '.join(known)}")
    return {
        name: point
        for name, point in known.items()
        if (not names or name in names)
        and point.is_drilled
        and (is_postgresql or not point.only_postgresql)
    }


def orders(
    seed: int, processes: Sequence[str], points: Mapping[str, Point], kills: int
) -> dict[str, list[Order]]:
    """`kills` orders for each process (`worker-0`), which is more than will be carried out; every point in turn."""
    given = {}
    for process in processes:
        mine = [name for name, one in points.items() if process.rpartition("-")[0] in one.roles]
        endless = _orders(random.Random(f"{seed}/{process}"), mine, points)  # noqa: S311 - chance, not a secret
        given[process] = [order for order, _ in zip(endless, range(kills), strict=False)]
    return given


def write(folder: Path, given: Mapping[str, Sequence[Order]]) -> None:
    """Where the processes of the broker look for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for process, of in given.items():
        (folder / f"{process}.orders").write_text("".join(f"{order}\n" for order in of), "utf-8")


def carried_out(folder: Path) -> list[tuple[str, str]]:
    """(process, point) of every kill so far."""
    return [
        (file.stem, line.split()[1])
        for file in sorted(folder.glob("*.kills"))
        for line in file.read_text("utf-8").splitlines()
    ]


def _orders(
    chance: random.Random, names: Sequence[str], points: Mapping[str, Point]
) -> Iterator[Order]:
    while names:
        for name in chance.sample(names, len(names)):
            after = round(chance.uniform(0.1, points[name].within_ms), 1)
            yield Order(
                name,
                chance.randint(1, points[name].passages),
                after if points[name].within_ms else 0.0,
            )
