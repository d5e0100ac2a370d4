"""Hands each message to a mail server as one mail to one recipient: the smtp destination."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec

from adapters import smtp_mail
from adapters.network import client_context, peer_of, require_protection
from broker.contracts import RECIPIENT, PerRecipient
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, PermanentError, SetupError, TransientError

_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_CHUNK = 65536


class SmtpDestinationSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A recipient of mail, reached by one mail server.

    Fields:
        host: Name or address of the mail server (submission).
        sender: Address the mails come from, which also gets what is returned.
        to: The one address they go to; a notice's own wins. Left out with per_recipient.
        per_recipient: Send each document once to each recipient it names who has a mail address of recipient_domains; never to the patient.
        recipient_domains: Domains that recipients of messages may be of, or below: `["mssante.fr"]` takes `medecin.mssante.fr`. Required with per_recipient: no message names a mailbox elsewhere.
        max_recipients: Recipients of one document, at most (1 to 100); of one that names more, none is written to.
        port: TCP port; 0 is 587 with STARTTLS, 465 with implicit TLS, 25 without TLS.
        tls: `starttls` or `implicit`; the server's certificate and name are verified. `none` on loopback only, unless allow_plaintext.
        allow_plaintext: Send beyond loopback without TLS. Only where the network itself is protected.
        tls_ca: PEM file of the authorities to trust; empty trusts the system's.
        tls_certificate: PEM file of our certificate, for mutual TLS.
        tls_key: PEM file of its private key, when not in the same file.
        tls_key_password: Password of the private key.
        tls_crl: PEM file of the revocation list of the authorities.
        user: Account for AUTH; empty sends without.
        password: Its password.
        subject: Subject of every mail; no patient data. Before it `XDM/1.0/DDM+` where an archive is sent.
        text: Text of every mail; no patient data.
        delivery_notice: Ask for a notice when the mail has arrived too, not only when it has not (DSN).
        reading_notice: Ask the recipient's program for a notice of reading (MDN).
        connect_timeout: How long to wait for a connection, the greeting, TLS and the login, each.
        answer_timeout: How long to wait for the server's answer to one command (RFC 5321 §4.5.3.2 asks for ten minutes); after the mail the outcome is unknown.
    """

    host: str
    sender: str
    to: str = ""
    per_recipient: bool = False
    recipient_domains: tuple[str, ...] = ()
    max_recipients: int = 20
    port: int = 0
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    allow_plaintext: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_crl: Path | None = None
    user: str = ""
    password: str = ""
    subject: str = "Document"
    text: str = "A document is attached."
    delivery_notice: bool = False
    reading_notice: bool = False
    connect_timeout: timedelta = timedelta(seconds=10)
    answer_timeout: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        if not self.per_recipient:
            if not self.to:
                raise ValueError("to is required, or per_recipient = true")
            if self.recipient_domains:
                raise ValueError("recipient_domains needs per_recipient = true")
            return
        if self.to:
            raise ValueError("per_recipient sends to whom a document names; leave out to")
        if not self.recipient_domains:
            raise ValueError(
                "per_recipient needs recipient_domains: without it a message could name any mailbox"
            )
        for domain in self.recipient_domains:
            if not smtp_mail.is_domain(domain):
                raise ValueError('recipient_domains are written like "mssante.fr"')
        if not 1 <= self.max_recipients <= 100:
            raise ValueError("max_recipients must lie between 1 and 100")

    @property
    def recipients(self) -> PerRecipient | None:
        """Who may be written to, where it is whom a document names."""
        if not self.per_recipient:
            return None
        return PerRecipient(smtp_mail.mailbox, self.recipient_domains, self.max_recipients)

    def __repr__(self) -> str:
        return f"SmtpDestinationSettings({self.host}:{self.port})"


