"""F34: SIGTERM under load: each role finishes what is in hand, ends with 0 within its time, and nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from broker.database.engine import open_engine
from broker.drill import record
from broker.drill.partner import Partner
from broker.supervisor import DRAIN
from broker.unpacking import unpack
from broker.values import State
from tests.faults import load
from tests.story.site import Site

MESSAGES = 600
ROLES = ("gateway", "worker", "courier", "scheduler")


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner(seed=34, longest_ms=2.0)
    yield made
    made.close()


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
@pytest.mark.timeout(300)
def test_f34_each_role_ends_by_itself_at_sigterm_under_load(
    site: Site, partner: Partner, tmp_path: Path
) -> None:
    site.write(f"""
[destination.partner]
adapter = "mllp"
port = {partner.port}
host = "127.0.0.1"

[[route]]
name = "all"
to = ["partner"]
""")
    ended: dict[str, tuple[int, bool]] = {}
    with ExitStack() as running:
        roles = {role: running.enter_context(site.serving(role)) for role in ROLES}
        sending = load.start(site.mllp, tmp_path / "sent", messages=MESSAGES, connections=16)
        for number, role in enumerate(ROLES, 1):
            _await(partial(_has_sent, sending, number * 80))
            begun = time.monotonic()
            code = roles[role].stop()
            # A role that did not drain in time would be killed by its supervisor, which then still ends with 0.
            ended[role] = (code, time.monotonic() - begun < DRAIN.total_seconds() - 5)
            roles[role] = running.enter_context(site.serving(role))
        figures, _ = sending.finish()
        site.await_settled(MESSAGES, seconds=120)
        _await(lambda: len(set(partner.arrivals)) == MESSAGES)

    assert ended == dict.fromkeys(ROLES, (0, True))
    assert figures["missing"] == figures["bad"] == 0
    engine = open_engine(site.database_url)
    unpack(engine, "test")
    rows, deliveries = record.received(engine), record.deliveries(engine)
    engine.dispose()
    assert {(row.state, row.documents) for row in rows} == {(State.FILED, 1)}
    assert {one.state for one in deliveries} == {"sent"}
    assert set(Counter(partner.arrivals).values()) == {1}


def _has_sent(sending: load.Load, count: int) -> bool:
    return sending.acknowledged() > count


def _await(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
