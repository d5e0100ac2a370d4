"""The balance proved: count a day's messages again and compare with everything that was said about them.

Used by `carnet reconcile`, the scheduler and the tests. It reads one snapshot, so it can run under load: what is
committed agrees at each commit, or it is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine

from broker.archive.shelf import Shelf
from broker.database.engine import reading
from broker.errors import CarnetError, SetupError
from broker.records import (
    account_rows,
    archiving,
    balance_check,
    delivery_check,
    notice_check,
    tallies,
)
from broker.values import State

OVERDUE = timedelta(minutes=15)
"""How long a message may go untouched before it counts as forgotten; the sweep comes much earlier."""

CHECKS = (
    "tally",
    "balance",
    "message",
    "state",
    "bytes",
    "audit.received",
    "audit.filed",
    "audit.fate",
    "document",
    "delivery.state",
    "delivery.sent",
    "delivery.attempt",
    "delivery.fate",
    "delivery.message",
    "delivery.gone",
    "replay",
    "answer.message",
    "answer.twice",
    "answer.delivery",
    "archive",
    "overdue",
    "access.mirror",
    "account.due",
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not agree: which check, what it found, and the messages, deliveries or
    patients (at most 20) it is about."""

    check: str
    text: str
    source: str = ""
    expected: int | None = None
    found: int | None = None
    messages: Sequence[str] = ()
    deliveries: Sequence[str] = ()
    patients: Sequence[int] = ()


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one day. `closes` is promise 2; `counts` are the rows' own, by fate."""

    day: int
    received: int
    counts: Mapping[str, int]
    beside: Mapping[str, int]
    findings: Sequence[Finding]
    checks: Sequence[str]

    @property
    def closes(self) -> bool:
        return not self.findings


def reconcile(
    engine: Engine,
    day: int,
    *,
    zone: ZoneInfo,
    now: datetime,
    overdue: timedelta = OVERDUE,
    shelf: Shelf | None = None,
) -> Reconciliation:
    """Count the day (20261123, in the site's zone) again and say what does not agree; no finding means it closes.

    What was archived of the day is compared with the archives' indexes, which are found on `shelf`.
    Raises ValueError when `day` is no calendar day, TransientError when the database is away.
    """
    of = balance_check.span(day, zone)
    with reading(engine) as connection:
        balance_check.hold_snapshot(connection)
        rows = balance_check.recount(connection, of)
        told = {
            (source, fate): n
            for (_, source, fate), n in tallies.fates(connection, day).items()
            if n
        }
        findings = [*_tallies(rows, told), *_sums(told)]
        archived = _archived(connection, of, shelf, findings)
        for check, sentence, ids in _beside(connection, of, now - overdue, archived):
            if ids:
                findings.append(Finding(check=check, text=sentence, found=len(ids), messages=ids))
        for check, sentence, names in _deliveries(connection, of):
            if names:
                findings.append(
                    Finding(check=check, text=sentence, found=len(names), deliveries=names)
                )
        findings += [*mirror(connection, day), *_late(connection, now)]
    return Reconciliation(
        day=day,
        received=sum(n for (_, fate), n in rows.items() if fate == "received"),
        counts=_by_fate(rows),
        beside={fate: n for fate, n in _by_fate(told).items() if fate in tallies.BESIDE},
        findings=findings,
        checks=CHECKS,
    )


def mirror(connection: Connection, day: int) -> Iterator[Finding]:
    """Accesses in the trail, lines the patient sees, and lines of notices: the same for each patient (promise 7)."""
    told = notice_check.count(connection, day)
    gaps = told.gaps()
    if gaps:
        yield Finding(
            check="access.mirror",
            text="accesses in the trail, lines the patient sees and notices differ",
            expected=sum(told.entries.get(one, 0) for one in gaps),
            found=len(gaps),
            patients=gaps[:20],
        )


def _late(connection: Connection, now: datetime) -> Iterator[Finding]:
    """What was due to spaces more than a day ago and has not happened."""
    late = account_rows.due(connection, now - timedelta(days=1), 20)
    if late:
        yield Finding(
            check="account.due",
            text="transitions of spaces are more than a day late",
            found=len(late),
            patients=[number for number, _, _ in late],
        )


