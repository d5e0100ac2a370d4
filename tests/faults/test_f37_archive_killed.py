"""F37: archiving and pruning are killed at each of their points: nothing is lost, and the next run finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.database.engine import reading
from broker.fault_points import POINTS, VARIABLE, Order
from broker.records import message_detail
from tests.broker.test_retention import LATER, OCTOBER, YEAR, Kept, opened
from tests.story.site import PROJECT

pytestmark = pytest.mark.drill

MINE = [name for name, point in POINTS.items() if "archive" in point.roles]
CHILD = """
import os, sys
from datetime import datetime, timedelta
from pathlib import Path
from broker import fault_points
from broker.archive.shelf import Shelf
from broker.database.engine import open_engine
from broker.records import pruning
from broker.retention import Keeper
from broker.settings_tables import Retention
from broker.telemetry import Telemetry

folder, key, at = sys.argv[1:]
fault_points.arm(os.environ, "archive-0", production=False)
pruning.AT_ONCE = 3
now = datetime.fromisoformat(at)
engine = open_engine(os.environ["DATABASE"])
Keeper(
    engine, Shelf(Path(folder), bytes.fromhex(key)), Retention(messages=timedelta(days=366)),
    Telemetry("archive", level="error"), lambda: now,
).run()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with opened(request, tmp_path, request.param) as made:
        yield made


def _run(kept: Kept, orders: Path) -> int:
    url = kept.house.engine.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(kept.shelf.folder), kept.shelf.key.hex(), LATER.isoformat()],
        env={**os.environ, VARIABLE: str(orders), "DATABASE": url},
        cwd=PROJECT, check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("point", "passage"), [*((name, 1) for name in MINE), ("prune.committed", 3)]
)
def test_f37_a_kill_loses_nothing_and_the_next_run_finishes(
    kept: Kept, tmp_path: Path, point: str, passage: int
) -> None:
    names = [f"A{n}" for n in range(8)]
    kept.take_in(*names, at=OCTOBER)
    kept.owe("A1", "unknown")
    for name in names[2:5]:
        kept.owe(name)
    kept.take_in("B", at=OCTOBER.replace(month=11))
    kept.keep(YEAR, OCTOBER)  # nothing is due, the months of the clock are there
    kept.clock.now = LATER
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / "archive-0.orders").write_text(f"{Order(point, passage)}\n")

    killed = _run(kept, orders)
    for name in ("A1", "A7", "B"):
        assert _somewhere(kept, name) == kept.bodies[name]
    left = set(kept.house.states())
    resumed = _run(kept, orders)

    assert killed == -signal.SIGKILL or POINTS[point].only_postgresql
    assert resumed == 0
    assert "A1" in left
    assert set(kept.house.states()) == {"A1"}
    assert [kept.read(name) for name in (*names[2:], "B")] == [kept.bodies[n] for n in (*names[2:], "B")]  # fmt: skip
    assert kept.prove(20241015).findings == []
    assert not list(kept.shelf.folder.glob("*.part"))


def _somewhere(kept: Kept, name: str) -> bytes:
    """The bytes of a message, from the ledger or else from the archive."""
    with reading(kept.house.engine) as connection:
        found = message_detail.detail(connection, kept.ids[name])
        body = message_detail.body(connection, found.line.seq) if found else None
    return body if body is not None else kept.read(name)
