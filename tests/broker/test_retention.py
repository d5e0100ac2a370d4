"""F37 and beside it: what is old is archived, then pruned, and read back as it was; what is not settled stays."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from broker import archive_reading, archiving, installation
from broker.archive.shelf import DATA, INDEX, MANIFEST, Shelf
from broker.audit import verify as trail_verify
from broker.database import partitions, space
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.reconcile import Reconciliation, reconcile
from broker.records import correlations, expectations, outbox
from broker.records.archiving import month_text
from broker.retention import Keeper, Report
from broker.settings_retention import SHORTEST
from broker.settings_tables import Retention
from broker.unpacking import unpack
from broker.values import Lane, State, month_of
from tests.faults import house
from tests.faults.house import House, a08

OCTOBER = datetime(2024, 10, 15, 9, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 12, tzinfo=UTC)
YEAR = Retention(messages=timedelta(days=366))


@dataclass
class Clock:
    now: datetime = OCTOBER

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Kept:
    """A house whose messages are two years old."""

    house: House
    clock: Clock
    shelf: Shelf
    ids: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def take_in(self, *names: str, at: datetime, more: str = "") -> None:
        """Receive and file messages of a day."""
        self.clock.now = at
        with writing(self.house.engine) as connection:
            partitions.ensure(connection, at)
        for name in names:
            self.bodies[name] = a08(name, patient=f"7{len(self.bodies)}", more=more)
        receipts = self.house.receive(*(self.bodies[name] for name in names))
        self.ids |= {name: str(one.message_id) for name, one in zip(names, receipts, strict=True)}
        unpack(self.house.engine, "test")
        pipeline = self.house.pipeline()
        with reading(self.house.engine) as connection:
            rows = connection.execute(text("SELECT seq FROM message WHERE state = 1 ORDER BY seq"))
            seqs = [int(row.seq) for row in rows]
        pipeline.process(seqs)

    def owe(self, name: str, state: str = "sent", answer: bytes = b"MSA|AA") -> int:
        """Owe a message to a partner, tried once, with that end."""
        seq = self.seq(name)
        row = outbox.Owed(seq, None, "partner", Lane(seq), "new", "x", body=b"prepared " + name.encode())  # fmt: skip
        with writing(self.house.engine) as connection:
            (number,) = outbox.owe(connection, [row], self.clock())
            outcome = {"sent": "sent", "parked": "refused", "unknown": "unknown"}[state]
            now = self.clock()
            outbox.claim(connection, "partner", [number], "test", now, 1)
            outbox.note(connection, [outbox.Ended(number, "partner", 1, now, now, outcome, answer=answer)])  # fmt: skip
        return number

    def seq(self, name: str) -> int:
        with reading(self.house.engine) as connection:
            found = connection.execute(
                text("SELECT seq FROM message WHERE control_id = :c"), {"c": name}
            )
            return int(found.scalar_one())

    def keep(self, retention: Retention = YEAR, at: datetime = LATER) -> Report:
        """Archive and prune as at a later day."""
        self.clock.now = at
        with writing(self.house.engine) as connection:
            partitions.ensure(connection, at)
        return self.keeper(retention).run()

    def keeper(self, retention: Retention = YEAR) -> Keeper:
        return Keeper(self.house.engine, self.shelf, retention, self.house.telemetry, self.clock)

    def prove(self, day: int) -> Reconciliation:
        return reconcile(
            self.house.engine, day, zone=self.house.given.site.zone, now=self.clock(), shelf=self.shelf
        )  # fmt: skip

    def read(self, name: str) -> bytes:
        """The bytes of a message, from the archive that has it."""
        with reading(self.house.engine) as connection:
            (place,) = archive_reading.where(connection, self.shelf, self.ids[name])
        found = self.shelf.message(place.archive, place.entry)
        return archiving.bytes_of(found)


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Path, database: str) -> Iterator[Kept]:
    url = f"sqlite:///{folder}/carnet.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    clock = Clock()
    with house.opened(url, folder, clock=clock) as made:
        shelf = Shelf(folder / "archive", installation.archive_key(made.given))
        yield Kept(made, clock, shelf)


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with opened(request, tmp_path, request.param) as made:
        yield made


def test_f37_a_pruned_message_is_read_back_from_the_archive_byte_for_byte(kept: Kept) -> None:
    kept.take_in("A", "B", at=OCTOBER)
    kept.owe("A")
    kept.take_in("C", at=datetime(2026, 11, 24, 9, tzinfo=UTC))
    assert kept.prove(20241015).findings == []

    report = kept.keep()

    assert [(one.name, one.messages, one.deliveries) for one in report.archived] == [
        ("2024-10-0001", 2, 1)
    ]
    assert report.pruned == [("2024-10-0001", "messages")]
    assert set(kept.house.states()) == {"C"}
    assert (kept.house.count("delivery"), kept.house.count("attempt")) == (0, 0)
    assert kept.house.count("message_body") == kept.house.count("control") == 1
    assert [kept.read("A"), kept.read("B")] == [kept.bodies["A"], kept.bodies["B"]]


def test_the_balance_of_a_pruned_day_closes_and_finds_what_no_archive_has(kept: Kept) -> None:
    kept.take_in("A", "B", at=OCTOBER)
    kept.owe("A")
    kept.keep()

    result = kept.prove(20241015)
    assert result.closes, result.findings
    assert result.counts == {"received": 2, "filed": 2} or result.received == 2

    with writing(kept.house.engine) as connection:
        connection.execute(text("DELETE FROM archive_day"))
    assert {one.check for one in kept.prove(20241015).findings} == {"tally", "archive"}
    kept.shelf.path("2024-10-0001", INDEX).unlink()
    assert {one.check for one in kept.prove(20241015).findings} == {"tally", "archive", "message"}


def test_what_is_not_settled_stays_and_stops_nothing_else(kept: Kept) -> None:
    kept.take_in("filed", "held", "parked", "unknown", "refused", at=OCTOBER)
    kept.take_in("next", at=datetime(2024, 11, 5, 9, tzinfo=UTC))
    kept.owe("unknown", "unknown")
    kept.owe("refused", "parked")
    with writing(kept.house.engine) as connection:
        for name, state in (("held", State.HELD), ("parked", State.PARKED)):
            connection.execute(
                text(f"UPDATE message SET state = {int(state)} WHERE control_id = '{name}'")
            )

    report = kept.keep()

    assert set(kept.house.states()) == {"held", "parked", "unknown", "refused"}
    assert report.left == {month_of(OCTOBER): 4}
    assert [one.name for one in report.archived] == ["2024-10-0001", "2024-11-0001"]
    assert kept.house.count("delivery") == 2
    assert kept.house.count("message_body") == kept.house.count("control") == 4

    with writing(kept.house.engine) as connection:
        connection.execute(text(f"UPDATE message SET state = {int(State.FILED)} WHERE control_id = 'held'"))  # fmt: skip
        connection.execute(text("UPDATE message SET state = 15 WHERE control_id = 'parked'"))
        connection.execute(text("UPDATE delivery SET state = 'discarded', settled_at = 1"))
    again = kept.keep()

    assert [(one.name, one.messages) for one in again.archived] == [("2024-10-0002", 4)]
    assert kept.house.states() == {}
    assert kept.house.count("delivery") == kept.house.count("control") == 0
    assert kept.read("unknown") == kept.bodies["unknown"]


def test_each_bound_takes_its_own_part_and_leaves_the_rest(kept: Kept) -> None:
    kept.take_in("A", at=OCTOBER)
    kept.owe("A")
    day = timedelta(days=1)
    retention = Retention(raw=100 * day, deliveries=200 * day, messages=400 * day)

    assert kept.keep(retention, OCTOBER + 90 * day) == Report()
    assert kept.keep(retention, OCTOBER + 150 * day).pruned == [("2024-10-0001", "bodies")]
    assert (kept.house.count("message_body"), kept.house.count("prepared")) == (0, 1)
    assert kept.prove(20241015).findings == []
    assert kept.keep(retention, OCTOBER + 250 * day).pruned == [("2024-10-0001", "deliveries")]
    assert (kept.house.count("prepared"), kept.house.count("attempt")) == (0, 1)
    assert kept.house.count("attempt", "answer IS NOT NULL") == 0
    assert kept.prove(20241015).findings == []
    assert kept.keep(retention, OCTOBER + 450 * day).pruned == [("2024-10-0001", "messages")]
    assert kept.house.states() == {}
    assert kept.prove(20241015).findings == []
    assert kept.read("A") == kept.bodies["A"]


def test_a_delivery_stays_while_its_answer_is_awaited_and_leaves_with_it(kept: Kept) -> None:
    kept.take_in("answered", "awaited", at=OCTOBER)
    for name, state in (("answered", "answered"), ("awaited", "overdue")):
        number = kept.owe(name)
        with writing(kept.house.engine) as connection:
            expectations.write(connection, [expected(number, state)])
            correlations.add(connection, [(number, ("msh10+sender", f"{name}|a|b"))])

    kept.keep()

    assert set(kept.house.states()) == {"awaited"}
    assert kept.house.count("expectation") == kept.house.count("correlation") == 1
    assert kept.prove(20241015).findings == []
    with reading(kept.house.engine) as connection:
        (place,) = archive_reading.where(connection, kept.shelf, kept.ids["answered"])
    (owed,) = kept.shelf.message(place.archive, place.entry)["deliveries"]
    assert [one["state"] for one in owed["expectations"]] == ["answered"]

    with writing(kept.house.engine) as connection:
        connection.execute(text("UPDATE expectation SET state = 'void'"))
    kept.keep()

    assert kept.house.states() == {}
    assert kept.house.count("expectation") == kept.house.count("correlation") == 0
    assert kept.prove(20241015).findings == []


def expected(delivery: int, state: str) -> expectations.Expectation:
    return expectations.Expectation(delivery, "application", "partner", OCTOBER, state=state)


def test_without_a_bound_nothing_is_ever_pruned(kept: Kept) -> None:
    kept.take_in("A", at=OCTOBER)

    assert kept.keep(Retention()) == Report()
    assert set(kept.house.states()) == {"A"}
    assert not kept.shelf.folder.exists()


def test_ret_09_records_trail_and_tallies_outlive_the_messages(kept: Kept) -> None:
    kept.take_in("A", "B", at=OCTOBER)
    before = {table: kept.house.count(table) for table in ("document", "content", "tally_day", "patient")}  # fmt: skip
    received = kept.house.count("audit_entry", "act = 'received'")

    kept.keep()

    assert {table: kept.house.count(table) for table in before} == before
    assert kept.house.count("audit_entry", "act = 'received'") == received
    assert kept.house.count("audit_entry", "act IN ('archived', 'pruned')") == 2
    assert trail_verify.verify(kept.house.engine).bad is None


@pytest.mark.parametrize("kind", [DATA, INDEX])
@pytest.mark.parametrize("fault", ["gone", "altered"])
def test_nothing_is_pruned_of_an_archive_that_is_not_as_it_was_written(
    kept: Kept, kind: str, fault: str
) -> None:
    kept.take_in("A", at=OCTOBER)
    day = timedelta(days=1)
    retention = Retention(raw=100 * day, messages=400 * day)
    kept.keep(retention, OCTOBER + 150 * day)
    path = kept.shelf.path("2024-10-0001", kind)
    if fault == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))

    report = kept.keep(retention, OCTOBER + 450 * day)

    assert report.refused == {"2024-10-0001": {"gone": "archive.away", "altered": "archive.altered"}[fault]}  # fmt: skip
    assert report.pruned == []
    assert set(kept.house.states()) == {"A"}


def test_a_message_whose_bytes_are_lost_is_not_hidden_in_an_archive(kept: Kept) -> None:
    kept.take_in("A", "B", at=OCTOBER)
    seq = kept.seq("A")
    with writing(kept.house.engine) as connection:
        connection.execute(text(f"DELETE FROM message_body WHERE seq = {seq}"))

    report = kept.keep()

    assert report.left == {month_of(OCTOBER): 1}
    assert set(kept.house.states()) == {"A"}
    assert {one.check for one in kept.prove(20241015).findings} == {"bytes"}


def test_the_files_are_for_their_owner_only_and_hold_nothing_readable(kept: Kept) -> None:
    kept.take_in("A", at=OCTOBER)
    kept.keep()

    assert stat.S_IMODE(kept.shelf.folder.stat().st_mode) == 0o700
    files = sorted(kept.shelf.folder.iterdir())
    assert [one.name for one in files] == [f"2024-10-0001{kind}" for kind in (DATA, INDEX, MANIFEST)]  # fmt: skip
    for one in files:
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        for word in (b"EXEMPLE", b"JEANNE", b"MSH|", b"HOPITAL_ESSAI"):
            assert word not in one.read_bytes()


def test_partitions_of_a_pruned_month_are_gone(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    suffix = month_text(month_of(OCTOBER)).replace("-", "")
    with opened(request, tmp_path, "postgresql") as kept:
        kept.take_in("A", at=OCTOBER)
        kept.owe("A")

        kept.keep()

        with reading(kept.house.engine) as connection:
            left = {one for one in partitions.existing(connection) if one.endswith(f"_{suffix}")}
    assert left == {f"audit_entry_{suffix}"}


def test_ret_09_the_shortest_retention_prunes_what_it_may_and_no_entry_of_the_trail(
    kept: Kept,
) -> None:
    kept.take_in("A", "B", at=OCTOBER)
    kept.owe("A")
    told = kept.house.count("audit_entry")
    short = Retention(messages=SHORTEST, raw=SHORTEST, deliveries=SHORTEST)

    kept.keep(short, at=LATER + timedelta(days=366 * 120))

    assert kept.house.count("message") == kept.house.count("message_body") == 0
    assert kept.house.count("audit_entry", "act NOT IN ('archived', 'pruned')") == told
    assert trail_verify.verify(kept.house.engine).bad is None
    with pytest.raises(SetupError, match=r"the trail is never pruned \(RET-09\)") as caught:
        partitions.drop(kept.house.engine, "audit_entry_202410")
    assert (caught.value.code, caught.value.where) == ("retention.trail", "audit_entry_202410")
    assert kept.house.count("audit_entry", "act = 'filed'") == 2


def test_the_file_of_a_pruned_database_is_shorter(tmp_path: Path, request: pytest.FixtureRequest) -> None:  # fmt: skip
    chance = Random(1)
    with opened(request, tmp_path, "sqlite") as kept:
        for n in range(4):
            long = "".join(f"ZXX|{m}||{chance.randbytes(400).hex()}\r" for m in range(60))
            kept.take_in(*(f"{n}-{m}" for m in range(50)), at=OCTOBER, more=long)
        space.give_back(kept.house.engine)
        before = (tmp_path / "carnet.db").stat().st_size

        kept.keep()

        assert (tmp_path / "carnet.db").stat().st_size < before / 2
