"""A ledger of the current schema for tests of readers, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from broker import at_rest
from tests.broker import ledger
from tests.broker.lane_site import LaneSite


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty ledger on each database in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = ledger.new(url)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def lane_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LaneSite]:
    """An installation whose steps the test takes, on each database in turn: SQLite encrypted, as it is by itself, PostgreSQL not."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    made = LaneSite(tmp_path, url)
    if request.param == "sqlite":
        at_rest.attach(made.engine, made.settings, made.clock())
    yield made
    made.close()
