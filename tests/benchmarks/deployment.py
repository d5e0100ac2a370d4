"""A Carnet of our own to measure: its settings, its processes, what it has filed, what it uses.

A deployment is started from a `carnet.toml` in a temporary folder, by the same command an operator uses, on a database
and a queue prefix of its own, and leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from broker.contracts import QueueOptions
from broker.database.engine import open_engine, reading
from broker.records import tallies
from tests.queues.place import delete_all

PROJECT = Path(__file__).resolve().parents[2]
SETTLED = ("filed", "delivered_only", "filtered", "parked", "skipped", "discarded")
_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_STANDSTILL_SECONDS = 60.0


class BenchError(Exception):
    """The measurement cannot go on: what happened, and where to look."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """Where a deployment keeps things: `sqlite` (embedded) or `postgres` (with RabbitMQ)."""

    name: str
    database_url: str = ""
    amqp_url: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """One process: resident memory and processor time, its reaped children's included."""

    name: str
    rss_bytes: int
    cpu_seconds: float


class Deployment:
    """A running Carnet."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, engine: Engine, log: Path
    ) -> None:
        self.port = port
        self._process = process
        self._engine = engine
        self._log = log

    @property
    def address(self) -> str:
        return f"mllp://127.0.0.1:{self.port}"

    def fates(self) -> dict[str, int]:
        """What became of every message so far, from the day tallies: fate -> how many."""
        found: dict[str, int] = {}
        with reading(self._engine) as connection:
            for (_day, _source, fate), count in tallies.fates(connection).items():
                found[fate] = found.get(fate, 0) + count
        return found

    def settle(self, messages: int) -> float:
        """Wait until `messages` are settled in all; returns the instant (time.monotonic) at which they were seen to be.

        Raises: BenchError when Carnet ended, or settled nothing for a minute.
        """
        most, moved = -1, time.monotonic()
        while True:
            asked = time.monotonic()
            done = settled(self.fates())
            if done >= messages:
                return asked
            if done > most:
                most, moved = done, asked
            if asked - moved > _STANDSTILL_SECONDS:
                raise BenchError(
                    f"{messages - done} messages stay unsettled: {self.fates()}\n{self.tail()}"
                )
            self.check()
            time.sleep(0.01)

    def check(self) -> None:
        """Raises: BenchError when Carnet is not running any more."""
        if self._process.poll() is not None:
            raise BenchError(f"Carnet ended with {self._process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def usage(self) -> list[Usage]:
        """Each of its processes, named by its role."""
        return [used for pid in tree(self._process.pid) if (used := usage_of(pid)) is not None]


def settled(fates: dict[str, int]) -> int:
    """How many messages need nothing more."""
    return sum(fates.get(fate, 0) for fate in SETTLED)


@contextmanager
def deployed(set_up: SetUp, folder: Path, command: str) -> Iterator[Deployment]:
    """Run `carnet gateway` or `carnet serve` on a fresh database; drained, stopped and removed afterwards."""
    name = f"bench_{secrets.token_hex(4)}"
    home = folder / name
    home.mkdir()
    with _database(set_up, name, home) as database_url:
        port = _free_port()
        (home / "carnet.toml").write_text(_settings(set_up, name, port))
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", command, "--config", str(home / "carnet.toml")],
            cwd=PROJECT,
            env={**os.environ, "BENCH_DATABASE": database_url, "BENCH_QUEUE": set_up.amqp_url},
            stdout=subprocess.DEVNULL,
            stderr=(home / "log").open("wb"),
        )
        engine = open_engine(database_url, pool_size=1)
        try:
            deployment = Deployment(process, port, engine, home / "log")
            _await_listener(deployment)
            yield deployment
        finally:
            engine.dispose()
            _stop(process)
            if set_up.amqp_url:
                delete_all(set_up.amqp_url, QueueOptions(prefix=name), topics=("inbound",))


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def usage_of(pid: int) -> Usage | None:
    """What a process uses; None when it is gone. Its name is what the kernel calls it (`carnet-worker-0`)."""
    fields = _stat(pid)
    if not fields:
        return None
    ticks = sum(int(field) for field in fields[11:15])
    pages = int(fields[21])
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    return Usage(name, pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (its name may hold blanks); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _settings(set_up: SetUp, name: str, port: int) -> str:
    queue = '{ env = "BENCH_QUEUE" }' if set_up.amqp_url else '"embedded"'
    return f"""
[site]
name = "bench"
data_folder = "data"

[database]
url = {{ env = "BENCH_DATABASE" }}

[queue]
url = {queue}
prefix = "{name}"

[telemetry]
listen = ""
log_level = "warning"

[source.load]
adapter = "mllp"
port = {port}
"""


@contextmanager
def _database(set_up: SetUp, name: str, home: Path) -> Iterator[str]:
    """A database of its own, gone afterwards; yields its URL."""
    if not set_up.database_url:
        yield f"sqlite:///{home / 'carnet.db'}"
        return
    server = make_url(set_up.database_url)
    administer = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(administer, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(administer, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _await_listener(deployment: Deployment) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        deployment.check()
        try:
            socket.create_connection(("127.0.0.1", deployment.port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise BenchError(f"Carnet does not listen:\n{deployment.tail()}") from None
            time.sleep(0.05)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to drain and end; its children end with it."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in reversed(tree(process.pid)):
            os.kill(pid, 9)
        process.wait()
