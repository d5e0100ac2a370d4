"""Sends HL7v2 by MLLP to one partner, one message at a time, and reads its answer: the mllp destination."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path

import msgspec

from adapters import mllp_frames
from adapters.hl7_header import ER7_MEDIA, Header, read_header
from adapters.mllp_frames import FrameDecoder, Oversize
from adapters.network import client_context, peer_of, require_protection
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, CarnetError, PermanentError, TransientError

_LINES = re.compile(rb"[\r\n]+")
_PLACE_PARTS = re.compile(rb"[A-Z][A-Z0-9]{2}|[0-9]{1,4}|")
_CHUNK = 65536


class MllpDestinationSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A partner that takes HL7v2 by MLLP.

    Fields:
        host: Name or address of the partner.
        port: Its TCP port.
        allow_plaintext: Send beyond loopback without TLS. Only where the network itself is protected.
        tls: Speak TLS; the partner's certificate and name are verified.
        tls_ca: PEM file of the authorities to trust; empty trusts the system's.
        tls_server_name: Name the certificate must carry, when not `host`.
        tls_certificate: PEM file of our certificate, for mutual TLS.
        tls_key: PEM file of its private key, when not in the same file.
        tls_key_password: Password of the private key.
        tls_crl: PEM file of the revocation list of the authorities.
        connect_timeout: How long to wait for a connection.
        send_timeout: How long the partner may take to read the message.
        answer_timeout: How long to wait for the answer; after it the outcome is unknown.
        max_answer_bytes: Largest answer read.
    """

    host: str
    port: int = 2575
    allow_plaintext: bool = False
    tls: bool = False
    tls_ca: Path | None = None
    tls_server_name: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_crl: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=10)
    send_timeout: timedelta = timedelta(seconds=30)
    answer_timeout: timedelta = timedelta(seconds=30)
    max_answer_bytes: int = 1_000_000

    def __repr__(self) -> str:
        return f"MllpDestinationSettings({self.host}:{self.port})"


