"""The balance is proved by counting again; each thing that may disagree is broken once and must be found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from broker.database.engine import writing
from broker.reconcile import Reconciliation, reconcile
from broker.values import State
from tests.broker import ledger

AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
DAY = 20261110


def rows() -> list[ledger.Row]:
    """A quiet day: three filed, one filtered, one parked, one held."""
    return [
        ledger.one(1, AT, State.FILED),
        ledger.one(2, AT, State.FILED),
        ledger.one(3, AT, State.FILED, source="lab01"),
        ledger.one(4, AT, State.FILTERED, reason="account.opposed"),
        ledger.one(5, AT, State.PARKED, reason="mapping.none"),
        ledger.one(6, AT, State.HELD, reason="identity.conflict"),
    ]


def prove(engine: Engine, day: int = DAY) -> Reconciliation:
    return reconcile(engine, day, zone=ledger.PARIS, now=AT + timedelta(hours=1))


def checks(engine: Engine, day: int = DAY) -> set[str]:
    return {finding.check for finding in prove(engine, day).findings}


@pytest.fixture
def quiet(empty_ledger: Engine) -> Engine:
    with writing(empty_ledger) as connection:
        ledger.write(connection, rows(), rows()[0].seq)
    return empty_ledger


def spoil(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(statement))


def test_a_day_that_agrees_closes(quiet: Engine) -> None:
    result = prove(quiet)

    assert result.findings == []
    assert result.received == 6
    assert result.counts == {"received": 6, "filed": 3, "filtered": 1, "parked": 1, "held": 1}


def test_a_day_without_messages_closes(quiet: Engine) -> None:
    assert prove(quiet, 20261109).received == 0
    assert prove(quiet, 20261109).closes


def test_a_tally_that_is_off_by_one_is_found_with_its_source(quiet: Engine) -> None:
    spoil(quiet, "UPDATE tally_day SET n = n + 1 WHERE fate = 'filed' AND source = 'lab01'")

    found = {finding.check: finding for finding in prove(quiet).findings}

    assert found.keys() == {"tally", "balance"}
    assert found["tally"].source == "lab01"
    assert (found["tally"].expected, found["tally"].found) == (1, 2)


def test_a_vanished_message_is_found(quiet: Engine) -> None:
    spoil(quiet, "DELETE FROM message WHERE control_id = 'C5'")

    assert checks(quiet) == {"tally", "message"}


def test_lost_bytes_are_found(quiet: Engine) -> None:
    spoil(quiet, f"DELETE FROM message_body WHERE seq = {rows()[0].seq}")

    assert checks(quiet) == {"bytes"}


def test_a_missing_entry_received_is_found_with_the_message(quiet: Engine) -> None:
    spoil(quiet, "DELETE FROM audit_entry WHERE act = 'received' AND actor = 'lab01'")

    (finding,) = prove(quiet).findings

    assert finding.check == "audit.received"
    assert len(finding.messages) == 1


def test_an_entry_received_twice_is_found(quiet: Engine) -> None:
    spoil(
        quiet,
        "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject) SELECT n + 1000, at, act, actor_kind, "
        "actor, subject FROM audit_entry WHERE act = 'received' AND actor = 'lab01'",
    )

    assert checks(quiet) == {"audit.received"}


def test_a_document_without_entry_filed_is_found(quiet: Engine) -> None:
    spoil(quiet, "DELETE FROM audit_entry WHERE act = 'filed' AND actor = 'lab01'")

    assert checks(quiet) == {"audit.filed"}


def test_a_parked_message_without_its_entry_is_found(quiet: Engine) -> None:
    spoil(quiet, "DELETE FROM audit_entry WHERE act = 'parked'")

    (finding,) = prove(quiet).findings

    assert finding.check == "audit.fate"
    assert "'parked'" in finding.text


def test_a_filed_message_without_document_is_found(quiet: Engine) -> None:
    spoil(quiet, f"DELETE FROM document WHERE message_seq = {rows()[1].seq}")

    assert checks(quiet) == {"document"}


def test_a_filed_message_that_deleted_a_document_needs_none_of_its_own(quiet: Engine) -> None:
    """What a deletion leaves: its target's row, ended, and the entry 'deleted' about it."""
    target, deletion = rows()[0].seq, rows()[1].seq
    spoil(quiet, f"DELETE FROM document WHERE message_seq = {deletion}")
    spoil(quiet, f"UPDATE document SET availability = 'deleted' WHERE message_seq = {target}")
    spoil(
        quiet,
        f"UPDATE message SET person = (SELECT patient FROM document WHERE message_seq = {target}) "
        f"WHERE seq = {deletion}",
    )
    assert checks(quiet) == {"document"}

    spoil(
        quiet,
        "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject, control_id) "
        f"SELECT m.seq + 2000, 0, 'deleted', 'machine', m.source, CAST(d.id AS text), m.control_id FROM message m, "
        f"document d WHERE m.seq = {deletion} AND d.message_seq = {target}",
    )

    assert checks(quiet) == set()


def test_a_document_of_a_message_that_is_not_filed_is_found(quiet: Engine) -> None:
    spoil(
        quiet,
        f"UPDATE document SET message_seq = {rows()[4].seq} WHERE message_seq = {rows()[0].seq}",
    )

    found = {(finding.check, finding.text) for finding in prove(quiet).findings}

    assert found == {
        ("document", "filed messages have no document in the record"),
        ("document", "documents are in the record whose message is not filed"),
    }


def test_a_message_that_nobody_touches_is_overdue(quiet: Engine) -> None:
    with writing(quiet) as connection:
        ledger.write(connection, [ledger.one(9, AT, State.RECEIVED)], rows()[0].seq + 100)

    assert checks(quiet) == {"overdue"}
    assert reconcile(quiet, DAY, zone=ledger.PARIS, now=AT + timedelta(minutes=1)).closes


def test_a_message_received_just_before_midnight_counts_in_its_day_of_the_site(
    empty_ledger: Engine,
) -> None:
    late = datetime(2026, 11, 10, 22, 59, 59, tzinfo=UTC)
    after = late + timedelta(seconds=2)
    with writing(empty_ledger) as connection:
        ledger.write(
            connection,
            [ledger.one(1, late, State.FILED), ledger.one(2, after, State.FILED)],
            rows()[0].seq,
        )

    assert [prove(empty_ledger, day).received for day in (20261110, 20261111)] == [1, 1]
    assert prove(empty_ledger, 20261110).closes


def test_what_is_no_day_is_refused(quiet: Engine) -> None:
    with pytest.raises(ValueError, match="month"):
        prove(quiet, 20261310)
