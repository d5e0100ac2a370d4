"""F4 and F6: RabbitMQ stopped under load, and its queues emptied by hand; the ledger puts the work back."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from broker.contracts import QueueOptions
from broker.database.engine import open_engine
from broker.drill.proof import by_patient
from broker.drill.record import filing_order
from queues.rabbitmq import QUEUE
from tests.conftest import RabbitNode
from tests.faults import load
from tests.story.site import Site

MESSAGES = 4_000
AWAY_SECONDS = float(os.environ.get("CARNET_TEST_AWAY_SECONDS", "8"))


@pytest.mark.timeout(420)
def test_f04_rabbitmq_away_under_load_loses_nothing_and_keeps_each_patients_order(
    tmp_path: Path, postgres_url: str, rabbit_node: RabbitNode, queue_prefix: str
) -> None:
    site = Site(tmp_path, postgres_url, rabbit_node.url, queue_prefix)
    site.write()
    away = threading.Event()
    with site.serving():
        sending = load.start(
            site.mllp, tmp_path / "sent", messages=MESSAGES, connections=16, kind="a08-sequence"
        )
        rabbit_node.stop()
        away.wait(AWAY_SECONDS)
        rabbit_node.start()

        figures, acknowledged = sending.finish()
        balance = site.await_settled(MESSAGES, seconds=180)

    assert figures["refused"] == {}
    assert figures["lost_connections"] == figures["bad"] == figures["missing"] == 0
    assert balance["filed"] == MESSAGES
    engine = open_engine(site.database_url)
    order = by_patient(filing_order(engine))
    engine.dispose()
    assert sum(map(len, order.values())) == sum(map(len, acknowledged.values())) == MESSAGES
    assert [patient for patient, counts in order.items() if counts != sorted(counts)] == []


@pytest.mark.timeout(240)
def test_f06_purged_queues_are_filled_again_from_the_ledger(
    tmp_path: Path, postgres_url: str, amqp_url: str, queue_prefix: str
) -> None:
    site = Site(tmp_path, postgres_url, amqp_url, queue_prefix)
    site.write()
    with site.serving("gateway"):
        sending = load.start(site.mllp, tmp_path / "sent", messages=500, connections=8)
        sending.finish()
    queue = QUEUE.open(site.queue_url, QueueOptions(prefix=site.prefix))
    queue.purge("inbound")
    assert queue.depth("inbound") == 0
    queue.close()

    with site.serving():
        balance = site.await_settled(500, seconds=120)

    assert balance["filed"] == balance["received"] == 500
