"""OpenSSH's sshd on a port and in a folder of a test's own, and ways to make its SFTP server refuse or fall silent.

The package is openssh-server; `scripts/services` installs it where it can. Without it a test is skipped with that
reason; under `scripts/test` (CARNET_TEST_STRICT=1) it fails instead.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.adapters.gateway import DEADLINE

RELAY = Path(__file__).with_name("sftp_relay.py")
KEY_PASSWORD = "an-invented-key-password"


class Sshd:
    """A running server: `inbox` is the partner's folder, `settings` what a destination needs to reach it."""

    def __init__(self, folder: Path) -> None:
        self._program = find("sshd", "/usr/sbin/sshd")
        self._sftp_server = find(
            "sftp-server", "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"
        )
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.host_key = make_key(folder / "host_key")
        self.client_key = make_key(folder / "client_key")
        self.locked_key = make_key(folder / "locked_key", KEY_PASSWORD)
        self.stranger_key = make_key(folder / "stranger_key")
        keys = [key.with_suffix(".pub").read_text() for key in (self.client_key, self.locked_key)]
        (folder / "authorized_keys").write_text("".join(keys))
        self.port = _free_port()
        self.subsystem()

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key": self.client_key,
            "known_hosts": self.known_hosts(),
            "folder": str(self.inbox),
        }

    @property
    def fingerprint(self) -> str:
        """As OpenSSH itself prints it."""
        command = ["ssh-keygen", "-lf", str(self.host_key.with_suffix(".pub"))]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    def known_hosts(self, key: Path | None = None) -> Path:
        """A file that names this server with its own key, or with another."""
        public = (key or self.host_key).with_suffix(".pub").read_text()
        path = self._folder / f"known_hosts_{len(list(self._folder.glob('known_hosts_*')))}"
        path.write_text(f"[127.0.0.1]:{self.port} {public}")
        return path

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.inbox.iterdir() if path.is_file()}

    def subsystem(self, command: str = "", *, shell: str = "") -> None:
        """Which SFTP server the next connections get: OpenSSH's, with options or after a line of shell."""
        script = self._folder / "subsystem"
        script.write_text(f"#!/bin/sh\n{shell}\nexec {command or self._sftp_server}\n")
        script.chmod(0o755)

    def only(self, options: str) -> None:
        """OpenSSH's SFTP server with options of its own (`-R`, `-P write`)."""
        self.subsystem(f"{self._sftp_server} {options}")

    def cut(self, request: str, when: str) -> None:
        """What happens to a request of this kind: see `sftp_relay`."""
        self.subsystem(f"{sys.executable} {RELAY} {request} {when} {self._sftp_server}")

    def start(self) -> Sshd:
        """Run until it answers. A free port may be somebody else's a moment later: then another one is tried."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(5):
            if self._launch():
                return self
            self.port = _free_port()
        raise AssertionError((self._folder / "log").read_text())

    def _launch(self) -> bool:
        config = self._folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\n"
            f"AuthorizedKeysFile {self._folder}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"Subsystem sftp {self._folder}/subsystem\n"
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                return False
        return self._process.poll() is None

    def stop(self) -> None:
        """End the server and the connections it has."""
        if self._process is not None:
            children = _children(self._process.pid)
            self._process.terminate()
            self._process.wait(DEADLINE)
            for child in children:
                _end(child)
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def find(name: str, *places: str) -> str:
    """A program of the package openssh-server; skips, or fails under CARNET_TEST_STRICT, without it."""
    for place in (shutil.which(name), *places):
        if place and Path(place).exists():
            return place
    message = f"OpenSSH's {name} is needed (Debian: apt-get install openssh-server; scripts/test does so as root)"
    if os.environ.get("CARNET_TEST_STRICT") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def make_key(path: Path, password: str = "") -> Path:
    """An Ed25519 key pair in OpenSSH's form, the public one beside it as `.pub`."""
    key = ed25519.Ed25519PrivateKey.generate()
    lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, lock))
    path.chmod(0o600)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b"\n")
    return path


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _children(pid: int) -> list[int]:
    """Processes below one of ours, innermost last (Linux)."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            for child in listing.read_text().split():
                found += [int(child), *_children(int(child))]
    return found


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
