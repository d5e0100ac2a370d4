"""Senders are told to come back before there is no room, and taken in again without anybody's help."""

from __future__ import annotations

import io
import os
from pathlib import Path

from sqlalchemy import Engine

from broker.database.engine import open_engine, writing
from broker.pressure import BACKLOG, DISK, Bounds, Pressure
from broker.records import tallies
from broker.telemetry import Telemetry


def pressure(engine: Engine, folder: Path, **bounds: int) -> tuple[Pressure, io.StringIO]:
    log = io.StringIO()
    telemetry = Telemetry("gateway", stream=log, strict=True)
    return Pressure(engine, [folder], Bounds(**bounds), telemetry), log


def receive(engine: Engine, n: int) -> None:
    with writing(engine) as connection:
        tallies.tally(connection, {(20261125, "ward", "in_flight"): n}, "gateway-0")


def test_a_backlog_beyond_its_bound_shuts_the_intake_until_it_is_a_tenth_below(
    empty_ledger: Engine, tmp_path: Path
) -> None:
    one, log = pressure(empty_ledger, tmp_path, max_backlog=100)
    seen = []
    for change in (100, 1, -2, -8, -2):
        receive(empty_ledger, change)
        one.look()
        seen.append(one.reason)

    assert seen == ["", BACKLOG, BACKLOG, BACKLOG, ""]
    said = log.getvalue()
    assert (said.count("intake_shut"), said.count("intake_opened")) == (1, 1)


def test_a_disk_without_the_room_asked_for_shuts_it(empty_ledger: Engine, tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    free = room.f_bavail * room.f_frsize

    plenty, _ = pressure(empty_ledger, tmp_path, min_free_bytes=free // 2)
    plenty.look()
    little, _ = pressure(empty_ledger, tmp_path, min_free_bytes=free * 2)
    little.look()

    assert (plenty.reason, little.reason) == ("", DISK)


def test_a_database_that_is_away_is_not_taken_for_a_backlog(
    tmp_path: Path, postgres_url: str
) -> None:
    engine = open_engine(postgres_url.replace("carnet_test", "carnet_away"))
    one, _ = pressure(engine, tmp_path, max_backlog=1)

    one.look()

    assert one.reason == ""
    engine.dispose()


def test_bounds_of_nothing_are_not_looked_at(empty_ledger: Engine, tmp_path: Path) -> None:
    receive(empty_ledger, 10**9)
    one, _ = pressure(empty_ledger, tmp_path)

    one.look()

    assert one.reason == ""


def test_a_folder_that_is_not_there_is_no_reason(empty_ledger: Engine, tmp_path: Path) -> None:
    one, _ = pressure(empty_ledger, tmp_path / "gone", min_free_bytes=1)

    one.look()

    assert one.reason == ""
