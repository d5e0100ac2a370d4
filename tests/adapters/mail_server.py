"""aiosmtpd as a partner's mail server: STARTTLS or TLS from the start, AUTH, DSN, and answers as a test wants them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE

USER = "mailbox-of-the-tests"
PASSWORD = "an-invented-password-of-the-tests"


class _Server(SMTP):
    """aiosmtpd's server with DSN (RFC 3461): its parameters are kept, and not understood any further."""

    def __init__(self, *args: Any, lines: list[bytes], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._seen = lines

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802  # aiosmtpd's name
        self._seen.append(f"MAIL {arg}".encode())
        kept = [w for w in (arg or "").split(" ") if not w.startswith(("RET=", "ENVID="))]
        await super().smtp_MAIL(" ".join(kept))

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        self._seen.append(f"RCPT {arg}".encode())
        kept = [w for w in (arg or "").split(" ") if not w.startswith("NOTIFY=")]
        await super().smtp_RCPT(" ".join(kept))


class MailServer(Controller):
    """Keeps what it was given. `answers` replaces the reply to a command, or to `RCPT address`; `hang_up` ends the
    connection there."""

    def __init__(
        self, certificates: Certificates, *, tls: str = "starttls", has_dsn: bool = True
    ) -> None:
        self.mails: list[bytes] = []
        self.recipients: list[str] = []
        self.commands: list[bytes] = []
        self.connections = 0
        self._sessions: list[SMTP] = []
        self.answers: dict[str, str] = {}
        self.hang_up = ""
        self._has_dsn = has_dsn
        self._tls = tls
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.server)
        super().__init__(
            self,
            hostname="127.0.0.1",
            port=0,
            ready_timeout=15,
            ssl_context=self._context if tls == "implicit" else None,
        )

    def factory(self) -> SMTP:
        self.connections += 1
        made = _Server(
            self,
            lines=self.commands,
            hostname="mail.invalid",
            tls_context=self._context if self._tls == "starttls" else None,
            require_starttls=self._tls == "starttls",
            authenticator=self._authenticate,
            auth_required=self._tls == "starttls",
            auth_require_tls=self._tls == "starttls",
        )
        self._sessions.append(made)
        return made

    @property
    def bound_port(self) -> int:
        assert isinstance(self.server, asyncio.Server)
        return int(self.server.sockets[0].getsockname()[1])

    @property
    def parsed(self) -> list[EmailMessage]:
        return [
            message_from_bytes(one, _class=EmailMessage, policy=policy.default)
            for one in self.mails
        ]

    def _trigger_server(self) -> None:
        """aiosmtpd knocks to see that it listens, at the port it was told; ours is told by the system."""
        with socket.create_connection(("127.0.0.1", self.bound_port), DEADLINE):
            pass

    def start(self) -> None:
        super().start()
        self.connections = 0

    def stop(self, no_assert: bool = False) -> None:
        """Hang up on whoever is connected, and end. Once is enough; twice does no harm."""
        if self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._hang_up(), self.loop).result(DEADLINE)
            super().stop(no_assert)

    async def _hang_up(self) -> None:
        for one in self._sessions:
            if isinstance(one.transport, asyncio.Transport) and not one.transport.is_closing():
                one.transport.abort()
        # A transport is closed by the loop in its next rounds, TLS one round after what it stands on.
        for _ in range(5):
            await asyncio.sleep(0)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        is_right = (
            isinstance(data, LoginPassword)
            and data.login == USER.encode()
            and data.password == PASSWORD.encode()
        )
        return AuthResult(success=is_right, handled=False)

    def _said(self, server: SMTP, step: str, usual: str) -> str:
        if self.hang_up == step and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return self.answers.get(step, usual)

    async def handle_EHLO(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        return [responses[0], *(["250-DSN"] if self._has_dsn else []), *responses[1:]]

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self._said(server, "MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = self.answers.get(f"RCPT {address}") or self._said(server, "RCPT", "250 OK")
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        said = self._said(server, "DATA", "250 2.0.0 Queued as INVENTED")
        if said.startswith("2") and isinstance(envelope.original_content, bytes):
            self.mails.append(envelope.original_content)
            self.recipients += envelope.rcpt_tos
        return said
