"""The contract of sources, over the built-in ones and a stranger's, each found by its entry point.

The stranger is the adapter of docs/how-to/write-an-adapter.md, installed as a distribution in a folder of its own.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.contracts import Adapter
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError
from tests.adapters.gateway import DEADLINE, Gateway, stored
from tests.adapters.mllp_client import answers, framed, message

NAMES = ("mllp", "http", "file_drop", "line")
NOT_NOW = Receipt(outcome="refused", code="database.unavailable", retry_after=timedelta(seconds=30))
NEVER = Receipt(outcome="refused", code="media.unknown", where="message", text="Not known.")


@dataclass
class Case:
    """One adapter in the hands of the tests: its settings, and what its peer hears: `yes`, `later`, `no` or nothing."""

    adapter: Adapter
    settings: dict[str, Any]
    send: Callable[[Gateway, bytes], Callable[[], str]]
    body: bytes = message("1")


@pytest.fixture(params=NAMES)
def case(
    request: pytest.FixtureRequest, tmp_path: Path, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> Case:
    monkeypatch.syspath_prepend(strangers)
    (found,) = entry_points(group="carnet.adapters", name=request.param)
    adapter = found.load()
    if request.param == "mllp":
        return Case(adapter, {"port": 0}, send_mllp)
    if request.param == "http":
        return Case(adapter, {"port": 0, "allow_anonymous": True}, send_http)
    if request.param == "file_drop":
        folder = tmp_path / "in"
        folder.mkdir()
        quick = {
            "stable_time": timedelta(milliseconds=20),
            "scan_interval": timedelta(milliseconds=40),
        }
        return Case(
            adapter, {"folder": folder} | quick, lambda gateway, body: drop(folder, gateway, body)
        )
    return Case(adapter, {"port": 0}, send_line, b"MSH|one line")


def start(case: Case, gateway: Gateway) -> None:
    assert case.adapter.source is not None
    assert case.adapter.source_settings is not None
    settings = msgspec.convert(case.settings, case.adapter.source_settings)
    gateway.start(case.adapter.source("partner", settings, gateway.notice))


def test_a_source_has_an_address_only_while_it_runs(case: Case, gateway: Gateway) -> None:
    assert case.adapter.source is not None
    assert case.adapter.source_settings is not None
    settings = msgspec.convert(case.settings, case.adapter.source_settings)
    source = case.adapter.source("partner", settings, gateway.notice)
    assert source.address == ""

    gateway.start(source)
    running = source.address
    gateway.cancel()
    gateway.join()

    assert "://" in running
    assert source.address == ""


def test_a_source_hands_over_the_bytes_as_they_came(case: Case, gateway: Gateway) -> None:
    start(case, gateway)

    said = case.send(gateway, case.body)()

    assert said == "yes"
    (envelope,) = gateway.envelopes
    assert (envelope.source, envelope.body) == ("partner", case.body)
    assert envelope.received_at.tzinfo is UTC


@pytest.mark.parametrize(("receipt", "heard"), [(NOT_NOW, "later"), (NEVER, "no")])
def test_a_refusal_is_never_heard_as_an_acceptance(
    case: Case, gateway: Gateway, receipt: Receipt, heard: str
) -> None:
    async def accept(_: Envelope) -> Receipt:
        return receipt

    gateway.accept = accept
    start(case, gateway)

    assert case.send(gateway, case.body)() == heard


def test_nothing_is_said_before_the_message_is_durable(case: Case, gateway: Gateway) -> None:
    gate, log = asyncio.Event(), []

    async def accept(envelope: Envelope) -> Receipt:
        await gate.wait()
        log.append("durable")
        return stored(envelope)

    gateway.accept = accept
    start(case, gateway)
    hear = case.send(gateway, case.body)
    gateway.until(lambda: gateway.envelopes)

    gateway.loop.call_soon_threadsafe(gate.set)
    log.append(hear())

    assert log == ["durable", "yes"]


def test_what_is_in_hand_when_it_stops_is_answered_before_run_returns(
    case: Case, gateway: Gateway
) -> None:
    gate = asyncio.Event()

    async def accept(envelope: Envelope) -> Receipt:
        await gate.wait()
        return stored(envelope)

    gateway.accept = accept
    start(case, gateway)
    hear = case.send(gateway, case.body)
    gateway.until(lambda: gateway.envelopes)

    gateway.cancel()
    gateway.loop.call_soon_threadsafe(gate.set)
    gateway.join()

    assert hear() == "yes"


def test_a_source_that_cannot_listen_says_so_before_the_first_message(
    case: Case, gateway: Gateway, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if "folder" in case.settings:
            case.settings["folder"] = tmp_path / "nowhere"
        else:
            case.settings["port"] = taken.getsockname()[1]

        with pytest.raises(SetupError, match=r"source\.partner"):
            start(case, gateway)


def test_settings_are_closed_documented_and_show_no_secret(case: Case) -> None:
    settings = case.adapter.source_settings
    assert settings is not None
    fields = {field.name for field in msgspec.structs.fields(settings)}
    block = (settings.__doc__ or "").partition("Fields:")[2]
    documented = set(re.findall(r"^\s+(\w+): \S", block, re.MULTILINE))
    assert fields == documented
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**case.settings, "no_such_setting": 1}, settings)


def test_a_listener_stays_on_this_machine_until_told_otherwise(case: Case) -> None:
    assert case.adapter.source_settings is not None
    hosts = [
        f.default for f in msgspec.structs.fields(case.adapter.source_settings) if f.name == "host"
    ]

    assert hosts in ([], ["127.0.0.1"])


# -- how each peer sends, and what it hears -----------------------------------------------------------------


def send_mllp(gateway: Gateway, body: bytes) -> Callable[[], str]:
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE)
    connection.sendall(framed(body))

    def hear() -> str:
        with connection:
            (answer,) = answers(connection)
        code = answer.split(b"MSA|")[1][:2]
        return {b"AA": "yes"}.get(code, "later" if b"|207^" in answer else "no")

    return hear


def send_http(gateway: Gateway, body: bytes) -> Callable[[], str]:
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE)
    head = f"POST /hl7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)

    def hear() -> str:
        with connection:
            status = int(connection.recv(65536).split(b" ")[1])
        return {200: "yes", 503: "later"}.get(status, "no" if 400 <= status < 500 else "?")

    return hear


def send_line(gateway: Gateway, body: bytes) -> Callable[[], str]:
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE)
    connection.sendall(body + b"\n")

    def hear() -> str:
        with connection:
            word = connection.recv(65536).split()[0]
        return {b"OK": "yes", b"LATER": "later", b"NO": "no"}[word]

    return hear


def drop(folder: Path, gateway: Gateway, body: bytes) -> Callable[[], str]:
    outside = folder.parent / "one.hl7"
    outside.write_bytes(body)
    outside.rename(folder / "one.hl7")

    def hear() -> str:
        def fate() -> str:
            if (folder / "done" / "one.hl7").exists():
                return "yes"
            if (folder / "failed" / "one.hl7.reason.txt").exists():
                return "no"
            return ""

        gateway.until(lambda: fate() or gateway.receipts == [NOT_NOW])
        return fate() or "later"

    return hear