class SmtpDestination:
    """A blocking client for one thread. One mail has one recipient, so that its fate is one.

    A delivery's mail has the same Message-ID at each attempt: a recipient can tell that it was sent again.
    """

    def __init__(self, name: str, settings: SmtpDestinationSettings) -> None:
        where = f"destination.{name}"
        _check(settings, where)
        self._settings = settings
        self._domain = settings.sender.rpartition("@")[2]
        self._tls = client_context(
            ca=settings.tls_ca,
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            password=settings.tls_key_password,
            crl=settings.tls_crl,
            where=f"{where}.tls_ca",
        )
        self._server: smtplib.SMTP | None = None
        self._peer = ""

    def deliver(self, envelope: Envelope) -> Receipt:
        """Send one mail; accepted when the server has answered the end of its data with 2xx.

        Raises: TransientError for no connection, 4xx, and a connection lost before the end of the data;
        PermanentError for 5xx; AmbiguousError for a connection lost after it. They have the server's reply.
        """
        to = self._recipient(envelope)
        identifier = smtp_mail.message_id(envelope, self._domain)
        mail = self._composed(envelope, to, identifier)
        try:
            server = self._connected()
            with _before_the_end():
                self._announce(server, envelope, to, len(mail))
                self._send_data(server, smtp_mail.dotted(mail))
            code, text = self._end(server)
        except (TransientError, AmbiguousError, PermanentError) as error:
            error.peer = self._peer
            self._drop()
            raise
        return Receipt(
            outcome="accepted",
            code=f"smtp.{code}",
            keys={
                "smtp_message_id": identifier,
                "smtp_envid": smtp_mail.envelope_id(envelope),
            },
            answer=_reply(code, text),
            answer_media="text/plain",
            peer=self._peer,
        )

    def close(self) -> None:
        """Take leave of the server, if there is a connection; the next delivery opens another."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.send("QUIT\r\n")
        self._drop()

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _recipient(self, envelope: Envelope) -> str:
        """Whom it goes to. The domains are asked again: they may have changed since it was owed."""
        to = envelope.keys.get("recipient") or self._settings.to
        if not smtp_mail.is_address(to):
            raise PermanentError("smtp.recipient", where=RECIPIENT, reason="not a mail address")
        asked = self._settings.recipients
        if asked is not None and not asked.takes(to.lower()):
            raise PermanentError(
                "smtp.recipient_domain",
                where=RECIPIENT,
                reason="its domain is none of recipient_domains",
                hint="add the domain, if it is trusted, and release the delivery",
            )
        return to

    def _composed(self, envelope: Envelope, to: str, identifier: str) -> bytes:
        settings = self._settings
        return smtp_mail.compose(
            envelope,
            sender=settings.sender,
            to=to,
            subject=settings.subject,
            text=settings.text,
            identifier=identifier,
            reading_notice=settings.reading_notice,
        )

    def _connected(self) -> smtplib.SMTP:
        """The kept connection if the server still answers on it, else a new one."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                _wait(self._server, self._settings.connect_timeout)
                if _is_good(self._server.docmd("RSET")[0]):
                    _wait(self._server, self._settings.answer_timeout)
                    return self._server
            self._drop()
        with _before_the_end():
            return self._open()

    def _open(self) -> smtplib.SMTP:
        settings = self._settings
        self._peer = ""
        wait = settings.connect_timeout.total_seconds()
        port = settings.port or _PORTS[settings.tls]
        if settings.tls == "implicit":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, port, timeout=wait, context=self._tls
            )
        else:
            server = smtplib.SMTP(settings.host, port, timeout=wait)
        self._server = server
        self._peer = peer_of(server.sock)
        _expect(server.ehlo())
        if settings.tls == "starttls":
            server.starttls(context=self._tls)
            _expect(server.ehlo())
        if settings.user:
            server.login(settings.user, settings.password)
        _wait(server, settings.answer_timeout)
        return server

    def _announce(self, server: smtplib.SMTP, envelope: Envelope, to: str, size: int) -> None:
        """MAIL, RCPT and DATA. Where the server knows DSN (RFC 3461), ENVID names the delivery and RET keeps the
        document out of whatever is returned."""
        mail, rcpt = [], []
        if server.has_extn("size"):
            mail.append(f"SIZE={size}")
        if server.has_extn("dsn"):
            mail += ["RET=HDRS", f"ENVID={smtp_mail.envelope_id(envelope)}"]
            if self._settings.delivery_notice:
                rcpt.append("NOTIFY=SUCCESS,FAILURE,DELAY")
        _expect(server.mail(self._settings.sender, mail))
        _expect_recipient(server.rcpt(to, rcpt))
        _expect(server.docmd("DATA"), wanted=3)

    def _send_data(self, server: smtplib.SMTP, data: bytes) -> None:
        """All but the end: a server cancels what a lost connection left unfinished (RFC 5321 §4.1.1.10)."""
        rest = memoryview(data)
        while rest:
            server.send(bytes(rest[:_CHUNK]))
            rest = rest[_CHUNK:]

    def _end(self, server: smtplib.SMTP) -> tuple[int, bytes]:
        """The end of the data, and what the server says to it."""
        try:
            server.send(b".\r\n")
            code, text = server.getreply()
        except OSError as error:
            raise AmbiguousError("smtp.sent_unanswered", reason=_why(error)) from error
        if not 200 <= code < 600 or 300 <= code < 400:
            raise AmbiguousError(
                "smtp.sent_unanswered",
                reason="the answer is no SMTP reply",
                answer=_reply(code, text),
            )
        _judge(code, text)
        return code, text


