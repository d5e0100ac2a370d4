"""The HTTP client: what each answer, and each silence, means for a delivery."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from adapters.http import HttpSource, HttpSourceSettings
from adapters.http_client import HttpDestination, HttpDestinationSettings
from adapters.http_endpoint import HttpToken
from broker.envelope import Envelope
from broker.errors import AmbiguousError, PermanentError, SetupError, TransientError
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import Gateway

TOKEN = "an-invented-token-of-the-tests"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Partner

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers = self.server.answer
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


class Partner(ThreadingHTTPServer):
    """An HTTP server that remembers requests and always answers the same; status 0 hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: tuple[int, dict[str, str]] = (201, {})
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()


@pytest.fixture
def partner() -> Iterator[Partner]:
    with Partner() as server:
        yield server
        server.shutdown()
        server.thread.join()


@pytest.fixture
def dial(partner: Partner) -> Iterator[Callable[..., HttpDestination]]:
    opened: list[HttpDestination] = []

    def make(
        url: str = f"http://127.0.0.1:{partner.server_port}/in", **settings: Any
    ) -> HttpDestination:
        opened.append(HttpDestination("out", HttpDestinationSettings(url=url, **settings)))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


Dial = Callable[..., HttpDestination]


def envelope(body: bytes = b"abc", media: str = "", **keys: str) -> Envelope:
    return Envelope(source="out", body=body, media=media, keys=keys, received_at=datetime.now(UTC))


def test_2xx_is_accepted_with_the_partners_ids(dial: Dial, partner: Partner) -> None:
    partner.answer = (
        201,
        {"Location": "Patient/1", "ETag": 'W/"1"', "Content-Type": "application/json"},
    )

    receipt = dial(token=TOKEN, media="text/x").deliver(envelope(delivery="d-1"))

    assert (receipt.outcome, receipt.code, receipt.answer) == ("accepted", "http.201", b"{}")
    assert receipt.keys == {"location": "Patient/1", "etag": 'W/"1"'}
    ((path, headers, body),) = partner.requests
    assert (path, body, headers["Content-Type"]) == ("/in", b"abc", "text/x")
    assert (headers["Authorization"], headers["Idempotency-Key"]) == (f"Bearer {TOKEN}", "d-1")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"resourceType":"Patient"}', "/fhir/Patient"),
        (b'{"resourceType":"Bundle","type":"document"}', "/fhir/Bundle"),
        (b'{"resourceType":"Bundle","type":"transaction"}', "/fhir"),
        (b'{"resourceType":"Bundle","type":"batch"}', "/fhir"),
    ],
)
def test_fhir_goes_to_its_type_and_transactions_to_the_base(
    dial: Dial, partner: Partner, body: bytes, path: str
) -> None:
    dial(f"http://127.0.0.1:{partner.server_port}/fhir", mode="fhir").deliver(envelope(body))

    assert partner.requests[0][0] == path
    assert partner.requests[0][1]["Content-Type"] == "application/fhir+json"


@pytest.mark.parametrize(
    "body", [b"<Patient/>", b"{}", b'{"resourceType":"../x"}', b"\xff", b"[1]"]
)
def test_what_is_not_fhir_json_is_not_sent_as_such(
    dial: Dial, partner: Partner, body: bytes
) -> None:
    with pytest.raises(PermanentError):
        dial(mode="fhir").deliver(envelope(body))

    assert not partner.requests


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_not_now_is_transient(dial: Dial, partner: Partner, status: int) -> None:
    partner.answer = (status, {})

    with pytest.raises(TransientError, match=f"http.{status}"):
        dial().deliver(envelope())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_permanent(dial: Dial, partner: Partner, status: int) -> None:
    partner.answer = (status, {})

    with pytest.raises(PermanentError, match=f"http.{status}"):
        dial().deliver(envelope())


def test_a10_redirects_are_not_followed(dial: Dial, partner: Partner) -> None:
    partner.answer = (307, {"Location": "http://169.254.169.254/"})

    with pytest.raises(PermanentError, match=r"http\.307"):
        dial().deliver(envelope())

    assert len(partner.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept_to(dial: Dial, partner: Partner, status: int) -> None:
    partner.answer = (status, {"Retry-After": "60"})
    destination = dial()

    for _ in range(3):
        with pytest.raises(TransientError):
            destination.deliver(envelope())

    assert len(partner.requests) == 1


@pytest.mark.parametrize("odd", ["", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "-5", "0"])
def test_a_retry_after_that_says_nothing_delays_nothing(
    dial: Dial, partner: Partner, odd: str
) -> None:
    partner.answer = (503, {"Retry-After": odd})
    destination = dial()

    for _ in range(2):
        with pytest.raises(TransientError):
            destination.deliver(envelope())

    assert len(partner.requests) == 2


def test_f12_sent_without_an_answer_is_unknown(dial: Dial, partner: Partner) -> None:
    partner.answer = (0, {})

    with pytest.raises(AmbiguousError):
        dial().deliver(envelope())


def test_nobody_there_is_for_later(dial: Dial) -> None:
    with pytest.raises(TransientError):
        dial("http://127.0.0.1:1/").deliver(envelope())


def test_a_server_whose_certificate_does_not_hold_gets_nothing(
    gateway: Gateway, dial: Dial, certificates: Certificates
) -> None:
    settings = HttpSourceSettings(
        port=0, tls_certificate=certificates.other_name, tokens=(HttpToken(token=TOKEN),)
    )
    gateway.start(HttpSource("web", settings, gateway.notice))

    with pytest.raises(TransientError):
        dial(f"{gateway.source.address}/hl7", tls_ca=certificates.ca, token=TOKEN).deliver(
            envelope()
        )

    assert not gateway.envelopes


def test_f12_an_answer_that_does_not_come_in_time_is_unknown(gateway: Gateway, dial: Dial) -> None:
    async def accept(_: Envelope) -> Any:
        await asyncio.Event().wait()

    gateway.accept = accept
    settings = HttpSourceSettings(
        port=0, tokens=(HttpToken(token=TOKEN),), drain_timeout=timedelta(milliseconds=10)
    )
    gateway.start(HttpSource("web", settings, gateway.notice))
    url = f"{gateway.source.address}/hl7"

    with pytest.raises(AmbiguousError):
        dial(url, token=TOKEN, media="text/plain", answer_timeout=timedelta(seconds=0.3)).deliver(
            envelope()
        )

    gateway.loop.call_soon_threadsafe(lambda: [t.cancel() for t in asyncio.all_tasks(gateway.loop)])


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "not a url", "http://partner.example/"])
def test_a_url_that_cannot_be_used_is_a_set_up_error(url: str) -> None:
    with pytest.raises(SetupError):
        HttpDestination("out", HttpDestinationSettings(url=url))
