"""F35: names that leave the settings take nothing with them; what is left shows, goes on when they return, or is given up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from broker import app, plugins, settings
from broker.database import migrate
from broker.database.engine import open_engine, reading
from broker.schedule import Sweep
from broker.telemetry import Telemetry
from broker.unpacking import unpack
from tests import forked
from tests.broker.partner import Partner
from tests.faults.house import House, a08
from tests.story.site import Site, free_port

NAMES = ("1", "2", "3")
WARD = '\n[source.ward]\nadapter = "mllp"\nport = 0\n'


def _destination(port: int, name: str = "partner") -> str:
    return f"""{WARD}
[destination.{name}]
adapter = "mllp"
host = "127.0.0.1"
port = {port}

[[route]]
name = "everything"
to = ["{name}"]
"""


@contextmanager
def _house(site: Site) -> Iterator[House]:
    """The site's own doors, by its settings of now."""
    given = settings.load(
        site.config,
        adapters=plugins.adapters(),
        queues=plugins.queues(),
        environ=site.environment,
    )
    engine = open_engine(given.database.url)
    migrate.upgrade(engine, app.utc_now())
    queue = plugins.open_queue(given)
    try:
        yield House(engine, given, queue, Telemetry("worker", level="error"))
    finally:
        queue.close()
        engine.dispose()


def _file(site: Site, *bodies: bytes) -> None:
    """Receive and process messages; what is owed for them is in the ledger."""
    with _house(site) as house:
        house.receive(*bodies)
        unpack(house.engine, "test")
        with reading(house.engine) as connection:
            rows = connection.execute(text("SELECT seq FROM message WHERE state = 1 ORDER BY seq"))
            seqs = [int(row.seq) for row in rows]
        house.pipeline().process(seqs)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed for programs, and how it ended."""

    code: int
    lines: list[Any]


def _told(site: Site, *arguments: str) -> Said:
    return Said(*site.carnet(*arguments))


def _orphans(result: Said) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for line in result.lines for one in line.get("orphans", ())}


@pytest.fixture
def left(site: Site) -> Site:
    """A site that owes three deliveries to a destination which the settings do not name any more."""
    site.write(_destination(free_port()))
    _file(site, *(a08(name) for name in NAMES))
    site.write(WARD)
    return site


def test_f35_what_is_owed_shows_in_every_place_and_nothing_of_it_is_gone(left: Site) -> None:
    found = {
        name: _told(left, *name.split())
        for name in ("status", "lanes list", "parked list", "reconcile")
    }

    for result in found.values():
        assert _orphans(result)["partner"]["open"] == 3
    assert {name: result.code for name, result in found.items()} == {
        "status": 0, "lanes list": 1, "parked list": 1, "reconcile": 0,
    }  # fmt: skip
    said = forked.carnet("status", "--config", str(left.config), environ=left.environment).stdout
    assert "destination partner is no longer configured: 3 deliveries are owed" in said
    assert "carnet parked discard --orphaned partner" in said


def test_f35_what_is_owed_goes_on_when_its_destination_returns(left: Site) -> None:
    partner = Partner()
    left.write(_destination(partner.port))
    with _house(left) as house:
        names = house.given.destinations
        Sweep(house.engine, house.queue, house.telemetry, lambda: app.utc_now().replace(year=2100), destinations=names).outbound()  # fmt: skip

    with left.serving("courier"):
        deadline = time.monotonic() + 60
        while len(partner.got) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    partner.close()
    assert partner.control_ids == list(NAMES)
    assert _orphans(_told(left, "reconcile")) == {}


def test_f35_what_nobody_serves_does_not_keep_the_sweep_from_the_others(left: Site) -> None:
    left.write(_destination(free_port(), "other"))
    _file(left, a08("4", patient="4712"))
    with _house(left) as house:
        sweep = Sweep(
            house.engine,
            house.queue,
            house.telemetry,
            lambda: app.utc_now().replace(year=2100),
            destinations=house.given.destinations,
        )

        put_back = sweep.outbound()

        assert put_back == 1


def test_f35_what_is_owed_is_given_up_only_by_a_person_who_says_why(left: Site) -> None:
    refused = _told(left, "parked", "discard", "--orphaned", "partner", "--yes")
    done = _told(
        left, "parked", "discard", "--orphaned", "partner", "--reason", "they left", "--yes"
    )

    after = _told(left, "reconcile")

    assert (refused.code, done.code, len(done.lines)) == (2, 0, 3)
    assert (after.code, _orphans(after)) == (0, {})


def test_f35_one_in_the_hands_of_a_courier_of_that_time_is_given_up_as_unknown(left: Site) -> None:
    engine = open_engine(left.database_url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE delivery SET claimed_by = 'gone', claimed_at = created_at, attempts = 1")
        )

    done = _told(
        left, "parked", "discard", "--orphaned", "partner", "--reason", "they left", "--yes"
    )

    with engine.connect() as connection:
        outcomes = connection.execute(text("SELECT outcome FROM attempt")).scalars().all()
    engine.dispose()
    assert (done.code, outcomes) == (0, ["unknown"] * 3)
    assert _told(left, "reconcile").code == 0


def test_f35_what_is_owed_to_a_configured_destination_is_not_given_up_so(site: Site) -> None:
    site.write(_destination(free_port()))
    _file(site, a08("1"))

    result = _told(site, "parked", "discard", "--orphaned", "partner", "--reason", "x", "--yes")

    assert result.code == 2


def test_f35_a_parked_message_of_a_renamed_source_shows_under_its_old_name(site: Site) -> None:
    without_patient = b"\r".join(s for s in a08("1").split(b"\r") if not s.startswith(b"PID"))
    with site.serving():
        assert site.send_mllp(without_patient) == ["AA"]
        site.await_settled(1)
    config = site.config.read_text().replace("[source.hospital]", "[source.clinic]")
    site.config.write_text(config)

    before = _told(site, "status")
    parked = _told(site, "parked", "list", "--source", "hospital")
    settled = _told(
        site, "parked", "discard", "--all", "--source", "hospital", "--reason", "x", "--yes"
    )

    assert _orphans(before)["hospital"]["parked"] == 1
    assert parked.code == 1
    assert settled.code == 0
    assert _orphans(_told(site, "status")) == {}
