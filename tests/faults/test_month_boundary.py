"""A month ends under load, while the partitions of an old one are dropped: nobody fails, nobody waits for it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.database import partitions
from broker.database.engine import reading, writing
from broker.records.archiving import month_text
from broker.values import SEQ_MONTH_SHIFT, State, month_of
from tests.broker.test_retention import OCTOBER, opened
from tests.faults.house import a08

pytestmark = pytest.mark.drill

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
ROUNDS = 40


def test_a_month_ends_while_messages_come_and_an_old_one_is_dropped(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with opened(request, tmp_path, "postgresql") as kept:
        kept.take_in("old", at=OCTOBER)
        kept.owe("old")
        kept.clock.now = NEW_YEAR - timedelta(seconds=1)
        with writing(kept.house.engine) as connection:
            partitions.ensure(connection, kept.clock.now)
        pruned: list[object] = []

        with kept.house.working() as working:
            pruning = threading.Thread(target=lambda: pruned.append(kept.keeper().run()))
            for number in range(ROUNDS):
                kept.house.receive(*(a08(f"{number}-{p}", patient=str(8000 + p)) for p in range(5)))
                kept.clock.now += timedelta(seconds=2 / ROUNDS)
                if number == ROUNDS // 3:
                    pruning.start()
            pruning.join(60)
            deadline = time.monotonic() + 120
            while set(kept.house.states().values()) != {State.FILED}:
                assert time.monotonic() < deadline and not working.ended.is_set(), working.error  # noqa: PT018
                time.sleep(0.1)

        states = kept.house.states()
        months = kept.house.count("message", f"seq >> {SEQ_MONTH_SHIFT} = {month_of(NEW_YEAR)}")
        with reading(kept.house.engine) as connection:
            there = partitions.existing(connection)
        day = (kept.prove(20261231), kept.prove(20270101))
    assert len(pruned) == 1
    assert len(states) == ROUNDS * 5
    assert 0 < months < ROUNDS * 5
    assert f"message_{month_text(month_of(OCTOBER)).replace('-', '')}" not in there
    assert [one.findings for one in day] == [[], []]
