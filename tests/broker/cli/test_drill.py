"""`carnet drill` refuses what it must never touch, and its report says what an IT manager keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.drill import report
from broker.drill.proof import Promise
from broker.drill.run import Outcome, Plan
from broker.fault_points import VARIABLE
from tests.broker.cli.command import PROJECT, carnet

HELD = Promise(
    name="once", says="Filed exactly once.", figures="9 documents", breaks=0, findings=[]
)
BROKEN = Promise(
    name="durable",
    says="Every message answered AA is in the ledger.",
    figures="9 answered AA, 7 received",
    breaks=12,
    findings=["DP0001N00001 was answered AA and is not in the ledger"],
)


def outcome(*promises: Promise) -> Outcome:
    return Outcome(
        plan=Plan(7, 40, "postgresql+psycopg://carnet:secret@db/drill", "amqp://u:secret@mq"),
        kills={"intake.committed": 30, "all.processes": 12},
        promises=promises,
        began=datetime(2026, 11, 25, 18, 0, tzinfo=UTC),
        seconds=75.0,
        killing_seconds=50.0,
        figures={"messages answered AA": 9},
    )


def test_a_production_site_is_never_drilled(tmp_path: Path) -> None:
    (tmp_path / "carnet.toml").write_text("[site]\nproduction = true\n")

    result = carnet("drill", "--kills", "1", cwd=tmp_path)

    assert result.code == 2
    assert "drill.production" in result.err


def test_an_armed_production_site_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "carnet.toml"
    config.write_text('[site]\nproduction = true\n\n[telemetry]\nlisten = ""\n')

    done = subprocess.run(
        [sys.executable, "-m", "broker", "serve", "--config", str(config)],
        env={**os.environ, VARIABLE: str(tmp_path)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert f"drill.production {VARIABLE}" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "code", "place"),
    [
        (("--set-up", "full"), "usage.set_up", "--set-up"),
        (("--queue", "amqp://localhost"), "usage.set_up", "--set-up"),
        (("--points", "intake.red"), "usage.point", "--points"),
        (("--points", "unpack.written"), "usage.point", "--points"),
        (("--report", "nowhere/drill.md"), "usage.file", "--report"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_starts(
    words: tuple[str, ...], code: str, place: str, tmp_path: Path
) -> None:
    result = carnet("drill", *words, cwd=tmp_path)

    assert result.code == 2
    assert f"{code} {place}" in result.err


def test_a_database_that_holds_a_ledger_is_left_alone(postgres_url: str, tmp_path: Path) -> None:
    from broker.app import utc_now
    from broker.database import migrate
    from broker.database.engine import open_engine

    engine = open_engine(postgres_url)
    migrate.upgrade(engine, utc_now())
    engine.dispose()

    result = carnet(
        "drill", "--set-up", "full", "--database", postgres_url, "--queue", "embedded", cwd=tmp_path
    )

    assert result.code == 2
    assert "drill.database_in_use" in result.err


def test_a_drill_of_one_point_leaves_its_report_and_exits_with_good(tmp_path: Path) -> None:
    result = carnet(
        "drill", "--seed", "3", "--kills", "2", "--points", "intake.committed", "--report", "drill.md",
        "--json", cwd=tmp_path,
    )  # fmt: skip

    (line,) = result.lines
    assert (result.code, line["good"]) == (0, True)
    assert line["points"]["intake.committed"] >= 2
    text = (tmp_path / "drill.md").read_text("utf-8")
    assert "| `intake.committed` | gateway |" in text
    assert "carnet drill --seed 3 --kills 2 --points intake.committed" in text
    assert [path.name for path in tmp_path.iterdir()] == ["drill.md"]


def test_the_report_of_a_broken_promise_says_so_in_its_first_line() -> None:
    text = report.as_markdown(outcome(HELD, BROKEN), "1.2")

    assert text.splitlines()[0] == "# Drill: 42 kills, 1 of 2 promises BROKEN"
    assert "| **broken 12 times** | Every message answered AA is in the ledger. |" in text
    assert "- DP0001N00001 was answered AA and is not in the ledger" in text
    assert "- and 11 more" in text


def test_a_report_holds_no_address() -> None:
    made = outcome(HELD)

    assert "secret" not in report.as_markdown(made, "1.2")
    assert "secret" not in str(report.as_json(made))
    assert "secret" not in repr(made)
