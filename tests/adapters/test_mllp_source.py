"""The MLLP listener over real sockets: answers, order, limits, stopping."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient

from adapters.mllp import MllpSource, MllpSourceSettings
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError
from tests.adapters.gateway import Gateway, stored
from tests.adapters.mllp_client import answers, framed, is_closed, message, verdict

Connect = Callable[[], socket.socket]


def listen(gateway: Gateway, **settings: Any) -> Gateway:
    return gateway.start(MllpSource("lab", MllpSourceSettings(port=0, **settings), gateway.notice))


def test_an_independent_client_is_answered(gateway: Gateway) -> None:
    listen(gateway)

    with MLLPClient("127.0.0.1", gateway.port) as client:
        answer = hl7.parse(client.send_message(message("42")).strip(b"\x0b\x1c\r").decode())

    assert str(answer.segment("MSA")) == "MSA|AA|42"
    (envelope,) = gateway.envelopes
    assert envelope.body == message("42")
    assert (envelope.source, envelope.media) == ("lab", "x-application/hl7-v2+er7")
    assert envelope.peer.address == "127.0.0.1"


def test_no_message_is_taken_twice_on_a_connection_kept_open(
    gateway: Gateway, connect: Connect
) -> None:
    listen(gateway)
    connection = connect()

    for number in range(5):
        connection.sendall(framed(message(str(number))))
        assert verdict(answers(connection)[0]) == (b"AA", str(number).encode())

    assert [e.body for e in gateway.envelopes] == [message(str(number)) for number in range(5)]


def test_answers_come_in_the_order_of_the_messages_whatever_ends_first(
    gateway: Gateway, connect: Connect
) -> None:
    release: dict[bytes, asyncio.Future[None]] = {}

    async def accept(envelope: Envelope) -> Receipt:
        release[envelope.body] = asyncio.get_running_loop().create_future()
        await release[envelope.body]
        return stored(envelope)

    gateway.accept = accept
    listen(gateway, max_in_flight=3)
    connection = connect()
    bodies = [message(str(number)) for number in range(3)]

    connection.sendall(b"".join(map(framed, bodies)))
    gateway.until(lambda: len(release) == 3)
    for body in reversed(bodies):
        gateway.loop.call_soon_threadsafe(release[body].set_result, None)

    assert [verdict(a)[1] for a in answers(connection, 3)] == [b"0", b"1", b"2"]


def test_no_more_than_the_limit_is_in_flight_and_the_rest_is_taken_later(
    gateway: Gateway, connect: Connect
) -> None:
    gate = asyncio.Event()
    running, most = 0, 0

    async def accept(envelope: Envelope) -> Receipt:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return stored(envelope)

    gateway.accept = accept
    listen(gateway, max_in_flight=4)
    connection = connect()

    connection.sendall(b"".join(framed(message(str(number))) for number in range(50)))
    gateway.until(lambda: len(gateway.envelopes) == 4)
    gateway.loop.call_soon_threadsafe(gate.set)

    assert [int(verdict(a)[1]) for a in answers(connection, 50)] == list(range(50))
    assert most == 4


def test_a_refusal_for_now_is_ar_and_names_no_value(gateway: Gateway, connect: Connect) -> None:
    async def accept(_: Envelope) -> Receipt:
        return Receipt(
            outcome="refused", code="database.unavailable", retry_after=timedelta(seconds=5)
        )

    gateway.accept = accept
    listen(gateway)
    connection = connect()

    connection.sendall(framed(message("7")))
    answer = answers(connection)[0]

    assert verdict(answer) == (b"AR", b"7")
    assert b"|database.unavailable|" in answer
    assert answer.split(b"|")[6], "MSH-7 is filled even when nothing was kept"


def test_an_intake_that_raises_is_a_refusal_not_silence(gateway: Gateway, connect: Connect) -> None:
    async def accept(_: Envelope) -> Receipt:
        raise RuntimeError("broken promise")

    gateway.accept = accept
    listen(gateway)
    connection = connect()

    connection.sendall(framed(message("7")))

    assert verdict(answers(connection)[0]) == (b"AR", b"7")


def test_a_missing_final_cr_is_waited_for_only_briefly(gateway: Gateway, connect: Connect) -> None:
    listen(gateway)
    connection = connect()

    connection.sendall(b"\x0b" + message("1") + b"\x1c")

    assert verdict(answers(connection)[0]) == (b"AA", b"1")


def test_a_half_closed_connection_still_gets_its_answers(
    gateway: Gateway, connect: Connect
) -> None:
    listen(gateway)
    connection = connect()

    connection.sendall(framed(message("1")) + framed(message("2")))
    connection.shutdown(socket.SHUT_WR)

    assert [verdict(a)[1] for a in answers(connection, 3)] == [b"1", b"2"]


def test_a_message_too_long_is_refused_and_the_connection_goes_on(
    gateway: Gateway, connect: Connect
) -> None:
    listen(gateway, max_bytes=1000)
    connection = connect()

    connection.sendall(framed(message("1") + b"x" * 5000) + framed(message("2")))
    first, second = answers(connection, 2)

    assert verdict(first) == (b"AE", b"1")
    assert b"|size.exceeded|" in first
    assert verdict(second) == (b"AA", b"2")
    assert [e.body for e in gateway.envelopes] == [message("2")]
    assert gateway.codes("refused_at_door") == ["size.exceeded"]


def test_stopping_answers_what_is_in_hand_and_hears_no_more(
    gateway: Gateway, connect: Connect
) -> None:
    gate = asyncio.Event()

    async def accept(envelope: Envelope) -> Receipt:
        await gate.wait()
        return stored(envelope)

    gateway.accept = accept
    listen(gateway)
    connection, idle, port = connect(), connect(), gateway.port
    connection.sendall(framed(message("1")))
    gateway.until(lambda: gateway.envelopes)

    gateway.cancel()
    assert is_closed(idle)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    gateway.loop.call_soon_threadsafe(gate.set)

    assert verdict(answers(connection)[0]) == (b"AA", b"1")
    assert is_closed(connection)
    gateway.join()
    assert gateway.source.address == ""


def test_an_answer_that_never_comes_does_not_hold_up_stopping_for_ever(
    gateway: Gateway, connect: Connect
) -> None:
    async def accept(_: Envelope) -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError

    gateway.accept = accept
    listen(gateway, drain_timeout=timedelta(milliseconds=100))
    connection = connect()
    connection.sendall(framed(message("1")))
    gateway.until(lambda: gateway.envelopes)

    gateway.cancel()

    gateway.join()
    assert is_closed(connection)
    gateway.loop.call_soon_threadsafe(lambda: [t.cancel() for t in asyncio.all_tasks(gateway.loop)])


def test_plaintext_beyond_loopback_needs_to_be_allowed() -> None:
    with pytest.raises(SetupError, match="allow_plaintext"):
        MllpSource("lab", MllpSourceSettings(host="0.0.0.0"), lambda *_: None)

    MllpSource("lab", MllpSourceSettings(host="0.0.0.0", allow_plaintext=True), lambda *_: None)


def test_a_port_that_is_taken_is_a_set_up_error(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MllpSourceSettings(port=taken.getsockname()[1])

        with pytest.raises(SetupError, match=r"source\.lab\.port"):
            gateway.start(MllpSource("lab", settings, gateway.notice))


def test_nothing_is_logged_of_what_came(
    gateway: Gateway, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listen(gateway)
    connection = connect()

    connection.sendall(b"CANARY" + framed(message("CANARY")) + b"\x0bCANARY")
    answers(connection)
    connection.close()
    gateway.until(lambda: gateway.codes("connection_closed"))

    assert "CANARY" not in caplog.text
    assert "CANARY" not in repr(gateway.notices)
    assert gateway.notices[-1][1]["junk_bytes"] == 6
