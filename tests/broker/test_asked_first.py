"""A courier that is killed between sending and hearing: where the partner can be asked, it is asked before anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from adapters.http_client import HttpDestinationSettings
from adapters.http_fhir import destination as http_destination
from broker.contracts import Destination, Verifiable, Work
from broker.database.engine import reading, writing
from broker.envelope import Envelope, Receipt
from broker.records import outbox
from broker.values import Lane
from tests.adapters.fhir_server import FhirServer
from tests.broker.post import Killed, Post, opened
from tests.broker.records import record

BODY = json.dumps(
    {
        "resourceType": "DocumentReference",
        "status": "current",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.250.1.999.1"},
        "content": [],
    }
).encode()


@pytest.fixture
def fhir() -> Iterator[FhirServer]:
    server = FhirServer()
    yield server
    server.stop()


@pytest.fixture
def post(empty_ledger: Engine, tmp_path: Path) -> Iterator[Post]:
    with opened(empty_ledger, tmp_path) as made:
        yield made


class Dies:
    """A real destination under a courier that is killed before or after the partner has the message."""

    def __init__(self, inner: Destination, *, after: bool) -> None:
        self._inner, self._after = inner, after

    def deliver(self, envelope: Envelope) -> Receipt:
        if self._after:
            self._inner.deliver(envelope)
        raise Killed

    def close(self) -> None:
        self._inner.close()


def destination(fhir: FhirServer) -> Any:
    settings = HttpDestinationSettings(url=fhir.url, mode="fhir", fhir_identifier=True)
    return http_destination("dmp", settings)


def owe(post: Post) -> None:
    now = post.clock()
    (seq,) = record.received(post.engine, 1, b"MSH|", now)
    owed = outbox.Owed(seq, None, post.name, Lane(1), "new", "application/fhir+json", BODY)
    with writing(post.engine) as connection:
        (number,) = outbox.owe(connection, [owed], now)
    post.numbers["one"] = number
    post.queue.put(f"outbound.{post.name}", [Work(number, Lane(1))])


@pytest.mark.parametrize("arrived", [True, False])
def test_killed_between_sending_and_hearing_it_asks_and_sends_what_is_missing_once(
    post: Post, fhir: FhirServer, arrived: bool
) -> None:
    owe(post)
    with post.running(post.courier(Dies(destination(fhir), after=arrived), is_verifiable=True)):
        post.until(lambda: len(fhir.writes) == arrived and in_hand(post))
    post.reopen()
    post.queue.put(f"outbound.{post.name}", [Work(post.numbers["one"], Lane(1))])
    asked = destination(fhir)
    assert isinstance(asked, Verifiable)

    with post.running(post.courier(asked, is_verifiable=True)):
        post.until_settled()

    assert post.states() == {"one": "sent"}
    assert fhir.writes == [BODY]
    assert post.attempts() == {"one": ["unknown", "sent"]}
    first_again = fhir.paths[1 if arrived else 0]
    assert first_again.endswith("/_search"), "asked before anything was sent"


def in_hand(post: Post) -> bool:
    """Whether the killed courier had begun."""
    with reading(post.engine) as connection:
        row = connection.execute(text("SELECT claimed_by, attempts FROM delivery")).one()
    return row.claimed_by is not None and row.attempts == 1
