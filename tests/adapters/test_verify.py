"""The contract of destinations that can be asked, over all the built-in ones that can, each with its real partner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.contracts import Adapter, Destination, Verifiable
from broker.envelope import Envelope
from broker.errors import AmbiguousError, TransientError
from tests.adapters.fhir_server import FhirServer
from tests.adapters.mllp_client import message
from tests.adapters.sftp_server import Sshd

KINDS = ("fhir by id", "fhir by identifier", "fhir transaction", "file_drop", "sftp")


def resource(number: int, title: str = "one") -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": f"doc-{number}",
        "status": "current",
        "description": title,
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number}"},
        "content": [],
    }  # fmt: skip


def by_id(number: int) -> bytes:
    return json.dumps(resource(number)).encode()


def by_identifier(number: int) -> bytes:
    return json.dumps({k: v for k, v in resource(number).items() if k != "id"}).encode()


def transaction(number: int) -> bytes:
    entry = [{"resource": resource(number), "request": {"method": "POST", "url": "DocumentReference"}}]  # fmt: skip
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode()


@dataclass
class Asked:
    """A partner that can be asked: its adapter and settings, bodies for it, how it is gone, how many things it has."""

    adapter: str
    settings: dict[str, Any]
    body: Callable[[int], bytes]
    go_away: Callable[[], object]
    count: Callable[[], int]


def adapter_of(name: str) -> Adapter:
    (found,) = entry_points(group="carnet.adapters", name=name)
    loaded = found.load()
    assert isinstance(loaded, Adapter)
    return loaded


def made(name: str, settings: dict[str, Any]) -> Destination:
    adapter = adapter_of(name)
    assert adapter.destination is not None
    assert adapter.destination_settings is not None
    return adapter.destination("partner", msgspec.convert(settings, adapter.destination_settings))


@pytest.fixture
def fhir() -> Iterator[FhirServer]:
    server = FhirServer()
    yield server
    server.stop()


@pytest.fixture(params=KINDS)
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    if request.param == "file_drop":
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        settings: dict[str, Any] = {"folder": inbox, "files_stay": True, "companion": ".ok"}
        yield Asked(
            "file_drop",
            settings,
            lambda number: message(str(number)),
            lambda: inbox.rename(tmp_path / "away"),
            lambda: len([path for path in inbox.iterdir() if path.suffix != ".ok"]),
        )
        return
    if request.param == "sftp":
        sshd = Sshd(tmp_path).start()
        settings = {**sshd.settings, "files_stay": True}
        yield Asked(
            "sftp", settings, lambda n: message(str(n)), sshd.stop, lambda: len(sshd.files())
        )
        sshd.stop()
        return
    server: FhirServer = request.getfixturevalue("fhir")
    way = {"fhir by id": "fhir_update"}.get(request.param, "fhir_identifier")
    bodies = {
        "fhir by id": by_id,
        "fhir by identifier": by_identifier,
        "fhir transaction": transaction,
    }
    yield Asked(
        "http",
        {"url": server.url, "mode": "fhir", way: True},
        bodies[request.param],
        lambda: setattr(server, "is_down", True),
        lambda: len(server.writes),
    )


@pytest.fixture
def destination(asked: Asked) -> Iterator[Verifiable]:
    one = made(asked.adapter, asked.settings)
    assert isinstance(one, Verifiable)
    yield one
    one.close()


def outgoing(body: bytes, number: int = 1) -> Envelope:
    return Envelope(
        source="partner", body=body, keys={"delivery": str(number)}, received_at=datetime.now(UTC)
    )


def test_what_was_never_sent_is_not_there(asked: Asked, destination: Verifiable) -> None:
    assert destination.verify(outgoing(asked.body(1))) is None


def test_what_was_sent_is_there_and_asking_changes_nothing(
    asked: Asked, destination: Verifiable
) -> None:
    sender = made(asked.adapter, asked.settings)
    sender.deliver(outgoing(asked.body(1)))
    sender.close()
    before = asked.count()

    receipt = destination.verify(outgoing(asked.body(1)))

    assert receipt is not None
    assert receipt.outcome == "accepted"
    assert destination.verify(outgoing(asked.body(2), 2)) is None
    assert asked.count() == before == 1


def test_a_partner_that_is_away_says_nothing_either_way(
    asked: Asked, destination: Verifiable
) -> None:
    asked.go_away()

    with pytest.raises(TransientError):
        destination.verify(outgoing(asked.body(1)))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("http", {"url": "http://127.0.0.1:1/x"}),
        ("http", {"url": "http://127.0.0.1:1/x", "mode": "fhir"}),
        ("file_drop", {"folder": Path("/tmp")}),
        ("mllp", {"host": "127.0.0.1"}),
    ],
)
def test_a_destination_that_cannot_be_asked_honestly_cannot_be_asked(
    name: str, settings: dict[str, Any]
) -> None:
    one = made(name, settings)

    assert not isinstance(one, Verifiable)
    one.close()


def test_another_version_under_the_same_id_is_not_what_was_sent(fhir: FhirServer) -> None:
    one = made("http", {"url": fhir.url, "mode": "fhir", "fhir_update": True})
    assert isinstance(one, Verifiable)
    one.deliver(outgoing(by_id(1)))

    newer = json.dumps(resource(1, "two")).encode()

    assert one.verify(outgoing(newer)) is None
    assert one.verify(outgoing(by_id(1))) is not None
    one.close()


def test_a_create_is_conditional_where_the_identifier_decides(fhir: FhirServer) -> None:
    one = made("http", {"url": fhir.url, "mode": "fhir", "fhir_identifier": True})

    first, second = one.deliver(outgoing(by_identifier(1))), one.deliver(outgoing(by_identifier(1)))

    assert (first.code, second.code) == ("http.201", "http.200")
    assert len(fhir.writes) == 1
    one.close()


def test_an_identifier_never_stands_in_a_url(fhir: FhirServer) -> None:
    one = made("http", {"url": fhir.url, "mode": "fhir", "fhir_identifier": True})
    assert isinstance(one, Verifiable)

    one.deliver(outgoing(by_identifier(7)))
    one.verify(outgoing(by_identifier(7)))

    assert fhir.paths == ["/fhir/DocumentReference", "/fhir/DocumentReference/_search"]
    one.close()


def test_a_resource_without_an_identifier_cannot_be_asked_for(fhir: FhirServer) -> None:
    one = made("http", {"url": fhir.url, "mode": "fhir", "fhir_identifier": True})
    assert isinstance(one, Verifiable)
    fhir.loses_answers = True
    body = b'{"resourceType":"Basic"}'

    with pytest.raises(AmbiguousError):
        one.deliver(outgoing(body))
    with pytest.raises(TransientError, match=r"fhir\.nothing_to_ask"):
        one.verify(outgoing(body))
    one.close()


def test_a_file_without_its_companion_is_not_there_yet(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    one = made("file_drop", {"folder": inbox, "files_stay": True, "companion": ".ok"})
    assert isinstance(one, Verifiable)
    one.deliver(outgoing(message("1")))
    next(inbox.glob("*.ok")).unlink()

    assert one.verify(outgoing(message("1"))) is None
    one.close()
