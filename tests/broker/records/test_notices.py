"""Notices in rows, on both databases: written with their cause, gathered, never lost; and F29, the mirror."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import Connection, Engine, text

from broker.access import Entry, Viewer
from broker.database.engine import reading, writing
from broker.reconcile import mirror
from broker.records import notice_check, notices
from broker.records import reading as record_reading
from broker.records.notices import Settled
from broker.records.traces import keep_visit, latest
from tests.broker.records import record
from tests.broker.records.record import RULES, WRITE

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
DAY = 20261110
TOMORROW = datetime(2026, 11, 10, 23, 0, tzinfo=UTC)
PHYSICIAN = Viewer(
    kind="professional",
    id="899900000011",
    profession="MEDECIN",
    structure="CHU",
    consent="explicit",
)


def look(engine: Engine, viewer: Viewer, patient: int, now: datetime = NOW) -> None:
    record_reading.listing(engine, viewer, patient, decide=RULES.reading, trail=WRITE, now=now)


def told(engine: Engine, patient: int) -> list[tuple[str, int, str, datetime]]:
    with reading(engine) as connection:
        rows = notices.listing(connection, patient=patient, limit=500)
    return sorted((row.kind, row.lines, row.state, row.due_at) for row in rows)


def test_not_01_the_first_access_is_due_at_once_and_names_its_entry(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)

    look(empty_ledger, PHYSICIAN, patient)

    assert told(empty_ledger, patient) == [("first_access", 1, "due", NOW)]
    with reading(empty_ledger) as connection:
        named = connection.execute(
            text("SELECT a.act FROM notice n JOIN audit_entry a ON a.n = n.audit_n")
        ).scalar_one()
    assert named == "document_listed"


def test_not_02_further_accesses_of_a_day_are_told_together(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)

    for minutes in (0, 10, 200, 400):
        look(empty_ledger, PHYSICIAN, patient, NOW + timedelta(minutes=minutes))
    look(empty_ledger, PHYSICIAN, patient, NOW + timedelta(days=1))

    assert told(empty_ledger, patient) == [
        ("access", 1, "due", TOMORROW + timedelta(days=1)),
        ("access", 3, "due", TOMORROW),
        ("first_access", 1, "due", NOW),
    ]


def test_an_access_after_the_notice_was_sent_makes_it_due_again(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    for minutes in (0, 1):
        look(empty_ledger, PHYSICIAN, patient, NOW + timedelta(minutes=minutes))
    with writing(empty_ledger) as connection:
        taken = notices.claim(connection, TOMORROW, 10)
    look(empty_ledger, PHYSICIAN, patient, NOW + timedelta(minutes=2))

    with writing(empty_ledger) as connection:
        notices.settle(connection, [Settled(row.id, "sent", TOMORROW) for row in taken])

    states = {kind: (lines, state) for kind, lines, state, _ in told(empty_ledger, patient)}
    assert states == {"first_access": (1, "sent"), "access": (2, "due")}


def test_the_holders_own_looks_are_told_to_nobody(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)

    look(empty_ledger, Viewer(kind="patient", id=str(patient)), patient)

    assert told(empty_ledger, patient) == []


def test_emg_04_an_emergency_access_is_due_at_once(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    look(empty_ledger, PHYSICIAN, patient)
    urgent = Viewer(
        kind="professional", id=PHYSICIAN.id, profession="MEDECIN", mode="bris_de_glace", motive="coma"
    )  # fmt: skip

    look(empty_ledger, urgent, patient, NOW + timedelta(minutes=3))

    assert ("emergency_access", 1, "due", NOW + timedelta(minutes=3)) in told(empty_ledger, patient)


def test_emg_04_the_medecin_traitant_has_a_notice_beside_each_of_the_holders(
    empty_ledger: Engine,
) -> None:
    patient = record.person(empty_ledger)
    urgent = Viewer(
        kind="professional", id=PHYSICIAN.id, profession="MEDECIN", mode="bris_de_glace", motive="coma"
    )  # fmt: skip
    look(empty_ledger, PHYSICIAN, patient)
    for minutes in (3, 4):
        look(empty_ledger, urgent, patient, NOW + timedelta(minutes=minutes))

    due = [one for one in told(empty_ledger, patient) if one[0].startswith("emergency")]
    with reading(empty_ledger) as connection:
        holds = list(mirror(connection, DAY))
    with writing(empty_ledger) as connection:
        connection.execute(text("DELETE FROM notice WHERE kind = 'emergency_traitant'"))
    with reading(empty_ledger) as connection:
        lost = list(mirror(connection, DAY))

    since = NOW + timedelta(minutes=3)
    assert due == [("emergency_access", 2, "due", since), ("emergency_traitant", 2, "due", since)]
    assert holds == []
    assert [finding.check for finding in lost] == ["access.mirror"]


def test_nobody_has_a_notice_that_another_has_in_hand(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    look(empty_ledger, PHYSICIAN, patient)

    with writing(empty_ledger) as connection:
        first = notices.claim(connection, NOW, 10)
        second = notices.claim(connection, NOW, 10)
        back = notices.put_back(connection, NOW + timedelta(minutes=15))

    assert (len(first), len(second), back) == (1, 0, 1)


@pytest.mark.timeout(600)
def test_f29_for_ten_thousand_random_accesses_the_mirror_holds_and_any_gap_is_found(
    sqlite_ledger: Engine,
) -> None:
    random = Random(29)
    patients = [record.person(sqlite_ledger, f"P{n}") for n in range(40)]
    viewers = [
        Viewer(
            kind="professional",
            id=f"8999000{n:05d}",
            profession="MEDECIN",
            structure="CHU",
            consent="explicit",
        )
        for n in range(30)
    ]
    viewers += [Viewer(kind="operator", id="jd"), PHYSICIAN]
    begin = datetime(2026, 11, 9, 23, 0, tzinfo=UTC)
    with writing(sqlite_ledger) as connection:
        for n in range(10_000):
            viewer, patient = random.choice(viewers), random.choice(patients)
            now = begin + timedelta(seconds=86_399 * n / 10_000)
            _access(connection, viewer, patient, now)

    with reading(sqlite_ledger) as connection:
        found = notice_check.count(connection, DAY)
        holds = list(mirror(connection, DAY))

    sums = [sum(side.values()) for side in (found.entries, found.lines, found.notices)]
    assert sums == [10_000] * 3
    assert holds == []
    for gap in (
        "DELETE FROM access_line WHERE visit = (SELECT max(visit) FROM access_line)",
        "UPDATE notice SET lines = lines + 1 WHERE id = (SELECT min(id) FROM notice WHERE kind = 'access')",
    ):
        with writing(sqlite_ledger) as connection:
            connection.execute(text(gap))
        with reading(sqlite_ledger) as connection:
            (finding,) = mirror(connection, DAY)
        assert finding.check == "access.mirror"
        assert finding.patients


def _access(connection: Connection, viewer: Viewer, patient: int, now: datetime) -> None:
    """One look, as `records.reading` leaves it: a line of a visit and an entry, in one transaction."""

    keep_visit(connection, viewer, patient, now, latest(connection, viewer, patient), read="0" * 8)
    entry = Entry(
        act="body_revealed" if viewer.kind == "operator" else "document_read",
        at=now, actor_kind=viewer.kind, actor=viewer.id, subject="d", patient=patient,
    )  # fmt: skip
    WRITE(connection, [entry], now)