class MllpDestination:
    """A blocking client for one thread. An answer is credited to a message only if MSA-2 is its MSH-10.

    After any doubt the connection is dropped, so that a late answer can never be taken for the next message's.
    """

    def __init__(self, name: str, settings: MllpDestinationSettings) -> None:
        where = f"destination.{name}"
        require_protection(
            settings.host,
            tls=settings.tls,
            allow_plaintext=settings.allow_plaintext,
            where=f"{where}.host",
        )
        self._settings = settings
        self._tls = _tls(settings, where) if settings.tls else None
        self._socket: socket.socket | None = None
        self._peer = ""
        self._committed = b""

    def deliver(self, envelope: Envelope) -> Receipt:
        """Send one message and wait for its acknowledgement.

        Raises: TransientError when it surely did not arrive whole; AmbiguousError when it may have; PermanentError
        for AE, AR, CE and CR, and for a message that cannot be sent by MLLP. They have the answer, if one came.
        """
        header = _sendable(envelope.body)
        control_id = header.field(10)
        self._connect()
        try:
            self._send(mllp_frames.encode(envelope.body))
            if header.field(15).strip() == b"NE" and header.field(16).strip() == b"NE":
                return Receipt(outcome="accepted", code="mllp.no_answer_asked", peer=self._peer)
            return self._read_answer(control_id)
        except CarnetError as error:
            error.peer = self._peer
            if not isinstance(error, PermanentError):
                self.close()
            raise

    def close(self) -> None:
        """Drop the connection, if any; the next delivery opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._committed = b""

    def _connect(self) -> None:
        if self._socket is not None and not _is_quiet(self._socket):
            self.close()
        if self._socket is not None:
            return
        settings = self._settings
        timeout = settings.connect_timeout.total_seconds()
        try:
            plain = socket.create_connection((settings.host, settings.port), timeout)
        except OSError as error:
            raise TransientError("mllp.connect", reason=_why(error)) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._peer = peer_of(plain)
        if self._tls is None:
            self._socket = plain
            return
        try:
            name = settings.tls_server_name or settings.host
            self._socket = self._tls.wrap_socket(plain, server_hostname=name)
        except (OSError, ValueError) as error:
            plain.close()
            raise TransientError("mllp.tls", reason=_why(error), peer=self._peer) from error

    def _send(self, frame: bytes) -> None:
        """All of the frame, or an error that says whether its end marker may have left."""
        assert self._socket is not None
        self._socket.settimeout(self._settings.send_timeout.total_seconds())
        rest = memoryview(frame)
        try:
            while rest:
                rest = rest[self._socket.send(rest[:_CHUNK]) :]
        except OSError as error:
            # With TLS a failed record may have left; a frame without its EB is no message to anybody.
            at_risk = _CHUNK if self._tls is not None else 1
            if len(rest) <= at_risk:
                raise AmbiguousError("mllp.sent_unanswered", reason=_why(error)) from error
            raise TransientError("mllp.send", reason=_why(error)) from error

    def _read_answer(self, control_id: bytes) -> Receipt:
        assert self._socket is not None
        decoder = FrameDecoder(self._settings.max_answer_bytes)
        deadline = time.monotonic() + self._settings.answer_timeout.total_seconds()
        while True:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise AmbiguousError("mllp.sent_unanswered", reason=_why(error)) from error
            answers = decoder.feed(data) if data else decoder.flush()
            if not answers and decoder.ending and data:
                answers = decoder.flush()
            for number, answer in enumerate(answers, 1):
                receipt = self._judge(answer, control_id)
                if receipt is not None:
                    if number < len(answers) or not data:
                        self.close()
                    return receipt
            if not data:
                raise AmbiguousError(
                    "mllp.sent_unanswered", reason="the partner closed the connection"
                )
            if time.monotonic() >= deadline:
                raise AmbiguousError("mllp.sent_unanswered", reason="no answer in time")

    def _judge(self, answer: bytes, control_id: bytes) -> Receipt | None:
        """The receipt that an answer means; None for the late application answer to a committed message."""
        header = read_header(answer)
        msa = _segment(answer, b"MSA", header)
        if header is None or msa is None or isinstance(answer, Oversize):
            raise AmbiguousError(
                "mllp.answer_unreadable",
                where="MSA",
                reason="the answer is no acknowledgement",
                answer=answer,
            )
        code, acknowledged = _field(msa, 1), _field(msa, 2)
        if acknowledged != control_id:
            if code[:1] == b"A" and acknowledged and acknowledged == self._committed:
                self._committed = b""
                return None
            raise AmbiguousError(
                "mllp.answer_mismatch",
                where="MSA-2",
                reason="the answer is to another message",
                answer=answer,
                answer_matched=False,
            )
        if code in (b"AA", b"CA"):
            self._committed = control_id if code == b"CA" else b""
            keys = {"control_id": header.field(10).decode("ascii", "replace")}
            return Receipt(
                outcome="accepted",
                code=code.decode(),
                keys=keys,
                answer=answer,
                answer_media=ER7_MEDIA,
                answer_matched=True,
                peer=self._peer,
            )
        if code in (b"AE", b"AR", b"CE", b"CR"):
            err = _segment(answer, b"ERR", header)
            raise PermanentError(
                f"mllp.{code.decode()}",
                where=_place(err, header),
                reason=f"the partner refused it{_condition(err, header)}",
                hint="correct the message or its mapping, then release it",
                answer=answer,
                answer_matched=True,
            )
        raise AmbiguousError(
            "mllp.answer_unreadable",
            where="MSA-1",
            reason="not a code of table 0008",
            answer=answer,
            answer_matched=True,
        )


def _sendable(message: bytes) -> Header:
    header = read_header(message)
    if header is None:
        raise PermanentError("hl7v2.no_msh", where="MSH", reason="only HL7v2 can be sent by MLLP")
    if not header.field(10):
        raise PermanentError(
            "hl7v2.missing",
            where="MSH-10",
            reason="without a control id no answer could be recognised",
        )
    if mllp_frames.EB in message and mllp_frames.END in message:
        raise PermanentError(
            "mllp.end_in_data", where="message", reason="it contains the end of an MLLP frame"
        )
    return header


def _is_quiet(connection: socket.socket) -> bool:
    """Nothing to read: neither a late answer, nor the partner's farewell."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return False
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLHUP | select.POLLERR)
        if not poll.poll(0):
            return True
        if not isinstance(connection, ssl.SSLSocket):
            return False
        return _is_only_tls_talk(connection)
    except (OSError, ValueError):
        return False


def _is_only_tls_talk(connection: ssl.SSLSocket) -> bool:
    """TLS 1.3 sends session tickets after the handshake: readable bytes, and yet nothing said."""
    connection.settimeout(0)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def _segment(message: bytes, name: bytes, header: Header | None) -> list[bytes] | None:
    if header is None:
        return None
    for line in _LINES.split(message):
        if line.startswith(name):
            return line.split(header.separator)
    return None


def _field(segment: list[bytes] | None, number: int) -> bytes:
    return segment[number].strip() if segment and number < len(segment) else b""


def _place(err: list[bytes] | None, header: Header) -> str:
    """ERR-2 as `PID-3.1`, or MSA when the answer names no place; only what has the form of a place is kept."""
    parts = _field(err, 2).split(header.encoding[:1] or b"^")
    if not re.fullmatch(rb"[A-Z][A-Z0-9]{2}", parts[0]) or not all(
        map(_PLACE_PARTS.fullmatch, parts)
    ):
        return "MSA-1"
    words = [part.decode() for part in parts] + [""] * 6
    field = f"-{words[2]}" if words[2] else ""
    return f"{words[0]}{field}{f'.{words[4]}' if field and words[4] else ''}"


def _condition(err: list[bytes] | None, header: Header) -> str:
    code = _field(err, 3).split(header.encoding[:1] or b"^")[0]
    return f" (table 0357: {code.decode()})" if re.fullmatch(rb"[0-9]{1,3}", code) else ""


def _why(error: Exception) -> str:
    """The kind of a network error, without addresses or text of the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the partner's certificate does not verify"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


def _tls(settings: MllpDestinationSettings, where: str) -> ssl.SSLContext:
    return client_context(
        ca=settings.tls_ca,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        password=settings.tls_key_password,
        crl=settings.tls_crl,
        where=f"{where}.tls_ca",
    )
