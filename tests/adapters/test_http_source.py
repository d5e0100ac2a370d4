"""The HTTP listener: who may post what, and what they hear."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from datetime import timedelta
from typing import Any

import httpx
import pytest

from adapters.http import HttpSource, HttpSourceSettings
from adapters.http_endpoint import HttpToken
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import Gateway, stored
from tests.adapters.mllp_client import message, verdict

TOKEN = "an-invented-token-of-the-tests"
BUNDLE = b'{"resourceType":"Bundle","type":"document"}'
CDA = b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>'


def listen(gateway: Gateway, **settings: Any) -> str:
    usual: dict[str, Any] = {"port": 0, "tokens": (HttpToken(token=TOKEN),)}
    gateway.start(HttpSource("web", HttpSourceSettings(**usual | settings), gateway.notice))
    return gateway.source.address


def post(
    url: str, body: bytes, media: str, *, token: str = TOKEN, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Content-Type": media, "Authorization": f"Bearer {token}"}
    return httpx.post(url, content=body, headers=named, timeout=15, trust_env=False)


def refusing(gateway: Gateway, **receipt: Any) -> None:
    async def accept(_: Envelope) -> Receipt:
        return Receipt(outcome="refused", **receipt)

    gateway.accept = accept


@pytest.mark.parametrize("media", ["application/hl7-v2", "x-application/hl7-v2+er7", "text/plain"])
@pytest.mark.parametrize("path", ["/hl7", "/"])
def test_hl7v2_is_answered_with_an_ack(gateway: Gateway, path: str, media: str) -> None:
    answer = post(listen(gateway) + path, message("7"), f"{media}; charset=utf-8")

    assert (answer.status_code, verdict(answer.content)) == (200, (b"AA", b"7"))
    assert answer.headers["content-type"].startswith("x-application/hl7-v2+er7")
    (envelope,) = gateway.envelopes
    assert (envelope.body, envelope.media) == (message("7"), "x-application/hl7-v2+er7")
    assert (envelope.charset, envelope.peer.address) == ("utf-8", "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "media", "body", "told"),
    [
        ("/cda", "application/xml", CDA, "application/cda+xml"),
        ("/", "application/cda+xml", CDA, "application/cda+xml"),
        ("/", "text/xml", CDA, ""),
        ("/fhir", "application/fhir+json", BUNDLE, "application/fhir+json"),
        ("/fhir/Bundle", "application/json", BUNDLE, "application/fhir+json"),
        ("/fhir", "application/xml", b"<Bundle/>", "application/fhir+xml"),
        ("/", "application/zip", b"PK\x03\x04", "application/zip"),
    ],
)
def test_cda_fhir_and_xdm_are_answered_with_an_outcome_that_names_the_message(
    gateway: Gateway, path: str, media: str, body: bytes, told: str
) -> None:
    answer = post(listen(gateway) + path, body, media)

    assert answer.status_code == 202
    assert answer.headers["x-carnet-message-id"] == stored(gateway.envelopes[0]).message_id
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["severity"] == "information"
    assert (gateway.envelopes[0].body, gateway.envelopes[0].media) == (body, told)


@pytest.mark.parametrize("path", ["/hl7", "/cda", "/fhir", "/", "/nowhere"])
@pytest.mark.parametrize(
    "authorization", ["", f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer "]
)
def test_a3_without_the_token_it_is_401_before_the_body_is_read(
    gateway: Gateway, path: str, authorization: str
) -> None:
    address = listen(gateway)

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n"
        if authorization:
            head += f"Authorization: {authorization}\r\n"
        connection.sendall(head.encode() + b"\r\n")
        status = connection.recv(65536).split(b"\r\n")[0]

    assert status == b"HTTP/1.1 401 Unauthorized"
    assert address
    assert not gateway.envelopes


def test_a_declared_length_too_large_is_413_before_the_body_is_read(gateway: Gateway) -> None:
    listen(gateway, max_bytes=1000)

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        connection.sendall(
            f"POST /hl7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1001\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        status = connection.recv(65536).split(b"\r\n")[0]

    assert status.startswith(b"HTTP/1.1 413")


def test_an_undeclared_length_is_413_once_it_grows_too_large(gateway: Gateway) -> None:
    listen(gateway, max_bytes=1000)

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        connection.sendall(
            f"POST /hl7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        connection.sendall(b"258\r\n" + b"x" * 600 + b"\r\n258\r\n" + b"x" * 600 + b"\r\n")
        status = connection.recv(65536).split(b"\r\n")[0]

    assert status.startswith(b"HTTP/1.1 413")
    assert not gateway.envelopes


def test_f16_a_body_that_does_not_come_is_408(gateway: Gateway) -> None:
    listen(gateway, body_timeout=timedelta(milliseconds=200))

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        connection.sendall(
            f"POST /hl7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\nMSH".encode()
        )
        status = connection.recv(65536).split(b"\r\n")[0]

    assert status.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("path", "media", "headers", "status"),
    [
        ("/hl7", "application/json", {}, 415),
        ("/cda", "application/fhir+json", {}, 415),
        ("/fhir", "text/plain", {}, 415),
        ("/", "multipart/form-data", {}, 415),
        ("/hl7", "text/plain", {"Content_Encoding": "gzip"}, 415),
        ("/hl7", "text/plain", {"Idempotency_Key": "x" * 256}, 400),
        ("/fhir/../etc", "application/json", {}, 404),
        ("/hl7/more", "text/plain", {}, 404),
    ],
)
def test_what_is_not_taken_says_so(
    gateway: Gateway, path: str, media: str, headers: dict[str, str], status: int
) -> None:
    answer = post(listen(gateway) + path, b"x", media, **headers)

    assert answer.status_code == status
    assert answer.json()["issue"][0]["severity"] == "error"
    assert not gateway.envelopes


def test_only_post_is_taken(gateway: Gateway) -> None:
    address = listen(gateway)

    answer = httpx.get(
        f"{address}/fhir", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
    )

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_not_now_is_503_with_retry_after(gateway: Gateway) -> None:
    refusing(
        gateway, code="database.unavailable", text="Not now.", retry_after=timedelta(seconds=4.2)
    )
    address = listen(gateway)

    outcome = post(f"{address}/fhir", BUNDLE, "application/fhir+json")
    ack = post(f"{address}/hl7", message("7"), "text/plain")

    assert (outcome.status_code, outcome.headers["retry-after"]) == (503, "5")
    assert (ack.status_code, ack.headers["retry-after"], verdict(ack.content)[0]) == (
        503,
        "5",
        b"AR",
    )


@pytest.mark.parametrize(
    ("code", "status"), [("control_id.conflict", 409), ("size.exceeded", 413), ("some.other", 422)]
)
def test_never_is_4xx_with_its_place(gateway: Gateway, code: str, status: int) -> None:
    refusing(gateway, code=code, where="ClinicalDocument/id", text="Because.")

    answer = post(listen(gateway) + "/cda", CDA, "text/xml")

    assert answer.status_code == status
    issue = answer.json()["issue"][0]
    assert (issue["expression"], issue["diagnostics"]) == (["ClinicalDocument/id"], code)


def test_the_idempotency_key_goes_with_the_message(gateway: Gateway) -> None:
    post(listen(gateway) + "/hl7", message(), "text/plain", Idempotency_Key="abc-1")

    assert gateway.envelopes[0].keys == {"idempotency_key": "abc-1"}


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/zip"])
def test_a5_a_token_is_bound_to_its_facility_whatever_the_content_type_says(
    gateway: Gateway, media: str
) -> None:
    tokens = (
        HttpToken(token=TOKEN, facilities=("LABO",)),
        HttpToken(token=TOKEN[::-1], facilities=("B",)),
    )
    address = listen(gateway, tokens=tokens)

    good = post(f"{address}/", message("1"), media)
    bad = post(f"{address}/", message("2"), media, token=TOKEN[::-1])

    assert (good.status_code, bad.status_code) == (good.status_code, 403)
    assert good.status_code < 300
    assert len(gateway.envelopes) == 1


def test_tls_is_spoken(gateway: Gateway, certificates: Certificates) -> None:
    address = listen(gateway, tls_certificate=certificates.server, tls_client_ca=certificates.ca)

    answer = httpx.post(
        f"{address}/hl7",
        content=message("1"),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"},
        verify=certificates.client(certificates.lab_a),
        trust_env=False,
    )

    assert address.startswith("https://")
    assert answer.status_code == 200
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        httpx.post(f"{address}/hl7", content=b"", verify=certificates.client(), trust_env=False)


def test_stopping_answers_what_is_in_hand(gateway: Gateway) -> None:
    gate = asyncio.Event()

    async def accept(envelope: Envelope) -> Receipt:
        await gate.wait()
        return stored(envelope)

    gateway.accept = accept
    listen(gateway)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        body = message("1")
        connection.sendall(
            f"POST /hl7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            + body
        )
        gateway.until(lambda: gateway.envelopes)

        gateway.cancel()
        gateway.loop.call_soon_threadsafe(gate.set)

        heard = b""
        while b"MSA|AA|1" not in heard and (more := connection.recv(65536)):
            heard += more

    assert b"MSA|AA|1" in heard
    gateway.join()


def test_it_leaves_the_signals_of_its_process_alone(gateway: Gateway) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    async def serve_here() -> tuple[object, object]:
        source = HttpSource(
            "web", HttpSourceSettings(port=0, allow_anonymous=True), lambda *_: None
        )
        task = asyncio.create_task(source.run(gateway.accept))
        while not source.address:  # noqa: ASYNC110  # the contract has no event for it
            await asyncio.sleep(0)
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return during

    during = asyncio.new_event_loop()
    try:
        assert during.run_until_complete(serve_here()) == before
    finally:
        during.close()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"host": "0.0.0.0", "allow_plaintext": True, "allow_anonymous": True},
        {"host": "0.0.0.0", "tokens": (HttpToken(token=TOKEN),)},
        {"tokens": (HttpToken(token="short"),)},
    ],
)
def test_a4_what_would_let_anybody_in_is_not_started(settings: dict[str, Any]) -> None:
    with pytest.raises(SetupError):
        HttpSource("web", HttpSourceSettings(**settings), lambda *_: None)


def test_a_port_that_is_taken_is_a_set_up_error(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SetupError):
        listen(gateway, port=taken.getsockname()[1])


def test_no_token_is_printed() -> None:
    settings = HttpSourceSettings(tokens=(HttpToken(token=TOKEN),))

    assert TOKEN not in repr(settings) + repr(settings.tokens)
