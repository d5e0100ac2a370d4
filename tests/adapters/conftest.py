"""Fixtures of the adapters' tests: a gateway for one source, its clients, and certificates."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE, Gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and what it issued, made for this run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


@pytest.fixture
def connect(gateway: Gateway) -> Iterator[Callable[[], socket.socket]]:
    """Opens plain connections to the gateway's source, and closes them after the test."""
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.close()
