"""Transactions on PostgreSQL: who only reads cannot write, and no plan outlives its connection for long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from broker.database.engine import PLANS_LAST_SECONDS, open_engine, reading, writing

COUNT = text("INSERT INTO counter (name, value) VALUES ('probe', 1)")


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """An engine of one connection: whoever is next has it from whoever was before."""
    made = open_engine(postgres_url, pool_size=1)
    yield made
    made.dispose()


def test_a_reading_writes_nothing_and_leaves_the_connection_as_it_was(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="read-only"), reading(engine) as connection:
        connection.execute(COUNT)

    with writing(engine) as connection:
        connection.execute(COUNT)
    with reading(engine) as connection:
        found = connection.execute(text("SELECT value FROM counter WHERE name = 'probe'"))
        assert found.scalar() == 1


def test_a_reading_needs_no_statement_of_its_own(engine: Engine) -> None:
    """Every page and every batch begins with one: it would be one more way to the server and back."""
    said: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda _c, _u, said_now, *_: said.append(said_now)
    )

    with reading(engine) as connection:
        mode = connection.execute(text("SELECT current_setting('transaction_read_only')")).scalar()

    assert mode == "on"
    assert said == ["SELECT current_setting('transaction_read_only')"]


def test_a_connection_and_its_plans_are_made_anew_after_a_while(engine: Engine) -> None:
    def server() -> int:
        with reading(engine) as connection:
            return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    first = server()
    assert server() == first

    with engine.connect() as connection:
        record = connection.connection._connection_record
        assert record is not None
        record.starttime -= PLANS_LAST_SECONDS + 1
    assert server() != first
