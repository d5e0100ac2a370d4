"""While the database keeps one reader waiting, the API answers others, tells the reader when it gives up, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from broker.audit import trail
from tests.broker import ledger
from tests.web import papers
from tests.web.site import Site


@pytest.fixture
def hurried(postgres_url: str, tmp_path: Path) -> Iterator[Site]:
    engine = ledger.new(postgres_url)
    site = Site(engine, tmp_path, request_timeout=timedelta(seconds=1))
    yield site
    site.close()
    engine.dispose()


@contextmanager
def trail_held(engine: Engine) -> Iterator[None]:
    """Nobody can write into the trail meanwhile, and nothing is shown that is not in it."""
    with engine.begin() as connection:
        held = text("SELECT 1 FROM counter WHERE name = :name FOR UPDATE")
        assert connection.execute(held, {"name": trail.SEQUENCE}).scalar_one()
        yield


def test_a_reader_that_waits_holds_up_nobody_else(hurried: Site) -> None:
    patient = hurried.person()
    hurried.put(patient, papers.letter(1))
    who = hurried.physician()
    asked = {"patient": hurried.reference(patient)}
    # Twice: the first one makes the connection that the others find.
    assert [len(hurried.ids("DocumentReference", who, **asked)) for _ in range(2)] == [1, 1]

    with trail_held(hurried.engine), ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(
            hurried.http.post, "DocumentReference/_search", headers=who, data=asked
        )
        while not waiting.done():
            assert hurried.http.get("metadata").status_code == 200
        answer = waiting.result()

    assert answer.status_code == 503
    assert answer.json()["issue"][0]["diagnostics"] == "web.timeout"
    for _ in range(3):
        assert len(hurried.ids("DocumentReference", who, **asked)) == 1
