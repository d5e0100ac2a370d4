"""A site of its own with a small ledger, and a running one, for tests of the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.cli import demo_site
from broker.database import sequences
from broker.database.engine import writing
from broker.values import State
from tests.broker import ledger

AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """An installation on disk: its folder, its settings file, its database URL."""

    folder: Path

    @property
    def config(self) -> tuple[str, str]:
        return "--config", str(self.folder / "carnet.toml")

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'carnet.db'}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A site whose ledger holds three messages of one day: filed, filtered, parked."""
    made = Place(tmp_path_factory.mktemp("site"))
    (made.folder / "carnet.toml").write_text(
        '[site]\ndata_folder = "."\n[telemetry]\nlisten = ""\n', encoding="utf-8"
    )
    engine = ledger.new(made.url)
    rows = [
        ledger.one(1, AT, State.FILED),
        ledger.one(2, AT, State.FILTERED, source="lab01", reason="account.opposed"),
        ledger.one(3, AT, State.PARKED, source="lab01", reason="mapping.none"),
    ]
    with writing(engine) as connection:
        # Received, filed, and one word on each of the two others: the trail's own numbers.
        ledger.write(connection, rows, sequences.reserve(connection, "audit", 6, AT))
    engine.dispose()
    return made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[demo_site.Site, Place]]:
    """The whole broker on free ports, without a message."""
    made = Place(tmp_path_factory.mktemp("running"))
    site = demo_site.Site(demo_site.prepare(made.folder))
    with demo_site.log_to(made.folder / "carnet.log"):
        roles = site.start()
        try:
            yield site, made
        finally:
            site.stop.set()
            roles.join()
