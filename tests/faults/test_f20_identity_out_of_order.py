"""F20: admissions, updates and merges out of order, merges of unknown patients and in circles, through the real pipeline.

The record is the same in the end, whatever the order in which independent messages arrived.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from broker.values import State
from tests.broker.identity_site import ONE_INS, a04, a40, adt, cx, members, oru, reasons, records
from tests.faults import house
from tests.faults.house import House

DEADLINE = 120.0

MESSAGES = {
    "admitted": adt("A01^ADT_A01", "admitted", cx("A"), more="PV1|1|I\r"),
    "updated": adt("A08^ADT_A01", "updated", cx("A"), more="PV1|1|I\r"),
    "of B": a04("of B", cx("B", ONE_INS)),
    "report": oru("report", cx("A")),
    "merge": a40("merge", cx("B"), cx("A")),
}
"""Independent of each other: each names its patient by that patient's own numbers."""


@pytest.fixture(params=["embedded", "services"])
def houses(
    request: pytest.FixtureRequest, tmp_path: Path, queue_prefix: str
) -> Iterator[tuple[House, House]]:
    """Two installations of one set-up: one for the messages in their order, one for another order."""
    with ExitStack() as stack:
        made = []
        for n, database in enumerate(("postgres_url", "other_postgres_url")):
            folder = tmp_path / str(n)
            folder.mkdir()
            url, queue = f"sqlite:///{folder}/carnet.db", ""
            if request.param == "services":
                url = request.getfixturevalue(database)
                queue = request.getfixturevalue("amqp_url")
            prefix = f"{queue_prefix}{n}"
            made.append(
                stack.enter_context(house.opened(url, folder, queue_url=queue, queue_prefix=prefix))
            )
        yield made[0], made[1]


def take(site: House, *batches: list[bytes]) -> None:
    """Receive and process batch after batch, with the installation's own queue and worker."""
    sent = 0
    with site.working() as working:
        for bodies in batches:
            site.receive(*bodies)
            sent += len(bodies)
            deadline = time.monotonic() + DEADLINE
            while not _is_settled(site, sent):
                assert working.error is None
                assert time.monotonic() < deadline, site.states()
                time.sleep(0.02)


def _is_settled(site: House, sent: int) -> bool:
    states = site.states()
    return len(states) == sent and all(state >= State.HELD for state in states.values())


@pytest.mark.timeout(400)
def test_f20_the_record_is_the_same_whatever_the_order(houses: tuple[House, House]) -> None:
    straight, shuffled = houses
    orders = list(permutations(MESSAGES.values()))
    order = Random(20).choice(orders[1:])
    take(straight, *[[one] for one in MESSAGES.values()])

    take(shuffled, *[[one] for one in order])

    assert records(straight.engine) == records(shuffled.engine)
    assert len(records(straight.engine)) == 1
    assert len(records(straight.engine)[0]["documents"]) == 4


@pytest.mark.timeout(400)
def test_f20_the_merge_first_and_all_else_in_one_batch(houses: tuple[House, House]) -> None:
    straight, shuffled = houses
    take(straight, list(MESSAGES.values()))

    rest = [body for name, body in MESSAGES.items() if name != "merge"]
    take(shuffled, [MESSAGES["merge"]], list(reversed(rest)))

    assert records(straight.engine) == records(shuffled.engine)
    assert reasons(shuffled.engine)["merge"] == "identity.merged"


@pytest.mark.timeout(400)
def test_f20_merges_in_a_circle_end_in_one_record_whoever_is_first(
    houses: tuple[House, House],
) -> None:
    one, other = houses
    circle = [a40("1", cx("B"), cx("A")), a40("2", cx("C"), cx("B")), a40("3", cx("A"), cx("C"))]
    papers = [a04("4", cx("A")), a04("5", cx("B")), a04("6", cx("C"))]
    take(one, [*circle, *papers])

    take(other, papers[1:], [circle[2]], [circle[0], papers[0]], [circle[1]])

    assert records(one.engine) == records(other.engine)
    assert len(members(one.engine, "A")) == 3
    for site in houses:
        said = [reasons(site.engine)[name] for name in "123"]
        assert sorted(said, key=str) == ["identity.circular", "identity.merged", "identity.merged"]
