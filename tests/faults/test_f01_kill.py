"""F1: gateway and worker killed without warning under load; what was answered AA is filed exactly once."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.faults import load
from tests.faults.record import filed_by_control_id
from tests.story.site import Running, Site

MESSAGES = 5_000
KILLS = 6


@pytest.mark.timeout(420)
def test_f01_everything_acknowledged_is_filed_exactly_once(site: Site, tmp_path: Path) -> None:
    running = site.start()
    killer = _Killer(site, running, seed=20261123)
    sending = load.start(site.mllp, tmp_path / "acknowledged", messages=MESSAGES, connections=32)
    killer.start()

    figures, acknowledged = sending.finish()

    killer.end()
    site.await_settled(MESSAGES, seconds=150)
    filed = filed_by_control_id(site.database_url)
    answered = {
        line.split("\t")[0] for line in (tmp_path / "acknowledged").read_text().splitlines()
    }
    assert killer.kills >= KILLS
    assert figures["missing"] == 0
    assert sum(map(len, acknowledged.values())) == MESSAGES
    assert answered <= filed.keys()
    assert {control_id: n for control_id, n in filed.items() if n != 1} == {}
    assert killer.running.stop() == 0
    assert site.carnet("reconcile")[0] == 0
    assert site.carnet("audit", "verify")[0] == 0


class _Killer(threading.Thread):
    """Kills gateway or worker, supervisor and all, at seeded moments, and starts the broker again."""

    def __init__(self, site: Site, running: Running, seed: int) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.kills = 0
        self._site = site
        self._random = random.Random(seed)
        self._enough = threading.Event()

    def run(self) -> None:
        while self.kills < KILLS and not self._enough.wait(self._random.uniform(0.1, 0.9)):
            if self._random.random() < 0.5:
                self.running.kill_all()
            else:
                self.running.kill(self._random.choice(["gateway-0", "worker-0"]))
                self._enough.wait(self._random.uniform(0.0, 0.5))
                self.running.kill_all()
            self.kills += 1
            self.running = self._site.start()

    def end(self) -> None:
        """Wait for the kills that are still to come, so that a fast machine is not spared."""
        deadline = time.monotonic() + 120
        self.join(timeout=max(0.0, deadline - time.monotonic()))
