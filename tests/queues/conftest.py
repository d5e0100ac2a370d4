"""The queues under test: each kind on a place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from queues import embedded, rabbitmq
from tests.queues.place import OPTIONS, Place, delete_all

KINDS = ("embedded-sqlite", "embedded-postgresql", "rabbitmq")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, queue_prefix: str, tmp_path: Path) -> Iterator[Place]:
    kind = request.param
    options = replace(OPTIONS, prefix=queue_prefix)
    module: ModuleType
    if kind == "rabbitmq":
        url, module = request.getfixturevalue("amqp_url"), rabbitmq
    elif kind == "embedded-postgresql":
        url, module = "embedded+" + request.getfixturevalue("postgres_url"), embedded
    else:
        url, module = f"embedded+sqlite:///{tmp_path}/carnet.db", embedded
    here = Place(kind, url, f"{module.__name__}:QUEUE", module.QUEUE, options)
    yield here
    for queue in list(here.opened):
        here.close(queue)
    if kind == "rabbitmq":
        delete_all(url, options)
