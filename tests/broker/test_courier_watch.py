"""One destination's courier that ends by an error is started again alone; the others do not notice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from broker.courier_watch import CourierWatch, Hired
from broker.database.engine import reading, writing
from broker.envelope import Envelope, Receipt
from broker.records import destinations
from tests.broker.partner import Partner
from tests.broker.post import DEADLINE, Post, mllp, opened, queue_of

SHORT = timedelta(milliseconds=20)


@dataclass
class Defective:
    """A destination whose `close` and journal are fine, and whose courier meets an error that nobody foresaw."""

    times: int
    taken: list[bytes] = field(default_factory=list)

    def deliver(self, envelope: Envelope) -> Receipt:
        self.taken.append(envelope.body)
        return Receipt(outcome="accepted", code="AA")

    def close(self) -> None:
        return


@contextmanager
def watched(post: Post, hire: Callable[[], Hired]) -> Iterator[CourierWatch]:
    """A watch on a thread of its own, stopped at the end."""
    stop = threading.Event()
    watch = CourierWatch(
        post.name, hire, post.engine, post.telemetry, lambda: datetime.now(UTC), SHORT
    )
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()


def troubled(engine: Engine) -> dict[str, str]:
    with reading(engine) as connection:
        return {one.destination: one.circuit for one in destinations.troubled(connection)}


def test_it_is_started_again_and_what_it_had_sent_is_not_sent_twice(
    empty_ledger: Engine, tmp_path: Path
) -> None:
    with opened(empty_ledger, tmp_path) as post:
        refuse(empty_ledger)
        partner = Defective(1)
        hired: list[int] = []

        def hire() -> Hired:
            hired.append(1)
            queue = queue_of(empty_ledger)
            post.queue, mine = queue, post.queue
            mine.close()
            return Hired(post.courier(partner).run, lambda: None)

        post.owe(["one"], [1])
        with watched(post, hire):
            post.until(lambda: post.log.getvalue().count('"destination_failed"') >= 3)
            assert troubled(empty_ledger) == {"dmp": "failed"}
            allow(empty_ledger)
            post.until(lambda: post.states() == {"one": "sent"})
            post.until(lambda: '"destination_back"' in post.log.getvalue())
            post.until(lambda: troubled(empty_ledger) == {})

        assert len(partner.taken) == 1
        assert len(hired) >= 4


def test_another_destination_goes_on_meanwhile(empty_ledger: Engine, tmp_path: Path) -> None:
    def hopeless() -> Hired:
        def run(_stop: threading.Event, _going: Callable[[], None]) -> None:
            raise RuntimeError("defect")

        return Hired(run, lambda: None)

    with opened(empty_ledger, tmp_path) as good, opened(empty_ledger, tmp_path / "b") as bad:
        bad.name, partner = "other", Partner()
        good.owe(["one"], [1])

        with watched(bad, hopeless), good.running(good.courier(mllp(partner.port))):
            bad.until(lambda: bad.log.getvalue().count('"destination_failed"') >= 2)
            good.until_settled()

        partner.close()
        assert good.states() == {"one": "sent"}
        assert "defect" not in bad.log.getvalue(), "an error's text may hold anything"


def test_what_a_process_before_said_to_have_failed_is_said_to_be_back(
    empty_ledger: Engine, tmp_path: Path
) -> None:
    with opened(empty_ledger, tmp_path) as post:
        with writing(empty_ledger) as connection:
            destinations.failed(connection, post.name, "courier.failed", datetime.now(UTC))

        with watched(post, lambda: Hired(post.courier(Defective(0)).run, lambda: None)):
            post.until(lambda: '"destination_back"' in post.log.getvalue())
            post.until(lambda: troubled(empty_ledger) == {})

        assert post.log.getvalue().count('"destination_back"') == 1


def refuse(engine: Engine) -> None:
    """Let no attempt be written: nothing that a courier foresees."""
    _run(engine, *_REFUSE[engine.dialect.name][0])


def allow(engine: Engine) -> None:
    _run(engine, *_REFUSE[engine.dialect.name][1])


def _run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


_REFUSE = {
    "sqlite": (
        ["CREATE TRIGGER refuse BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'refused'); END"],
        ["DROP TRIGGER refuse"],
    ),
    "postgresql": (
        [
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON attempt EXECUTE FUNCTION refuse()",
        ],
        ["DROP TRIGGER refuse ON attempt", "DROP FUNCTION refuse()"],
    ),
}  # fmt: skip
