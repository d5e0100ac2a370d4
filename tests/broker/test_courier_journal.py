"""What a courier had in its hands is known to the next one, as far as the journal goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.courier_journal import Journal
from broker.errors import SetupError
from broker.records.outbox import Ended

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


def ended(delivery: int, number: int = 1, outcome: str = "sent") -> Ended:
    return Ended(
        delivery_id=delivery,
        destination="dmp",
        number=number,
        started_at=NOW,
        ended_at=NOW + timedelta(milliseconds=3),
        outcome=outcome,
        code="AA",
        answer=b"MSA|AA|1",
        next_try_at=NOW if outcome == "failed" else None,
    )


@given(
    attempts=st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["begun", "sent", "failed"])), max_size=20
    ),
    cut=st.integers(0, 400),
)
def test_a_journal_that_ends_anywhere_tells_the_attempts_written_whole(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[int, str]], cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{uuid4().hex}.journal"
    journal = Journal(path, "boot")
    journal.start()
    sizes = [path.stat().st_size]
    for number, (delivery, fate) in enumerate(attempts, 1):
        journal.begin(delivery, number)
        sizes.append(path.stat().st_size)
        if fate != "begun":
            journal.end(ended(delivery, number, fate))
            sizes.append(path.stat().st_size)
    identity = journal.identity
    journal.close()
    whole = path.read_bytes()
    kept = max(sizes[0], len(whole) - cut)
    path.write_bytes(whole[:kept])

    again = Journal(path, "boot")
    left = again.left
    again.close()

    records = sum(size <= kept for size in sizes[1:])
    begun, over = set(), {}
    for number, (delivery, fate) in enumerate(attempts, 1):
        for step in ("begun",) if fate == "begun" else ("begun", fate):
            if not records:
                break
            records -= 1
            if step == "begun":
                begun.add((delivery, number))
            else:
                begun.discard((delivery, number))
                over[delivery, number] = ended(delivery, number, step)
    assert again.identity == identity
    assert (left.begun, left.ended) == (begun, over)


def test_a_journal_of_an_earlier_start_of_the_machine_vouches_for_nothing(tmp_path: Path) -> None:
    before = Journal(tmp_path / "dmp.journal", "monday")
    before.start()
    before.begin(1, 1)
    before.close()

    after = Journal(tmp_path / "dmp.journal", "tuesday")

    assert after.identity != before.identity
    assert (after.left.begun, after.left.ended) == (set(), {})
    after.close()


def test_a_page_that_was_told_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "dmp.journal", "boot")
    journal.start()
    journal.begin(1, 1)
    journal.start()
    journal.close()

    again = Journal(tmp_path / "dmp.journal", "boot")

    assert (again.identity, again.left.begun) == (journal.identity, set())
    again.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "couriers" / "dmp.journal", "boot")

    assert (tmp_path / "couriers" / "dmp.journal").stat().st_mode & 0o077 == 0
    assert (tmp_path / "couriers").stat().st_mode & 0o077 == 0
    journal.close()


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "couriers").write_text("a file")

    with pytest.raises(SetupError, match=r"courier\.journal.*data folder"):
        Journal(tmp_path / "couriers" / "dmp.journal", "boot")
