"""Sends FHIR, or bytes as they are, by HTTP to one partner: the http destination.

Longer than other modules because settings, sending and judging of one protocol are read together.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec

from adapters.fhir_tokens import token_of
from adapters.http_oauth import ClientCredentials
from adapters.network import address_of, client_context, require_protection
from broker.envelope import Envelope, Receipt
from broker.errors import (
    AmbiguousError,
    CarnetError,
    PermanentError,
    SetupError,
    TransientError,
)

FHIR_JSON = "application/fhir+json"
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9.-]{1,64}")
_MAX_WAIT = timedelta(hours=1)


class HttpDestinationSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A partner that takes messages by HTTP.

    Fields:
        url: Where to POST; for `fhir`, the server's base URL.
        mode: `raw` posts the bytes to `url`; `fhir` posts a resource to its type, and a transaction or batch to the base.
        fhir_update: In mode `fhir`, PUT a resource that has an id to `Type/id` (update as create), so that sending twice does no harm.
        fhir_identifier: In mode `fhir`, create a resource only where none with its business identifier is there (If-None-Exist), and ask by it whether the partner has it. The identifier must name this version of the resource.
        media: Content type to send, when the message has none of its own.
        token: Bearer token, when the partner asks for one that does not change.
        oauth_token_url: Token endpoint, when the partner asks for OAuth 2.0 client credentials.
        oauth_client_id: Our client id there.
        oauth_client_secret: Its secret; empty when the certificate says who we are (RFC 8705).
        oauth_scope: Scopes to ask for, separated by spaces.
        headers: Further request headers, without secrets.
        allow_plaintext: Send beyond loopback without TLS. Only where the network itself is protected.
        tls_ca: PEM file of the authorities to trust; empty trusts the system's.
        tls_certificate: PEM file of our certificate, for mutual TLS.
        tls_key: PEM file of its private key, when not in the same file.
        tls_key_password: Password of the private key.
        tls_crl: PEM file of the revocation list of the authorities.
        connect_timeout: How long to wait for a connection.
        answer_timeout: How long to wait between two parts of the answer; after it the outcome is unknown.
        max_answer_bytes: Largest answer kept; a longer one is cut.
    """

    url: str
    mode: Literal["raw", "fhir"] = "raw"
    fhir_update: bool = False
    fhir_identifier: bool = False
    media: str = "application/octet-stream"
    token: str = ""
    oauth_token_url: str = ""
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_scope: str = ""
    headers: dict[str, str] = {}
    allow_plaintext: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_crl: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=10)
    answer_timeout: timedelta = timedelta(seconds=60)
    max_answer_bytes: int = 1_000_000

    def __repr__(self) -> str:
        return f"HttpDestinationSettings(mode={self.mode!r})"


class _Resource(msgspec.Struct):
    """As much of a FHIR resource as its address needs."""

    resourceType: str  # noqa: N815  # FHIR's own name
    type: object = None
    id: object = None


