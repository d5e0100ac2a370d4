"""Intake, pipeline and worker in one process, on a real database and queue: for faults that a socket cannot cause."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from sqlalchemy import Engine, text

from broker import app, installation, plugins, settings
from broker.contracts import Queue, Work
from broker.database import migrate
from broker.database.engine import open_engine, reading
from broker.envelope import Envelope, Receipt
from broker.intake import Intake, Limits
from broker.pipeline import Pipeline
from broker.reception import OnConflict
from broker.schedule import Sweep
from broker.telemetry import Telemetry
from broker.values import State
from broker.worker import Worker

Clock = Callable[[], datetime]


def a08(control_id: str, patient: str = "4711", more: str = "") -> bytes:
    """An update of an invented patient."""
    return (
        f"MSH|^~\\&|WARD|H|CARNET|R|20261125100000||ADT^A08^ADT_A01|{control_id}|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
        f"EVN||20261125100000\r"
        f"PID|1||{patient}^^^HOPITAL_ESSAI&1.2.250.1.999.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19800101|F\r"
        f"PV1|1|I|MATER\r{more}"
    ).encode()


@dataclass
class Working:
    """A worker at work: whether it ended, and what it died of."""

    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


@dataclass
class House:
    """One installation, its doors opened one after the other."""

    engine: Engine
    given: settings.Settings
    queue: Queue
    telemetry: Telemetry
    clock: Clock = lambda: datetime.now(UTC)
    handed: list[Work] = field(default_factory=list)
    on_conflict: OnConflict = "accept"
    said: StringIO = field(default_factory=StringIO)
    """What the worker's log says of errors."""

    def receive(self, *bodies: bytes) -> list[Receipt]:
        """Take messages in, all at the same moment, and hand their work to the queue."""

        async def run() -> list[Receipt]:
            handed: list[Work] = []
            intake = Intake(
                self.engine,
                writer="gateway-0",
                zone=self.given.site.zone,
                key=installation.digest_key(self.given),
                on_conflict=lambda _: self.on_conflict,
                hand_over=handed.extend,
                telemetry=self.telemetry,
                clock=self.clock,
                limits=Limits(),
            )
            running = asyncio.create_task(intake.run())
            now = self.clock()
            envelopes = [Envelope(source="ward", body=body, received_at=now) for body in bodies]
            receipts = [await one for one in [intake.accept(e) for e in envelopes]]
            intake.close()
            await running
            intake.stop()
            self.queue.put("inbound", handed)
            self.handed += handed
            return receipts

        return asyncio.run(run())

    def pipeline(self) -> Pipeline:
        """A worker's pipeline on the house's clock."""
        return app.pipeline_of(
            self.given, self.engine, self.telemetry, "worker-0", clock=self.clock
        )

    def worker(self) -> Worker:
        """A worker that looks for ten messages at a time."""
        return Worker(self.pipeline(), self.queue, self.telemetry, batch=10)

    def sweep(self) -> None:
        """Put back what the queue has lost, as the scheduler does."""
        Sweep(self.engine, self.queue, self.telemetry, self.clock, timedelta(0)).inbound()

    @contextmanager
    def working(self) -> Iterator[Working]:
        """A worker on a thread of its own, until the block ends or it dies."""
        stop, found = threading.Event(), Working()

        def run() -> None:
            try:
                self.worker().run(stop)
            except Exception as error:  # noqa: BLE001 - a process would end here, and be started again
                found.error = error
            found.ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join(60)

    def states(self) -> dict[str, State]:
        """Control id -> where its message stands."""
        with reading(self.engine) as connection:
            rows = connection.execute(text("SELECT control_id, state FROM message")).all()
        return {row.control_id: State(row.state) for row in rows}

    def count(self, table: str, where: str = "1 = 1") -> int:
        """How many rows a table has."""
        with reading(self.engine) as connection:
            found = connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}"))
            return int(found.scalar_one())


@contextmanager
def opened(
    database_url: str,
    folder: Path,
    more: str = "",
    clock: Clock | None = None,
    queue_url: str = "",
    queue_prefix: str = "carnet",
) -> Iterator[House]:
    """A house on an empty database; with the embedded queue, where no other is named."""
    config = folder / "carnet.toml"
    config.write_text(
        f'[site]\ndata_folder = "{folder}"\n[database]\nurl = {{ env = "HOUSE" }}\n[telemetry]\nlisten = ""\n'
        f'[queue]\nurl = {{ env = "QUEUE" }}\nprefix = "{queue_prefix}"\n'
        f'[source.ward]\nadapter = "mllp"\nport = 0\n{more}'
    )
    given = settings.load(
        config,
        adapters=plugins.adapters(),
        queues=plugins.queues(),
        environ={"HOUSE": database_url, "QUEUE": queue_url or "embedded"},
    )
    engine = open_engine(given.database.url)
    migrate.upgrade(engine, (clock or app.utc_now)())
    queue = plugins.open_queue(given)
    said = StringIO()
    house = House(engine, given, queue, Telemetry("worker", level="error", stream=said), said=said)
    if clock is not None:
        house.clock = clock
    try:
        yield house
    finally:
        queue.close()
        engine.dispose()
