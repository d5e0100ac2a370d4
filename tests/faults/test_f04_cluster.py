"""F4 on a RabbitMQ cluster: it loses a node under load and heals, each node in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.database.engine import open_engine
from broker.drill.proof import by_patient
from broker.drill.record import filing_order
from tests.faults import load
from tests.faults.cluster import three_nodes
from tests.story.site import Site

MESSAGES = 5_000
NODES = 3


@pytest.mark.drill
@pytest.mark.timeout(600)
def test_f04_a_cluster_loses_each_node_in_turn_and_heals(
    tmp_path: Path, postgres_url: str, queue_prefix: str
) -> None:
    """Two nodes of three carry on; that they do so again without the next one shows that the first is healed."""
    home = tmp_path / "cluster"
    home.mkdir()
    with three_nodes(home) as cluster:
        site = Site(tmp_path, postgres_url, cluster.url, queue_prefix)
        site.write()
        with site.serving():
            for node in range(NODES):
                done = node * MESSAGES
                sending = load.start(
                    site.mllp,
                    tmp_path / f"sent{node}",
                    messages=MESSAGES,
                    connections=16,
                    kind="a08-sequence",
                )
                site.await_balance(lambda b, n=done + 300: b.get("filed", 0) >= n, 60)  # type: ignore[misc]
                cluster.kill(node)
                figures, acknowledged = sending.finish()
                balance = site.await_settled(done + MESSAGES, seconds=120)

                assert figures["refused"] == {}
                assert figures["lost_connections"] == figures["bad"] == figures["missing"] == 0
                assert balance["filed"] == done + MESSAGES
                assert sum(map(len, acknowledged.values())) == MESSAGES
                cluster.start(node)
                cluster.await_ready(node)

    engine = open_engine(site.database_url)
    filed = filing_order(engine)
    engine.dispose()
    for node in range(NODES):
        order = by_patient(filed[node * MESSAGES : (node + 1) * MESSAGES])
        assert [patient for patient, counts in order.items() if counts != sorted(counts)] == []