class HttpDestination:
    """A blocking client for one thread, with kept-alive connections. Redirects are not followed."""

    def __init__(self, name: str, settings: HttpDestinationSettings) -> None:
        where = f"destination.{name}"
        _check_url(settings.url, settings, f"{where}.url")
        _check(settings, where)
        self.settings = self._settings = settings
        self._not_before = 0.0
        self._peer = ""
        headers = dict(settings.headers)
        if settings.token:
            headers["Authorization"] = f"Bearer {settings.token}"
        context = client_context(
            ca=settings.tls_ca,
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            password=settings.tls_key_password,
            crl=settings.tls_crl,
            where=f"{where}.tls_ca",
        )
        answer = settings.answer_timeout.total_seconds()
        timeout = httpx.Timeout(answer, connect=settings.connect_timeout.total_seconds())
        self._client = httpx.Client(
            verify=context,
            headers=headers,
            follow_redirects=False,
            trust_env=False,
            timeout=timeout,
        )
        # A client of its own: the token server gets none of the partner's headers, and none of its cookies.
        self._asking = httpx.Client(
            verify=context, follow_redirects=False, trust_env=False, timeout=timeout
        )
        self._oauth = (
            ClientCredentials(
                self._asking,
                url=settings.oauth_token_url,
                client_id=settings.oauth_client_id,
                secret=settings.oauth_client_secret,
                scope=settings.oauth_scope,
            )
            if settings.oauth_token_url
            else None
        )

    def deliver(self, envelope: Envelope) -> Receipt:
        """Send one message.

        Raises: TransientError for no connection, 408, 429 and 5xx (Retry-After is kept to: until then the partner
        is not asked again), and when no token can be had now; PermanentError for any other status, and for a token
        that is refused; AmbiguousError for a request without its answer. They have what the partner said, but nothing
        of what a token server said.
        """
        if time.monotonic() < self._not_before:
            raise TransientError("http.retry_after", reason="the partner asked for a pause")
        method, url, media = self.address(envelope)
        headers = {"Content-Type": media}
        if method == "POST" and self._settings.fhir_identifier:
            headers |= _only_if_none(envelope.body)
        key = envelope.keys.get("idempotency_key") or envelope.keys.get("delivery")
        if key:
            headers["Idempotency-Key"] = key
        self._peer = ""
        try:
            return self._judge(*self._authorised(method, url, envelope.body, headers))
        except CarnetError as error:
            error.peer = self._peer
            raise

    def ask(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer to a question, which changes nothing at the partner.

        Raises: TransientError when it cannot be asked, or does not answer.
        """
        if time.monotonic() < self._not_before:
            raise TransientError("http.retry_after", reason="the partner asked for a pause")
        try:
            response, answer = self._authorised(method, url, body, headers)
        except (AmbiguousError, PermanentError) as error:
            raise TransientError(error.code, where=error.where, reason=error.reason) from error
        return response.status_code, answer

    def _authorised(
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[httpx.Response, bytes]:
        response, answer = self._send(method, url, body, headers)
        if response.status_code == 401 and self._oauth is not None:
            # Refused, so not taken: the token may have been withdrawn before its time.
            self._oauth.forget()
            response, answer = self._send(method, url, body, headers)
        return response, answer

    def _send(
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[httpx.Response, bytes]:
        if self._oauth is not None:
            headers = {**headers, "Authorization": f"Bearer {self._oauth.token()}"}
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                connection = response.extensions["network_stream"]
                self._peer = address_of(connection.get_extra_info("server_addr"))
                return response, self._read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientError("http.connect", reason=type(error).__name__) from error
        except httpx.TransportError as error:
            raise AmbiguousError("http.sent_unanswered", reason=type(error).__name__) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._asking.close()

    def address(self, envelope: Envelope) -> tuple[str, str, str]:
        """Method, URL and content type (FHIR R4 §3.1.0: create, update and transaction)."""
        base = self._settings.url
        if self._settings.mode == "raw":
            return "POST", base, envelope.media or self._settings.media
        try:
            resource = msgspec.json.decode(envelope.body, type=_Resource)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PermanentError(
                "fhir.unreadable", where="resourceType", reason="not FHIR JSON"
            ) from error
        name = resource.resourceType
        if not _TYPE.fullmatch(name):
            raise PermanentError(
                "fhir.unreadable", where="resourceType", reason="not a resource type"
            )
        if name == "Bundle" and resource.type in ("transaction", "batch"):
            return "POST", base, FHIR_JSON
        url = f"{base.rstrip('/')}/{name}"
        if not self._settings.fhir_update or resource.id is None:
            return "POST", url, FHIR_JSON
        if not isinstance(resource.id, str) or not _ID.fullmatch(resource.id):
            raise PermanentError("fhir.unreadable", where="id", reason="not an id of FHIR")
        return "PUT", f"{url}/{resource.id}", FHIR_JSON

    def _read(self, response: httpx.Response) -> bytes:
        """The answer's first bytes; a status once received is the outcome, whatever happens to the rest."""
        parts: list[bytes] = []
        size = 0
        try:
            for part in response.iter_bytes():
                parts.append(part[: self._settings.max_answer_bytes - size])
                size += len(parts[-1])
                if size >= self._settings.max_answer_bytes:
                    break
        except (httpx.TransportError, httpx.DecodingError):
            return b"".join(parts)
        return b"".join(parts)

    def _judge(self, response: httpx.Response, answer: bytes) -> Receipt:
        status = response.status_code
        if 200 <= status < 300:
            names = ("Location", "ETag", "X-Carnet-Message-Id")
            keys = {
                name.lower(): response.headers[name] for name in names if name in response.headers
            }
            return Receipt(
                outcome="accepted",
                code=f"http.{status}",
                keys=keys,
                answer=answer,
                answer_media=response.headers.get("Content-Type", ""),
                peer=self._peer,
            )
        if status in (408, 429) or status >= 500:
            if status in (429, 503):
                self._pause(response.headers.get("Retry-After", ""))
            raise TransientError(
                f"http.{status}", reason="the partner cannot take it now", answer=answer
            )
        if 300 <= status < 400:
            raise PermanentError(
                f"http.{status}",
                reason="the partner redirects; redirects are not followed",
                hint="set the new url",
                answer=answer,
            )
        raise PermanentError(
            f"http.{status}",
            reason="the partner refused it",
            hint="correct the message, its mapping or the token, then release it",
            answer=answer,
        )

    def _pause(self, retry_after: str) -> None:
        """RFC 9110 §10.2.3: seconds, or a date; believed up to an hour."""
        if retry_after.isdecimal():
            seconds = float(retry_after[:9])
        else:
            try:
                until = parsedate_to_datetime(retry_after)
            except (TypeError, ValueError):
                return
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            seconds = (until - datetime.now(UTC)).total_seconds()
        self._not_before = time.monotonic() + min(seconds, _MAX_WAIT.total_seconds())


def _only_if_none(body: bytes) -> dict[str, str]:
    """The header of a conditional create (FHIR R4, http.html); none for what has no identifier of its own."""
    resource = msgspec.json.decode(body, type=dict[str, object])
    token = "" if resource.get("type") in ("transaction", "batch") else token_of(resource)
    return {"If-None-Exist": urlencode({"identifier": token})} if token else {}


def _check_url(url: str, settings: HttpDestinationSettings, where: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError("http.url", where=where, reason="not an http or https URL")
    require_protection(
        parts.hostname,
        tls=parts.scheme == "https",
        allow_plaintext=settings.allow_plaintext,
        where=where,
    )


def _check(settings: HttpDestinationSettings, where: str) -> None:
    for name in ("fhir_update", "fhir_identifier"):
        if getattr(settings, name) and settings.mode != "fhir":
            raise SetupError("http.mode", where=f"{where}.{name}", reason='it needs mode = "fhir"')
    if not settings.oauth_token_url:
        if settings.oauth_client_id or settings.oauth_client_secret or settings.oauth_scope:
            raise SetupError(
                "http.oauth", where=f"{where}.oauth_token_url", reason="the token server is not set"
            )
        return
    _check_url(settings.oauth_token_url, settings, f"{where}.oauth_token_url")
    if not settings.oauth_client_id:
        raise SetupError("http.oauth", where=f"{where}.oauth_client_id", reason="it is not set")
    if not settings.oauth_client_secret and settings.tls_certificate is None:
        raise SetupError(
            "http.oauth",
            where=f"{where}.oauth_client_secret",
            reason="neither a secret nor a client certificate says who we are",
        )
    if settings.token:
        raise SetupError(
            "http.oauth",
            where=f"{where}.token",
            reason="a fixed token and OAuth exclude each other",
        )
