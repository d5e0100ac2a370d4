"""F8: PostgreSQL is restarted without a goodbye under load: AA only for what is committed, no half record, on by itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from broker.database.engine import open_engine
from broker.drill import record
from broker.drill.partner import Partner
from broker.unpacking import unpack
from broker.values import State
from tests.faults import postgres
from tests.faults.senders import Senders
from tests.story.site import Site


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    with postgres.running() as made:
        yield made


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner(seed=8, longest_ms=2.0)
    yield made
    made.close()


def _await_arrivals(partner: Partner, count: int, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while len(set(partner.arrivals)) < count:
        assert time.monotonic() < deadline, len(set(partner.arrivals))
        time.sleep(0.05)


def _restarted(
    server: postgres.Server, amqp_url: str, prefix: str, folder: Path, partner: Partner, times: int
) -> None:  # fmt: skip
    site = Site(folder, server.url, amqp_url, prefix)
    site.write(f"""
[destination.partner]
adapter = "mllp"
port = {partner.port}
host = "127.0.0.1"

[[route]]
name = "all"
to = ["partner"]
""")
    with site.serving():
        sending = Senders([site.mllp], pause=0.01).start()
        for _ in range(times):
            sending.go_on(150)
            server.restart()
        sending.go_on()
        acknowledged = sending.finish()
        count = len(acknowledged)
        site.await_settled(count, seconds=240)
        _await_arrivals(partner, count)
        code, findings = site.carnet("reconcile")
        verified, _ = site.carnet("audit", "verify")

    engine = open_engine(site.database_url)
    unpack(engine, "test")
    rows, deliveries = record.received(engine), record.deliveries(engine)
    engine.dispose()
    assert Counter(row.control_id for row in rows) == Counter(acknowledged)
    assert {(row.state, row.documents) for row in rows} == {(State.FILED, 1)}
    assert {one.state for one in deliveries} == {"sent"}
    assert Counter(partner.arrivals) == Counter(acknowledged)
    assert (code, verified) == (0, 0), findings


@pytest.mark.timeout(900)
def test_f08_intake_workers_and_couriers_survive_a_restart_of_the_database(
    server: postgres.Server, amqp_url: str, queue_prefix: str, tmp_path: Path, partner: Partner
) -> None:
    _restarted(server, amqp_url, queue_prefix, tmp_path, partner, times=3)


def test_f08_roles_that_are_started_again_while_the_database_is_away_wait_for_it(
    server: postgres.Server, amqp_url: str, queue_prefix: str, tmp_path: Path
) -> None:
    site = Site(tmp_path, server.url, amqp_url, queue_prefix)
    site.write()
    log = site.folder / "serve.log"
    with site.serving() as running:
        server.stop()
        for role in running.pids:
            with suppress(ProcessLookupError):  # one that ended by itself
                running.kill(role)
        deadline = time.monotonic() + 60
        while log.read_text().count('"database_awaited"') < len(running.pids):
            assert running.process.poll() is None, "the broker gave up"
            assert time.monotonic() < deadline, log.read_text()[-2_000:]
            time.sleep(0.05)
        server.start()
        sending = Senders([site.mllp], count=2, deadline=60.0).start()
        sending.go_on(10)
        count = len(sending.finish())
        assert site.await_settled(count)["filed"] == count
        assert running.process.poll() is None


@pytest.mark.drill
@pytest.mark.timeout(1_800)
def test_f08_the_database_is_restarted_again_and_again(
    server: postgres.Server, amqp_url: str, queue_prefix: str, tmp_path: Path, partner: Partner
) -> None:
    _restarted(server, amqp_url, queue_prefix, tmp_path, partner, times=20)
