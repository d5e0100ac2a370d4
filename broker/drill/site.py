"""The broker of a drill: its settings in a folder of its own, started as an operator does, and killed.

It runs in a process group of its own, so that all of it can die at one instant. Only its environment is armed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from broker import fault_points
from broker.errors import SetupError
from broker.settings import installed_folder

START_SECONDS = 60.0
STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.05
COMMAND = ("-m", "broker")
WORKERS = 2

PARTNER, STRICT = "partner", "strict"
"""Two destinations: where sending twice does no harm, and where it does."""

_MAPPINGS = ("hl7v2", "tables")
"""What HL7v2 needs: a worker that starts a thousand times should not compile the rest each time."""


@dataclass
class Site:
    """An installation for a drill. `command` is what Python is asked to run; tests give another one."""

    folder: Path
    database_url: str
    queue_url: str
    prefix: str
    partners: Mapping[str, int]
    workers: int = 1
    command: Sequence[str] = COMMAND
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        return self.folder / "carnet.toml"

    @property
    def orders(self) -> Path:
        """The folder the fault points are armed from."""
        return self.folder / "orders"

    @property
    def processes(self) -> list[str]:
        """Every process that can be given orders."""
        workers = [f"worker-{index}" for index in range(self.workers)]
        return ["gateway-0", *workers, "courier-0", "scheduler-0"]

    def write(self) -> None:
        """Write the settings: one source, two destinations, and a clock that does not wait."""
        self.orders.mkdir(parents=True, exist_ok=True)
        for name in _MAPPINGS:
            shutil.copytree(installed_folder("mappings") / name, self.folder / "mappings" / name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config.write_text(
            _SETTINGS.format(
                folder=self.folder,
                prefix=self.prefix,
                workers=self.workers,
                port=self.port,
                partner=self.partners[PARTNER],
                strict=self.partners[STRICT],
            ),
            "utf-8",
        )

    def start(self) -> None:
        """Start the broker, armed, and wait until it listens. Raises: SetupError when it does not.

        Not until all of it is up: where roles die this often, that moment may not come.
        """
        with (self.folder / "carnet.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, *self.command, "serve", "--json", "--config", str(self.config)],
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.has_ended() or time.monotonic() > deadline:
                self.kill()
                raise SetupError(
                    "drill.start",
                    where="carnet serve",
                    reason="the broker of the drill did not come up",
                    hint=f"its log is {self.folder / 'carnet.log'}; run the drill with --keep",
                )
            time.sleep(_LOOK_SECONDS)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    @property
    def environment(self) -> dict[str, str]:
        """With the addresses, which may hold secrets and stand in no file, and with the points armed."""
        return {
            **os.environ,
            "DRILL_DATABASE": self.database_url,
            "DRILL_QUEUE": self.queue_url,
            fault_points.VARIABLE: str(self.orders),
        }

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """kill -9 for the supervisor and all its roles, at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM: drain and end; returns the exit code. Raises: subprocess.TimeoutExpired when it does not."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)


_SETTINGS = """# The broker of a drill: invented patients only, and armed to kill itself. Nothing to keep.
[site]
name = "drill"
timezone = "UTC"
data_folder = "{folder}"

[database]
url = {{ env = "DRILL_DATABASE" }}

[queue]
url = {{ env = "DRILL_QUEUE" }}
prefix = "{prefix}"

[worker]
processes = {workers}
nice = 0

[scheduler]
sweep_seconds = 1
sweep_grace_seconds = 1
seal_seconds = 1

[telemetry]
listen = ""
log_level = "warning"

[mappings]
folders = ["{folder}/mappings"]

[source.hospital]
adapter = "mllp"
port = {port}

[destination.partner]
adapter = "mllp"
host = "127.0.0.1"
port = {partner}
idempotent = true
retry = {{ base = "500ms", max_delay = "2s" }}

[destination.strict]
adapter = "mllp"
host = "127.0.0.1"
port = {strict}
retry = {{ base = "500ms", max_delay = "2s" }}

[[route]]
name = "all-to-partner"
to = ["partner"]

[[route]]
name = "results-to-strict"
to = ["strict"]
when = {{ kind = ["result_report"] }}
"""
