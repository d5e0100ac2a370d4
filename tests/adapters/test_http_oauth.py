"""OAuth 2.0 client credentials and updates of FHIR, against a server that uses oauthlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.responses import Response

from adapters.http_client import HttpDestination, HttpDestinationSettings
from broker.envelope import Envelope
from broker.errors import CarnetError, PermanentError, SetupError, TransientError
from tests.adapters.certificates import Certificates
from tests.adapters.oauth_server import CLIENT, SCOPE, SECRET, OAuthServer

PATIENT = b'{"resourceType":"Patient","id":"a-1"}'

Dial = Callable[..., HttpDestination]


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer().running() as one:
        yield one


@pytest.fixture
def dial() -> Iterator[Dial]:
    opened: list[HttpDestination] = []

    def make(server: OAuthServer, **settings: Any) -> HttpDestination:
        usual = {
            "url": f"{server.url}/in", "oauth_token_url": f"{server.url}/token", "oauth_client_id": CLIENT,
            "oauth_client_secret": SECRET, "oauth_scope": SCOPE,
        }  # fmt: skip
        opened.append(HttpDestination("out", HttpDestinationSettings(**{**usual, **settings})))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def envelope(body: bytes = b"abc") -> Envelope:
    return Envelope(source="out", body=body, received_at=datetime.now(UTC))


def test_a_token_is_asked_for_once_and_sent_with_each_message(
    server: OAuthServer, dial: Dial
) -> None:
    destination = dial(server)

    for _ in range(3):
        assert destination.deliver(envelope()).outcome == "accepted"

    assert len(server.taken) == 3
    (form,) = server.grants
    assert parse_qs(form) == {"grant_type": ["client_credentials"], "scope": [SCOPE]}


@pytest.mark.parametrize(("lifetime", "grants"), [(3600, 1), (0, 3)])
def test_a_token_is_renewed_when_its_time_is_over(
    server: OAuthServer, dial: Dial, lifetime: int, grants: int
) -> None:
    server.lifetime = lifetime
    destination = dial(server)

    for _ in range(3):
        destination.deliver(envelope())

    assert len(server.grants) == grants


def test_a_token_that_was_withdrawn_is_replaced_at_once(server: OAuthServer, dial: Dial) -> None:
    destination = dial(server)
    destination.deliver(envelope(b"1"))
    server.validator.tokens.clear()

    destination.deliver(envelope(b"2"))

    assert [body for _, _, body in server.taken] == [b"1", b"2"]
    assert len(server.grants) == 2


def test_a_new_token_that_is_refused_too_is_permanent(server: OAuthServer, dial: Dial) -> None:
    with pytest.raises(PermanentError, match=r"http\.401"):
        dial(server, oauth_scope="read").deliver(envelope())

    assert len(server.grants) == 2
    assert not server.taken


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"oauth_client_secret": "another-secret-of-the-tests"}, "invalid_client"),
        ({"oauth_client_id": "nobody"}, "invalid_client"),
        ({"oauth_scope": "admin"}, "invalid_scope"),
    ],
)
def test_a_refusal_of_the_token_server_is_permanent_and_shows_no_secret(
    server: OAuthServer, dial: Dial, settings: dict[str, str], reason: str
) -> None:
    with pytest.raises(PermanentError, match=rf"http\.oauth_refused.*{reason}") as caught:
        dial(server, **settings).deliver(envelope())

    assert "secret-of-the-tests" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert SECRET not in str(caught.value)
    assert not server.taken


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response("", 500), TransientError),
        (Response("", 503), TransientError),
        (Response("", 429), TransientError),
        (Response("", 302, {"Location": "http://169.254.169.254/"}), PermanentError),
        (Response('{"error":"ZZSECRET"}', 400), PermanentError),
        (Response("<html>ZZSECRET", 200), TransientError),
        (Response("\xff", 200), TransientError),
        (Response('{"access_token":"ZZSECRET","token_type":"mac"}', 200), TransientError),
        (Response('{"access_token":"a b","token_type":"bearer"}', 200), TransientError),
        (Response('{"access_token":"a\\r\\nX: y","token_type":"bearer"}', 200), TransientError),
        (Response('{"access_token":"a","token_type":"bearer","expires_in":"x"}', 200), TransientError),
        (Response(b"[" * 200_000, 200), TransientError),
    ],
)  # fmt: skip
def test_what_the_token_server_says_otherwise_is_judged_and_never_quoted(
    server: OAuthServer, dial: Dial, answer: Response, error: type[CarnetError]
) -> None:
    server.token_answer = answer

    with pytest.raises(error) as caught:
        dial(server).deliver(envelope())

    assert "ZZSECRET" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert not server.taken


@pytest.mark.parametrize("lifetime", ["", ',"expires_in":"3600"', ',"expires_in":3600.0'])
def test_a_lifetime_may_be_a_text_or_missing(
    server: OAuthServer, dial: Dial, lifetime: str
) -> None:
    server.validator.tokens["abc"] = datetime.now(UTC)
    server.token_answer = Response(f'{{"access_token":"abc","token_type":"Bearer"{lifetime}}}', 200)
    destination = dial(server)

    for _ in range(2):
        destination.deliver(envelope())

    assert len(server.grants) == 1


def test_a_token_server_that_is_away_is_for_later(server: OAuthServer, dial: Dial) -> None:
    with pytest.raises(TransientError, match=r"http\.oauth_unreachable"):
        dial(server, oauth_token_url="http://127.0.0.1:1/token").deliver(envelope())


def test_the_partners_headers_do_not_go_to_the_token_server(
    server: OAuthServer, dial: Dial
) -> None:
    """`Authorization` among the headers would be taken for the client's."""
    dial(server, headers={"X-Tenant": "a", "Authorization": "Basic eA=="}).deliver(envelope())

    assert len(server.taken) == 1


