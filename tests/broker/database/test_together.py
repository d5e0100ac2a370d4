"""Statements that travel together survive what happens to their connection in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from broker.database.engine import open_engine, writing
from broker.database.together import ExpectationError, ask, together, writing_together


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """An engine of one connection: whoever is next has it from whoever was before."""
    made = open_engine(postgres_url, pool_size=1)
    yield made
    made.dispose()


def count(engine: Engine) -> int:
    with writing_together(engine) as connection:
        ((found,),) = ask(connection, [("SELECT 40 + %s::int", (2,))])[0]
    return int(found)


def _fail(engine: Engine) -> None:
    with writing(engine) as connection:
        for _ in range(8):  # the driver prepares what comes often, and at a rollback forgets it all
            connection.execute(text("SELECT 1"))
        raise ValueError("no")


def test_a_transaction_that_was_rolled_back_in_between_costs_nothing(engine: Engine) -> None:
    assert count(engine) == 42
    with pytest.raises(ValueError, match="no"):
        _fail(engine)

    assert count(engine) == 42


def test_what_an_unmet_expectation_left_unprepared_is_prepared_the_next_time(
    engine: Engine,
) -> None:
    def insert(expected: bool) -> int:
        with writing_together(engine) as connection:
            statements = together(connection)
            assert statements is not None
            statements.expect_none("SELECT 1 WHERE %s::boolean", ("f" if expected else "t",))
            return int(ask(connection, [("SELECT 7 * %s::int", (6,))])[0][0][0])

    with pytest.raises(ExpectationError):
        insert(expected=False)

    assert insert(expected=True) == 42
