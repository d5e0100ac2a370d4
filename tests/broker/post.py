"""A ledger with deliveries owed to one destination, and couriers to send them: for tests of delivery."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine, text

from adapters.mllp_client import MllpDestination, MllpDestinationSettings
from broker import plugins, retry
from broker.circuit import Circuit, CircuitPolicy
from broker.contracts import Destination, Queue, QueueOptions, Work
from broker.courier_journal import Journal
from broker.database.engine import reading, writing
from broker.delivery import Courier, Manner
from broker.records import outbox
from broker.records.patients import PatientRow
from broker.telemetry import Telemetry
from broker.values import Lane
from tests.broker.records import record

QUICK = retry.Policy(base=timedelta(milliseconds=20), max_delay=timedelta(milliseconds=50))
NEVER = CircuitPolicy(failures=0)
DEADLINE = 30.0


def message(control_id: str, patient: str = "1") -> bytes:
    return f"MSH|^~\\&|A|B|C|D|20261125||ADT^A08|{control_id}|P|2.5\rPID|1||{patient}\r".encode()


class Killed(BaseException):
    """What ends a courier as SIGKILL does: nothing is told to anybody."""


@dataclass
class Post:
    """A ledger with deliveries owed to one destination, and couriers to send them."""

    engine: Engine
    queue: Queue
    folder: Path
    telemetry: Telemetry
    log: io.StringIO
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    name: str = "dmp"
    numbers: dict[str, int] = field(default_factory=dict)

    def owe(self, control_ids: list[str], lanes: list[int]) -> None:
        """Owe one message a control id; each in the lane beside it."""
        now = self.clock()
        seqs = record.received(self.engine, len(lanes), b"MSH|", now)
        media = "x-application/hl7-v2+er7"
        rows = [
            outbox.Owed(seq, None, self.name, Lane(lane), "new", media, message(one, str(lane)))
            for seq, one, lane in zip(seqs, control_ids, lanes, strict=True)
        ]
        with writing(self.engine) as connection:
            numbers = outbox.owe(connection, rows, now)
        self.numbers |= dict(zip(control_ids, numbers, strict=True))
        work = [Work(n, Lane(lane)) for n, lane in zip(numbers, lanes, strict=True)]
        self.queue.put(f"outbound.{self.name}", work)

    def reopen(self) -> None:
        """As after the end of a process: its connection to the queue is gone, and what it had leased comes back."""
        self.queue.close()
        self.queue = queue_of(self.engine)

    def courier(
        self,
        destination: Destination,
        *,
        circuit: CircuitPolicy = NEVER,
        boot: str = "boot",
        **manner: Any,
    ) -> Courier:
        return Courier(
            self.name,
            destination,
            Manner(**{"retry": QUICK} | manner),
            Circuit(circuit, Random(1).random),
            Journal(self.folder / f"{self.name}.journal", boot),
            engine=self.engine,
            queue=self.queue,
            refusal=refusal,
            telemetry=self.telemetry,
            clock=self.clock,
            random=Random(1),
        )

    @contextmanager
    def running(self, courier: Courier) -> Iterator[None]:
        """The courier at work on a thread of its own; stopped, and its end awaited."""
        stop = threading.Event()
        thread = threading.Thread(target=until_killed, args=(courier, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def states(self) -> dict[str, str]:
        """Control id -> state of its delivery."""
        with reading(self.engine) as connection:
            rows = connection.execute(text("SELECT id, state FROM delivery")).all()
        found = {row.id: row.state for row in rows}
        return {control_id: found[number] for control_id, number in self.numbers.items()}

    def attempts(self) -> dict[str, list[str]]:
        """Control id -> outcomes of its attempts, in order."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                text("SELECT delivery_id, outcome FROM attempt ORDER BY delivery_id, number")
            ).all()
        return {
            control_id: [row.outcome for row in rows if row.delivery_id == number]
            for control_id, number in self.numbers.items()
        }

    def until(self, is_so: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, (self.states(), self.attempts())
            time.sleep(0.01)

    def until_settled(self) -> None:
        self.until(lambda: not any(s == "owed" for s in self.states().values()))


def refusal(patient: PatientRow) -> str | None:
    decision = record.RULES.filing(patient)
    return None if decision.allowed else decision.reason


def until_killed(courier: Courier, stop: threading.Event) -> None:
    try:
        courier.run(stop)
    except Killed:
        stop.wait(DEADLINE)


def queue_of(engine: Engine) -> Queue:
    url = f"embedded+{engine.url.render_as_string(hide_password=False)}"
    return plugins.queue_for(url, plugins.queues()).open(url, QueueOptions(partitions=1))


@contextmanager
def opened(engine: Engine, folder: Path) -> Iterator[Post]:
    """A post on an empty ledger, with a queue of its own."""
    log = io.StringIO()
    telemetry = Telemetry("courier", strict=True, stream=log)
    made = Post(engine, queue_of(engine), folder / "couriers", telemetry, log)
    yield made
    made.queue.close()


def mllp(port: int, **settings: Any) -> MllpDestination:
    quick = {"connect_timeout": timedelta(seconds=2), "answer_timeout": timedelta(seconds=5)}
    return MllpDestination(
        "dmp", MllpDestinationSettings(host="127.0.0.1", port=port, **quick | settings)
    )
