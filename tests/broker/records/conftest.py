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


@pytest.fixture
def postgres_ledger(postgres_url: str) -> Iterator[Engine]:
    """A record on PostgreSQL alone, for what only several connections at a time can show."""
    engine = ledger.new(postgres_url)
    yield engine
    engine.dispose()
