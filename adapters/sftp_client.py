"""Writes each message as one file by SFTP into a partner's folder: the sftp destination."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import posixpath
import re
from datetime import timedelta
from pathlib import Path

import msgspec
import paramiko

from adapters import sftp_connection, sftp_host_keys
from adapters.asking import Asking
from adapters.network import address_of
from adapters.sftp_connection import is_plain_failure, request_errors
from broker.contracts import Destination
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError, PermanentError, SetupError, TransientError

_EXTENSIONS = {
    "x-application/hl7-v2+er7": ".hl7",
    "application/cda+xml": ".xml",
    "application/fhir+xml": ".xml",
    "application/fhir+json": ".json",
    "application/zip": ".zip",
}
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9._-]{1,16}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class SftpDestinationSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A partner's folder on an SFTP server.

    Fields:
        host: Name or address of the server.
        port: Its TCP port.
        user: Account there.
        password: Its password.
        key: File of our private key, in OpenSSH's form or PEM; with a password too, both are used.
        key_password: Password of the private key.
        known_hosts: File in the form of OpenSSH's known_hosts that holds the server's key. This or `fingerprints`.
        fingerprints: SHA-256 fingerprints of the server's keys, as `ssh-keygen -lf` prints them.
        folder: Folder on the server. It must exist.
        name: Name of a file: `{message_id}`, `{delivery}` the delivery's id (needed), `{digest}` of the content, `{extension}` by media type.
        unfinished: Suffix that a file has until it is whole (`.tmp`); readers must pass over it.
        companion: Suffix of an empty file written after the file (`.ok`), for readers that wait for one.
        files_stay: Nobody takes the files away: a file that is there says that it was delivered, one that is not that it was not.
        connect_timeout: How long to wait for a connection, the key exchange and the login, each.
        answer_timeout: How long to wait for the server's answer to one request.
    """

    host: str
    user: str
    port: int = 22
    password: str = ""
    key: Path | None = None
    key_password: str = ""
    known_hosts: Path | None = None
    fingerprints: tuple[str, ...] = ()
    folder: str = "."
    name: str = "{message_id}-{delivery}{extension}"
    unfinished: str = ".tmp"
    companion: str = ""
    files_stay: bool = False
    connect_timeout: timedelta = timedelta(seconds=10)
    answer_timeout: timedelta = timedelta(seconds=60)

    def __repr__(self) -> str:
        return f"SftpDestinationSettings({self.host}:{self.port})"


