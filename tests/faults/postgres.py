"""A PostgreSQL of one test's own, to be restarted in the middle of things."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import PROJECT

_SERVICES = str(PROJECT / "scripts" / "services")


@dataclass(frozen=True, slots=True)
class Server:
    """Its address as a superuser, and its folder."""

    url: str
    folder: Path

    def restart(self) -> None:
        """`pg_ctl restart -m immediate`: no goodbye to anybody, recovery from the log at the start."""
        self._say("restart")

    def stop(self) -> None:
        """`pg_ctl stop -m immediate`."""
        self._say("stop")

    def start(self) -> None:
        """Start it after `stop`: a restart, which keeps the options it was started with first."""
        self._say("restart")

    def _say(self, verb: str) -> None:
        command = [_pg_ctl(), "-D", str(self.folder / "postgres" / "data"), "-s", "-w", "-m", "immediate"]  # fmt: skip
        command += ["-l", str(self.folder / "postgres" / "log"), verb]
        subprocess.run(
            _as_postgres(command), check=True, timeout=120, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip


@contextmanager
def running() -> Iterator[Server]:
    """Start a server with `scripts/services`, and stop it afterwards."""
    if not _pg_ctl():
        pytest.skip("no PostgreSQL is installed here, so none can be started and restarted")
    # Below /tmp and not in the test's folder: the server's own user has to get there.
    with TemporaryDirectory(prefix="carnet-pg-", ignore_cleanup_errors=True) as name:
        environment = {k: v for k, v in os.environ.items() if k != "CARNET_TEST_DATABASE_URL"}
        environment["CARNET_TEST_AMQP_URL"] = "amqp://none"  # it starts no RabbitMQ then
        said = subprocess.run(
            [_SERVICES, "start", name], env=environment, check=True, timeout=120, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ).stdout  # fmt: skip
        found = re.search(r"CARNET_TEST_DATABASE_URL='([^']+)'", said)
        assert found is not None
        try:
            yield Server(found[1], Path(name))
        finally:
            subprocess.run([_SERVICES, "stop", name], check=False, timeout=120)


def _pg_ctl() -> str:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return str(installed[-1]) if installed else ""


def _as_postgres(command: Sequence[str]) -> list[str]:
    return [*(["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []), *command]
