"""A page of a record is read in the order of lists out of an index: its cost does not grow with the record."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine

from broker.database.engine import is_sqlite, reading
from broker.records import document_rows
from broker.records.looking import Want
from tests.broker import ledger

PLACE = (1_774_148_400_000_000, "019d137c-3380-70c3-b35d-28277bfc0ad2")
WANTS = {
    "newest first": Want(),
    "oldest first": Want(oldest_first=True),
    "with what was superseded": Want(only_current=False),
    "since a day": Want(since=ledger.START),
}


@pytest.mark.parametrize("position", [None, PLACE], ids=["first page", "later page"])
@pytest.mark.parametrize("want", WANTS.values(), ids=WANTS)
def test_a_record_is_read_in_its_order(
    empty_ledger: Engine, want: Want, position: tuple[int, str] | None
) -> None:
    with reading(empty_ledger) as connection:
        question = document_rows.wanted(connection, [7], want, position, 50, is_inclusive=True)
        plan = plan_of(connection, *question)

    assert "ix_document_order" in plan
    assert "Sort Key" not in plan
    assert "TEMP B-TREE" not in plan


def plan_of(connection: Connection, statement: str, given: tuple[object, ...]) -> str:
    """How the database would answer, as it says it."""
    explain = "EXPLAIN "
    if is_sqlite(connection):
        statement, explain = statement.replace("%s", "?"), "EXPLAIN QUERY PLAN "
    lines = connection.exec_driver_sql(explain + statement, given).all()
    return "\n".join(str(line[-1]) for line in lines)
