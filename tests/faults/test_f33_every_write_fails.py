"""F33: the write of each table in turn fails. Nothing is ever done that was not written, and it goes on afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from broker import operating
from broker.acts import Act
from broker.database.engine import reading
from broker.database.schema import metadata
from broker.records import messages_reading
from broker.unpacking import unpack
from broker.values import State
from tests.faults import house
from tests.faults.house import House, a08

PARTNER = """
[destination.partner]
adapter = "file_drop"
folder = "{folder}"

[[route]]
name = "everything"
to = ["partner"]
"""
RECEIVING = {
    "sqlite": ("audit_entry", "control", "message", "message_body", "tally_day"),
    "postgresql": ("control", "reception"),
}
"""Without which nothing is accepted. PostgreSQL makes the rows of a packed reception later."""
FILING = (
    "audit_entry", "business_key", "delivery", "document", "document_payload", "flow_minute", "message", "patient",
    "patient_identifier", "tally_day",
)  # fmt: skip
DEADLINE = 60.0
_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "partner"
    folder.mkdir()
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/carnet.db"
    else:
        url = request.getfixturevalue("postgres_url")
    with house.opened(url, tmp_path, PARTNER.format(folder=folder)) as made:
        yield made


@contextmanager
def refusing(engine: Engine, table: str) -> Iterator[None]:
    """Nothing can be inserted into, or changed in, one table."""
    if engine.dialect.name == "sqlite":
        make = [
            f"CREATE TRIGGER refuse_{what} BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"
            for what in ("INSERT", "UPDATE")
        ]
        undo = ["DROP TRIGGER refuse_INSERT", "DROP TRIGGER refuse_UPDATE"]
    else:
        make = [
            _REFUSE,
            f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()",
        ]
        undo = [f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse()"]
    _run(engine, make)
    try:
        yield
    finally:
        _run(engine, undo)


def _run(engine: Engine, statements: list[str]) -> None:
    """On a connection of its own: psycopg forgets what is prepared on one that dropped something."""
    beside = create_engine(engine.url, poolclass=NullPool)
    with beside.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    beside.dispose()


def until(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def _filed(site: House) -> bool:
    return site.states().get("1") == State.FILED


def _file(site: House) -> None:
    with site.working():
        until(lambda: _filed(site), site.states)
    assert (site.count("document"), site.count("audit_entry", "act = 'filed'")) == (1, 1)


@pytest.mark.parametrize(
    ("site", "table"),
    [(name, table) for name, tables in RECEIVING.items() for table in tables],
    indirect=["site"],
)
def test_f33_what_could_not_be_stored_was_not_accepted(site: House, table: str) -> None:
    with refusing(site.engine, table):
        (receipt,) = site.receive(a08("1"))

    assert receipt.outcome == "refused"
    assert receipt.retry_after is not None, "the sender is to come back"
    (again,) = site.receive(a08("1"))
    assert again.outcome == "accepted"
    _file(site)


@pytest.mark.parametrize("table", FILING)
def test_f33_what_could_not_be_filed_is_never_done(site: House, table: str) -> None:
    (receipt,) = site.receive(a08("1"))
    unpack(site.engine, "test")  # whose rows these are is not what is to fail here
    assert receipt.outcome == "accepted"

    with refusing(site.engine, table), site.working() as worker:
        until(
            lambda: (
                worker.ended.is_set()
                or "filing_stopped" in site.said.getvalue()
                or site.states()["1"] == State.PARKED
            ),
            site.states,
        )
        during = (site.count("document"), site.count("delivery"), _filed(site))
        is_parked = site.states()["1"] == State.PARKED

    assert during == (0, 0, False), "all of it or nothing"
    # It lives on; only one that cannot note in the trail which mapping set it takes up does not start.
    assert worker.error is None or table == "audit_entry"
    if is_parked:
        # Whatever else could be written says so: the message waits for a person, and there is an alert.
        assert site.count("message", "reason = 'internal' AND reason_place IS NOT NULL") == 1
        _release(site)
    site.sweep()
    _file(site)
    assert site.count("delivery") == 1


def _release(site: House) -> None:
    with reading(site.engine) as connection:
        (line,) = messages_reading.listing(connection, state=State.PARKED).lines
    done = operating.release_parked(site.engine, [line.seq], Act("jd", "mended", site.clock()))
    site.queue.put("inbound", done.inbound)


def test_every_table_that_is_written_is_in_the_matrix(site: House) -> None:
    site.receive(a08("1"))
    _file(site)

    written = {table.name for table in metadata.tables.values() if site.count(table.name)}
    received = RECEIVING["sqlite"] + RECEIVING["postgresql"]
    beside = {"counter", "mapping_set", "source_now", "coverage", "schema_floor"}
    assert written - set(received) - set(FILING) <= beside