class SftpDestination:
    """A blocking client for one thread: written under an unfinished name, then renamed, so readers see whole files.

    A delivery has one name, and its content never changes: made again, it puts the same file in the same place.
    """

    def __init__(self, name: str, settings: SftpDestinationSettings) -> None:
        where = f"destination.{name}"
        _check_names(settings, where)
        sftp_host_keys.check(
            settings.known_hosts, settings.fingerprints, settings.host, settings.port, where
        )
        if not settings.password and settings.key is None:
            raise SetupError(
                "sftp.login",
                where=f"{where}.key",
                reason="neither a key nor a password is set",
                hint='set key = "/path", or password = { file = "/path" }',
            )
        self._settings = settings
        key = sftp_connection.private_key(settings.key, settings.key_password, f"{where}.key")
        self._login = sftp_connection.Login(settings.user, settings.password, key)
        self._address = sftp_connection.Address(
            host=settings.host,
            port=settings.port,
            known_hosts=settings.known_hosts,
            fingerprints=settings.fingerprints,
            connect_seconds=settings.connect_timeout.total_seconds(),
            answer_seconds=settings.answer_timeout.total_seconds(),
        )
        self._ssh: paramiko.SSHClient | None = None
        self._sftp: paramiko.SFTPClient | None = None
        self._peer = ""
        # The library reports lost connections with stack traces of its own; ours is one event, told by who waits.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)

    def deliver(self, envelope: Envelope) -> Receipt:
        """Write one file.

        Raises: TransientError when it surely has not got its name; AmbiguousError when it may have, or when its
        companion may be missing; PermanentError when the server refuses the login, the folder or the bytes. They have
        the words of the server's refusal.
        """
        digest, name, path = self._file(envelope)
        self._peer = ""
        try:
            sftp = self._connected()
            self._write(sftp, path + self._settings.unfinished, envelope.body)
            self._rename(sftp, path, len(envelope.body))
            if self._settings.companion:
                self._mark(sftp, path + self._settings.companion)
        except (TransientError, AmbiguousError, PermanentError) as error:
            error.peer = self._peer
            if not isinstance(error, PermanentError):
                self.close()
            raise
        return _receipt(name, digest, self._peer)

    def find(self, envelope: Envelope) -> Receipt | None:
        """The file of a delivery, whole and with its companion; None: it is not there.

        Raises: TransientError when the server does not say.
        """
        digest, name, path = self._file(envelope)
        try:
            is_there = self._is_whole(self._connected(), path, len(envelope.body), digest)
        except (TransientError, PermanentError) as error:
            self.close()
            raise TransientError(error.code, where=error.where, reason=error.reason) from error
        return _receipt(name, digest) if is_there else None

    def _file(self, envelope: Envelope) -> tuple[str, str, str]:
        """Digest, name and path of the file of a delivery."""
        digest = hashlib.sha256(envelope.body).hexdigest()
        name = _name(self._settings.name, envelope, digest[:32])
        return digest, name, posixpath.join(self._settings.folder, name)

    def _is_whole(self, sftp: paramiko.SFTPClient, path: str, size: int, digest: str) -> bool:
        with request_errors(sftp, TransientError, "sftp.read", "folder"):
            sftp.stat(self._settings.folder)
            try:
                if sftp.stat(path).st_size != size:
                    return False
                with sftp.open(path, "rb") as file:
                    file.prefetch(size)
                    found = hashlib.sha256(file.read()).hexdigest()
                if self._settings.companion:
                    sftp.stat(path + self._settings.companion)
            except FileNotFoundError:
                return False
        return found == digest

    def close(self) -> None:
        """Drop the connection, if any; the next delivery opens another."""
        if self._ssh is not None:
            self._ssh.close()
        self._ssh = self._sftp = None

    def _connected(self) -> paramiko.SFTPClient:
        if self._ssh is not None and self._sftp is not None:
            transport = self._ssh.get_transport()
            channel = self._sftp.get_channel()
            if transport and transport.is_active() and channel and not channel.closed:
                self._peer = _peer(self._ssh)
                return self._sftp
        self.close()
        self._ssh = paramiko.SSHClient()
        try:
            self._sftp = sftp_connection.open_sftp(self._ssh, self._address, self._login)
        except (TransientError, PermanentError):
            self.close()
            raise
        self._peer = _peer(self._ssh)
        return self._sftp

    def _write(self, sftp: paramiko.SFTPClient, unfinished: str, body: bytes) -> None:
        try:
            with request_errors(sftp, TransientError, "sftp.write", "folder"):
                with sftp.open(unfinished, "wb") as file:
                    # Without waiting for each answer, but for the last: it brings the errors of those before it.
                    file.set_pipelined(True)
                    file.write(body[:-1])
                    file.set_pipelined(False)
                    file.write(body[-1:])
                size = sftp.stat(unfinished).st_size
        except PermanentError:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                sftp.remove(unfinished)
            raise
        if size != len(body):
            raise TransientError(
                "sftp.write", where="folder", reason="the server kept another number of bytes"
            )

    def _rename(self, sftp: paramiko.SFTPClient, path: str, size: int) -> None:
        """Give the file its name, in the place of an earlier attempt's. Other servers than OpenSSH may only know how
        to give a name that is free."""
        unfinished = path + self._settings.unfinished
        with request_errors(sftp, AmbiguousError, "sftp.rename", "name"):
            try:
                sftp.posix_rename(unfinished, path)
                return
            except OSError as error:
                if not is_plain_failure(sftp, error):
                    raise
            try:
                sftp.rename(unfinished, path)
            except OSError as error:
                if not is_plain_failure(sftp, error) or not _is_there(sftp, path, size):
                    raise
                sftp.remove(unfinished)

    def _mark(self, sftp: paramiko.SFTPClient, companion: str) -> None:
        with request_errors(sftp, AmbiguousError, "sftp.companion", "companion"):
            sftp.open(companion, "wb").close()


def destination(name: str, settings: SftpDestinationSettings) -> Destination:
    """A folder on a server; one that can be asked, where the files stay in it."""
    client = SftpDestination(name, settings)
    return Asking(client, client.find) if settings.files_stay else client


def _receipt(name: str, digest: str, peer: str = "") -> Receipt:
    return Receipt(
        outcome="accepted", code="sftp.written", keys={"file": name, "sha256": digest}, peer=peer
    )


def _peer(ssh: paramiko.SSHClient) -> str:
    """Who is at the other end."""
    transport = ssh.get_transport()
    with contextlib.suppress(OSError):
        return address_of(transport.getpeername()) if transport is not None else ""
    return ""


def _is_there(sftp: paramiko.SFTPClient, path: str, size: int) -> bool:
    """Whether an earlier attempt's file has the name: names hold the delivery's id, so whose it is is clear."""
    try:
        found: int | None = sftp.stat(path).st_size
    except FileNotFoundError:
        return False
    return found == size


def _name(pattern: str, envelope: Envelope, digest: str) -> str:
    """The file's name: ids of ours and a digest. An id that is no plain name is not used as one."""
    values = {name: envelope.keys.get(name, "") for name in ("message_id", "delivery")}
    values = {name: text if _SAFE.fullmatch(text) else digest for name, text in values.items()}
    extension = _EXTENSIONS.get(envelope.media, ".bin")
    values |= {"digest": digest, "extension": extension}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], pattern)


def _check_names(settings: SftpDestinationSettings, where: str) -> None:
    known = {"message_id", "delivery", "digest", "extension"}
    names = _PLACEHOLDER.findall(settings.name)
    plain = _PLACEHOLDER.sub("x", settings.name)
    if set(names) - known or "delivery" not in names or not _SAFE.fullmatch(plain):
        raise SetupError(
            "sftp.name",
            where=f"{where}.name",
            reason="not a file name with {delivery}",
            hint='write "{message_id}-{delivery}{extension}"',
        )
    suffixes = {"unfinished": settings.unfinished, "companion": settings.companion or ".x"}
    for name, suffix in suffixes.items():
        if not _SUFFIX.fullmatch(suffix) or settings.unfinished == settings.companion:
            raise SetupError(
                "sftp.name",
                where=f"{where}.{name}",
                reason="not a suffix of its own, with a dot and without a folder",
            )
