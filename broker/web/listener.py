"""The API's port: bound on loopback until told otherwise, with TLS where it leaves the machine, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version

import httpx
import uvicorn
import uvloop
from sqlalchemy import Engine

from broker.audit import trail
from broker.errors import SetupError
from broker.settings import Settings
from broker.settings_tables import Web
from broker.telemetry import Telemetry
from broker.web import deciding, exposure
from broker.web.balance import Balance
from broker.web.endpoint import PREFIX, Endpoint
from broker.web.keys import Keys
from broker.web.sealed import Seals
from broker.web.service import Service
from broker.web.tokens import Tokens
from broker.web.written import Shelf

KEYS_TIMEOUT = 5.0
DRAIN_SECONDS = 20


def run(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    secret: bytes,
    clock: Callable[..., object],
    stop: threading.Event,
    ready: Callable[[dict[str, str]], None],
    index: int = 0,
) -> None:
    """Serve until `stop`, as the process `index` of those that share the port, then answer what is in hand. Raises: SetupError when the port or TLS cannot be had."""
    exposure.check(settings.web)
    service = Service(
        engine,
        deciding.load(settings.rules.folder, settings.rules.switched),
        trail.write,
        Seals(secret, settings.web.search_ttl),
        settings.site.zone,
        clock,  # type: ignore[arg-type]  # the clock of `app`
        settings.web.page_size,
        Shelf(settings.web.written_mb * 1_000_000),
    )
    shared = settings.site.data_folder / "web" / "connections"
    balance = Balance(shared, index, settings.web.processes)
    try:
        uvloop.run(_serve(settings.web, service, balance, telemetry, stop, ready))
    finally:
        balance.close()


async def _serve(
    web: Web,
    service: Service,
    balance: Balance,
    telemetry: Telemetry,
    stop: threading.Event,
    ready: Callable[[dict[str, str]], None],
) -> None:
    listening = _bind(web)
    host, port = listening.getsockname()[:2]
    scheme = "https" if web.tls_certificate else "http"
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    base = web.url.rstrip("/") or f"{address}{PREFIX}"
    async with httpx.AsyncClient(timeout=KEYS_TIMEOUT, follow_redirects=False) as client:
        tokens = Tokens({one.url: (one, Keys(one, client)) for one in web.issuer})
        endpoint = Endpoint(service, web, tokens, telemetry, version("carnet"), lambda: base)
        server = _Server(_config(web, endpoint), lambda: ready({"web": address}))
        connections = server.server_state.connections
        endpoint.is_crowded = lambda: balance.is_crowded(len(connections))
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="web")
        stopped = asyncio.create_task(asyncio.to_thread(stop.wait), name="stop")
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stop.set()
        await serving
        await stopped
        await asyncio.to_thread(endpoint.close)
        listening.close()


def _config(web: Web, endpoint: Endpoint) -> uvicorn.Config:
    config = uvicorn.Config(
        endpoint,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=web.max_connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(DRAIN_SECONDS),
        h11_max_incomplete_event_size=32_768,
    )
    config.load()
    config.ssl = _context(web)
    return config


def _context(web: Web) -> ssl.SSLContext | None:
    """TLS 1.2 or later; with `tls_client_ca` a client certificate is demanded. Raises: SetupError."""
    if web.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(web.tls_certificate, web.tls_key, web.tls_key_password or "")
        if web.tls_client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=web.tls_client_ca)
        if web.tls_client_crl:
            context.load_verify_locations(cafile=web.tls_client_crl)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:
        raise SetupError(
            "tls.unusable",
            where="web.tls_certificate",
            reason=f"a certificate, key or list of TLS cannot be used ({type(error).__name__})",
            hint="check that the files exist, are PEM, belong together, and that the password is right",
        ) from error
    return context


def _bind(web: Web) -> socket.socket:
    listening = socket.socket(
        socket.AF_INET6 if ":" in web.host else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if web.processes > 1:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((web.host, web.port))
    except OSError as error:
        listening.close()
        raise SetupError(
            "network.listen",
            where="web.port",
            reason=f"cannot listen there ({error.strerror or type(error).__name__})",
            hint="choose a free port and an address of this machine",
        ) from error
    return listening


class _Server(uvicorn.Server):
    """uvicorn inside a role: it leaves the signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening()
