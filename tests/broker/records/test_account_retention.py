"""Closing, keeping and deleting, rule by rule, on both databases: what a holder says and what the clock does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from broker.access import Viewer
from broker.accounts import days, machine
from broker.audit import seal, verify
from broker.database.engine import writing
from broker.document import Attachment, Document
from broker.records import content, patients, reading
from broker.rules import consent
from tests.broker.accounts_site import BY, Spaces
from tests.broker.records import record

SCAN = b"%PDF-1.4 an invented scan"
PHYSICIAN = Viewer(kind="professional", id="899900000029", profession="G15_10", consent="explicit")


@pytest.fixture
def spaces(empty_ledger: Engine) -> Spaces:
    return Spaces(empty_ledger)


def filed(spaces: Spaces, number: int) -> Document:
    """A paper with a scan in somebody's record."""
    name = hashlib.sha256(SCAN).hexdigest()
    with writing(spaces.engine) as connection:
        content.store(connection, {(number, name): SCAN})
    scan = Attachment(sha256=name, size=len(SCAN), media_type="application/pdf", role="main")
    paper = record.paper(f"of {number}", attachments=(scan,), at=spaces.now)
    record.put(spaces.engine, number, paper, now=spaces.now)
    return paper


def read(spaces: Spaces, paper: Document) -> reading.ReadResult:
    return reading.read(
        spaces.engine, PHYSICIAN, paper.id,
        decide=record.RULES.reading, trail=record.WRITE, now=spaces.now,
    )  # fmt: skip


def is_fed(spaces: Spaces, number: int) -> bool:
    return consent.against_filing(spaces.column(number), False, "") is None


def kept(spaces: Spaces) -> tuple[int, int]:
    """How many contents of documents and how many attachments the database holds."""
    (row,) = spaces.rows(
        "SELECT (SELECT count(*) FROM document_payload) AS papers, (SELECT count(*) FROM attachment) AS scans"
    )
    return row.papers, row.scans


def acts(spaces: Spaces, number: int) -> list[tuple[str, str]]:
    rows = spaces.rows(
        "SELECT act, outcome FROM audit_entry WHERE patient = :n ORDER BY n", n=number
    )
    return [(row.act, row.outcome) for row in rows]


def is_proved(spaces: Spaces) -> bool:
    seal.seal(spaces.engine, spaces.now)
    return verify.verify(spaces.engine).is_good


@pytest.mark.parametrize("event", ["close", "death"])
def test_ret_01_the_holder_closes_at_any_time_and_death_closes(spaces: Spaces, event: str) -> None:
    presumed, opened, active, suspended, objecting = spaces.people(5)
    papers = {number: filed(spaces, number) for number in (presumed, active)}
    spaces.inform(opened)
    spaces.later(days=43)
    spaces.bring(active, "activate")
    for number in (suspended, objecting):
        spaces.bring(number, "suspend")
    spaces.bring(objecting, "object")
    everybody = [presumed, opened, active, suspended, objecting]
    before = [spaces.state(number) for number in everybody]
    assert before == ["presumed", "open_unactivated", "active", "suspended", "suspended"]
    assert all(read(spaces, paper) for paper in papers.values())

    done = spaces.accounts.bring(everybody, event, BY, spaces.now)

    name = "T7" if event == "close" else "T8"
    assert [(step.transition, step.after) for step in done.steps] == [(name, "closed")] * 5
    assert done.left == {}
    assert not any(is_fed(spaces, number) for number in everybody)
    assert not any(read(spaces, paper) for paper in papers.values())
    ends = days.archive_ends(spaces.now, days.PARIS)
    assert all(spaces.space(number).due == {"T12": ends} for number in everybody)
    assert ("account_moved", name) in acts(spaces, suspended)
    for number in everybody:
        assert ("closed" in spaces.told(number)) is (event == "close")


def test_ret_02_the_content_is_archived_for_ten_years_then_deleted_by_itself(
    spaces: Spaces,
) -> None:
    (number,) = spaces.people(1)
    filed(spaces, number)
    spaces.now = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
    spaces.bring(number, "close")

    # The tenth anniversary is a Sunday; Paris is an hour ahead, so its last instant is before 23:00 UTC.
    spaces.skip_to(datetime(2036, 3, 2, 22, 59, 59, 999_999, tzinfo=UTC))
    early = spaces.jobs.move()
    archived = kept(spaces)
    spaces.skip_to(datetime(2036, 3, 2, 23, 0, tzinfo=UTC))
    made = spaces.jobs.move()

    assert (early, archived) == (0, (1, 1))
    assert (made, kept(spaces)) == (1, (0, 0))
    assert spaces.state(number) == "deleted"
    assert spaces.rows("SELECT availability FROM document")[0].availability == "deleted"
    traits = patients.traits_of(spaces.engine, number)
    assert traits is not None
    assert traits.names == ()


