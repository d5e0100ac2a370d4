"""F7, F18: the same work and the same message again and again become one filing, and every sender gets its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from broker.database.engine import reading
from broker.records import tallies
from broker.unpacking import unpack
from broker.values import State
from tests.faults import house
from tests.faults.house import House, a08

STORM = 10_000
DEADLINE = 60.0


@pytest.fixture(params=["embedded", "services"])
def site(request: pytest.FixtureRequest, tmp_path: Path, queue_prefix: str) -> Iterator[House]:
    with ExitStack() as stack:
        if request.param == "embedded":
            url, queue = f"sqlite:///{tmp_path}/carnet.db", ""
        else:
            url = request.getfixturevalue("postgres_url")
            queue = request.getfixturevalue("amqp_url")
        yield stack.enter_context(
            house.opened(url, tmp_path, queue_url=queue, queue_prefix=queue_prefix)
        )


def until_filed(site: House, *control_ids: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while any(site.states().get(one) != State.FILED for one in control_ids):
        assert time.monotonic() < deadline, site.states()
        time.sleep(0.05)


def fates(site: House) -> dict[str, int]:
    unpack(site.engine, "test")
    with reading(site.engine) as connection:
        return {fate: n for (_, _, fate), n in tallies.fates(connection).items() if n}


def test_f07_work_that_the_queue_was_given_again_is_done_once(site: House) -> None:
    site.receive(a08("1"), a08("2"), a08("3", "4712"))
    for _ in range(4):  # a confirm that got lost: whoever published does it again
        site.queue.put("inbound", site.handed)

    with site.working():
        until_filed(site, "1", "2", "3")
        while site.queue.depth("inbound"):
            time.sleep(0.05)

    assert site.count("document") == 3
    assert site.count("audit_entry", "act = 'filed'") == 3
    assert fates(site) == {"received": 3, "filed": 3}


def test_f18_a_storm_of_one_message_is_answered_each_time_and_filed_once(site: House) -> None:
    receipts = [one for _ in range(10) for one in site.receive(*[a08("1")] * (STORM // 10))]

    with site.working():
        until_filed(site, "1")

    assert len(receipts) == STORM
    assert {one.outcome for one in receipts} == {"accepted"}
    assert {(one.message_id, one.first_received_at) for one in receipts} == {
        (receipts[0].message_id, receipts[0].first_received_at)
    }, "the first answer again"
    assert [one.duplicate for one in receipts].count(False) == 1
    assert site.count("document") == 1
    assert fates(site) == {"received": 1, "filed": 1, "duplicate_answered": STORM - 1}


@pytest.mark.parametrize(
    ("policy", "outcome", "fate"),
    [("accept", "accepted", "filed"), ("hold", "accepted", "held"), ("refuse", "refused", "")],
)
def test_f18_the_same_control_id_with_other_bytes_is_never_dropped_in_silence(
    site: House, policy: str, outcome: str, fate: str
) -> None:
    site.on_conflict = policy  # type: ignore[assignment]
    site.receive(a08("1"))

    (receipt,) = site.receive(a08("1", more="NTE|1||another\r"))

    assert (receipt.outcome, receipt.duplicate) == (outcome, False)
    with site.working():
        until_filed(site)
        deadline = time.monotonic() + DEADLINE
        while fates(site).get("in_flight"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    found = fates(site)
    if fate:
        assert found["received"] == 2
        assert found[fate] == (2 if fate == "filed" else 1)
    else:
        assert found["received"] == found["refused_at_door"] == 1
        assert receipt.code == "control_id.conflict"
