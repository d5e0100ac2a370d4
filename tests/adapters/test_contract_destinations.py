"""The contract of destinations, over the built-in ones and a stranger's: what they deliver is read back from the target.

Each has a real peer: the source of the same adapter where there is one, else OpenSSH and aiosmtpd. A new adapter adds
a line to `KINDS` and its target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.contracts import Adapter, Destination
from broker.envelope import Envelope
from broker.errors import TransientError
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import Gateway
from tests.adapters.mail_server import PASSWORD, USER, MailServer
from tests.adapters.mllp_client import message
from tests.adapters.sftp_server import Sshd

KINDS = ("mllp", "http", "file_drop", "sftp", "smtp", "line")
MANY = 25


@dataclass
class Target:
    """A destination's other end: how to reach it, what it has received, in any order, and how to take it away."""

    settings: dict[str, Any]
    received: Callable[[], list[bytes]]
    go_away: Callable[[], object]
    close: Callable[[], object] = field(default=lambda: None)
    body: Callable[[int], bytes] = field(default=lambda number: message(str(number)))


@pytest.fixture(params=KINDS)
def adapter(
    request: pytest.FixtureRequest, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> Adapter:
    monkeypatch.syspath_prepend(strangers)
    (found,) = entry_points(group="carnet.adapters", name=request.param)
    loaded = found.load()
    assert isinstance(loaded, Adapter)
    return loaded


@pytest.fixture
def target(
    adapter: Adapter, tmp_path: Path, gateway: Gateway, certificates: Certificates
) -> Iterator[Target]:
    if adapter.name == "file_drop":
        made = folder(tmp_path)
    elif adapter.name == "sftp":
        made = sftp_server(tmp_path)
    elif adapter.name == "smtp":
        made = mail_server(certificates)
    else:
        made = own_source(adapter, gateway)
    yield made
    made.close()


@pytest.fixture
def destination(adapter: Adapter, target: Target) -> Iterator[Destination]:
    assert adapter.destination is not None
    assert adapter.destination_settings is not None
    settings = msgspec.convert(target.settings, adapter.destination_settings)
    made = adapter.destination("partner", settings)
    yield made
    made.close()


def outgoing(body: bytes, number: int = 1) -> Envelope:
    return Envelope(
        source="partner", body=body, keys={"delivery": str(number)}, received_at=datetime.now(UTC)
    )


def test_each_installed_destination_is_held_to_this() -> None:
    installed = {
        one.name for one in entry_points(group="carnet.adapters") if one.load().destination
    }

    assert installed <= set(KINDS)


def test_a_destination_delivers_the_bytes_and_returns_a_receipt(
    target: Target, destination: Destination
) -> None:
    receipt = destination.deliver(outgoing(target.body(1)))

    assert receipt.outcome == "accepted"
    assert target.received() == [target.body(1)]


def test_f32_as_many_messages_are_as_many_deliveries(
    target: Target, destination: Destination
) -> None:
    bodies = [target.body(number) for number in range(1, MANY + 1)]

    for number, body in enumerate(bodies, 1):
        destination.deliver(outgoing(body, number))

    assert sorted(target.received()) == sorted(bodies)


def test_f32_the_same_bytes_owed_twice_are_two_deliveries(
    target: Target, destination: Destination
) -> None:
    for number in (1, 2):
        destination.deliver(outgoing(target.body(1), number))

    assert target.received() == [target.body(1)] * 2


def test_f32_names_of_deliveries_do_not_meet_after_a_new_start(
    adapter: Adapter, target: Target, destination: Destination
) -> None:
    destination.deliver(outgoing(target.body(1), 1))
    assert adapter.destination is not None
    assert adapter.destination_settings is not None
    again = adapter.destination(
        "partner", msgspec.convert(target.settings, adapter.destination_settings)
    )

    again.deliver(outgoing(target.body(2), 2))
    again.close()

    assert sorted(target.received()) == [target.body(1), target.body(2)]


def test_a_destination_that_cannot_be_reached_is_for_later(
    target: Target, destination: Destination
) -> None:
    destination.deliver(outgoing(target.body(1)))
    assert target.received()
    target.go_away()

    for _ in range(2):
        with pytest.raises(TransientError):
            destination.deliver(outgoing(target.body(2), 2))


def test_a_destination_is_closed_without_ever_being_used(destination: Destination) -> None:
    destination.close()


def test_settings_are_closed_documented_and_show_no_secret(
    adapter: Adapter, target: Target
) -> None:
    settings = adapter.destination_settings
    assert settings is not None
    fields = {one.name for one in msgspec.structs.fields(settings)}
    block = (settings.__doc__ or "").partition("Fields:")[2]
    documented = set(re.findall(r"^\s+(\w+): \S", block, re.MULTILINE))
    assert fields == documented
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**target.settings, "no_such_setting": 1}, settings)
    if "password" in fields:
        secret = msgspec.convert({**target.settings, "password": "zz-secret"}, settings)
        assert "zz-secret" not in repr(secret)


# -- the targets ------------------------------------------------------------------------------------------------


def own_source(adapter: Adapter, gateway: Gateway) -> Target:
    assert adapter.source is not None
    assert adapter.source_settings is not None
    listening = {"port": 0} | ({"allow_anonymous": True} if adapter.name == "http" else {})
    settings = msgspec.convert(listening, adapter.source_settings)
    gateway.start(adapter.source("partner", settings, gateway.notice))
    reach: dict[str, Any] = {"host": "127.0.0.1", "port": gateway.port}
    if adapter.name == "http":
        reach = {"url": f"{gateway.source.address}/hl7", "media": "text/plain"}

    def go_away() -> None:
        gateway.cancel()
        gateway.join()

    made = Target(reach, lambda: [one.body for one in gateway.envelopes], go_away)
    if adapter.name == "line":
        made.body = lambda number: b"MSH|one line of number %03d" % number
    return made


def folder(tmp_path: Path) -> Target:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return Target(
        {"folder": inbox},
        lambda: [path.read_bytes() for path in inbox.iterdir()],
        lambda: inbox.rename(tmp_path / "away"),
    )


def sftp_server(tmp_path: Path) -> Target:
    sshd = Sshd(tmp_path).start()
    return Target(sshd.settings, lambda: list(sshd.files().values()), sshd.stop, sshd.stop)


def mail_server(certificates: Certificates) -> Target:
    server = MailServer(certificates)
    server.start()
    settings = {
        "host": "127.0.0.1", "port": server.bound_port, "sender": "carnet@hospital.invalid", "to": "ward@partner.invalid",
        "tls_ca": certificates.ca, "user": USER, "password": PASSWORD,
    }  # fmt: skip

    def received() -> list[bytes]:
        """The attachments of mails that can be told apart."""
        assert len({mail["Message-ID"] for mail in server.parsed}) == len(server.mails)
        attached = [next(mail.iter_attachments()) for mail in server.parsed]
        return [part.get_content() for part in attached]

    return Target(settings, received, server.stop, server.stop)
