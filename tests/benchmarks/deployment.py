"""A Carnet of our own to measure: its settings, its processes, what it has filed, what it uses.

A deployment is started from a `carnet.toml` in a temporary folder, by the same command an operator uses, on a database
and a queue prefix of its own, and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from broker.contracts import QueueOptions
from broker.database.engine import open_engine, reading
from broker.records import outbox, tallies
from broker.unpacking import unpack
from tests.queues.place import delete_all

PROJECT = Path(__file__).resolve().parents[2]
SETTLED = ("filed", "delivered_only", "filtered", "parked", "skipped", "discarded")
_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_STANDSTILL_SECONDS = 60.0
_LOG_FILES = 64


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
        self,
        process: subprocess.Popen[str],
        engine: Engine,
        log: Path,
        address: str,
        roles: dict[int, str],
    ) -> None:
        self.address = address
        self._process = process
        self._engine = engine
        self._log = log
        self._roles = roles

    def fates(self) -> dict[str, int]:
        """What became of every message so far, from the day tallies: fate -> how many."""
        found: dict[str, int] = {}
        with reading(self._engine) as connection:
            for (_day, _source, fate), count in tallies.fates(connection).items():
                found[fate] = found.get(fate, 0) + count
        return found

    def delivered(self) -> int:
        """How many deliveries were answered and noted so far, by the minute's counters."""
        with reading(self._engine) as connection:
            counted = connection.execute(
                text("SELECT sum(n) FROM flow_minute WHERE measure = 'delivered'")
            )
            return int(counted.scalar() or 0)

    def owed(self) -> int:
        """How many deliveries are still open."""
        with reading(self._engine) as connection:
            return sum(one.owed + one.unknown for one in outbox.backlog(connection).values())

    def drain(self) -> None:
        """Wait until no delivery is open. Raises: BenchError as `deliver`."""
        self._await(lambda: -self.owed(), 0, "deliveries stay open")

    def deliver(self, deliveries: int) -> float:
        """Wait until so many deliveries were made in all; returns the instant at which they were seen to be.

        Raises: BenchError when Carnet ended, or delivered nothing for a minute.
        """
        return self._await(self.delivered, deliveries, "deliveries stay open")

    def unpack(self) -> float:
        """Make the rows of all that was received (see `broker.unpacking`); returns the seconds it took."""
        begun = time.monotonic()
        unpack(self._engine, "benchmark")
        return time.monotonic() - begun

    def settle(self, messages: int) -> float:
        """Wait until `messages` are settled in all; returns the instant (time.monotonic) at which they were seen to be.

        Raises: BenchError when Carnet ended, or settled nothing for a minute.
        """
        return self._await(lambda: settled(self.fates()), messages, "messages stay unsettled")

    def _await(self, count: Callable[[], int], wanted: int, what: str) -> float:
        most, moved = -sys.maxsize, time.monotonic()
        while True:
            asked = time.monotonic()
            done = count()
            if done >= wanted:
                return asked
            if done > most:
                most, moved = done, asked
            if asked - moved > _STANDSTILL_SECONDS:
                raise BenchError(f"{wanted - done} {what}: {self.fates()}\n{self.tail()}")
            self.check()
            time.sleep(0.025)

    def check(self) -> None:
        """Raises: BenchError when Carnet, or one of its roles, is not running any more."""
        if self._process.poll() is not None:
            raise BenchError(f"Carnet ended with {self._process.returncode}:\n{self.tail()}")
        for pid, role in self._roles.items():
            if usage_of(pid, role) is None:
                raise BenchError(f"{role} ended:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        return last_lines(self._log)

    def usage(self) -> list[Usage]:
        """Each of its roles, and the supervisor with its helpers as one."""
        named = {pid: self._roles.get(pid, "supervisor") for pid in tree(self._process.pid)}
        used = [one for pid, name in named.items() if (one := usage_of(pid, name)) is not None]
        return [summed(name, used) for name in dict.fromkeys(named.values())]


def summed(name: str, used: Sequence[Usage]) -> Usage:
    """All processes of one name as one."""
    mine = [one for one in used if one.name == name]
    return Usage(name, sum(one.rss_bytes for one in mine), sum(one.cpu_seconds for one in mine))


def last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def settled(fates: dict[str, int]) -> int:
    """How many messages need nothing more."""
    return sum(fates.get(fate, 0) for fate in SETTLED)


def processor_seconds(carnet: Deployment) -> dict[str, float]:
    """Processor time so far of each role, and of PostgreSQL and RabbitMQ where scripts/services runs them."""
    used: dict[str, float] = {}
    for one in [*carnet.usage(), *_service_usage()]:
        used[one.name] = used.get(one.name, 0.0) + one.cpu_seconds
    return used


def _service_usage() -> Iterator[Usage]:
    home = os.environ.get("CARNET_TEST_SERVICES")
    for name, pidfile in (("postgres", "postgres/pid"), ("rabbitmq", "rabbitmq/pid")):
        path = Path(home or "/nowhere") / pidfile
        if path.exists():
            for pid in tree(int(path.read_text())):
                if (used := usage_of(pid, name)) is not None:
                    yield used


def set_ups(wanted: Sequence[str], environ: Mapping[str, str]) -> list[SetUp]:
    """The set-ups asked for. Raises: BenchError when one needs services that nobody named."""
    database, amqp = environ.get("CARNET_TEST_DATABASE_URL"), environ.get("CARNET_TEST_AMQP_URL")
    found = []
    for name in wanted:
        if name == "sqlite":
            found.append(SetUp(name))
        elif database and amqp:
            found.append(SetUp(name, database, amqp))
        else:
            raise BenchError(
                "CARNET_TEST_DATABASE_URL and CARNET_TEST_AMQP_URL are not set (scripts/bench sets them)"
            )
    return found


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def deployed(
    set_up: SetUp,
    folder: Path,
    command: str,
    more: str = "",
    destinations: Sequence[str] = (),
) -> Iterator[Deployment]:
    """Run `carnet gateway` or `carnet serve` on a fresh database; drained, stopped and removed afterwards.

    more: settings beside those of the database, the queue and the one MLLP source; it names `destinations`
    """
    name = f"bench_{secrets.token_hex(4)}"
    home = folder / name
    home.mkdir()
    with database(set_up, name, home) as database_url:
        settings = home / "carnet.toml"
        settings.write_text(_settings(set_up, name) + more)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "broker", command, "--json", "--config", str(settings)],
                cwd=PROJECT,
                env={
                    **os.environ,
                    "BENCH_DATABASE": database_url,
                    "BENCH_QUEUE": set_up.amqp_url,
                    "PYTHONUNBUFFERED": "1",
                },
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        engine = open_engine(database_url, pool_size=1)
        try:
            address, roles = _await_ready(process, home / "log")
            yield Deployment(process, engine, home / "log", address, roles)
        finally:
            engine.dispose()
            _stop(process)
            if set_up.amqp_url:
                topics = ["inbound", *(f"outbound.{one}" for one in destinations)]
                delete_all(set_up.amqp_url, QueueOptions(prefix=name), topics=topics)


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


