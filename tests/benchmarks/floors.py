"""The floors: what this machine's disk, database and message broker can do when asked in the plainest way.

    python -m tests.benchmarks.floors --folder /var/tmp [--database URL] [--amqp URL]

One process, one connection, 1 KB at a time, each made durable before the next: commits of PostgreSQL and of SQLite
(WAL, synchronous=FULL), confirmed publishes to a quorum queue of RabbitMQ, appends with fdatasync. Prints one JSON object
of rates per second. What Carnet does better than a floor it does by batches; the floors say how much.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pika
import psycopg
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from sqlalchemy.engine import make_url

_KILOBYTE = b"x" * 1024
_SECONDS = 1.5
_WINDOW = 100


def fdatasync_per_second(folder: Path, seconds: float = _SECONDS) -> float:
    """Appends of 1 KB, each followed by fdatasync."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        descriptor = file.fileno()

        def append() -> None:
            os.write(descriptor, _KILOBYTE)
            os.fdatasync(descriptor)

        return _rate(append, seconds)


def sqlite_commits_per_second(folder: Path, seconds: float = _SECONDS) -> float:
    """Transactions of one row in WAL mode, on the disk when they return."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        database = sqlite3.connect(Path(inside) / "floor.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE floor (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        try:
            return _rate(
                lambda: database.execute("INSERT INTO floor (body) VALUES (?)", (_KILOBYTE,)),
                seconds,
            )
        finally:
            database.close()


def postgres_commits_per_second(url: str, seconds: float = _SECONDS) -> float:
    """Transactions of one row, with synchronous_commit on."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("DROP TABLE IF EXISTS carnet_floor")
        connection.execute(
            "CREATE TABLE carnet_floor (n bigserial PRIMARY KEY, body bytea NOT NULL)"
        )
        insert = "INSERT INTO carnet_floor (body) VALUES (%s)"
        try:
            return _rate(lambda: connection.execute(insert, (_KILOBYTE,), prepare=True), seconds)
        finally:
            connection.execute("DROP TABLE carnet_floor")


def publishes_per_second(url: str, seconds: float = _SECONDS) -> float:
    """Persistent messages to a quorum queue, each confirmed before the next is sent."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    _declare_quorum(channel.queue_declare)
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)
    try:
        return _rate(
            lambda: channel.basic_publish("", "carnet_floor", _KILOBYTE, properties), seconds
        )
    finally:
        channel.queue_delete("carnet_floor")
        connection.close()


def window_publishes_per_second(url: str, seconds: float = _SECONDS) -> float:
    """The same with 100 confirms in flight. Raises RuntimeError when the broker refuses or leaves."""
    publisher = _WindowPublisher(url, seconds)
    publisher.connection.ioloop.start()
    if publisher.elapsed == 0:
        raise RuntimeError("RabbitMQ ended the measurement")
    return publisher.confirmed / publisher.elapsed


class _WindowPublisher:
    """Keeps `_WINDOW` messages unconfirmed, for some seconds."""

    def __init__(self, url: str, seconds: float) -> None:
        self.confirmed = 0
        self.elapsed = 0.0
        self._sent = 0
        self._seconds = seconds
        self._begun = 0.0
        self._properties = pika.BasicProperties(delivery_mode=2)
        self.connection = SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=lambda connection, _error: connection.ioloop.stop(),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        _declare_quorum(
            lambda **given: channel.queue_declare(callback=lambda _frame: self._start(), **given)
        )

    def _start(self) -> None:
        self._channel.confirm_delivery(self._confirm, callback=lambda _frame: self._publish())
        self._begun = time.perf_counter()

    def _publish(self) -> None:
        while self._sent - self.confirmed < _WINDOW:
            self._channel.basic_publish("", "carnet_floor", _KILOBYTE, self._properties)
            self._sent += 1

    def _confirm(self, frame: pika.frame.Method) -> None:
        tag = frame.method.delivery_tag
        self.confirmed = tag if frame.method.multiple else self.confirmed + 1
        if time.perf_counter() - self._begun < self._seconds:
            self._publish()
        elif self.confirmed == self._sent:
            self.elapsed = time.perf_counter() - self._begun
            self._channel.queue_delete(
                "carnet_floor", callback=lambda _frame: self.connection.close()
            )


def _declare_quorum(declare: Callable[..., object]) -> None:
    declare(queue="carnet_floor", durable=True, arguments={"x-queue-type": "quorum"})


def _rate(act: Callable[[], object], seconds: float) -> float:
    """How often a second `act` can be done; the first hundred times do not count."""
    for _ in range(100):
        act()
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        act()
        count += 1
    return count / elapsed


def measure(folder: Path, database: str = "", amqp: str = "") -> dict[str, float]:
    """Every floor that can be measured with what is given; a larger figure is better."""
    floors = {
        "fdatasync": fdatasync_per_second(folder),
        "sqlite_commits": sqlite_commits_per_second(folder),
    }
    if database:
        floors["postgres_commits"] = postgres_commits_per_second(database)
    if amqp:
        floors["publishes_one_by_one"] = publishes_per_second(amqp)
        floors["publishes_window_100"] = window_publishes_per_second(amqp)
    return floors


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="floors", description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="on the disk to measure")
    parser.add_argument("--database", default=os.environ.get("CARNET_TEST_DATABASE_URL", ""))
    parser.add_argument("--amqp", default=os.environ.get("CARNET_TEST_AMQP_URL", ""))
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.folder, options.database, options.amqp)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
