"""F33 for couriers: what was sent and could not be noted is noted by the next courier, and not sent again."""

from __future__ import annotations

import time

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.broker.partner import Partner
from tests.faults.house import a08
from tests.story.site import Site

DEADLINE = 60.0
_REFUSE = {
    "sqlite": (
        [
            "CREATE TRIGGER refuse BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ],
        ["DROP TRIGGER refuse"],
    ),
    "postgresql": (
        [
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON attempt EXECUTE FUNCTION refuse()",
        ],
        ["DROP TRIGGER refuse ON attempt", "DROP FUNCTION refuse()"],
    ),
}


def test_f33_an_answer_that_cannot_be_noted_is_noted_once_it_can(site: Site) -> None:
    partner = Partner()
    site.write(
        f"""
[destination.partner]
adapter = "mllp"
host = "127.0.0.1"
port = {partner.port}

[[route]]
name = "everything"
to = ["partner"]
"""
    )
    engine = create_engine(site.database_url, poolclass=NullPool)
    make, undo = _REFUSE[engine.dialect.name]

    def run(statements: list[str]) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def settled() -> str:
        with engine.connect() as connection:
            return str(connection.execute(text("SELECT state FROM delivery")).scalar())

    def until_state(wanted: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while settled() != wanted:
            assert time.monotonic() < deadline, settled()
            time.sleep(0.1)

    log = site.folder / "serve.log"
    with site.serving():
        run(make)
        site.send_mllp(a08("1"))
        deadline = time.monotonic() + DEADLINE
        while not partner.got or log.read_text().count('"destination_failed"') < 2:
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        assert settled() == "owed", "nothing is done that was not written"
        run(undo)
        until_state("sent")

    partner.close()
    engine.dispose()
    assert partner.control_ids == ["1"]
