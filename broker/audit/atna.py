"""Send the sealed trail to a receiver of audit messages: DICOM audit messages by syslog over TLS. For the scheduler.

At least once, in the order of the chain: whole segments are sent, then the connection is closed in the orderly way,
and only when the receiver has closed its side too is the position kept. Whatever goes wrong before, the same segments
are sent again. Sources: DICOM PS3.15 A.6.1 (MSGID `DICOM+RFC3881`), RFC 5424 (the message), RFC 5425 (over TLS: each
message behind its length), IHE ITI TF-2 3.20 (facility 10, severity 5).
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from broker.audit import chain
from broker.audit.export import told_of
from broker.audit.forms import Atna
from broker.audit.seal import entries_after, seals_after
from broker.database.engine import reading, writing
from broker.database.types import to_micros
from broker.errors import SetupError, TransientError

PRIORITY = 10 * 8 + 5
"""Facility 10 (security/authorization messages), severity 5 (notice)."""

MSGID = "DICOM+RFC3881"
PER_CONNECTION = 10_000
"""About how many entries one connection carries before the position is kept."""

SECONDS = 5.0
"""For how long one run begins further connections."""

TIMEOUT = 20.0
"""How long the receiver may be silent, in seconds."""

_KEEP = (
    "INSERT INTO audit_position (receiver, segment, sent_at) VALUES (:receiver, :segment, :at) "
    "ON CONFLICT (receiver) DO UPDATE SET segment = excluded.segment, sent_at = excluded.sent_at"
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where audit messages go. `name` (`host:port`) stands for it in the database."""

    host: str
    port: int
    context: ssl.SSLContext

    @property
    def name(self) -> str:
        """How it is named in the database, in the log and in errors."""
        return f"{self.host}:{self.port}"


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS of this side: the authorities that may have signed the receiver's certificate, and the own certificate.

    Raises: SetupError("audit.receiver_tls") when a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            "audit.receiver_tls",
            where="audit",
            reason=f"ca, certificate or key cannot be used ({type(error).__name__})",
        ) from error
    return context


class Forward:
    """Sends what was sealed since the last time."""

    def __init__(
        self,
        engine: Engine,
        receiver: Receiver,
        site: str,
        clock: Callable[[], datetime],
        per_connection: int = PER_CONNECTION,
    ) -> None:
        self._engine = engine
        self._receiver = receiver
        self._form = Atna(site)
        self._clock = clock
        self._per_connection = per_connection
        self._host = socket.gethostname() or "-"

    def run(self) -> int:
        """Send for some seconds; returns how many entries the receiver took.

        Raises: TransientError("audit.receiver_unreachable"); what was not kept is sent again.
        """
        end = time.monotonic() + SECONDS
        sent = 0
        with reading(self._engine) as connection:
            after = position(connection, self._receiver.name)
        while True:
            with reading(self._engine) as connection:
                seals = self._next(connection, after)
            if not seals:
                return sent
            try:
                self._send(seals)
            except (OSError, ssl.SSLError) as error:
                raise TransientError(
                    "audit.receiver_unreachable",
                    where=self._receiver.name,
                    reason=_why(error),
                ) from error
            after = seals[-1].segment
            self._keep(after)
            sent += sum(seal.entries for seal in seals)
            if time.monotonic() > end:
                return sent

    def _next(self, connection: Connection, after: int) -> list[chain.Segment]:
        """The seals of one connection: as many as hold about `per_connection` entries."""
        found: list[chain.Segment] = []
        for seal in seals_after(connection, after):
            found.append(seal)
            if sum(one.entries for one in found) >= self._per_connection:
                break
        return found

    def _send(self, seals: Iterable[chain.Segment]) -> None:
        address = (self._receiver.host, self._receiver.port)
        with socket.create_connection(address, TIMEOUT) as plain:
            tls = self._receiver.context.wrap_socket(plain, server_hostname=self._receiver.host)
            with tls:
                for seal in seals:
                    with reading(self._engine) as connection:
                        lines = list(self._lines(connection, seal))
                    tls.sendall(b"".join(map(self._framed, lines)))
                _close(tls)

    def _lines(self, connection: Connection, seal: chain.Segment) -> Iterator[bytes]:
        for row in entries_after(connection, seal.from_n, seal.entries + 1, seal.to_n):
            yield self._form.entry(row)
        # Its digests follow from the entries, and a syslog receiver takes no message so large.
        told = {key: value for key, value in told_of(seal).items() if key != "digests"}
        yield self._form.other("seal", told, seal.sealed_at)

    def _framed(self, line: bytes) -> bytes:
        at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        header = f"<{PRIORITY}>1 {at} {self._host} carnet {os.getpid()} {MSGID} - \ufeff"
        message = header.encode() + line.rstrip(b"\n")
        return b"%d %s" % (len(message), message)

    def _keep(self, segment: int) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                text(_KEEP),
                {
                    "receiver": self._receiver.name,
                    "segment": segment,
                    "at": to_micros(self._clock()),
                },
            )


def position(connection: Connection, receiver: str) -> int:
    """The last segment that this receiver has whole; 0 for none."""
    found = connection.execute(
        text("SELECT segment FROM audit_position WHERE receiver = :receiver"),
        {"receiver": receiver},
    ).scalar()
    return int(found or 0)


def _close(tls: ssl.SSLSocket) -> None:
    """Say that this was all, and wait until the receiver, having read it, says the same or closes.

    A receiver that died before reading everything resets the connection instead.
    """
    try:
        plain = tls.unwrap()
    except ssl.SSLEOFError:
        return
    plain.settimeout(TIMEOUT)
    while plain.recv(65536):
        pass


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate was not accepted"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return error.strerror or type(error).__name__
