"""The demo proves what it shows: the whole broker, every sample, over MLLP, HTTP and file drop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from broker.cli import demo_site
from tests.broker.cli.command import PROJECT, carnet


def test_the_demo_keeps_its_promises_and_ends_by_itself(tmp_path: Path) -> None:
    result = carnet("demo", "--check", "--json", "--data", str(tmp_path / "demo"))

    said = result.lines[-1]
    assert said["faults"] == []
    assert (result.code, said["good"]) == (0, True)
    assert said["beside"] == {"duplicate_answered": 1, "refused_at_door": 1}
    assert said["seconds"] < 60


def test_the_expectation_counts_each_message_of_a_batch() -> None:
    fates, beside = demo_site.expected(demo_site.samples())

    assert fates.total() + beside.total() == sum(one.messages for one in demo_site.samples())
    assert beside == Counter(duplicate_answered=1, refused_at_door=1)


def test_the_folder_of_a_demo_can_be_looked_at_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shown = carnet("demo", "--check", "--data", str(folder))
    config = ("--config", str(folder / "carnet.toml"))

    assert "received" in shown.out
    assert "podiatrist" in shown.out
    assert carnet("reconcile", *config).code == 0
    assert carnet("audit", "verify", *config).code == 0
    parked = carnet("messages", "list", "--state", "parked", "--json", *config)
    assert [line["reason"] for line in parked.lines] == ["identity.missing"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stays_up_until_it_is_told_to_end(number: signal.Signals, tmp_path: Path) -> None:
    """Read until it says that it stays up, then ask it to end: it drains and ends well.

    Begun with Ctrl-C ignored, as a shell begins what runs in the background.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", "demo", "--data", str(tmp_path / "demo")],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    assert process.stdout is not None

    try:
        said = next(line for line in process.stderr if "stays up" in line)
        process.send_signal(number)
        process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        raise

    assert "Ctrl-C" in said
    assert process.returncode == 0
