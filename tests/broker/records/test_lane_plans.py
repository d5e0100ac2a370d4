"""What is asked of lanes for each batch reads what is open, however much is settled and whatever was counted when."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine, event, text

from broker.database.engine import is_sqlite
from broker.records import lanes
from broker.values import State
from tests.broker import ledger

MESSAGES = 3_000
LANES = (1, 2, 3)


@pytest.fixture
def settled(empty_ledger: Engine) -> Engine:
    """A ledger counted at an hour when nothing was open, as autovacuum does; since then every second message is."""
    ledger.fill(empty_ledger, MESSAGES)
    for state, where in (
        (State.RECEIVED, ""),
        (State.FILED, ""),
        (State.WAITING, " WHERE seq % 2 = 0"),
    ):
        if where:
            with empty_ledger.begin() as connection:
                connection.execute(text("ANALYZE"))
        with empty_ledger.begin() as connection:
            connection.execute(text(f"UPDATE message SET state = {int(state)}{where}"))
    return empty_ledger


ASKED = {
    "heads": lambda connection: lanes.unsettled_heads(connection, dict.fromkeys(LANES, 2)),
    "oldest": lanes.unsettled,
}


@pytest.mark.parametrize("name", ASKED)
def test_only_the_index_of_what_is_asked_for_is_read(settled: Engine, name: str) -> None:
    sent = []
    with settled.connect() as connection:
        event.listen(
            settled, "before_cursor_execute", lambda _c, _k, said, given, *_: sent.append((said, given))
        )  # fmt: skip
        ASKED[name](connection)
        is_lite = is_sqlite(connection)
        explain = "EXPLAIN QUERY PLAN " if is_lite else "EXPLAIN "
        plans = [
            "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + said, given))
            for said, given in list(sent)
            if "FROM message" in said and "state < 10" in said
        ]

    assert len(plans) == 1
    (plan,) = plans
    index = "USING (COVERING )?INDEX ix_message" if is_lite else "_lane_seq_idx on message_202611 "
    assert re.search(index, plan), plan
    assert "_pkey on message_202611 " not in plan, plan
    assert "PRIMARY KEY" not in plan, plan
