"""The address of a RabbitMQ, or of all nodes of a cluster."""

from __future__ import annotations

import pytest

from broker.contracts import QueueOptions
from broker.errors import SetupError
from queues.rabbitmq_link import nodes_of

CLUSTER = "amqp://carnet:p%2Cw@one:5671,two:5672,three/hospital"


def test_each_node_is_reached_as_the_address_says() -> None:
    nodes = nodes_of(CLUSTER, QueueOptions())
    assert [(one.host, one.port) for one in nodes] == [
        ("one", 5671),
        ("two", 5672),
        ("three", 5672),
    ]
    assert {one.virtual_host for one in nodes} == {"hospital"}
    assert {(one.credentials.username, one.credentials.password) for one in nodes} == {
        ("carnet", "p,w")
    }


def test_consumers_begin_with_different_nodes_and_know_all() -> None:
    begun = [nodes_of(CLUSTER, QueueOptions(consumer=k, consumers=4)) for k in range(4)]
    assert [nodes[0].host for nodes in begun] == ["one", "two", "three", "one"]
    assert all({one.host for one in nodes} == {"one", "two", "three"} for nodes in begun)


@pytest.mark.parametrize("url", ["amqp://a:port/", "amqp://a:1,b:port/"])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SetupError, match=r"queue\.url") as refused:
        nodes_of(url, QueueOptions())
    assert "host:5672,host:5672" in refused.value.hint
