"""A whole Carnet for a test: its settings, its processes, the command, and independent senders.

Started by the command an operator uses, on a database and a queue of its own; killed without mercy when asked.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hl7.client

from broker.database.engine import open_engine, reading
from broker.records import messages_reading
from tests import forked

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "samples"
START_SECONDS = 180.0
GLANCE_SECONDS = 0.05
"""Between two looks at the ledger."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Running:
    """One process of the command that runs roles, with what it said when everything was up."""

    process: subprocess.Popen[str]
    pids: dict[str, int]

    def kill(self, role: str) -> None:
        """kill -9 one role; its supervisor starts it again."""
        os.kill(self.pids[role], signal.SIGKILL)

    def kill_all(self) -> None:
        """kill -9 the supervisor and all its roles."""
        self.process.kill()
        for pid in self.pids.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """SIGTERM: drain and end. Returns the exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self._close()
        return code

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Site:
    """An installation: a folder, a settings file, and what runs on it."""

    folder: Path
    database_url: str
    queue_url: str
    prefix: str
    mllp: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)

    @property
    def config(self) -> Path:
        return self.folder / "carnet.toml"

    @property
    def drop(self) -> Path:
        return self.folder / "drop"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SITE_DATABASE": self.database_url, "SITE_QUEUE": self.queue_url}

    def write(self, more: str = "") -> None:
        """Write the settings: three sources, no destination unless `more` says so."""
        self.drop.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""
[site]
data_folder = "{self.folder}"

[database]
url = {{ env = "SITE_DATABASE" }}

[queue]
url = {{ env = "SITE_QUEUE" }}
prefix = "{self.prefix}"

[scheduler]
sweep_seconds = 1
seal_seconds = 1

[telemetry]
listen = ""

[source.hospital]
adapter = "mllp"
port = {self.mllp}

[source.portal]
adapter = "http"
port = {self.http}
allow_anonymous = true

[source.laboratory]
adapter = "file_drop"
folder = "{self.drop}"
stable_time = "200ms"
scan_interval = "300ms"
{more}
""",
            encoding="utf-8",
        )

    @contextmanager
    def serving(self, command: str = "serve", module: str = "broker") -> Iterator[Running]:
        """Run the command until the block ends."""
        running = self.start(command, module)
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.stop()

    def start(self, command: str = "serve", module: str = "broker") -> Running:
        """Start the command and wait until it says that everything is up. `module` is another that has the command."""
        log = (self.folder / f"{command}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", module, command, "--json", "--config", str(self.config)],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            process.kill()
            process.wait()
            process.stdout.close()
        assert line, f"did not start:\n{(self.folder / f'{command}.log').read_text()[-2000:]}"
        return Running(process, json.loads(line)["processes"])

    def carnet(self, *arguments: str, stdin: str = "") -> tuple[int, list[Any]]:
        """Run the command: its exit code and its lines of JSON."""
        done = forked.carnet(
            *arguments,
            "--config",
            str(self.config),
            "--json",
            environ=self.environment,
            stdin=stdin,
        )
        lines = [
            json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))
        ]
        return done.returncode, lines

    def balance(self) -> dict[str, int]:
        """The fates of the day, and what was received."""
        _, lines = self.carnet("status")
        found = lines[0]["balance"]
        return {"received": found["received"], **found["fates"]}

    def await_settled(self, received: int, seconds: float = 60.0) -> dict[str, int]:
        """Wait until so many messages were received and none is in flight."""
        return self.await_balance(
            lambda b: (
                b["received"] >= received
                and not any(b.get(open_fate) for open_fate in ("in_flight", "waiting", "retrying"))
            ),
            seconds,
        )

    def await_balance(
        self, holds: Callable[[Mapping[str, int]], bool], seconds: float
    ) -> dict[str, int]:
        """Wait until the balance is as asked, and told so by the command; the ledger is looked at meanwhile.

        Raises AssertionError with the last one after `seconds`.
        """
        deadline = time.monotonic() + seconds
        engine = open_engine(self.database_url)
        try:
            while True:
                with reading(engine) as connection:
                    found = messages_reading.balance(connection)
                balance = {"received": found.received, **found.fates}
                if holds(balance) and holds(balance := self.balance()):
                    return balance
                assert time.monotonic() < deadline, f"still not settled: {balance}"
                time.sleep(GLANCE_SECONDS)
        finally:
            engine.dispose()

    def send_mllp(self, *bodies: bytes) -> list[str]:
        """Send through python-hl7's client; the MSA-1 of each answer."""
        codes = []
        with hl7.client.MLLPClient("127.0.0.1", self.mllp) as client:
            for body in bodies:
                answer = client.send(b"\x0b" + body + b"\x1c\r")
                codes.append(answer.split(b"MSA|")[1].split(b"|")[0].decode())
        return codes

    def send_curl(self, path: str, media: str, file: Path) -> int:
        """Send a file through curl; the HTTP status."""
        done = subprocess.run(
            ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-H", f"Content-Type: {media}",
             "--data-binary", f"@{file}", f"http://127.0.0.1:{self.http}{path}"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return int(done.stdout)

    def move_in(self, file: Path) -> None:
        """Move a file into the drop folder, as a laboratory's system does."""
        beside = self.folder / file.name
        shutil.copy(file, beside)
        subprocess.run(["mv", str(beside), str(self.drop)], check=True)
