"""The clock's jobs in one process: what happens where one takes longer than its interval."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from broker.contracts import QueueOptions
from broker.schedule import Job, Schedule
from broker.telemetry import Telemetry, hearing_libraries
from queues.embedded import QUEUE


def test_a_job_that_takes_longer_than_its_interval_is_no_news(empty_ledger: Engine) -> None:
    stream = io.StringIO()
    telemetry = Telemetry("scheduler", stream=stream)
    queue = QUEUE.open(
        f"embedded+{empty_ledger.url.render_as_string(hide_password=False)}", QueueOptions()
    )
    stop, others = threading.Event(), threading.Event()
    quick = 0

    def slow() -> None:
        others.wait(60)

    def beside() -> None:
        nonlocal quick
        quick += 1
        if quick == 10:
            others.set()

    schedule = Schedule(
        empty_ledger, queue, telemetry, lambda: datetime.now(UTC),
        sweep_every=timedelta(hours=1), sweep_grace=timedelta(hours=1), seal_every=timedelta(hours=1),
        more=lambda _: (
            Job(slow, timedelta(seconds=0.1), is_slow=True),
            Job(beside, timedelta(seconds=0.1)),
        ),
    )  # fmt: skip
    running = threading.Thread(target=schedule.run, args=(stop,))
    with hearing_libraries(telemetry):
        running.start()
        assert others.wait(60)
        stop.set()
        running.join(60)
    queue.close()

    assert not running.is_alive()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == []
