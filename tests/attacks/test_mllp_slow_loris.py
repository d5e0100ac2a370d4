"""F16: peers that are slow, silent, many or noisy hold nothing for long and disturb nobody."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from adapters.mllp import MllpSource, MllpSourceSettings
from tests.adapters.gateway import Gateway
from tests.adapters.mllp_client import answers, framed, is_closed, message, verdict


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


def listen(gateway: Gateway, **settings: Any) -> int:
    gateway.start(MllpSource("lab", MllpSourceSettings(port=0, **settings), gateway.notice))
    return gateway.port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def flood(connection: socket.socket) -> None:
    """Send until nothing more goes out."""
    for _ in range(200_000):
        connection.sendall(framed(message("1")) * 20)


def test_f16_a_frame_that_is_never_finished_ends_the_connection(gateway: Gateway) -> None:
    port = listen(gateway, frame_timeout=timedelta(milliseconds=200))

    with connect(port) as slow, connect(port) as honest:
        slow.sendall(b"\x0bMSH|^~\\&|")
        drip = 0
        while "frame.timeout" not in gateway.codes("connection_closed") and drip < 10_000:
            drip += 1
            try:
                slow.sendall(b"x")
            except ConnectionError:
                break
            honest.sendall(framed(message(str(drip))))
            assert verdict(answers(honest)[0]) == (b"AA", str(drip).encode())

        assert is_closed(slow)
    assert "frame.timeout" in gateway.codes("connection_closed")


def test_f16_an_idle_connection_is_closed(gateway: Gateway) -> None:
    port = listen(gateway, idle_timeout=timedelta(milliseconds=100))

    with connect(port) as idle:
        assert is_closed(idle)

    assert gateway.codes("connection_closed") == ["idle.timeout"]


def test_f16_idle_connections_by_the_thousand_leave_room_for_honest_partners(
    gateway: Gateway,
) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    crowd = min(2000, (soft - 200) // 2)
    port = listen(gateway, max_connections=50)

    with ExitStack() as open_ones:
        known = open_ones.enter_context(connect(port))
        known.sendall(framed(message("1")))
        answers(known)
        for _ in range(crowd):
            open_ones.enter_context(connect(port))
        newcomer = open_ones.enter_context(connect(port))

        for partner in (known, newcomer):
            partner.sendall(framed(message("2")))
            assert verdict(answers(partner)[0]) == (b"AA", b"2")

    assert "connections.exceeded" in gateway.codes("connection_closed")


def test_f16_partners_who_have_sent_are_never_put_out_for_a_newcomer(gateway: Gateway) -> None:
    port = listen(gateway, max_connections=2)

    with connect(port) as one, connect(port) as two, ExitStack() as late:
        for partner in (one, two):
            partner.sendall(framed(message("1")))
            answers(partner)
        assert is_closed(late.enter_context(connect(port)))
        one.sendall(framed(message("2")))

        assert verdict(answers(one)[0]) == (b"AA", b"2")
    assert gateway.codes("refused_at_door") == ["connections.exceeded"]


def test_f16_noise_without_a_frame_ends_the_connection(gateway: Gateway) -> None:
    port = listen(gateway)

    with connect(port) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert is_closed(browser)

    assert gateway.codes("connection_closed") == ["frame.junk"]


def test_f16_a_peer_that_reads_no_answers_is_not_read_from_and_is_put_out(gateway: Gateway) -> None:
    port = listen(gateway, idle_timeout=timedelta(milliseconds=300))

    with connect(port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(0.5)
        with pytest.raises((TimeoutError, ConnectionError)):
            flood(deaf)

        gateway.until(lambda: "idle.timeout" in gateway.codes("connection_closed"))


def test_f16_unfinished_frames_share_a_bound_of_memory(gateway: Gateway) -> None:
    port = listen(gateway, max_bytes=100_000, max_held_bytes=200_000)

    with ExitStack() as open_ones:
        for _ in range(5):
            connection = open_ones.enter_context(connect(port))
            connection.sendall(b"\x0bMSH|" + b"x" * 90_000)

        gateway.until(lambda: "memory.exceeded" in gateway.codes("connection_closed"))
