"""The API running over an empty record, on each database in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import ledger
from tests.web.site import Site


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = ledger.new(url)
    made = Site(engine, tmp_path)
    yield made
    made.close()
    engine.dispose()


@pytest.fixture
def sqlite_site(tmp_path: Path) -> Iterator[Site]:
    """On SQLite alone, for what no database changes."""
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    made = Site(engine, tmp_path)
    yield made
    made.close()
    engine.dispose()
