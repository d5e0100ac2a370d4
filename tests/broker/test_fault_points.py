"""Fault points: nothing unless armed, never in production, and then the death that was ordered and no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker import fault_points
from broker.errors import SetupError
from broker.fault_points import POINTS, VARIABLE, Order

PROJECT = Path(__file__).resolve().parents[2]
PASSER = """
import os
from broker import fault_points
fault_points.arm(os.environ, "worker-0", production=False)
for name in ["filing.mapped", "filing.written", "filing.mapped", "filing.mapped"]:
    print(name, flush=True)
    fault_points.reach(name)
"""


def passing(folder: Path) -> tuple[int, list[str]]:
    """A process of its own that passes four points: how it ended, and the points it said."""
    done = subprocess.run(
        [sys.executable, "-c", PASSER],
        env={**os.environ, VARIABLE: str(folder)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.split()


def ordered(folder: Path, *orders: Order) -> Path:
    (folder / "worker-0.orders").write_text("".join(f"{order}\n" for order in orders), "utf-8")
    return folder


def test_each_point_in_the_code_is_described_and_each_described_point_is_in_the_code() -> None:
    said = [
        name
        for file in (PROJECT / "broker").rglob("*.py")
        for name in re.findall(r'fault_points\.reach\("([^"]+)"\)', file.read_text("utf-8"))
    ]

    assert set(said) == set(POINTS)


def test_a_point_is_nothing_in_a_process_that_was_not_armed() -> None:
    fault_points.arm({}, "worker-0", production=True)

    fault_points.reach("filing.written")


def test_a_process_dies_at_the_passage_it_was_ordered_to_die_at(tmp_path: Path) -> None:
    ordered(tmp_path, Order("filing.mapped", 2))

    code, said = passing(tmp_path)

    assert code == -signal.SIGKILL
    assert said == ["filing.mapped", "filing.written", "filing.mapped"]
    assert (tmp_path / "worker-0.kills").read_text().split(" ", 1)[1] == "filing.mapped 2 0.0\n"


def test_the_process_after_it_takes_the_next_order_and_the_last_one_lives(tmp_path: Path) -> None:
    ordered(tmp_path, Order("filing.mapped", 1), Order("filing.written", 1))

    runs = [passing(tmp_path) for _ in range(3)]

    assert [code for code, _ in runs] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert [len(said) for _, said in runs] == [1, 2, 4]


def test_a_death_may_come_a_moment_after_the_point(tmp_path: Path) -> None:
    ordered(tmp_path, Order("filing.written", 1, after_ms=5.0))
    waiting = PASSER + "\nimport time\ntime.sleep(30)\n"

    done = subprocess.run(
        [sys.executable, "-c", waiting],
        env={**os.environ, VARIABLE: str(tmp_path)},
        cwd=PROJECT,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == -signal.SIGKILL


def test_nobody_dies_once_the_drill_is_over(tmp_path: Path) -> None:
    ordered(tmp_path, Order("filing.mapped", 1))
    (tmp_path / fault_points.OVER).touch()

    assert passing(tmp_path)[0] == 0


def test_a_production_site_refuses_to_start_armed(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        fault_points.arm({VARIABLE: str(tmp_path)}, "worker-0", production=True)

    assert caught.value.code == "drill.production"


@pytest.mark.parametrize("line", ["filing.mapped", "nowhere 1 0.0", "filing.mapped soon 0.0"])
def test_an_order_that_cannot_be_read_is_said_with_its_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "worker-0.orders").write_text(f"{line}\n")

    with pytest.raises(SetupError) as caught:
        fault_points.arm({VARIABLE: str(tmp_path)}, "worker-0", production=False)

    assert caught.value.where == "worker-0.orders"


def test_a_variable_that_names_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=VARIABLE):
        fault_points.arm({VARIABLE: str(tmp_path / "gone")}, "worker-0", production=False)
