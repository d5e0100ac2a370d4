"""No reader walks messages, audit entries or documents: each statement is explained on a full ledger.

10^5 rows in the ordinary run; `pytest -m bench tests/broker/test_plans.py` takes 10^7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from broker.audit.reading import about
from broker.database import together
from broker.database.engine import is_sqlite, reading
from broker.database.types import to_micros
from broker.records import (
    accesses,
    account_rows,
    account_waits,
    balance_check,
    circles,
    correlations,
    delivery_check,
    document_rows,
    expectations,
    filing,
    identity_candidates,
    identity_circle,
    identity_journal,
    lane_names,
    lane_reading,
    lanes,
    message_detail,
    messages_reading,
    notice_check,
    notices,
    outbox,
    parked,
    replaying,
    replays,
)
from broker.values import State, first_seq, month_of
from tests.broker import ledger

BIG = (
    "message", "message_body", "audit_entry", "document", "business_key", "delivery", "attempt", "prepared",
    "correlation", "expectation",
    "patient", "identity_event", "identity_event_member", "identity_link",
    "identity_candidate",
    "account", "account_event", "account_due", "account_wait", "notice", "visit",
    "access_line",
)  # fmt: skip
MOST_ROWS = 2_000
_NEWEST = first_seq(month_of(ledger.START) + 1)
_MIDDLE = first_seq(month_of(ledger.START)) + 60_000
_DAY = 20261110
_NOW = datetime(2026, 11, 30, tzinfo=UTC)

Reader = Callable[[Connection, ledger.Row], object]

PAGES: dict[str, Reader] = {
    "balance of a day": lambda c, _: messages_reading.balance(c, _DAY),
    "balance of a source": lambda c, r: messages_reading.balance(c, _DAY, r.source),
    "days": lambda c, _: messages_reading.days(c),
    "partners": lambda c, _: messages_reading.partners(c, _NOW),
    "blocked lanes": lambda c, _: messages_reading.blocked_lanes(c),
    "newest messages": lambda c, _: messages_reading.listing(c),
    "a later page": lambda c, _: messages_reading.listing(c, before=_MIDDLE),
    "of a source": lambda c, r: messages_reading.listing(c, source=r.source, before=_MIDDLE),
    "held": lambda c, _: messages_reading.listing(c, state=State.HELD),
    "held of a source": lambda c, r: messages_reading.listing(c, state=State.HELD, source=r.source),
    "parked": lambda c, _: messages_reading.listing(c, state=State.PARKED),
    "parked of a source": lambda c, r: messages_reading.listing(
        c, state=State.PARKED, source=r.source
    ),
    "filed": lambda c, _: messages_reading.listing(c, state=State.FILED),
    "for a reason": lambda c, _: messages_reading.listing(c, reason="account.opposed"),
    "for a reason of a source": lambda c, r: messages_reading.listing(
        c, reason="account.opposed", source=r.source
    ),
    "waiting longest": lambda c, _: messages_reading.waiting_longest(c),
    "one message": lambda c, r: message_detail.detail(c, r.id),
    "its bytes": lambda c, r: message_detail.body(c, r.seq),
    "its deliveries": lambda c, r: message_detail.owed(c, r.seq),
    "its entries": lambda c, r: about(c, r.id, r.seq),
    "by control id": lambda c, r: messages_reading.by_control_id(c, r.control_id),
    "by number": lambda c, r: message_detail.find(c, str(r.seq)),
    "by a key": lambda c, _: messages_reading.by_keys(c, [[7]]),
    "lanes": lambda c, _: lane_reading.listing(c),
    "lanes of deliveries": lambda c, _: lane_reading.listing(c, kind="outbound"),
    "held lanes of filing, later": lambda c, _: lane_reading.listing(
        c, kind="filing", state="held", after=lane_names.filing(500)
    ),
    "lanes tried again": lambda c, _: lane_reading.listing(
        c, destination="partner1", state="retrying"
    ),
    "one lane": lambda c, _: lane_reading.one(c, lane_names.filing(7)),
    "what is in it": lambda c, _: lane_reading.behind(c, lane_names.filing(7)),
    "one lane of deliveries": lambda c, _: lane_reading.one(c, lane_names.outbound("partner1", 7)),
    "one recipient's lane": lambda c, _: lane_reading.one(
        c, lane_names.outbound("partner2", 8, "r2@ville.invalid")
    ),
    "whom a document went to": lambda c, r: outbox.recipients_of(c, [r.id], ["partner2"]),
    "the ins that left": lambda c, _: outbox.ins_used(c, [_MIDDLE]),
    "what is owed in it": lambda c, _: lane_reading.behind(c, lane_names.outbound("partner1", 7)),
    "parked messages": lambda c, _: parked.messages(c, reason="mapping.none"),
    "parked deliveries": lambda c, _: parked.deliveries(c),
    "unknown ones": lambda c, _: parked.deliveries(c, state="unknown"),
    "parked for a reason": lambda c, r: parked.deliveries(
        c, destination="partner1", source=r.source, reason="mllp.refused"
    ),
    "one delivery": lambda c, _: parked.by_ids(c, [_MIDDLE]),
    "its attempts": lambda c, _: parked.attempts(c, _MIDDLE),
    "without a form": lambda c, _: parked.never_rendered(c, [_MIDDLE]),
    "answers overdue": lambda c, _: expectations.overdue(c, limit=50),
    "answers overdue, later": lambda c, _: expectations.overdue(
        c, destination="partner1", before=_MIDDLE
    ),
    "who is answered": lambda c, r: correlations.find(
        c, {("msh10+sender", f"{r.control_id}|lab|carnet")}
    ),
    "what is awaited": lambda c, _: expectations.of(c, [_MIDDLE]),
    "circles": lambda c, _: circles.signs_of(
        c,
        [
            circles.Said(7, circles.Name("lab01")),
            circles.Said(8, circles.Name("lab02")),
        ],
        ledger.START,
    ),
    "heads of lanes": lambda c, _: lanes.unsettled_heads(c, {7: 2, 8: 1}),
    "by two keys": lambda c, _: messages_reading.by_keys(c, [[7], [8]]),
    "next of a replay": lambda c, _: replaying.window(c, _MIDDLE, _NEWEST),
    "next of a replay of a source": lambda c, r: replaying.window(
        c, _MIDDLE, _NEWEST, source=r.source
    ),
    "chosen for a replay": lambda c, r: replaying.by_seq(c, [r.seq, r.seq + 1]),
    "named for a replay": lambda c, r: replaying.seqs_of(c, [r.id]),
    "bytes for a replay": lambda c, r: replaying.stories(c, [r.seq]),
    "where a range of time lies": lambda c, _: replaying.span(
        c, ledger.START + timedelta(days=2), ledger.START + timedelta(days=3)
    ),
    "families": lambda c, r: replays.family(c, [r.seq]),
    "what a replay was": lambda c, r: replays.origin_of(c, r.seq),
    "replays of a message": lambda c, r: replays.replays_of(c, r.seq),
    "roots": lambda c, r: replays.roots_of(c, [r.seq]),
    "documents of messages": lambda c, r: filing.of_messages(c, [r.seq]),
    "documents of a merged record": lambda c, _: document_rows.candidates(
        c, [5, 6, 7], None, 100, only_current=True
    ),
    "a later page of a merged record": lambda c, r: document_rows.candidates(
        c, [5, 6, 7], (to_micros(r.at), r.id), 100, only_current=False
    ),
    "who belongs together": lambda c, _: identity_circle.around(c, [5, 6, 7]),
    "identity: a record and its links": lambda c, _: identity_circle.shown(c, 5),
    "identity: the journal": lambda c, _: identity_journal.history(c, [5, 6]),
    "identity: who was parted": lambda c, _: identity_journal.parted(c, [5, 6]),
    "identity: the merge of a person": lambda c, _: identity_journal.merge_of(c, 5),
    "identity: what crossed": lambda c, _: identity_journal.crossings(c, [5], [6], 0),
    "identity: who looked": lambda c, _: identity_journal.looks(
        c, [5, 6], ledger.START, ledger.START + timedelta(days=1)
    ),
    "identity: links": lambda c, _: identity_journal.linked(c, [5, 6]),
    "identity: candidates": lambda c, _: identity_candidates.listing(c),
    "identity: a later page of candidates": lambda c, _: identity_candidates.listing(
        c, before=(7, 5, 6)
    ),
    "identity: the same traits": lambda c, _: identity_candidates.find(c, {5: 77, 6: 78}, _NOW),
    "spaces": lambda c, _: account_rows.load(c, [7, 8]),
    "history of a space": lambda c, _: account_rows.history(c, 7),
    "due to spaces": lambda c, _: account_rows.due(c, _NOW, 50),
    "due to spaces, later": lambda c, _: account_rows.due(c, _NOW, 50, after=(ledger.START, 7)),
    "what waits for a space": lambda c, _: account_waits.waiting(c, 7),
    "accesses to a record": lambda c, _: accesses.rows_of(c, [7], "", None, oldest_first=False),
    "accesses to a merged record": lambda c, _: accesses.rows_of(
        c, [7, 8], "", accesses.START, oldest_first=False
    ),
    "somebody's own accesses": lambda c, _: accesses.rows_of(
        c, [7], "professional:899900000011", None, oldest_first=True
    ),
    "notices of a patient": lambda c, _: notices.listing(c, patient=7),
    "notices that are due": lambda c, _: notices.listing(c, now=_NOW),
    "by either of three keys and one more": lambda c, _: messages_reading.by_keys(
        c, [[7, 8, 9], [5]]
    ),
}

_SPAN = balance_check.span(_DAY, ledger.PARIS)
JOBS: dict[str, Reader] = {
    "recount": lambda c, _: balance_check.recount(c, _SPAN),
    "bytes": lambda c, _: balance_check.without_bytes(c, _SPAN),
    "entries": lambda c, _: balance_check.without_entry(c, _SPAN, "filed", [State.FILED]),
    "documents without entry": lambda c, _: balance_check.documents_without_entry(c, _SPAN),
    "entries twice": lambda c, _: balance_check.entries_twice(c, _SPAN, "received"),
    "undocumented": lambda c, _: balance_check.filed_without_document(c, _SPAN),
    "unfiled": lambda c, _: balance_check.document_without_filing(c, _SPAN),
    "overdue": lambda c, _: balance_check.overdue(c, _NOW),
    "sweep": lambda c, _: lanes.overdue(c, _NOW, 50),
    "replays of nothing": lambda c, _: balance_check.replay_of_nothing(c, _SPAN),
    "replays nobody asked for": lambda c, _: balance_check.replay_without_entry(c, _SPAN),
    "vanished": lambda c, _: balance_check.vanished(c, _SPAN),
    "no such state": lambda c, _: balance_check.no_such_state(c, _SPAN),
    "taken back": lambda c, _: balance_check.taken_back(c, _SPAN),
    "deliveries' states": lambda c, _: delivery_check.half_settled(c, _SPAN),
    "sent without attempt": lambda c, _: delivery_check.sent_without_attempt(c, _SPAN),
    "undone": lambda c, _: delivery_check.undone(c, _SPAN),
    "without attempt": lambda c, _: delivery_check.without_attempt(c, _SPAN),
    "without an operator": lambda c, _: delivery_check.without_entry(c, _SPAN, "skipped"),
    "without message": lambda c, _: delivery_check.without_message(c, _SPAN),
    "gone": lambda c, _: delivery_check.gone(c, _SPAN),
    "answers to nothing": lambda c, _: balance_check.answer_to_nothing(c, _SPAN),
    "answers credited twice": lambda c, _: balance_check.credited_twice(c, _SPAN),
    "awaited of nobody": lambda c, _: delivery_check.nobodys(c, _SPAN, "expectation"),
    "keys of nobody": lambda c, _: delivery_check.nobodys(c, _SPAN, "correlation"),
    "the mirror": lambda c, _: notice_check.count(c, _DAY),
    "all parked": lambda c, _: parked.selected(c, reason="mapping.none"),
    "all stuck deliveries": lambda c, _: parked.selected_deliveries(c, destination="partner1"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, ledger.Row]]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_module_url")
    engine = ledger.new(url)
    rows = ledger.fill(engine, 100_000)
    ledger.deliver(engine, rows, 60_000)
    ledger.spaces(engine, 20_000)
    yield engine, next(row for row in rows if row.state == State.FILED)
    engine.dispose()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_by_index_and_no_more_than_a_window(
    full: tuple[Engine, ledger.Row], name: str
) -> None:
    assert _faults(*full, PAGES[name], MOST_ROWS) == []


@pytest.mark.parametrize("name", JOBS)
def test_a_job_reads_its_day_by_index(full: tuple[Engine, ledger.Row], name: str) -> None:
    assert _faults(*full, JOBS[name], None) == []


def test_the_plan_test_notices_a_scan(full: tuple[Engine, ledger.Row]) -> None:
    def scan(connection: Connection, _: ledger.Row) -> object:
        return connection.execute(text("SELECT count(*) FROM message m WHERE m.size > 3")).scalar()

    assert _faults(*full, scan, MOST_ROWS)


@pytest.mark.bench
@pytest.mark.timeout(3_600)
def test_ten_million_rows_are_read_by_index(tmp_path: Path) -> None:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    row = ledger.fill(engine, 10_000_000)[-1]

    faults = {name: _faults(engine, row, reader, MOST_ROWS) for name, reader in PAGES.items()}

    assert {name: found for name, found in faults.items() if found} == {}


# --- explaining -------------------------------------------------------------------------------------------------


def _faults(engine: Engine, row: ledger.Row, reader: Reader, most: int | None) -> list[str]:
    """What is wrong with the plans of the statements that `reader` sends."""
    sent: list[tuple[str, Any]] = []
    marks = "?" if engine.dialect.name == "sqlite" else "%s"

    def note(_c: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        sent.append((statement, given))

    def ask(connection: Connection, question: str, given: Any) -> Any:
        sent.append((question.replace("%s", marks), given))
        return asked(connection, question, given)

    asked = together.ask_bytes
    with reading(engine) as connection, pytest.MonkeyPatch.context() as patching:
        patching.setattr(together, "ask_bytes", ask)
        event.listen(engine, "before_cursor_execute", note)
        try:
            reader(connection, row)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        assert sent, "the reader sent no statement"
        explain = _explain_sqlite if is_sqlite(connection) else _explain_postgresql
        return [fault for one in sent for fault in explain(connection, one, most)]


def _explain_sqlite(connection: Connection, sent: tuple[str, Any], _most: int | None) -> list[str]:
    statement, given = sent
    names = set(BIG)
    for table in BIG:
        names |= set(re.findall(rf"\b{table} (?:AS )?(\w+)", statement))
    cursor = connection.connection.cursor()
    plan = [str(line[3]) for line in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", given)]
    cursor.close()
    return [step for step in plan if re.match(rf"SCAN ({'|'.join(names)})\b", step)]


def _explain_postgresql(
    connection: Connection, sent: tuple[str, Any], most: int | None
) -> list[str]:
    statement, given = sent
    if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
        return []
    cursor = connection.connection.cursor()
    cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
    answer = cursor.fetchone()
    cursor.close()
    assert answer is not None
    plan = answer[0] if isinstance(answer[0], list) else json.loads(answer[0])
    scans = [node for node in _nodes(plan[0]["Plan"]) if _is_big(node)]
    faults = [
        f"{node['Node Type']} on {node['Relation Name']}"
        for node in scans
        if node["Node Type"] == "Seq Scan" and _touched(node)
    ]
    read = sum(_touched(node) for node in scans)
    if most is not None and read > most:
        faults.append(f"{read} rows read")
    return faults


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _is_big(node: dict[str, Any]) -> bool:
    return re.sub(r"_\d{6}$", "", node.get("Relation Name", "")) in BIG


def _touched(node: dict[str, Any]) -> int:
    """Rows a scan really met; 0 for the empty partitions ahead, which are read in whatever way."""
    return int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
