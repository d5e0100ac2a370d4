"""Processes that share a port share the connections too: who has more than its part lets go of some."""

from __future__ import annotations

import math
import socket
import tempfile
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from broker.web.balance import Balance
from tests.broker import ledger
from tests.web.site import Site


@given(st.lists(st.integers(0, 200), min_size=2, max_size=8))
def test_only_who_has_more_than_its_part_is_crowded(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_ones:
        all_of = []
        for index in range(len(counts)):
            one = Balance(Path(folder) / "web" / "connections", index, len(counts))
            open_ones.callback(one.close)
            all_of.append(one)
        for one, count in zip(all_of, counts, strict=True):
            one.note(count)
        part = math.ceil(sum(counts) / len(counts))
        crowded = [one.is_crowded(count) for one, count in zip(all_of, counts, strict=True)]

        assert crowded == [count > part + part // 20 for count in counts]
        assert not all(crowded), "there is always one that may take what another lets go"


def test_one_process_alone_never_is(tmp_path: Path) -> None:
    alone = Balance(tmp_path / "web" / "connections", 0, 1)

    assert not alone.is_crowded(10_000)
    assert not (tmp_path / "web").exists()


def test_a_count_is_over_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "web" / "connections"
    one, other = Balance(file, 0, 2), Balance(file, 1, 2)
    other.note(20)
    assert not one.is_crowded(14)
    other.close()
    assert one.is_crowded(8)
    one.close()


def test_connections_of_one_port_even_out(tmp_path: Path) -> None:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clients = [HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(24)]
    shared = tmp_path / "web" / "connections"
    with ExitStack() as running:
        for index in range(2):
            site = Site(engine, tmp_path, index, port=port, processes=2)
            running.callback(site.close)
        for one in clients:
            running.callback(one.close)
        # Chance deals them out: 24 are within one of each other after so many turns, or something holds them.
        for _ in range(60):
            for one in clients:
                one.request("GET", "/fhir/metadata")
                answer = one.getresponse()
                assert answer.status == 200
                answer.read()
        told = shared.read_bytes()
    engine.dispose()
    counts = [int.from_bytes(told[at : at + 4], "little") for at in (0, 4)]
    assert sum(counts) in (24, 25)
    assert max(counts) <= 13, counts