def _by_fate(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for (_, fate), n in counts.items():
        total[fate] = total.get(fate, 0) + n
    return total


def _tallies(
    rows: Mapping[tuple[str, str], int], told: Mapping[tuple[str, str], int]
) -> Iterator[Finding]:
    """The tallies of the day against its rows, source by source and fate by fate."""
    for source, fate in sorted(rows.keys() | told.keys()):
        if fate in tallies.BESIDE:
            continue
        counted, said = rows.get((source, fate), 0), told.get((source, fate), 0)
        if counted != said:
            yield Finding(
                check="tally",
                text=f"the tally of '{fate}' says {said}, the rows say {counted}",
                source=source,
                expected=counted,
                found=said,
            )


def _sums(told: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """Received = the sum of the fates, for each source, by the tallies alone."""
    for source in sorted({source for source, _ in told}):
        received = told.get((source, "received"), 0)
        fates = sum(
            n
            for (name, fate), n in told.items()
            if name == source and fate != "received" and fate not in tallies.BESIDE
        )
        if received != fates:
            yield Finding(
                check="balance",
                text=f"received {received}, but the fates sum to {fates}",
                source=source,
                expected=received,
                found=fates,
            )


def _archived(
    connection: Connection, of: balance_check.Span, shelf: Shelf | None, findings: list[Finding]
) -> set[str]:
    """The ids near the day that archives hold, by their indexes. What cannot be read is a finding."""
    found: set[str] = set()
    for one in archiving.of_ids(connection, of.low, of.high):
        try:
            if shelf is None:
                raise SetupError("archive.away", where=one.name)
            of_day = [entry for entry in shelf.entries(one.name) if of.low <= entry.id < of.high]
        except CarnetError as error:
            text = f"the index of the archive {one.name} cannot be read ({error.code})"
            findings.append(Finding(check="archive", text=text))
            continue
        found.update(entry.id for entry in of_day)
        counted = Counter((e.day, e.source, e.fate) for e in of_day if e.day == of.day)
        if counted != archiving.counts_of(connection, one.name, of.day):
            text = f"the archive {one.name} holds another number of messages than was noted"
            findings.append(Finding(check="archive", text=text))
    return found


def _beside(
    connection: Connection, of: balance_check.Span, cut: datetime, archived: Collection[str]
) -> Iterator[tuple[str, str, Sequence[str]]]:
    """What must stand beside each row: (check, sentence, message ids at fault)."""
    check = balance_check
    yield (
        "message",
        "messages were received and are not there",
        check.vanished(connection, of, archived),
    )
    yield (
        "state",
        "messages are in a state that does not exist",
        check.no_such_state(connection, of),
    )
    yield (
        "state",
        "messages are taken up again that were settled, and nobody released them",
        check.taken_back(connection, of),
    )
    yield "bytes", "messages have lost their bytes", check.without_bytes(connection, of)
    yield (
        "audit.received",
        "messages have no audit entry 'received'",
        check.without_entry(connection, of, "received"),
    )
    yield (
        "audit.received",
        "messages have more than one audit entry 'received'",
        check.entries_twice(connection, of, "received"),
    )
    yield (
        "audit.filed",
        "documents have no audit entry 'filed' or 'replaced'",
        check.documents_without_entry(connection, of),
    )
    for state, fate in tallies.FATES_BY_STATE.items():
        if state > State.FILED:
            yield (
                "audit.fate",
                f"messages have no audit entry '{fate}'",
                check.without_entry(connection, of, fate, [state]),
            )
    yield (
        "document",
        "filed messages have no document in the record",
        check.filed_without_document(connection, of),
    )
    yield (
        "document",
        "documents are in the record whose message is not filed",
        check.document_without_filing(connection, of),
    )
    yield (
        "replay",
        "messages are replays of messages that are not there",
        check.replay_of_nothing(connection, of),
    )
    yield (
        "replay",
        "messages are replays and have no audit entry 'replayed'",
        check.replay_without_entry(connection, of),
    )
    yield (
        "answer.message",
        "answers are counted as matched and name no message",
        check.answer_to_nothing(connection, of),
    )
    yield (
        "answer.twice",
        "answers are credited to more than one delivery",
        check.credited_twice(connection, of),
    )
    yield "overdue", "unsettled messages were not touched in time", check.overdue(connection, cut)


def _deliveries(
    connection: Connection, of: balance_check.Span
) -> Iterator[tuple[str, str, Sequence[str]]]:
    """What must hold of each delivery that is owed for a message of the day: (check, sentence, names at fault)."""
    check = delivery_check
    yield (
        "delivery.state",
        "deliveries are in a state that does not exist",
        check.no_such_state(connection, of),
    )
    yield (
        "delivery.state",
        "deliveries are settled by their state or by their instant, not by both",
        check.half_settled(connection, of),
    )
    yield (
        "delivery.sent",
        "deliveries are marked sent and no attempt ended so",
        check.sent_without_attempt(connection, of),
    )
    yield (
        "delivery.sent",
        "deliveries were sent by an attempt and are not marked so",
        check.undone(connection, of),
    )
    yield (
        "delivery.attempt",
        "deliveries have lost their last attempt",
        check.without_attempt(connection, of),
    )
    for state in ("skipped", "discarded"):
        yield (
            "delivery.fate",
            f"deliveries have no audit entry 'delivery_{state}'",
            check.without_entry(connection, of, state),
        )
    yield (
        "delivery.message",
        "deliveries are owed for messages that are not there",
        check.without_message(connection, of),
    )
    yield "delivery.gone", "deliveries are not there any more", check.gone(connection, of)
    for table, what in (
        ("expectation", "answers are awaited or credited"),
        ("correlation", "keys are kept"),
    ):
        yield (
            "answer.delivery",
            f"{what} of deliveries that are not there",
            check.nobodys(connection, of, table),
        )
