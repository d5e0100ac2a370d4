"""A real rsyslog that receives by TLS, on a port and in a folder of a test's own.

The packages are rsyslog and rsyslog-openssl; `scripts/services` installs them where it can. Without them a test is
skipped with that reason, and under `scripts/test` it fails.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.adapters.certificates import Certificates

DEADLINE = 20.0


class Rsyslog:
    """One rsyslogd, started and stopped by the test; what it received is one message a line in `received`."""

    def __init__(self, folder: Path) -> None:
        self._program = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        has_tls = bool(list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")))
        if self._program is None or not has_tls:
            why = "rsyslog with TLS is needed (Debian: rsyslog, rsyslog-openssl)"
            if os.environ.get("CARNET_TEST_STRICT") == "1":
                pytest.fail(why, pytrace=False)
            pytest.skip(why)
        self.certificates = Certificates(folder)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.received = folder / "received.log"

    def start(self, *, certificate: Path | None = None) -> Rsyslog:
        """Run until it listens. It wants a certificate of the authority from its clients."""
        shown = certificate or self.certificates.server
        config = self._folder / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{self._folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl"\n'
            f'  defaultNetstreamDriverCAFile="{self.certificates.ca}"\n'
            f'  defaultNetstreamDriverCertFile="{shown}" defaultNetstreamDriverKeyFile="{shown}")\n'
            'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1"\n'
            '  streamDriver.authMode="x509/certvalid")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}")\n'
            'template(name="whole" type="string" string="%rawmsg%\\n")\n'
            f'action(type="omfile" file="{self.received}" template="whole")\n'
        )
        command = [str(self._program), "-n", "-f", str(config), "-i", str(self._folder / "pid")]
        with (self._folder / "rsyslog.out").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + DEADLINE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self._folder / "rsyslog.out").read_text())
            time.sleep(0.05)
        return self

    def stop(self, *, kill: bool = False) -> None:
        """End it; in order, or as if the machine lost its power."""
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(DEADLINE)
            self._process = None

    def messages(self, count: int) -> list[str]:
        """The messages, once there are as many. Raises: AssertionError."""
        end = time.monotonic() + DEADLINE
        while True:
            found = (
                self.received.read_text(encoding="utf-8").splitlines()
                if self.received.exists()
                else []
            )
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} messages"
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