def test_ret_04_a_deletion_that_was_asked_for_has_its_last_day_and_is_done_before_it(
    spaces: Spaces,
) -> None:
    (number,) = spaces.people(1)
    paper = filed(spaces, number)
    spaces.now = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
    spaces.bring(number, "ask_deletion")
    asked = spaces.space(number).due["T13"]

    # The scheduler is away, and the holder asks again: the three months still count from the first request.
    spaces.skip(days=60)
    spaces.bring(number, "ask_deletion")
    still = spaces.space(number).due["T13"]
    waiting = kept(spaces)
    spaces.later(minutes=1)

    assert asked == still == datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
    last = days.last_day_to_delete(asked, days.PARIS)
    assert last.isoformat() == "2027-02-28"
    assert days.day_of(spaces.now, days.PARIS) < last
    assert (waiting, kept(spaces)) == ((1, 1), (0, 0))
    assert (spaces.state(number), spaces.space(number).due) == ("deleted", {})
    assert not read(spaces, paper)
    assert not is_fed(spaces, number)
    assert spaces.told(number) == ["deleted", "deletion_requested", "deletion_requested"]
    assert acts(spaces, number)[:3] == [("account_moved", "T13")] * 3
    assert is_proved(spaces)


@pytest.mark.parametrize("state", [state for state in machine.ALIVE if state != "not_eligible"])
def test_ret_04_it_may_be_asked_for_in_every_state(spaces: Spaces, state: str) -> None:
    (number,) = spaces.people(1)
    filed(spaces, number)
    before = {
        "informed": ["inform"], "opposed": ["inform", "oppose"], "active": ["activate"], "suspended": ["suspend"],
        "closed": ["close"],
    }  # fmt: skip
    for event in before.get(state, []):
        spaces.bring(number, event)
    if state == "open_unactivated":
        spaces.inform(number)
        spaces.later(days=43)
    assert spaces.state(number) == state

    spaces.bring(number, "ask_deletion")
    spaces.later(minutes=1)

    assert (spaces.state(number), kept(spaces)) == ("deleted", (0, 0))


def test_ret_05_what_was_archived_returns_into_the_new_space_at_any_time(spaces: Spaces) -> None:
    soon, late, refused = spaces.people(3)
    papers = {number: filed(spaces, number) for number in (soon, late)}
    for number in (soon, late):
        spaces.bring(number, "close")
        assert not read(spaces, papers[number])
    spaces.inform(refused)
    spaces.bring(refused, "oppose")

    spaces.skip(days=1)
    spaces.bring(soon, "reopen")
    spaces.skip_to(datetime(2036, 3, 2, 22, 59, tzinfo=UTC))
    for number in (late, refused):
        spaces.bring(number, "reopen")
    spaces.later(days=400)

    for paper in papers.values():
        found = read(spaces, paper)
        assert found.document is not None
        assert found.document.title == paper.title
        assert reading.attachment(spaces.engine, found, paper.attachments[0].sha256) == SCAN
    for number in (soon, late, refused):
        assert (spaces.state(number), spaces.space(number).due) == ("active", {})
        assert is_fed(spaces, number)
        assert "reopened" in spaces.told(number)


def test_ret_06_a_suspension_without_objection_in_six_weeks_is_a_closing(spaces: Spaces) -> None:
    silent, objecting = spaces.people(2)
    paper = filed(spaces, silent)
    for number in (silent, objecting):
        spaces.bring(number, "suspend")
    assert not is_fed(spaces, silent)
    assert not read(spaces, paper)
    assert spaces.told(silent) == ["suspended"]
    ends = days.window_ends(spaces.now, days.PARIS)

    spaces.skip_to(ends - timedelta(microseconds=1))
    early = spaces.jobs.move()
    spaces.bring(objecting, "object")
    spaces.skip_to(ends)
    late = spaces.bring(silent, "object").left
    spaces.jobs.move()

    assert (early, late) == (0, {silent: "account.too_late"})
    assert spaces.history(silent) == ["T9", "T10"]
    assert (spaces.state(silent), set(spaces.space(silent).due)) == ("closed", {"T12"})
    assert spaces.told(silent) == ["closed", "suspended"]
    assert kept(spaces) == (1, 1)
    # Who objected in time is not closed by the clock: somebody decides, however long it takes.
    spaces.later(days=30)
    assert (spaces.state(objecting), spaces.space(objecting).due) == ("suspended", {})
    spaces.bring(objecting, "resume")
    assert spaces.history(objecting) == ["T9", "T10a", "T10b"]
    assert (spaces.state(objecting), is_fed(spaces, objecting)) == ("active", True)


def test_ret_06_an_objection_that_is_not_accepted_ends_in_a_closing_by_a_person(
    spaces: Spaces,
) -> None:
    (number,) = spaces.people(1)
    spaces.bring(number, "suspend")
    spaces.bring(number, "object")

    spaces.bring(number, "close")

    assert spaces.history(number) == ["T9", "T10a", "T7"]
    assert (spaces.state(number), set(spaces.space(number).due)) == ("closed", {"T12"})


def test_ret_09_the_trail_outlives_the_record_by_deletion_and_by_its_term(spaces: Spaces) -> None:
    asking, closing = spaces.people(2)
    papers = {number: filed(spaces, number) for number in (asking, closing)}
    for paper in papers.values():
        assert read(spaces, paper)
    before = {number: acts(spaces, number) for number in papers}
    assert is_proved(spaces)

    spaces.bring(asking, "ask_deletion")
    spaces.bring(closing, "close")
    spaces.later(minutes=1)
    spaces.later(days=3_653 + 1)

    assert spaces.state(asking) == spaces.state(closing) == "deleted"
    assert kept(spaces) == (0, 0)
    for number, seen in before.items():
        assert seen == [("document_read", "access.matrix_open")]
        assert acts(spaces, number)[: len(seen)] == seen
    assert acts(spaces, closing)[-1] == ("account_moved", "T12")
    assert is_proved(spaces)
