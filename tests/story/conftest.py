"""The two set-ups every story is told on: embedded, and PostgreSQL with RabbitMQ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.story.site import Site


@pytest.fixture(params=["embedded", "services"])
def site(request: pytest.FixtureRequest, tmp_path: Path, queue_prefix: str) -> Site:
    """An installation with its settings written, nothing running yet."""
    if request.param == "embedded":
        made = Site(tmp_path, f"sqlite:///{tmp_path}/carnet.db", "embedded", queue_prefix)
    else:
        made = Site(
            tmp_path,
            request.getfixturevalue("postgres_url"),
            request.getfixturevalue("amqp_url"),
            queue_prefix,
        )
    made.write()
    return made
