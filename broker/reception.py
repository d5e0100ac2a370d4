"""One commit of what was received: numbers, duplicates, rows, tallies and the trail, in one transaction.

The database's side of `intake`, which says when and with whom. Nothing here waits for anything but the database, so
it runs on a thread or, where the database lets it, on the event loop.
Longer than other modules because all that one commit leaves in the database is decided in one place.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from threading import Lock
from time import perf_counter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine

from broker import fault_points, search_keys
from broker.audit import trail
from broker.contracts import Work
from broker.database import partitions, sequences, together
from broker.database.engine import is_sqlite, writing
from broker.encryption import sealing
from broker.envelope import Envelope, Peer, Receipt
from broker.errors import TransientError
from broker.events import words
from broker.glance import Glance
from broker.records import lanes, messages, partners, receptions, tallies
from broker.records.partners import Seen
from broker.telemetry import Telemetry
from broker.unpacking import unpack, unpack_some
from broker.values import MessageId, Seq, State, month_of, sha256, uuid7

OnConflict = Literal["accept", "hold", "refuse"]

FLUSH_EVERY = timedelta(seconds=1)
_RETRY_AFTER = timedelta(seconds=5)

_TELL_AFTER = timedelta(seconds=5)
"""Connections come and go; how many there are is written no more often than this, with what is written anyway."""

_CONNECTIONS = {"connection_opened": 1, "connection_closed": -1}

_NO_NUMBER = Seq(0)
_NUMBERS = "message"

Answer = tuple[Receipt, Work | None]
"""What the sender is told, and what there is to do about it."""


@dataclass(slots=True)
class Arrival:
    """One message that waits for its commit."""

    envelope: Envelope
    glance: Glance
    answered: asyncio.Future[Receipt] = field(repr=False)
    identity: tuple[int, int] = (0, 0)
    """What decides on duplicates: who sent it under which id, and with which bytes."""

    def draft(self, day: int) -> receptions.Received:
        """The row as far as it is known without the ledger; its number and its fate are given later."""
        row = drafted(self.envelope, self.glance, day)
        self.identity = (row.key, row.digest)
        return row


def drafted(envelope: Envelope, seen: Glance, day: int) -> receptions.Received:
    """The row of a message as far as it is known without the ledger."""
    hashed = sha256(envelope.body)
    digest = int.from_bytes(hashed[:8], "big", signed=True)
    return receptions.Received(
        seq=_NO_NUMBER,
        id=MessageId(uuid7(envelope.received_at)),
        source=envelope.source,
        received_at=envelope.received_at,
        day=day,
        kind=envelope.kind,
        format=seen.format,
        media=envelope.media,
        type=seen.type,
        version=seen.version,
        charset_declared=seen.charset,
        body=envelope.body,
        sha256=hashed,
        digest=digest,
        key=receptions.control_key(envelope.source, seen.control_id, digest),
        control_id=seen.control_id,
        sender=seen.sender,
        peer=_peer(envelope.peer),
        transport_keys=msgspec.json.encode(envelope.keys).decode() if envelope.keys else None,
        lane=seen.lane,
        answer_code="accepted",
    )


@dataclass(slots=True)
class _Beside:
    """What is written along with a commit and belongs to none of its messages."""

    refused: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: dict[str, Seen] = field(default_factory=dict)
    first: dict[str, Seen] = field(default_factory=dict)
    """The first receptions of sources here: they are true with this commit, or not at all."""

    def write(self, connection: Connection, now: datetime, writer: str) -> None:
        """Rates and how sources are doing; refusals are tallied with the messages."""
        tallies.flow(connection, self.flows, now, writer)
        partners.note(connection, _joined(self.first, self.seen), writer, now)


class Reception:
    """Stores batches, and keeps what is counted beside them until it is written. One per gateway process."""

    def __init__(
        self,
        engine: Engine,
        *,
        writer: str,
        zone: ZoneInfo,
        key: bytes,
        on_conflict: Callable[[str], OnConflict],
        telemetry: Telemetry,
        clock: Callable[[], datetime],
    ) -> None:
        """`key` is the installation's digest key: what is held at the door is found by it, see `search_keys`."""
        self._engine = engine
        self._writer = writer
        self._key = key
        self._zone = zone
        self._on_conflict = on_conflict
        self._telemetry = telemetry
        self._clock = clock
        self.month = 0
        """The month whose partitions are known to be there."""
        self._flushed = clock()
        # Two batches may be on their way at once, one of them on a thread.
        self._sharing = Lock()
        self._flows: Counter[tuple[str, str]] = Counter()
        self._seen: dict[str, Seen] = {}
        self._open: Counter[str] = Counter()
        """Connections that are open now, by source."""
        self._changed: set[str] = set()
        """Sources whose number of connections is not written yet."""
        self._told = clock()
        """When connections were last written."""
        self._noted: set[str] = set()
        """Sources whose first reception here is written: what was received of a source is looked for by its name."""
        self._refused: Counter[tuple[int, str, str]] = Counter()
        self._resending = False
        """Whether the last batch held what had come before; the next one is then not taken for new."""

    @property
    def is_flush_due(self) -> bool:
        """Whether a second has passed since rates were written."""
        return self._clock() - self._flushed >= FLUSH_EVERY

    def refuse(self, envelope: Envelope, code: str, where: str, *, later: bool = False) -> Receipt:
        """Say no, and count it."""
        now = self._clock()
        with self._sharing:
            self._refused[
                (messages.day_of(now, self._zone), envelope.source, "refused_at_door")
            ] += 1
            self._see(envelope.source, Seen(error_code=code, error_at=now))
        self._telemetry.emit("refused_at_door", source=envelope.source, code=code, where=where)
        return Receipt(
            outcome="refused",
            code=code,
            where=where,
            text=words(code).en,
            retry_after=_RETRY_AFTER if later else None,
        )

    def notice(self, name: str, fields: dict[str, Any]) -> None:
        """`broker.contracts.Notice` for sources: said as an event, and what it tells of a source is kept for its row."""
        self._telemetry.notice(name, fields)
        source = fields.get("source")
        if not source:
            return
        with self._sharing:
            if name in _CONNECTIONS:
                self._open[source] += _CONNECTIONS[name]
                self._changed.add(source)
            elif name == "refused_at_door":
                self._see(source, Seen(error_code=fields.get("code"), error_at=self._clock()))

    def _see(self, source: str, seen: Seen) -> None:
        """Keep what was seen of a source until it is written; under the lock."""
        before = self._seen.get(source)
        self._seen[source] = seen if before is None else before.behind(seen)

    def store(
        self, batch: Sequence[Arrival], wait: together.Wait, reserved: Callable[[], None]
    ) -> list[Answer]:
        """Commit a batch; `reserved` is called when its numbers are. Raises: TransientError: nothing is known of it."""
        now = self._clock()
        begun = perf_counter()
        if month_of(now) != self.month:
            with writing(self._engine) as connection:
                partitions.ensure(connection, now)
                keep_key = sealing.ready(connection, month_of(now))
            keep_key()
        day = messages.day_of(now, self._zone)
        drafts = [arrival.draft(day) for arrival in batch]
        with self._beside() as beside:
            beside.first = {
                row.source: Seen(row.received_at, connections=self._open[row.source])
                for row in drafts
                if row.source not in self._noted
            }
            stored = self._store_new(batch, drafts, beside, now, wait, reserved)
            if stored is None:
                unpack(self._engine, self._writer, wait=wait)
                stored = self._store_sorted_out(batch, drafts, beside, now, wait, reserved)
        fault_points.reach("intake.committed")
        rows, receipts = stored
        self._noted.update([row.source for row in rows])
        self._count(batch, rows, _duplicates(batch, receipts))
        self.month = month_of(now)
        self._telemetry.observe("commit_seconds", perf_counter() - begun, stage="intake")
        self._telemetry.observe("batch_messages", len(batch), stage="intake")
        work = {row.id: Work(row.seq, row.lane) for row in rows if row.state == State.RECEIVED}
        return [
            (receipt, None if receipt.duplicate else work.get(MessageId(receipt.message_id)))
            for receipt in receipts
        ]

    def _store_new(
        self,
        batch: Sequence[Arrival],
        drafts: Sequence[receptions.Received],
        beside: _Beside,
        now: datetime,
        wait: together.Wait,
        reserved: Callable[[], None],
    ) -> tuple[Sequence[receptions.Received], list[Receipt]] | None:
        """The common case, each message a new one, in one exchange with the database; None where it is not so."""
        if self._resending or len({draft.key for draft in drafts}) < len(batch):
            return None
        for place, draft in enumerate(drafts):
            draft.seq = Seq(place)
        try:
            with together.writing_together(self._engine, wait) as connection:
                statements = together.together(connection)
                if statements is None:
                    return None
                # The lock on the counter row orders gateways: what another one committed is seen by the look-up
                # behind it, so a message that reaches two gateways at once is still filed once. It is held until the
                # commit, so nothing waits for this process from here on.
                numbers = statements.add(
                    *sequences.reservation(connection, _NUMBERS, len(batch), now)
                )
                statements.expect_none(
                    *receptions.probe_any([arrival.identity for arrival in batch])
                )
                statements.tell(reserved)
                self._write(
                    connection,
                    drafts,
                    Counter(),
                    beside,
                    now,
                    reserved=len(batch),
                )
                _reach_the_commit()
        except together.ExpectationError:
            self._resending = True
            return None
        first = int(numbers.rows[0][0] or 0) - len(batch) + 1
        for place, draft in enumerate(drafts):
            draft.seq = Seq(first + place)
        return drafts, [_accepted(row.id, row.received_at, duplicate=False) for row in drafts]

    def _store_sorted_out(
        self,
        batch: Sequence[Arrival],
        drafts: Sequence[receptions.Received],
        beside: _Beside,
        now: datetime,
        wait: together.Wait,
        reserved: Callable[[], None],
    ) -> tuple[Sequence[receptions.Received], list[Receipt]]:
        """The general case: look first which messages are new, then write those."""
        wanted = [arrival.identity for arrival in batch]
        with together.writing_together(self._engine, wait) as connection:
            numbers, found = together.ask(
                connection,
                [
                    sequences.reservation(connection, _NUMBERS, len(batch), now),
                    receptions.probe(connection, wanted),
                ],
            )
            first = int(numbers[0][0]) - len(batch) + 1
            reserved()
            if found:
                # What another gateway committed in the meantime. No more can come: the lock on the numbers is ours.
                while unpack_some(connection, self._writer):
                    pass
            known = receptions.known(connection, wanted, found)
            rows, receipts = self._sort_out(batch, drafts, known, first)
            self._write(
                connection,
                rows,
                _duplicates(batch, receipts),
                beside,
                now,
                reserved=len(batch),
                first=first,
            )
            _reach_the_commit()
        self._resending = bool(known)
        return rows, receipts

    def flush(self, *, is_last: bool = False) -> None:
        """Write what no commit took along: the rates of a burst that ended, refusals at the door, connections.

        is_last: nothing more will be written, so nothing is left for the next time.
        """
        now = self._clock()
        if is_last:
            self._told, self._flushed = now - _TELL_AFTER, now - FLUSH_EVERY
        with self._sharing:
            is_due = self._is_telling_due(now)
        if not (self._flows or self._refused or self._seen or is_due):
            self._flushed = now
            return
        try:
            with self._beside() as beside, writing(self._engine) as connection:
                tallies.tally(connection, beside.refused, self._writer)
                beside.write(connection, now, self._writer)
        except TransientError:
            pass  # the next time, then
        except Exception as error:  # noqa: BLE001 - counts that cannot be written stop no message
            self._telemetry.emit("counts_unwritten", error=type(error).__name__)

    @contextmanager
    def _beside(self) -> Iterator[_Beside]:
        """What was counted since the last commit, to be written by this one; kept for the next when it fails.

        Rates and how sources are doing once a second rather than once a commit: they are graphs, not the balance, and
        a crash may lose the last second of them. The tallies lose nothing, and neither does the first of a source.
        """
        taken = _Beside()
        is_due = self.is_flush_due
        changed: set[str] = set()
        with self._sharing:
            taken.refused, self._refused = self._refused, Counter()
            if is_due:
                self._flushed = now = self._clock()
                taken.flows, self._flows = self._flows, Counter()
                if self._is_telling_due(now):
                    changed, self._changed, self._told = self._changed, set(), now
                    changed |= {source for source, count in self._open.items() if count}
                taken.seen, self._seen = self._seen, {}
                taken.seen = _joined(dict.fromkeys(changed, Seen()), taken.seen)
                for source, seen in taken.seen.items():
                    taken.seen[source] = replace(seen, connections=self._open[source])
        try:
            yield taken
        except BaseException:
            with self._sharing:
                self._refused.update(taken.refused)
                self._flows.update(taken.flows)
                self._seen = _joined(taken.seen, self._seen)
                self._changed |= changed
            raise

    def _is_telling_due(self, now: datetime) -> bool:
        """Whether connections are to be written: a while after a change, and as long as some are open. Under the lock."""
        since = now - self._told
        return (bool(self._changed) and since >= _TELL_AFTER) or (
            since >= partners.HEARTBEAT and any(self._open.values())
        )

    def _count(
        self,
        batch: Sequence[Arrival],
        rows: Sequence[receptions.Received],
        duplicates: Counter[str],
    ) -> None:
        """Rates and metrics of a commit that was made."""
        done = self._clock()
        waited: dict[str, list[float]] = {}
        for arrival in batch:
            envelope = arrival.envelope
            seconds = (done - envelope.received_at).total_seconds()
            waited.setdefault(envelope.source, []).append(seconds)
        by_source: dict[str, list[receptions.Received]] = {}
        for row in rows:
            by_source.setdefault(row.source, []).append(row)
        flows: Counter[tuple[str, str]] = Counter()
        for source, mine in by_source.items():
            flows[(source, "received")] = len(mine)
            flows[(source, "bytes")] = sum([len(row.body) for row in mine])
        for source, seconds_each in waited.items():
            for measure, n in tallies.latency_measures("answer", seconds_each).items():
                flows[(source, measure)] = n
        with self._sharing:
            self._flows.update(flows)
            for source in waited:
                new = by_source.get(source)
                self._see(source, Seen(new[-1].received_at if new else None, answered_at=done))
        for source, seconds_each in waited.items():
            self._telemetry.observe_many("answer_seconds", seconds_each, source=source)
        for source, n in duplicates.items():
            self._telemetry.emit_many("duplicate_answered", n, source=source)
        for source, mine in by_source.items():
            self._telemetry.emit_many("received", len(mine), source=source)

    def _sort_out(
        self,
        batch: Sequence[Arrival],
        drafts: Sequence[receptions.Received],
        known: dict[tuple[int, int], receptions.Known],
        first: int,
    ) -> tuple[list[receptions.Received], list[Receipt]]:
        """Which arrivals are new, which are duplicates, which collide; in the order they came."""
        rows: list[receptions.Received] = []
        receipts: list[Receipt] = []
        here: dict[tuple[int, int], receptions.Received] = {}
        ids_here: dict[tuple[str, str], Seq] = {}
        for number, (arrival, row) in enumerate(zip(batch, drafts, strict=True)):
            before = known.get(arrival.identity)
            twin = here.get(arrival.identity)
            if twin is not None:
                receipts.append(_accepted(twin.id, twin.received_at, duplicate=True))
                continue
            if before is not None and before.same_bytes:
                receipts.append(_accepted(before.id, before.received_at, duplicate=True))
                continue
            source, control_id = arrival.envelope.source, arrival.glance.control_id
            collides = (
                before.seq if before is not None else ids_here.get((source, control_id or ""))
            )
            policy: OnConflict = self._on_conflict(source) if collides is not None else "accept"
            if collides is not None:
                self._telemetry.emit("conflict", source=source, policy=policy)
            if policy == "refuse":
                receipts.append(self.refuse(arrival.envelope, "control_id.conflict", "MSH-10"))
                continue
            row.seq = Seq(first + number)
            row.conflicts_with = collides
            if policy == "hold":
                row.state, row.reason = State.HELD, "control_id.conflict_held"
            rows.append(row)
            here[arrival.identity] = row
            if control_id is not None:
                ids_here[(source, control_id)] = row.seq
            receipts.append(_accepted(row.id, row.received_at, duplicate=False))
        return rows, receipts

    def _write(
        self,
        connection: Connection,
        rows: Sequence[receptions.Received],
        duplicates: Counter[str],
        beside: _Beside,
        now: datetime,
        *,
        reserved: int,
        first: int = 0,
    ) -> None:
        """Everything one commit leaves in the database; `first` of the numbers it reserved, 0 while it is not known."""
        receptions.write(connection, rows, now, self._writer, reserved=reserved, first=first)
        held = [row for row in rows if row.state == State.HELD]
        lanes.block(
            connection, [(row.lane, "held", row.seq, now, row.reason, None) for row in held]
        )
        keys = (
            search_keys.keys_of_bytes(row.body, row.charset_declared, row.seq, self._key)
            for row in held
            if row.format == "hl7v2"
        )
        messages.add_keys(connection, [key for some in keys for key in some])
        counts = Counter(beside.refused)
        day = messages.day_of(now, self._zone)
        for source, n in duplicates.items():
            counts[(day, source, "duplicate_answered")] += n
        tallies.tally(connection, counts, self._writer)
        if is_sqlite(connection) and rows:
            trail.received(connection, [(first, first + reserved - 1)], len(rows))
        beside.write(connection, now, self._writer)


def _joined(older: Mapping[str, Seen], newer: Mapping[str, Seen]) -> dict[str, Seen]:
    """What was seen of sources, and after that."""
    return {
        **older,
        **{source: older.get(source, seen).behind(seen) for source, seen in newer.items()},
    }


def _reach_the_commit() -> None:
    fault_points.reach("intake.written")
    fault_points.reach("intake.committing")


def _duplicates(batch: Sequence[Arrival], receipts: Sequence[Receipt]) -> Counter[str]:
    return Counter(
        arrival.envelope.source
        for arrival, receipt in zip(batch, receipts, strict=True)
        if receipt.duplicate
    )


def _accepted(message_id: str, received_at: datetime, *, duplicate: bool) -> Receipt:
    return Receipt(
        outcome="accepted",
        code="accepted",
        message_id=message_id,
        first_received_at=received_at,
        duplicate=duplicate,
    )


@lru_cache(maxsize=1024)
def _peer(peer: Peer) -> str:
    text = msgspec.json.encode(peer).decode()
    return "" if text == "{}" else text
