"""MLLP, the way HL7v2 travels: a listener (asyncio) and, in `mllp_client`, a sender.

Source: HL7 Transport Specification: MLLP, Release 1; acknowledgement rules in `mllp_ack`.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec

from adapters.mllp_client import MllpDestination, MllpDestinationSettings
from adapters.mllp_connection import Connection, Limits, Listener
from adapters.network import require_protection, server_context
from adapters.peers import AllowedPeer, AllowList
from broker.contracts import Accept, Adapter, Notice
from broker.errors import SetupError

_TURNS_TO_ACCEPT = 4
_CLOSE_SECONDS = 1.0


class MllpSourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port on which partners send HL7v2 by MLLP.

    Fields:
        host: Address to listen on; loopback until told otherwise.
        port: TCP port; 0 takes a free one (tests).
        allow_plaintext: Listen beyond loopback without TLS. Only where the network itself is protected.
        tls_certificate: PEM file of the listener's certificate and its chain; turns TLS on.
        tls_key: PEM file of its private key, when not in the same file.
        tls_key_password: Password of the private key.
        tls_client_ca: PEM file of the authorities of client certificates; turns mutual TLS on.
        tls_client_crl: PEM file of the revocation list of those authorities.
        peers: Partners that may connect, each bound to the sending names it may use; empty means anyone.
        max_bytes: Largest message; a longer one is read to its end, thrown away and refused.
        max_held_bytes: Memory that unfinished messages of all connections may take together.
        max_connections: Connections open at once; a newcomer takes the place of one that never sent a message.
        max_in_flight: Messages of one connection that may wait for their answer at once.
        idle_timeout: A connection without traffic is closed after this time.
        frame_timeout: A message must be complete within this time of its first byte.
        drain_timeout: On stopping, answers still owed are waited for this long.
    """

    host: str = "127.0.0.1"
    port: int = 2575
    allow_plaintext: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_client_ca: Path | None = None
    tls_client_crl: Path | None = None
    peers: tuple[AllowedPeer, ...] = ()
    max_bytes: int = 50_000_000
    max_held_bytes: int = 500_000_000
    max_connections: int = 512
    max_in_flight: int = 32
    idle_timeout: timedelta = timedelta(minutes=30)
    frame_timeout: timedelta = timedelta(seconds=60)
    drain_timeout: timedelta = timedelta(seconds=30)

    def __repr__(self) -> str:
        return f"MllpSourceSettings({self.host}:{self.port})"


class MllpSource:
    """Listens on one port and answers each message with what `accept` says of it."""

    def __init__(self, name: str, settings: MllpSourceSettings, notice: Notice) -> None:
        where = f"source.{name}"
        require_protection(
            settings.host,
            tls=settings.tls_certificate is not None,
            allow_plaintext=settings.allow_plaintext,
            where=f"{where}.host",
        )
        self._name = name
        self._settings = settings
        self._notice = notice
        self._tls = _tls(settings, where)
        self._allow_list = AllowList(settings.peers, where=f"{where}.peers")
        self._address = ""

    @property
    def address(self) -> str:
        return self._address

    async def run(self, accept: Accept) -> None:
        """Listen until cancelled; then hear no more, answer what is in hand, and return."""
        settings = self._settings
        listener = Listener(
            name=self._name,
            accept=accept,
            notice=self._notice,
            limits=Limits(
                max_bytes=settings.max_bytes,
                max_held_bytes=max(settings.max_held_bytes, 2 * settings.max_bytes),
                max_in_flight=settings.max_in_flight,
                idle_seconds=settings.idle_timeout.total_seconds(),
                frame_seconds=settings.frame_timeout.total_seconds(),
            ),
            allow_list=self._allow_list,
            max_connections=settings.max_connections,
        )
        server = await self._listen(listener)
        try:
            await _watch(listener, self._handshake_seconds)
        finally:
            server.close()
            self._address = ""
            await _drain(listener, settings.drain_timeout.total_seconds())

    @property
    def _handshake_seconds(self) -> float:
        return min(10.0, self._settings.frame_timeout.total_seconds())

    async def _listen(self, listener: Listener) -> asyncio.Server:
        settings = self._settings
        is_tls = self._tls is not None
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(listener, is_tls=is_tls),
                settings.host,
                settings.port,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_seconds if is_tls else None,
                backlog=1024,
            )
        except OSError as error:
            raise SetupError(
                "network.listen",
                where=f"source.{self._name}.port",
                reason=f"cannot listen there ({error.strerror or type(error).__name__})",
                hint="choose a free port and an address of this machine",
            ) from error
        host, port = server.sockets[0].getsockname()[:2]
        self._address = (
            f"{'mllps' if is_tls else 'mllp'}://{f'[{host}]' if ':' in host else host}:{port}"
        )
        return server


async def _watch(listener: Listener, handshake_seconds: float) -> None:
    """Hold every connection to its times, for as long as the listener lives."""
    limits = listener.limits
    tick = max(0.02, min(1.0, limits.idle_seconds / 4, limits.frame_seconds / 4))
    while True:
        await asyncio.sleep(tick)
        now = listener.loop.time()
        for connection in list(listener.connections):
            connection.check(now)
        for connection, since in list(listener.handshakes.items()):
            if now - since > handshake_seconds:
                del listener.handshakes[connection]
                listener.refused("tls.handshake", "")


async def _drain(listener: Listener, seconds: float) -> None:
    """Answer what is in hand within the time given, then drop who is left; returns when every socket is closed."""
    listener.is_draining = True
    # What the system had accepted when the listener closed gets its transport in the next turns of the loop.
    for _ in range(_TURNS_TO_ACCEPT):
        await asyncio.sleep(0)
    for connection in list(listener.connections):
        connection.leave("stopping")
    if not await _all_gone(listener, seconds):
        for connection in list(listener.connections):
            connection.leave("stopping", at_once=True)
        await _all_gone(listener, _CLOSE_SECONDS)


async def _all_gone(listener: Listener, seconds: float) -> bool:
    listener.all_gone.clear()
    if listener.transports:
        # Not `asyncio.timeout`: before Python 3.11.3 it raises CancelledError in a task that was cancelled (gh-102780).
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.all_gone.wait(), seconds)
    return not listener.transports


def _tls(settings: MllpSourceSettings, where: str) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        if settings.tls_client_ca or settings.tls_key:
            raise SetupError(
                "tls.unusable",
                where=f"{where}.tls_certificate",
                reason="TLS settings without a certificate",
                hint="set tls_certificate",
            )
        return None
    return server_context(
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        password=settings.tls_key_password,
        client_ca=settings.tls_client_ca,
        crl=settings.tls_client_crl,
        where=f"{where}.tls_certificate",
    )


ADAPTER = Adapter(
    name="mllp",
    summary="HL7v2 over MLLP, with TLS, original and enhanced acknowledgement",
    source_settings=MllpSourceSettings,
    destination_settings=MllpDestinationSettings,
    source=MllpSource,
    destination=MllpDestination,
)
