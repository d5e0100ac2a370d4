"""A record on SQLite alone, for rules that no database changes; `empty_ledger` is on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.broker import ledger


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Engine]:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    yield engine
    engine.dispose()
