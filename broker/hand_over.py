"""Hand stored messages to the queue, on one thread that owns its connection.

The answer to the sender does not wait for this: the row is the truth. When the queue is away the work is let go and
the sweep puts it back from the ledger, so an outage costs memory nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from broker import fault_points
from broker.contracts import Queue, Work
from broker.errors import CarnetError
from broker.telemetry import Telemetry

_PAUSE_SECONDS = 1.0
_REST_SECONDS = 0.2


class HandOver:
    """Call it from any thread with (topic, work); it never blocks and never raises."""

    def __init__(self, open_queue: Callable[[], Queue], telemetry: Telemetry) -> None:
        self._open_queue = open_queue
        self._telemetry = telemetry
        self._waiting: SimpleQueue[tuple[str, Sequence[Work]] | None] = SimpleQueue()
        self._away = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hand-over", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def __call__(self, topic: str, work: Sequence[Work]) -> None:
        self._waiting.put((topic, work))

    def stop(self) -> None:
        """Hand over what is waiting, then end the thread."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        queue = self._open_queue()
        try:
            while True:
                item = self._waiting.get()
                fault_points.reach("intake.answered")
                batch, ended = self._gather(item)
                for topic, work in batch.items():
                    self._put(queue, topic, work)
                if ended:
                    return
                # What comes meanwhile goes together: a publish and its fsync cost the same for one id as for five
                # hundred, and nobody waits for it. What comes alone does not wait.
                self._stopping.wait(_REST_SECONDS)
        finally:
            queue.close()

    def _gather(
        self, item: tuple[str, Sequence[Work]] | None
    ) -> tuple[dict[str, list[Work]], bool]:
        """Everything that is waiting now, by topic, and whether the end was among it."""
        batch: dict[str, list[Work]] = {}
        while item is not None:
            batch.setdefault(item[0], []).extend(item[1])
            try:
                item = self._waiting.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _put(self, queue: Queue, topic: str, work: Sequence[Work]) -> None:
        try:
            fault_points.reach("queue.publishing")
            queue.put(topic, work)
            fault_points.reach("queue.confirmed")
        except Exception as error:  # noqa: BLE001 - the top of a thread that has to go on: the ledger knows the work
            code = error.code if isinstance(error, CarnetError) else "internal"
            if not self._away:
                self._telemetry.emit("queue_unavailable", topic=topic, code=code)
            self._away = True
            self._stopping.wait(_PAUSE_SECONDS)
        else:
            if self._away:
                self._telemetry.emit("queue_back", topic=topic)
            self._away = False