@contextlib.contextmanager
def _before_the_end() -> Iterator[None]:
    """Ours for what may go wrong before the end of the data: no mail was taken."""
    try:
        yield
    except smtplib.SMTPNotSupportedError as error:
        raise TransientError(
            "smtp.not_offered",
            reason="the server does not offer STARTTLS or AUTH, which the settings ask for",
            hint="nothing was sent; compare tls, port and user with what the server offers",
        ) from error
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error
        said = text if isinstance(text, bytes) else text.encode()
        _judge(error.smtp_code, said)
        raise TransientError(
            "smtp.unreadable",
            reason="the answer is no SMTP reply",
            answer=_reply(error.smtp_code, said),
        ) from error
    except ssl.SSLError as error:
        raise TransientError("smtp.tls", reason=_why(error)) from error
    except OSError as error:
        raise TransientError("smtp.connect", reason=_why(error)) from error


def _expect(reply: tuple[int, bytes], wanted: int = 2) -> None:
    """Go on only after a reply of the wanted hundred."""
    if reply[0] // 100 != wanted:
        raise smtplib.SMTPResponseException(*reply)


def _expect_recipient(reply: tuple[int, bytes]) -> None:
    """Go on only where the mailbox is taken. One that is full or busy says nothing of the others (450, 452)."""
    code, text = reply
    if code in (450, 452) or 500 <= code < 600:
        _judge(code, text, RECIPIENT)
    _expect(reply)


def _judge(code: int, text: bytes, where: str = "") -> None:
    """RFC 5321 §4.2.1: 4yz may work later, 5yz will not. The server's words stay out; its RFC 3463 code is kept."""
    found = _ENHANCED.match(text)
    condition = f" ({found[0].decode()})" if found else ""
    if 400 <= code < 500:
        raise TransientError(
            f"smtp.{code}",
            where=where,
            reason=f"the mail server cannot take it now{condition}",
            answer=_reply(code, text),
        )
    if 500 <= code < 600:
        raise PermanentError(
            f"smtp.{code}",
            where=where,
            reason=f"the mail server refused it{condition}",
            hint="correct the address, the login or the size, then release it",
            answer=_reply(code, text),
        )


def _reply(code: int, text: bytes) -> bytes:
    """A reply as it is kept: its code and the server's words."""
    return b"%d %s" % (code, text)


def _wait(server: smtplib.SMTP, timeout: timedelta) -> None:
    """How long the server's next answers are waited for."""
    if server.sock is not None:
        server.sock.settimeout(timeout.total_seconds())


def _is_good(code: int) -> bool:
    return 200 <= code < 300


def _why(error: Exception) -> str:
    """The kind of an error, without addresses or text of the server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the mail server's certificate does not verify"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return error.strerror or type(error).__name__
    return type(error).__name__


def _check(settings: SmtpDestinationSettings, where: str) -> None:
    require_protection(
        settings.host,
        tls=settings.tls != "none",
        allow_plaintext=settings.allow_plaintext,
        where=f"{where}.tls",
    )
    for name in ("sender",) if settings.per_recipient else ("sender", "to"):
        if not smtp_mail.is_address(getattr(settings, name)):
            raise SetupError(
                "smtp.address",
                where=f"{where}.{name}",
                reason="not one mail address in ASCII",
                hint='write it plainly: "name@domain"',
            )
    if not settings.subject.isprintable() or len(settings.subject) > 200:
        raise SetupError(
            "smtp.subject",
            where=f"{where}.subject",
            reason="not one line of at most 200 characters",
        )
    if bool(settings.user) != bool(settings.password):
        raise SetupError(
            "smtp.login", where=f"{where}.user", reason="user and password belong together"
        )
    if not (settings.user + settings.password).isascii():
        raise SetupError(
            "smtp.login", where=f"{where}.user", reason="AUTH is done in ASCII characters only"
        )
