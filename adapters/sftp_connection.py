"""Opens SFTP on a server whose host key is known, logs in, and says what each failure means: for the sftp client."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from adapters.sftp_host_keys import Pinned
from broker.errors import AmbiguousError, PermanentError, SetupError, TransientError

_KEEPALIVE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, by which host keys it is recognised, and how long it is waited for."""

    host: str
    port: int
    known_hosts: Path | None
    fingerprints: tuple[str, ...]
    connect_seconds: float
    answer_seconds: float


class Login:
    """Says who we are: by key, by password, or by both where the server asks for both. Never asks a person."""

    def __init__(self, user: str, password: str, key: paramiko.PKey | None) -> None:
        self._user = user
        self._password = password
        self._key = key

    def authenticate(self, transport: paramiko.Transport) -> None:
        try:
            self._say(transport)
        except paramiko.AuthenticationException as error:
            # The library says by the same class that nobody answered, and that the connection was lost.
            if not transport.is_active() or error.args == ("Authentication timeout.",):
                raise TransientError("sftp.connect", reason="no answer to the login") from error
            raise PermanentError(
                "sftp.login",
                where="user",
                reason="the server refused the login",
                hint="correct user, key or password, then release it",
            ) from error

    def _say(self, transport: paramiko.Transport) -> None:
        if self._key is not None:
            try:
                if not transport.auth_publickey(self._user, self._key):
                    return
            except paramiko.AuthenticationException:
                if not self._password:
                    raise
        if not self._password:
            raise paramiko.AuthenticationException("the key alone is not enough")
        if transport.auth_password(self._user, self._password):
            raise paramiko.AuthenticationException("the password alone is not enough")


def open_sftp(ssh: paramiko.SSHClient, address: Address, login: Login) -> paramiko.SFTPClient:
    """A connection on which requests may be made; the caller closes `ssh`, whatever becomes of it.

    Raises: TransientError, also when the host key is another; PermanentError when the login is refused.
    """
    with _login_errors():
        if address.known_hosts is not None:
            ssh.load_system_host_keys(str(address.known_hosts))
        ssh.set_missing_host_key_policy(Pinned(address.fingerprints))
        _connect(ssh, address, login)
        transport = ssh.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        sftp = ssh.open_sftp()
        channel = sftp.get_channel()
        assert channel is not None
        channel.settimeout(address.answer_seconds)
        return sftp


def is_plain_failure(sftp: paramiko.SFTPClient, error: OSError) -> bool:
    """SSH_FX_FAILURE or SSH_FX_OP_UNSUPPORTED: the server answered, and said no more than that.

    The library raises the same for a request on a connection that is gone, so it must still be there.
    """
    channel = sftp.get_channel()
    is_open = channel is not None and not channel.closed
    return is_open and error.errno is None and not isinstance(error, TimeoutError)


@contextlib.contextmanager
def _login_errors() -> Iterator[None]:
    """Ours for what may go wrong before the first request: nothing was written."""
    try:
        yield
    except paramiko.BadHostKeyException as error:
        raise TransientError(
            "sftp.host_key",
            where="host",
            reason="the server's host key is not the one in the settings",
            hint="nothing was sent; ask the partner before you change known_hosts or fingerprints",
        ) from error
    except (OSError, EOFError, paramiko.SSHException, paramiko.hostkeys.InvalidHostKey) as error:
        raise TransientError("sftp.connect", reason=_why(error)) from error


@contextlib.contextmanager
def request_errors(
    sftp: paramiko.SFTPClient,
    lost: type[TransientError | AmbiguousError],
    code: str,
    where: str,
) -> Iterator[None]:
    """Ours for what may go wrong with a request: `lost` without an answer, PermanentError for a refusal."""
    try:
        yield
    except FileNotFoundError as error:
        reason = "there is no such folder or file on the server"
        raise TransientError(code, where=where, reason=reason, answer=_said(error)) from error
    except (EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
        raise lost(code, where=where, reason=_why(error)) from error
    except OSError as error:
        if error.errno != errno.EACCES and not is_plain_failure(sftp, error):
            raise lost(code, where=where, reason=_why(error)) from error
        reason = "permission denied" if error.errno else "refused, perhaps for lack of space"
        raise PermanentError(
            code,
            where=where,
            reason=f"the server refused it: {reason}",
            hint="have the partner look at the folder's rights and quota, then release it",
            answer=_said(error),
        ) from error


def _said(error: OSError) -> bytes:
    """The words of the server's status (SSH_FXP_STATUS): the library makes the error's text of them."""
    return str(error.strerror or error).encode()


def _why(error: Exception) -> str:
    """The kind of an error, without addresses, names or text of the server."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return error.strerror or type(error).__name__
    return type(error).__name__


def _connect(ssh: paramiko.SSHClient, address: Address, login: Login) -> None:
    wait = address.connect_seconds
    plain = socket.create_connection((address.host, address.port), wait)
    try:
        ssh.connect(
            address.host,
            address.port,
            timeout=wait,
            banner_timeout=wait,
            auth_timeout=wait,
            channel_timeout=wait,
            sock=plain,
            auth_strategy=login,
        )
    except BaseException:
        plain.close()
        raise


def private_key(path: Path | None, password: str, where: str) -> paramiko.PKey | None:
    """The key of a file. Raises: SetupError."""
    if path is None:
        return None
    try:
        return paramiko.PKey.from_path(path, password.encode() or None)
    except (
        OSError,
        ValueError,
        TypeError,
        paramiko.SSHException,
        paramiko.UnknownKeyType,
    ) as error:
        raise SetupError(
            "sftp.key",
            where=where,
            reason=f"the private key cannot be used ({type(error).__name__})",
            hint="check that the file exists, is an RSA, ECDSA or Ed25519 key, and that key_password is right",
        ) from error
