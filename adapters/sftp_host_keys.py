"""Which host keys are trusted, from a known_hosts file or from fingerprints: for the sftp client. Nothing is learnt."""

from __future__ import annotations

import re
from pathlib import Path

import paramiko

from broker.errors import SetupError

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class Pinned:
    """What happens to a host that known_hosts does not name: only a key with one of these fingerprints is accepted."""

    def __init__(self, fingerprints: tuple[str, ...]) -> None:
        self._fingerprints = frozenset(fingerprints)

    def missing_host_key(
        self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        if key.fingerprint not in self._fingerprints:
            raise paramiko.BadHostKeyException(hostname, key, key)


def check(
    known_hosts: Path | None, fingerprints: tuple[str, ...], host: str, port: int, where: str
) -> None:
    """Refuse settings by which no host key, or more than was meant, could be trusted. Raises: SetupError."""
    if (known_hosts is None) == (not fingerprints):
        raise SetupError(
            "sftp.host_key",
            where=f"{where}.known_hosts",
            reason="known_hosts or fingerprints must say which host key is the partner's, one of the two",
            hint="ask the partner for the fingerprint (ssh-keygen -lf prints it), and set it",
        )
    if any(not _FINGERPRINT.fullmatch(one) for one in fingerprints):
        raise SetupError(
            "sftp.host_key",
            where=f"{where}.fingerprints",
            reason="not a SHA-256 fingerprint",
            hint='write it as ssh-keygen -lf prints it: "SHA256:..."',
        )
    if known_hosts is not None:
        _check_file(known_hosts, host, port, f"{where}.known_hosts")


def _check_file(path: Path, host: str, port: int, where: str) -> None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        # Not known to the library: a key that one line revokes would still be trusted by another.
        has_markers = any(line.lstrip().startswith("@") for line in lines)
        known = paramiko.HostKeys(None if has_markers else str(path))
    except (OSError, ValueError, paramiko.hostkeys.InvalidHostKey) as error:
        raise SetupError(
            "sftp.host_key",
            where=where,
            reason=f"the file cannot be read ({type(error).__name__})",
            hint="it has the form of OpenSSH's known_hosts",
        ) from error
    if has_markers:
        raise SetupError(
            "sftp.host_key",
            where=where,
            reason="markers (@revoked, @cert-authority) are not supported",
            hint="use a file of its own that holds the partner's keys only",
        )
    name = host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}"
    if not known.lookup(name):
        raise SetupError(
            "sftp.host_key",
            where=where,
            reason="the file has no key of this host and port",
            hint="add it with ssh-keyscan, and compare its fingerprint with the one the partner tells you",
        )
