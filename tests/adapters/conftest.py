"""Fixtures of the adapters' tests: a gateway for one source, its clients, and certificates."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE, Gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and what it issued, made for this run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "write-an-adapter.md"


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the documented package in it."""
    site = tmp_path_factory.mktemp("site")
    (site / "carnet_line.py").write_text(_block("python"))
    info = site / "carnet_line-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carnet-line\nVersion: 1.0\n")
    point = re.search(r'^line = "(.*)"$', _block("toml"), re.MULTILINE)
    assert point is not None
    (info / "entry_points.txt").write_text(f"[carnet.adapters]\nline = {point[1]}\n")
    return site


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