def usage_of(pid: int, name: str) -> Usage | None:
    """What a process uses, under a name of ours; None when it is gone."""
    fields = _stat(pid)
    if not fields or fields[0] == "Z":
        return None
    ticks = sum(int(field) for field in fields[11:15])
    memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(name, memory, ticks / os.sysconf("SC_CLK_TCK"))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (its name may hold blanks); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _settings(set_up: SetUp, name: str) -> str:
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
port = 0
"""


def sent_on(partner: str) -> str:
    """Settings that send every message on to `mllp://host:port`, as the destination `partner`."""
    host, _, port = partner.removeprefix("mllp://").rpartition(":")
    return f"""
[destination.partner]
adapter = "mllp"
host = "{host}"
port = {port}

[[route]]
name = "everything"
to = ["partner"]
"""


@contextmanager
def database(set_up: SetUp, name: str, home: Path) -> Iterator[str]:
    """A database of its own, gone afterwards; yields its URL."""
    if not set_up.database_url:
        yield f"sqlite:///{home / 'carnet.db'}"
        return
    server = make_url(set_up.database_url)
    administer = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(administer, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        _run_in(connection)
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(administer, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _run_in(connection: psycopg.Connection) -> None:
    """Have the server make the files of its log, as one that has run for an hour has: it uses them again from then on.

    Only a superuser may; on a server of somebody else's they are as they are.
    """
    with suppress(psycopg.errors.InsufficientPrivilege):
        for _ in range(_LOG_FILES):
            connection.execute(
                "SELECT pg_logical_emit_message(false, 'carnet', ''), pg_switch_wal()"
            )
        connection.execute("CHECKPOINT")


def _await_ready(process: subprocess.Popen[str], log: Path) -> tuple[str, dict[int, str]]:
    """Wait for the line that says everything is up: the listener's address, and each role by process id."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
    line = process.stdout.readline() if readable else ""
    if not line:
        raise BenchError(f"Carnet did not become ready:\n{last_lines(log)}")
    said = json.loads(line)
    return said["ready"]["load"], {pid: role for role, pid in said["processes"].items()}


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask it to drain and end; its children end with it."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in reversed(tree(process.pid)):
            os.kill(pid, 9)
        process.wait()
