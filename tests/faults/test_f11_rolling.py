"""F11: roles are restarted, upgraded and downgraded one after the other under load: nothing lost, none twice, in order.

The upgrade is to a version that comes next: it brings a migration that this one does not know (`tests.faults.newer`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.database.engine import open_engine, writing
from broker.drill import record
from broker.drill.partner import Partner
from broker.unpacking import unpack
from broker.values import State
from tests.faults.senders import Senders
from tests.story.site import PROJECT, Running, Site

ROLES = ("worker", "courier", "scheduler")
NEWER = "tests.faults.newer"


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner(seed=11, longest_ms=2.0)
    yield made
    made.close()


@pytest.fixture
def gateways(site: Site, partner: Partner, tmp_path: Path) -> list[Site]:
    """The site with a destination, and a second gateway of it on a port of its own."""
    more = f"""
[destination.partner]
adapter = "mllp"
port = {partner.port}
host = "127.0.0.1"

[[route]]
name = "all"
to = ["partner"]
"""
    site.write(more)
    (tmp_path / "second").mkdir()
    other = Site(tmp_path / "second", site.database_url, site.queue_url, site.prefix)
    other.write(more)
    with site.serving("scheduler"):  # makes the schema, and the keys that both share
        site.carnet("archive", "verify")
    for name in ("digest.key", "keyring"):
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, other.folder / name)
    return [site, other]


def _started(stack: ExitStack, site: Site, role: str, module: str = "broker") -> Running:
    return stack.enter_context(site.serving(role, module))


def _await_arrivals(partner: Partner, count: int, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while len(set(partner.arrivals)) < count:
        assert time.monotonic() < deadline, len(set(partner.arrivals))
        time.sleep(0.05)


def _prove(site: Site, partner: Partner, acknowledged: list[str]) -> None:
    """Each message once in the record and once at the partner, there in the order of each patient."""
    count = len(acknowledged)
    site.await_settled(count, seconds=240)
    _await_arrivals(partner, count)
    assert Counter(acknowledged) == Counter(set(acknowledged))
    engine = open_engine(site.database_url)
    unpack(engine, "test")
    rows, deliveries = record.received(engine), record.deliveries(engine)
    engine.dispose()
    assert Counter(row.control_id for row in rows) == Counter(acknowledged)
    assert {(row.state, row.documents) for row in rows} == {(State.FILED, 1)}
    assert {one.state for one in deliveries} == {"sent"}
    assert Counter(partner.arrivals) == Counter(acknowledged)
    of_patient: dict[str, list[str]] = defaultdict(list)
    for name in partner.arrivals:
        of_patient[name.partition("-")[0]].append(name)
    assert all(names == sorted(names) for names in of_patient.values())
    code, _ = site.carnet("reconcile")
    assert code == 0


def _rolled(gateways: list[Site], partner: Partner, rounds: int) -> None:
    """Restart every role in turn, `rounds` times, and prove what was sent meanwhile."""
    site = gateways[0]
    with ExitStack() as running:
        doors = [_started(running, one, "gateway") for one in gateways]
        roles = {role: _started(running, site, role) for role in ROLES}
        sending = Senders([one.mllp for one in gateways]).start()
        for _ in range(rounds):
            for number, one in enumerate(gateways):
                sending.go_on()
                assert doors[number].stop() == 0
                doors[number] = _started(running, one, "gateway")
            for role in ROLES:
                sending.go_on()
                assert roles[role].stop() == 0
                roles[role] = _started(running, site, role)
        sending.go_on()
        _prove(site, partner, sending.finish())


@pytest.mark.parametrize("site", ["embedded", pytest.param("services", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
@pytest.mark.timeout(900)
def test_f11_every_role_is_restarted_in_turn_under_load(
    gateways: list[Site], partner: Partner
) -> None:
    _rolled(gateways, partner, rounds=1)


@pytest.mark.drill
@pytest.mark.timeout(1_800)
def test_f11_every_role_is_restarted_in_turn_again_and_again(
    gateways: list[Site], partner: Partner
) -> None:
    _rolled(gateways, partner, rounds=10)


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
@pytest.mark.timeout(900)
def test_f11_serve_as_a_whole_is_restarted_under_load(site: Site, partner: Partner) -> None:
    site.write(f"""
[destination.partner]
adapter = "mllp"
port = {partner.port}
host = "127.0.0.1"

[[route]]
name = "all"
to = ["partner"]
""")
    with ExitStack() as running:
        serving = running.enter_context(site.serving())
        sending = Senders([site.mllp]).start()
        for _ in range(2):
            sending.go_on(100)
            assert serving.stop() == 0
            serving = running.enter_context(site.serving())
        sending.go_on()
        _prove(site, partner, sending.finish())


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_f11_roles_are_upgraded_and_downgraded_one_by_one_with_work_in_flight(
    gateways: list[Site], partner: Partner
) -> None:
    site = gateways[0]
    with ExitStack() as running:
        doors = [_started(running, one, "gateway") for one in gateways]
        roles = {role: _started(running, site, role) for role in ROLES}
        sending = Senders([one.mllp for one in gateways]).start()
        for role in ROLES:
            sending.go_on()
            assert roles[role].stop() == 0
            # The first of them migrates, while all others of the older version are at work.
            roles[role] = _started(running, site, role, NEWER)
        sending.go_on()
        assert doors[0].stop() == 0
        doors[0] = _started(running, gateways[0], "gateway", NEWER)
        # And back: the older version works on the schema of the newer one, which only added to it.
        for role in ROLES:
            sending.go_on()
            assert roles[role].stop() == 0
            roles[role] = _started(running, site, role)
        sending.go_on()
        _prove(site, partner, sending.finish())


def test_f11_an_older_version_refuses_a_schema_that_it_would_harm(site: Site) -> None:
    with site.serving("scheduler", NEWER):
        pass
    assert site.carnet("status")[0] == 0
    engine = open_engine(site.database_url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE schema_floor SET revision = '9999'"))
    engine.dispose()

    started = subprocess.run(
        [sys.executable, "-m", "broker", "worker", "--config", str(site.config)],
        cwd=PROJECT, env=site.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    status, _ = site.carnet("status")

    assert (started.returncode, status) == (2, 2)
    assert "database.newer" in started.stderr
    assert "9999" in started.stderr
