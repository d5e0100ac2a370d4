"""F1: processes killed at every fault point under load; what was answered AA is filed once, in order, and delivered.

The same drill as `carnet drill`: a few kills at each point here, a thousand with `pytest -m drill`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from broker.drill.run import Outcome, Plan, run
from tests.faults import planted

PROJECT = Path(__file__).resolve().parents[2]
LONG = 1_000


@pytest.fixture(params=["embedded", "full"])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    """A drill on one of the two set-ups."""
    if request.param == "embedded":
        return Plan(0, 0, f"sqlite:///{tmp_path}/carnet.db")
    return Plan(
        0, 0, request.getfixturevalue("empty_postgres_url"), request.getfixturevalue("amqp_url")
    )


def broken(outcome: Outcome) -> dict[str, list[str]]:
    return {one.name: list(one.findings) for one in outcome.promises if not one.holds}


@pytest.mark.timeout(300)
def test_f01_a_kill_at_each_point_breaks_no_promise(plan: Plan, tmp_path: Path) -> None:
    outcome = run(replace(plan, seed=20261123, kills=30, rate=30.0), tmp_path)

    assert broken(outcome) == {}
    assert min(outcome.kills.values()) >= 1
    assert outcome.figures["messages answered AA"] > 0


@pytest.mark.drill
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_f01_a_thousand_kills_break_no_promise(plan: Plan, tmp_path: Path, seed: int) -> None:
    outcome = run(replace(plan, seed=seed, kills=LONG), tmp_path)

    assert broken(outcome) == {}
    assert sum(outcome.kills.values()) >= LONG


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("defect", "point", "promise"),
    [
        ("answer", "intake.written", "durable"),
        ("settle", "filing.committed", "once"),
    ],
)
def test_f01_the_drill_finds_a_planted_defect(
    defect: str, point: str, promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv(planted.VARIABLE, defect)
    plan = Plan(
        5,
        3,
        f"sqlite:///{tmp_path}/carnet.db",
        points=[point],
        rate=100.0,
        quiet_seconds=12.0,
        command=("-m", "tests.faults.planted"),
    )

    outcome = run(plan, tmp_path)

    assert promise in broken(outcome)
    assert "drilled" not in broken(outcome)
