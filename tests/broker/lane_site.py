"""A small installation in this process: what is received goes through the real pipeline when the test says so.

No listener and no thread: `receive`, `work`, `deliver` are steps of a test. People are invented.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from broker import app, installation, plugins, settings
from broker.acts import Act
from broker.circuit import Circuit, CircuitPolicy
from broker.contracts import INBOUND, Destination, Queue, Work
from broker.correlating import Expects
from broker.courier_journal import Journal
from broker.database import migrate, together
from broker.database.engine import open_engine, reading, writing
from broker.delivery import Courier, Manner
from broker.envelope import Envelope, Receipt
from broker.glance import glance
from broker.reception import Arrival, Reception
from broker.reconcile import Reconciliation, reconcile
from broker.records import lane_names, message_detail, messages, messages_reading
from broker.retry import Policy
from broker.schedule import Sweep
from broker.settings import Settings
from broker.telemetry import Telemetry
from broker.unpacking import unpack
from broker.values import MessageId, State
from broker.worker import Worker

PARIS = ZoneInfo("Europe/Paris")
MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"


def adt(patient: str, control_id: str, *, also: str = "", kind: str = "ADT^A04") -> bytes:
    """An admission of an invented patient, named by a local number.

    Naming `also` another known patient's number has it held (identity.conflict); a deletion (`kind`) is
    parked (identity.event_unsupported).
    """
    numbers = [f"{one}^^^CHU&1.2.250.1.999.1.1&ISO^PI" for one in (patient, also) if one]
    return (
        f"MSH|^~\\&|GAM|CHU|CARNET|CHU|20261123100000||{kind}|{control_id}|P|2.5|||||FRA|UNICODE UTF-8\r"
        f"EVN||20261123100000\rPID|||{'~'.join(numbers)}||EXEMPLE^JEANNE^^^^^L||19540201|F\rPV1||O\r"
    ).encode()


DELETION = "ADT^A29"


@dataclass
class Partner:
    """A destination that a test scripts: what it says to each body; accepts by default."""

    says: Callable[[bytes], Exception | None] = lambda _: None
    taken: list[bytes] = field(default_factory=list)

    def deliver(self, envelope: Envelope) -> Receipt:
        failure = self.says(envelope.body)
        if failure is not None:
            raise failure
        self.taken.append(envelope.body)
        return Receipt(outcome="accepted", code="AA")

    def close(self) -> None:
        return


class LaneSite:
    """One installation with a destination `dmp` that is sent every message as it came."""

    def __init__(self, folder: Path, url: str, mappings: Path = MAPPINGS) -> None:
        file = folder / "carnet.toml"
        (folder / "database").write_text(url, encoding="utf-8")
        file.write_text(
            f'[site]\ndata_folder = "{folder}"\n[database]\nurl = {{ file = "{folder / "database"}" }}\n[telemetry]\nlisten = ""\n'
            f'[mappings]\nfolders = ["{mappings}"]\n'
            '[source.ward]\nadapter = "mllp"\nport = 0\n'
            f'[destination.dmp]\nadapter = "file_drop"\nfolder = "{folder / "out"}"\nsends = "original"\n'
            '[[route]]\nname = "all"\nto = ["dmp"]\n',
            encoding="utf-8",
        )
        self.folder, self.url, self.file = folder, url, file
        self.settings: Settings = settings.load(
            file, adapters=plugins.adapters(), queues=plugins.queues()
        )
        self.engine: Engine = open_engine(url)
        self.now = datetime.now(UTC)
        migrate.upgrade(self.engine, self.now)
        self.telemetry = Telemetry("worker", writer="0", stream=StringIO())
        self.queue: Queue = plugins.open_queue(self.settings)
        self.pipeline = app.pipeline_of(self.settings, self.engine, self.telemetry, "worker-0")
        self.worker = Worker(self.pipeline, self.queue, self.telemetry, batch=50)
        self.key = installation.digest_key(self.settings)
        self.reception = Reception(
            self.engine,
            writer="gateway-0",
            zone=PARIS,
            key=self.key,
            on_conflict=lambda _: "hold",
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self.partner = Partner()

    def clock(self) -> datetime:
        """Rises with every look, so that nothing happens at the same instant."""
        self.now = max(self.now + timedelta(milliseconds=1), datetime.now(UTC))
        return self.now

    def close(self) -> None:
        self.queue.close()
        self.engine.dispose()

    def receive(self, *bodies: bytes, to_queue: bool = True) -> list[MessageId]:
        """Store messages as a gateway does, in one commit."""
        loop = asyncio.new_event_loop()
        batch = []
        for body in bodies:
            envelope = Envelope(source="ward", body=body, received_at=self.clock())
            batch.append(Arrival(envelope, glance(envelope, self.key), loop.create_future()))
        answers = self.reception.store(batch, together.block, lambda: None)
        loop.close()
        if to_queue:
            self.queue.put(INBOUND, [work for _, work in answers if work is not None])
        return [MessageId(receipt.message_id) for receipt, _ in answers]

    def work(self) -> None:
        """Let a worker do all that the queue has."""
        while (lease := self.queue.take(INBOUND, 50, timedelta())) is not None:
            self.worker.work(lease)

    def sweep(self) -> None:
        """Put back what the queue lost, as the scheduler does."""
        queue_clock = lambda: self.now + timedelta(hours=1)  # noqa: E731
        Sweep(self.engine, self.queue, self.telemetry, queue_clock).inbound()

    def courier(
        self,
        destination: Destination | None = None,
        *,
        name: str = "dmp",
        expects: Expects | None = None,
        retry: Policy = Policy(),  # noqa: B008 - frozen
        failures: int = 0,
    ) -> Courier:
        return Courier(
            name,
            destination or self.partner,
            Manner(retry=retry, expects=expects),
            Circuit(CircuitPolicy(failures=failures), Random(7).random),
            Journal(self.settings.site.data_folder / "couriers" / f"{name}.journal", "boot"),
            engine=self.engine,
            queue=self.queue,
            refusal=lambda _patient: None,
            telemetry=self.telemetry,
            clock=self.clock,
            random=Random(7),
        )

    def act(self, why: str = "ticket 4711", by: str = "jd") -> Act:
        return Act(by, why, self.clock())

    def state(self, message_id: str) -> State:
        return self.detail(message_id).line.state

    def detail(self, message_id: str) -> message_detail.Detail:
        unpack(self.engine, "command")
        with reading(self.engine) as connection:
            found = message_detail.detail(connection, message_id)
        assert found is not None
        return found

    def lane(self, message_id: str) -> lane_names.LaneName:
        return lane_names.filing(self.detail(message_id).lane)

    def states(self, *ids: str) -> list[str]:
        return [self.state(one).name.lower() for one in ids]

    def put(self, inbound: Sequence[Work]) -> None:
        if inbound:
            self.queue.put(INBOUND, inbound)

    def rows(self, statement: str, **given: Any) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(text(statement), given).all())

    def spoil(self, statement: str, **given: Any) -> None:
        """Change a row behind everybody's back."""
        with writing(self.engine) as connection:
            connection.execute(text(statement), given)

    def prove(self) -> Reconciliation:
        """Count the day again."""
        return reconcile(self.engine, messages.day_of(self.now, PARIS), zone=PARIS, now=self.now)

    def balance(self) -> messages_reading.Balance:
        with reading(self.engine) as connection:
            return messages_reading.balance(connection)