def test_over_tls_the_token_server_is_verified(dial: Dial, certificates: Certificates) -> None:
    with OAuthServer(certificates).running() as server:
        with closing(dial(server, tls_ca=certificates.ca)) as destination:
            destination.deliver(envelope())

        with pytest.raises(TransientError, match=r"http\.oauth_unreachable"):
            dial(server, tls_ca=certificates.other_ca).deliver(envelope())

    assert len(server.taken) == len(server.grants) == 1


def test_without_a_secret_the_certificate_says_who_we_are(
    dial: Dial, certificates: Certificates
) -> None:
    with OAuthServer(certificates, by_certificate=True).running() as server:
        made = dial(
            server, tls_ca=certificates.ca, tls_certificate=certificates.lab_a, oauth_client_secret=""
        )  # fmt: skip

        with closing(made) as destination:
            destination.deliver(envelope())

    assert len(server.taken) == 1
    assert parse_qs(server.grants[0])["client_id"] == [CLIENT]


@pytest.mark.parametrize(
    ("body", "method", "path"),
    [
        (PATIENT, "PUT", "/fhir/Patient/a-1"),
        (b'{"resourceType":"Patient"}', "POST", "/fhir/Patient"),
        (b'{"resourceType":"Bundle","type":"document","id":"b"}', "PUT", "/fhir/Bundle/b"),
        (b'{"resourceType":"Bundle","type":"transaction","id":"b"}', "POST", "/fhir"),
        (b'{"resourceType":"Bundle","type":"batch"}', "POST", "/fhir"),
    ],
)
def test_a_resource_with_an_id_is_updated_where_that_is_asked_for(
    server: OAuthServer, dial: Dial, body: bytes, method: str, path: str
) -> None:
    dial(server, url=f"{server.url}/fhir", mode="fhir", fhir_update=True).deliver(envelope(body))

    assert server.taken == [(method, path, body)]


def test_without_that_it_is_created(server: OAuthServer, dial: Dial) -> None:
    dial(server, url=f"{server.url}/fhir", mode="fhir").deliver(envelope(PATIENT))

    assert server.taken == [("POST", "/fhir/Patient", PATIENT)]


@pytest.mark.parametrize("odd", ['"."', '".."', '"a/b"', '"a?b"', '""', '"é"', "1", "[]", f'"{"a" * 65}"'])  # fmt: skip
def test_an_id_that_is_none_of_fhir_makes_no_url(server: OAuthServer, dial: Dial, odd: str) -> None:
    body = f'{{"resourceType":"Patient","id":{odd}}}'.encode()

    with pytest.raises(PermanentError) as caught:
        dial(server, url=f"{server.url}/fhir", mode="fhir", fhir_update=True).deliver(
            envelope(body)
        )

    assert caught.value.where == "id"
    assert not server.taken


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"oauth_token_url": "http://partner.example/token"}, "oauth_token_url"),
        ({"oauth_token_url": "not a url"}, "oauth_token_url"),
        ({"oauth_token_url": ""}, "oauth_token_url"),
        ({"oauth_client_id": ""}, "oauth_client_id"),
        ({"oauth_client_secret": ""}, "oauth_client_secret"),
        ({"token": "a-fixed-token-of-the-tests"}, "token"),
        ({"fhir_update": True}, "fhir_update"),
    ],
)
def test_settings_that_contradict_each_other_are_a_set_up_error(
    server: OAuthServer, dial: Dial, settings: dict[str, Any], where: str
) -> None:
    with pytest.raises(SetupError) as caught:
        dial(server, **settings)

    assert caught.value.where == f"destination.out.{where}"
