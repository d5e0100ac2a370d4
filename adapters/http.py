"""HTTP: a port that takes HL7v2, CDA, FHIR and XDM by POST, and in `http_client` the sender.

What becomes of one request is in `http_endpoint`, what a partner is asked in `http_fhir`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import uvicorn

from adapters.http_client import HttpDestinationSettings
from adapters.http_endpoint import Endpoint, HttpToken
from adapters.http_fhir import destination
from adapters.network import require_protection, server_context
from broker.contracts import Accept, Adapter, Notice
from broker.errors import SetupError


class HttpSourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP port that takes HL7v2 (`/hl7`), CDA (`/cda`), FHIR (`/fhir`), or any of them and XDM at `/`.

    Fields:
        host: Address to listen on; loopback until told otherwise.
        port: TCP port; 0 takes a free one (tests).
        allow_plaintext: Listen beyond loopback without TLS. Only where the network itself is protected.
        allow_anonymous: Take messages without a token, from this machine only (host must be loopback).
        tokens: The partners' bearer tokens; at least one unless allow_anonymous.
        tls_certificate: PEM file of the listener's certificate and its chain; turns TLS on.
        tls_key: PEM file of its private key, when not in the same file.
        tls_key_password: Password of the private key.
        tls_client_ca: PEM file of the authorities of client certificates; turns mutual TLS on.
        tls_client_crl: PEM file of the revocation list of those authorities.
        max_bytes: Largest body; refused by its declared length, or when it grows past it.
        max_connections: Connections and requests at once; beyond it 503.
        body_timeout: A body must be complete within this time.
        idle_timeout: A kept-alive connection without a request is closed after this time.
        drain_timeout: On stopping, answers still owed are waited for this long.
    """

    host: str = "127.0.0.1"
    port: int = 8075
    allow_plaintext: bool = False
    allow_anonymous: bool = False
    tokens: tuple[HttpToken, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_client_ca: Path | None = None
    tls_client_crl: Path | None = None
    max_bytes: int = 50_000_000
    max_connections: int = 512
    body_timeout: timedelta = timedelta(seconds=60)
    idle_timeout: timedelta = timedelta(seconds=30)
    drain_timeout: timedelta = timedelta(seconds=30)

    def __repr__(self) -> str:
        return f"HttpSourceSettings({self.host}:{self.port})"


class HttpSource:
    """Serves one port inside the gateway's event loop."""

    def __init__(self, name: str, settings: HttpSourceSettings, notice: Notice) -> None:
        where = f"source.{name}"
        _check(settings, where)
        self._name = name
        self._settings = settings
        self._notice = notice
        self._tls = (
            server_context(
                certificate=settings.tls_certificate,
                key=settings.tls_key,
                password=settings.tls_key_password,
                client_ca=settings.tls_client_ca,
                crl=settings.tls_client_crl,
                where=f"{where}.tls_certificate",
            )
            if settings.tls_certificate
            else None
        )
        self._address = ""

    @property
    def address(self) -> str:
        return self._address

    async def run(self, accept: Accept) -> None:
        """Serve until cancelled; then take no more, answer what is in hand, and return."""
        settings = self._settings
        listening = self._bind()
        config = uvicorn.Config(
            Endpoint(
                self._name,
                accept,
                self._notice,
                tokens=settings.tokens,
                max_bytes=settings.max_bytes,
                body_seconds=settings.body_timeout.total_seconds(),
            ),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=math.ceil(settings.idle_timeout.total_seconds()),
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout.total_seconds()),
            h11_max_incomplete_event_size=16_384,
        )
        config.load()
        config.ssl = self._tls
        host, port = listening.getsockname()[:2]
        scheme = "https" if self._tls else "http"
        address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        server = _Server(config, lambda: setattr(self, "_address", address))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise
        finally:
            self._address = ""
            listening.close()

    def _bind(self) -> socket.socket:
        settings = self._settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((settings.host, settings.port))
        except OSError as error:
            listening.close()
            raise SetupError(
                "network.listen",
                where=f"source.{self._name}.port",
                reason=f"cannot listen there ({error.strerror or type(error).__name__})",
                hint="choose a free port and an address of this machine",
            ) from error
        return listening


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's process: it leaves the signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def install_signal_handlers(self) -> None:
        """As above, for uvicorn before 0.29."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening()


def _check(settings: HttpSourceSettings, where: str) -> None:
    require_protection(
        settings.host,
        tls=settings.tls_certificate is not None,
        allow_plaintext=settings.allow_plaintext,
        where=f"{where}.host",
    )
    if settings.allow_anonymous and not settings.tokens:
        require_protection(
            settings.host, tls=False, allow_plaintext=False, where=f"{where}.allow_anonymous"
        )
    elif not settings.tokens:
        raise SetupError(
            "http.token",
            where=f"{where}.tokens",
            reason="no token is configured, so nobody could send",
            hint="add a token, or allow_anonymous = true on a loopback address",
        )
    if any(len(token.token) < 16 for token in settings.tokens):
        raise SetupError(
            "http.token", where=f"{where}.tokens", reason="a token is shorter than 16 characters"
        )


ADAPTER = Adapter(
    name="http",
    summary="HL7v2, CDA, FHIR and XDM over HTTP, with bearer tokens and TLS",
    source_settings=HttpSourceSettings,
    destination_settings=HttpDestinationSettings,
    source=HttpSource,
    destination=destination,
    verifiable='set fhir_update = true or fhir_identifier = true (mode = "fhir"), or remove `verifiable`',
)
