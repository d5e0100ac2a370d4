"""F10: a broker that starts on a backlog of 100,000 messages starts in seconds, keeps order and stays small."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

from broker.database.engine import open_engine
from broker.drill.proof import by_patient
from broker.drill.record import filing_order
from tests.benchmarks.deployment import usage_of
from tests.faults import load
from tests.story.site import Running, Site

MESSAGES = 100_000
START_SECONDS = 10.0
GROWTH = 1.15


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_f10_a_long_backlog_is_taken_up_in_seconds_and_memory_stays_flat(
    site: Site, tmp_path: Path
) -> None:
    with site.serving("gateway"):
        figures, sent = load.start(
            site.mllp, tmp_path / "sent", messages=MESSAGES, connections=64, kind="a08-sequence"
        ).finish(600)
    assert figures["answers"] == MESSAGES

    begun = time.monotonic()
    with site.serving() as running:
        started = time.monotonic() - begun
        samples = []
        while site.balance().get("filed", 0) < MESSAGES:
            samples.append(_resident(running))
            assert time.monotonic() - begun < 600, site.balance()
            time.sleep(1)

    engine = open_engine(site.database_url)
    order = by_patient(filing_order(engine))
    engine.dispose()
    print(
        f"started in {started:.1f} s; resident MiB of all roles: {samples[0]:.0f}, {samples[-1]:.0f}"
    )
    assert started < START_SECONDS
    assert sum(map(len, order.values())) == sum(map(len, sent.values())) == MESSAGES
    assert [patient for patient, counts in order.items() if counts != sorted(counts)] == []
    assert median(samples[-3:]) < median(samples[2:5]) * GROWTH


def _resident(running: Running) -> float:
    used = [usage_of(pid, role) for role, pid in running.pids.items()]
    return sum(one.rss_bytes for one in used if one is not None) / 2**20
