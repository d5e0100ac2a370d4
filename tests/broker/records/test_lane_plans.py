"""What is asked of lanes for each batch reads what is open, however much is settled and whatever was counted when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import Connection, Engine, event, text

from broker.database.engine import is_sqlite
from broker.records import lanes, messages, outbox
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


@pytest.fixture
def counted_when_closed(postgres_url: str) -> Iterator[Engine]:
    """A ledger that PostgreSQL counted at an hour when nothing was open; since then everything is."""
    engine = ledger.new(postgres_url)
    ledger.fill(engine, MESSAGES)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE message SET state = {int(State.FILED)}"))
        connection.execute(text("UPDATE delivery SET state = 'sent', settled_at = 1"))
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE message SET state = {int(State.RECEIVED)}"))
        connection.execute(
            text(
                "UPDATE delivery SET state = 'owed', settled_at = NULL, claimed_by = NULL, destination = 'mail'"
            )
        )
    yield engine
    engine.dispose()


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


def _filed(message: messages.Open) -> messages.Transition:
    return messages.Transition(message, State.FILED, ledger.START)


NAMED = 5
"""Rows that a statement is given by their keys."""

BY_KEY: dict[str, Callable[[Connection, Sequence[int], Sequence[int]], object]] = {
    "a worker reads": lambda connection, seqs, _: messages.claim(connection, seqs),
    "a worker locks": lambda connection, seqs, _: messages.lock(connection, seqs),
    "a worker settles": lambda connection, seqs, _: messages.transition(
        connection, [_filed(one) for one in messages.claim(connection, seqs)], "worker-0"
    ),
    "a courier takes": lambda connection, _, ids: outbox.claim(
        connection, "mail", ids, "courier", ledger.START, 100
    ),
    "a courier looks": lambda connection, _, ids: outbox.unsettled(connection, ids),
    "a courier finds": lambda connection, _, ids: outbox.interrupted(connection, "mail", ids),
    "nobody holds": lambda connection, _, ids: outbox.give_up(connection, ids, ledger.START),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_KEY)
def test_rows_that_are_named_are_found_by_their_key_however_many_are_open(
    counted_when_closed: Engine, name: str
) -> None:
    engine = counted_when_closed
    with engine.connect() as connection:
        seqs = connection.execute(text(f"SELECT seq FROM message ORDER BY seq DESC LIMIT {NAMED}"))
        ids = connection.execute(text(f"SELECT id FROM delivery ORDER BY id DESC LIMIT {NAMED}"))
        named = [int(row[0]) for row in seqs], [int(row[0]) for row in ids]
        connection.rollback()

        before = _rows_read(connection)
        BY_KEY[name](connection, *named)
        read = _rows_read(connection) - before
        connection.rollback()
    assert read <= 20 * NAMED


def _rows_read(connection: Connection) -> int:
    """Rows of messages and deliveries that this connection has read and not reported yet."""
    return int(
        connection.execute(
            text(
                "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables "
                r"WHERE relname LIKE 'message\_2%' OR relname LIKE 'delivery\_2%'"
            )
        ).scalar_one()
    )
