"""Entries, their numbers, and the sealing of them."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from broker.audit import seal, trail, verify
from broker.audit.trail import Entry
from broker.database.engine import reading, writing

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
PROJECT = Path(__file__).resolve().parents[3]
CHANGES = re.compile(
    r"(?:UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|REPLACE\s+INTO)\s+\"?audit_(?:entry|seal)\b"
    r"|(?:update_rows|replace_rows)\(\s*\w+,\s*(?:tables\.|schema\.)?audit_(?:entry|seal)\b",
    re.IGNORECASE,
)
"""Whatever would change or take out what the trail holds: statements, and the helpers that make them."""


def entry(subject: str, **fields: object) -> Entry:
    return Entry(act="filed", at=NOW, actor_kind="machine", actor="ward", subject=subject, **fields)  # type: ignore[arg-type]


def write(engine: Engine, *subjects: str, now: datetime = NOW) -> None:
    with writing(engine) as connection:
        trail.write(connection, [entry(subject) for subject in subjects], now)


def test_entries_are_numbered_in_the_order_given(empty_ledger: Engine) -> None:
    write(empty_ledger, "a", "b")
    write(empty_ledger, "c")

    with reading(empty_ledger) as connection:
        rows = seal.entries_after(connection, 0, 10)
    assert [row[trail.COLUMNS.index("subject")] for row in rows] == ["a", "b", "c"]
    assert [row[0] - rows[0][0] for row in rows] == [0, 1, 2]


def test_a_transaction_that_fails_leaves_no_entry_and_no_gap(empty_ledger: Engine) -> None:
    write(empty_ledger, "a")
    with empty_ledger.connect() as connection, connection.begin() as transaction:
        trail.write(connection, [entry("lost")], NOW)
        transaction.rollback()
    write(empty_ledger, "b")

    assert verify.verify(empty_ledger).bad is None
    assert verify.verify(empty_ledger).unsealed == 2


def test_sealing_goes_on_where_it_stopped(empty_ledger: Engine) -> None:
    write(empty_ledger, *"abc")
    first = seal.seal(empty_ledger, NOW, limit=2)
    second = seal.seal(empty_ledger, NOW)
    nothing = seal.seal(empty_ledger, NOW)

    assert [one.entries for one in (first, second, nothing)] == [2, 1, 0]
    assert nothing.head == second.head != first.head
    result = verify.verify(empty_ledger)
    assert (result.is_good, result.segments, result.entries, result.head) == (
        True,
        2,
        3,
        second.head,
    )


def test_an_empty_trail_is_good(empty_ledger: Engine) -> None:
    assert seal.seal(empty_ledger, NOW) == seal.Sealed(0, 0, "")
    assert verify.verify(empty_ledger).is_good


def test_every_kind_of_value_survives_the_database_and_the_seal(empty_ledger: Engine) -> None:
    strange = entry(
        'é"\\\n\u2028😀', patient=2**53 - 1, details='{"a":null}', motive="", mode="normal"
    )
    with writing(empty_ledger) as connection:
        trail.write(connection, [strange], NOW + timedelta(microseconds=1))
    seal.seal(empty_ledger, NOW)

    assert verify.verify(empty_ledger).is_good


def test_two_schedulers_at_once_seal_each_entry_once(empty_ledger: Engine) -> None:
    write(empty_ledger, *(str(n) for n in range(50)))
    start = threading.Barrier(2, timeout=30)
    sealed: list[int] = []

    def run() -> None:
        start.wait()
        sealed.append(seal.seal(empty_ledger, NOW).entries)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(sealed) == 50
    result = verify.verify(empty_ledger)
    assert (result.is_good, result.entries) == (True, 50)


def test_writers_while_a_seal_is_made_lose_nothing(empty_ledger: Engine) -> None:
    def run() -> None:
        for n in range(10):
            write(empty_ledger, f"w{n}")

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seal.seal(empty_ledger, NOW)
    for thread in threads:
        thread.join(60)
    seal.seal(empty_ledger, NOW)

    result = verify.verify(empty_ledger)
    assert (result.is_good, result.entries, result.unsealed) == (True, 20, 0)


def test_a_new_month_is_no_gap(empty_ledger: Engine) -> None:
    write(empty_ledger, "a")
    seal.seal(empty_ledger, NOW)
    write(empty_ledger, "b", now=NOW + timedelta(days=21))
    assert verify.verify(empty_ledger).is_good
    seal.seal(empty_ledger, NOW)
    assert verify.verify(empty_ledger).is_good
    with reading(empty_ledger) as connection:
        rows = connection.execute(text("SELECT n FROM audit_entry ORDER BY n")).all()
    assert rows[1].n - rows[0].n > 1_000_000


def test_aud_06_nothing_in_carnet_changes_or_takes_out_an_entry_or_a_seal() -> None:
    assert CHANGES.search('text("DELETE FROM audit_entry WHERE n = 1")')
    assert CHANGES.search("bulk.update_rows(connection, audit_seal, 'segment')")

    found = [
        path.relative_to(PROJECT).as_posix()
        for package in ("broker", "adapters", "queues")
        for path in sorted((PROJECT / package).rglob("*"))
        if path.suffix in (".py", ".sql") and CHANGES.search(path.read_text(encoding="utf-8"))
    ]

    assert found == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit_entry SET actor = 'nobody' WHERE n = :n", "edited"),
        ("DELETE FROM audit_entry WHERE n = :n", "deleted"),
        ("UPDATE audit_seal SET sealed_at = sealed_at + 1", "seal"),
        ("DELETE FROM audit_seal", "restored"),
    ],
)
def test_aud_06_entries_are_chained_and_what_plain_sql_changes_is_found(
    empty_ledger: Engine, statement: str, kind: str
) -> None:
    write(empty_ledger, *"abc")
    seal.seal(empty_ledger, NOW)
    write(empty_ledger, *"de")
    last = seal.seal(empty_ledger, NOW)
    assert verify.verify(empty_ledger, last.head).is_good
    with writing(empty_ledger) as connection:
        second = connection.execute(
            text("SELECT n FROM audit_entry WHERE subject = 'b'")
        ).scalar_one()
        connection.execute(text(statement), {"n": second} if ":n" in statement else {})

    bad = verify.verify(empty_ledger, last.head).bad

    assert bad is not None
    assert bad.kind == kind
