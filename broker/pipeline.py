"""The story of a message, in one place: parse, map, identify, decide, file, owe, audit.

Parse and map are pure and run per message. Everything after them is one transaction for the whole batch: filed if
and only if audited, filed if and only if owed. Whatever is refused is a value with a reason, never an exception.

Longer than other modules because the story is told in one place, in its order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter, perf_counter_ns

import msgspec
from sqlalchemy import Connection, Engine

from broker import fault_points, header, replayed, search_keys
from broker.answers import Answers
from broker.audit import trail
from broker.batch import InHand
from broker.contracts import PerRecipient, Work
from broker.correlating import read_answer
from broker.database.engine import reading, writing
from broker.document import Document, Issue, Patient, encode
from broker.errors import CarnetError, SetupError, TransientError
from broker.hops import Loops, content_digest
from broker.identifying import KEEP_TRAITS, Identities, crossed, identify
from broker.identity import matching
from broker.mapper import Given, Mapper, Reading, errors_of, held_at
from broker.mapping.catalogue import MappingSet
from broker.mapping.run import Coverage
from broker.mapping_sets import Watch
from broker.owing import Owing, Render
from broker.records import (
    account_waits,
    care_team,
    circles,
    content,
    coverage,
    filing,
    lanes,
    messages,
    notices,
    patients,
    replays,
    sight,
    tallies,
)
from broker.records.identity_journal import ACTS
from broker.rules import decide, orders
from broker.rules.routing import Routing
from broker.telemetry import Telemetry
from broker.unpacking import Unpacker
from broker.values import State

ENGINE = "1"
"""Version of the engine a message was processed by, kept in its row."""

CODE_HELD = "mapping.code_held"
"""Why a message waits whose code is to be translated first."""

_SEEN_EVERY = timedelta(seconds=5)
_TREES_LOOKED_AT = 16
"""One in so many CDA and FHIR messages is looked at for what no rule reads: there it costs as much as reading."""


@dataclass(slots=True)
class Outcome:
    """What the worker does after the commit: work that became free, and deliveries to hand over by topic."""

    freed: list[Work] = field(default_factory=list)
    owed: dict[str, list[Work]] = field(default_factory=lambda: defaultdict(list))
    again: dict[timedelta, list[int]] = field(default_factory=lambda: defaultdict(list))


class Pipeline:
    """One per worker; used by one thread."""

    def __init__(
        self,
        engine: Engine,
        mapper: Mapper,
        sets: Watch,
        rules: decide.Rules,
        routing: Callable[[MappingSet], Routing],
        *,
        for_record: frozenset[str],
        per_recipient: Mapping[str, PerRecipient],
        answers: Answers,
        loops: Loops,
        writer: str,
        secret: bytes,
        production: bool,
        render: Render,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._mapper = mapper
        self._sets = sets
        self._rules = rules
        self._routing_of = routing
        self._owing = Owing(
            mapper.mapping_set,
            routing(mapper.mapping_set),
            for_record,
            per_recipient,
            render,
            telemetry,
        )
        self._answers = answers
        self._loops = loops
        self._writer = writer
        self._secret = secret
        self._production = production
        self._telemetry = telemetry
        self._clock = clock
        self._unpacker = Unpacker(engine, writer)
        self._seen = coverage.Seen()
        self._written = clock()

    def renew(self, *, at_once: bool = False) -> bool:
        """Take up the active mapping set, whole, its routing rules with it, from the next message on; True where it is
        another one.

        Between batches, on the worker's thread. A set that cannot be loaded changes nothing.
        """
        try:
            mapper = self._sets.newer(self._mapper.set_hash, at_once=at_once)
            if mapper is None:
                return False
            routing = self._routing_of(mapper.mapping_set)
        except SetupError as error:
            self._telemetry.emit("mapping_set_refused", code=error.code)
            return False
        self._mapper = mapper
        self._owing = replace(self._owing, mapping_set=mapper.mapping_set, routing=routing)
        self._telemetry.emit("mapping_set_used", set=mapper.set_hash[:12])
        return True

    def note_seen(self, *, at_once: bool = False) -> None:
        """Write what was seen since the last time, every few seconds. A crash loses the counts of those seconds.

        Raises: TransientError when the database is away; the counts are kept for the next time.
        """
        now = self._clock()
        if self._seen and (at_once or now - self._written >= _SEEN_EVERY):
            with writing(self._engine) as connection:
                coverage.write(connection, self._seen, now)
            self._seen, self._written = coverage.Seen(), now

    def process(self, seqs: Sequence[int]) -> Outcome:
        """Take messages through the whole story, all or none of them.

        Raises: TransientError when the database is away; anything else is the fault of one message of the batch,
        and the caller tries them one at a time.
        """
        try:
            return self._process(seqs)
        except TransientError:
            self._unpacker.forget()
            raise

    def _process(self, seqs: Sequence[int]) -> Outcome:
        self._unpacker.up_to(max(seqs, default=0))
        with reading(self._engine) as connection:
            opened = messages.claim(connection, seqs)
            origins = replays.origins(connection, opened)
        going = [message for message in opened if message.state != State.HELD]
        if any(map(_is_again, going)):
            # Whoever lets a message be read again may have activated the set for it a moment ago.
            self.renew(at_once=True)
        hands = [self._read(message, origins.get(message.seq)) for message in going]
        if any(hand.reason == CODE_HELD for hand in hands) and self.renew(at_once=True):
            # The code may have been translated, and what waits for it released, while this message was read.
            hands = [self._read(message, origins.get(message.seq)) for message in going]
        fault_points.reach("filing.mapped")
        begun = perf_counter()
        with writing(self._engine) as connection:
            outcome = self._settle(connection, hands, self._clock())
            fault_points.reach("filing.written")
            fault_points.reach("filing.committing")
        for hand in hands:
            self._count(hand)
        self._telemetry.observe("commit_seconds", perf_counter() - begun, stage="filing")
        self._telemetry.observe("batch_messages", len(hands), stage="filing")
        return outcome

    def park(self, seq: int, error: Exception) -> Outcome:
        """Settle a message that fails whatever is tried: its bytes are kept, its place is said, its lane goes on."""
        code = error.code if isinstance(error, CarnetError) else "internal"
        place = error.where if isinstance(error, CarnetError) else type(error).__name__
        with reading(self._engine) as connection:
            opened = messages.claim(connection, [seq])
        hands = [
            InHand(message, Reading(format=message.format), self._clock()) for message in opened
        ]
        for hand in hands:
            hand.end(State.PARKED, code, place)
        with writing(self._engine) as connection:
            return self._settle(connection, hands, self._clock())

    # --- parse, map: pure ---------------------------------------------------------------------------------------

    def _read(self, message: messages.Open, origin: replays.Origin | None) -> InHand:
        begun = perf_counter_ns()
        if message.unreadable is not None:
            hand = InHand(message, Reading(format=message.format), self._clock(), origin)
            hand.end(State.PARKED, message.unreadable.code, message.unreadable.where)
            return hand
        received_at = message.received_at if origin is None else origin.received_at
        given = Given(
            message_id=message.id,
            source=message.source,
            media=message.media,
            charset=message.charset_declared,
            received_at=received_at.isoformat(),
            sha256=message.sha256.hex(),
        )
        reading = self._mapper.read(message.body, given, coverage=_coverage(message))
        hand = InHand(message, reading, self._clock(), origin)
        hand.answer = read_answer(message.type, message.body)
        failure = reading.failure
        if failure is not None:
            hand.end(State.PARKED, failure.code, failure.where)
        elif (place := held_at(reading.issues)) is not None:
            hand.end(State.HELD, CODE_HELD, place)
        elif errors := errors_of(hand.reading.issues):
            hand.end(State.PARKED, f"mapping.{errors[0].code}", errors[0].source_path)
        elif not hand.documents:
            hand.end(State.FILTERED, "mapping.no_document")
        hand.step("map", (perf_counter_ns() - begun) // 1000, hand.reason or "")
        return hand

    def _count(self, hand: InHand) -> None:
        """What a message says and no rule reads, and codes no table has: for the engineer's lists.

        A message that waits is read more than once. Its codes count when it comes, its places when it goes on; of one
        that is replayed they were counted long ago.
        """
        if hand.origin is not None:
            return
        reading, source = hand.reading, hand.message.source
        is_going = hand.verdict not in (State.WAITING, State.HELD)
        if is_going and reading.mapping and _coverage(hand.message):
            self._seen.message(source, reading.mapping, reading.version, set(reading.unread))
        for one in reading.unmapped if hand.message.state != State.WAITING else ():
            self._seen.code(source, one.table, one.system, one.code, one.display)

    # --- one transaction ----------------------------------------------------------------------------------------

    def _settle(self, connection: Connection, hands: Sequence[InHand], now: datetime) -> Outcome:
        mine = messages.lock(connection, [hand.message.seq for hand in hands])
        hands = [hand for hand in hands if hand.message.seq in mine]
        ready, waiting = self._in_order(connection, hands)
        answered = self._answers.credit(connection, ready, now, self._writer)
        early = [hand for some in answered.early.values() for hand in some]
        ready, waiting = _behind_early(ready, waiting, early)
        identities = identify(connection, ready, self._keys, self._secret, now)
        ready, waiting = _behind_held(ready, waiting)
        self._decide(ready, identities, now)
        self._stop_loops(connection, ready, now)
        self._file(connection, ready, identities, now)
        owed = self._owing.owe(connection, ready, now)
        for topic, work in answered.owed.items():
            owed[topic] += work
        self._note(connection, [*ready, *waiting], now)
        freed = self._lanes(connection, ready, waiting, now)
        self._audit(connection, ready, answered.entries, now)
        outcome = Outcome(freed=freed, owed=owed)
        for after, some in answered.early.items():
            outcome.again[after] += [hand.message.seq for hand in some]
        return outcome

    def _in_order(
        self, connection: Connection, hands: Sequence[InHand]
    ) -> tuple[list[InHand], list[InHand]]:
        """Which messages are the next of their lane, and which have an earlier one still unsettled before them.

        Those of a lane that a person holds wait too, all of them.
        """
        in_lane: dict[int, list[InHand]] = defaultdict(list)
        ready = [hand for hand in hands if not hand.message.lane]
        for hand in hands:
            if hand.message.lane:
                in_lane[hand.message.lane].append(hand)
        heads = lanes.unsettled_heads(
            connection, {lane: len(mine) for lane, mine in in_lane.items()}
        )
        waiting: list[InHand] = []
        for lane, mine in in_lane.items():
            if lane not in heads:
                waiting += mine
                continue
            flows = True
            for hand, head in zip(mine, heads[lane], strict=True):
                flows = flows and hand.message.seq == head
                (ready if flows else waiting).append(hand)
        for hand in waiting:
            is_next = hand.message.lane in heads
            hand.end(State.WAITING, "lane.behind" if is_next else "lane.held")
        return sorted(ready, key=lambda hand: hand.message.seq), waiting

    def _keys(
        self, hand: InHand, document: Document, patient: Patient | None
    ) -> matching.PatientKeys:
        return matching.keys_of(
            patient,
            document.source.format or hand.reading.format,
            hand.message.source,
            production=self._production,
        )

    def _decide(self, hands: Sequence[InHand], identities: Identities, now: datetime) -> None:
        """Whether each message may be filed; a patient who opposes or has closed the space is obeyed, and said so.

        In order: what a message says of consent holds for itself and for those behind it.
        """
        for hand in hands:
            if not hand.is_open or hand.person is None:
                continue
            people = identities.people
            people[hand.person] = patients.after(people[hand.person], _said(hand), now)
            record = hand.patient = identities.record(hand)
            for document in hand.documents:
                decision = self._rules.filing(record, document, now)
                hand.decision = (
                    f"{decision.rule} {'allow' if decision.allowed else 'deny'} {decision.reason}"
                )
                if not decision.allowed:
                    hand.not_filed = decision.reason
                    break
            hand.step("decide", 0, hand.decision)

    def _stop_loops(self, connection: Connection, hands: Sequence[InHand], now: datetime) -> None:
        """What signs there are that a message goes round in a circle; where they are enough it is parked before it is filed.

        What a person has read again goes where they send it, and does not come back by that.
        """
        if not self._owing.routing.rules:
            return
        going = {
            hand.message.seq: circles.Said(
                content_digest(hand.message.body),
                circles.Name(hand.message.source, hand.message.sender),
            )
            for hand in hands
            if hand.is_open and hand.origin is None
        }
        signs = circles.signs_of(connection, going.values(), now - self._loops.window)
        for hand in hands if signs else ():
            if said := going.get(hand.message.seq):
                hand.signs = signs.get(said, 0)
                if hand.signs >= self._loops.limit:
                    hand.end(State.PARKED, "routing.loop", "message")

    def _file(
        self,
        connection: Connection,
        hands: Sequence[InHand],
        identities: Identities,
        now: datetime,
    ) -> None:
        """Plan each document against what the record has, then write all of them at once.

        What changes identities stands in their journal, and is no document.
        """
        willing = [
            hand for hand in hands if hand.is_open and hand.not_filed is None and not hand.applied
        ]
        documents = [document for hand in willing for document in hand.documents]
        record = filing.existing(connection, documents)
        versions = replayed.Versions(connection, record, willing)
        for hand in willing:
            if hand.origin is None:
                self._plan(hand, record, now)
            else:
                self._plan_again(hand, record, versions, now)
        filings = [one for hand in willing for one in hand.filings]
        filings, own_masks = _carried(connection, filings, now)
        filing.file(connection, filings, now)
        sight.change(connection, own_masks, now)
        notices.of_filings(connection, filings, now)
        account_waits.note(connection, [_waiting(hand) for hand in hands if _waits(hand)], now)
        content.store(
            connection,
            {
                (hand.person, digest): blob
                for hand in willing
                if hand.filings and hand.person is not None
                for digest, blob in hand.reading.attachments.items()
                if digest != hand.message.sha256.hex()
            },
        )
        going = [hand for hand in hands if hand.is_open]
        identities.change(going)
        self._consents(connection, going, identities, now)

    def _plan(self, hand: InHand, record: filing.Existing, now: datetime) -> None:
        """One message's documents: all of them are filed or none is."""
        if hand.person is None:
            return
        plans = []
        for document in hand.documents:
            plan = filing.plan(
                document,
                record,
                patient=hand.person,
                message_seq=hand.message.seq,
                persons=hand.record,
            )
            if plan.refusal is not None:
                hand.end(State.PARKED, plan.refusal, plan.place)
                return
            plans.append((document, plan))
        for document, plan in plans:
            if plan.action == "duplicate":
                hand.known_already = plan.reason
                continue
            shown = _with_issues(document, plan.issues)
            made = filing.Filing.of(
                shown,
                encode(shown),
                plan,
                patient=hand.person,
                message_seq=hand.message.seq,
                now=now,
            )
            hand.filings.append(made)
            hand.changes += crossed(hand, made.act, plan.targets)
            record.add(made)

    def _plan_again(
        self, hand: InHand, record: filing.Existing, versions: replayed.Versions, now: datetime
    ) -> None:
        """A replay's documents: new versions of what its original filed, see `replayed`."""
        planned = versions.plans(hand)
        for one in planned:
            if one.plan.refusal is not None:
                hand.end(State.PARKED, one.plan.refusal, one.plan.place)
                return
        for one in planned:
            if one.plan.action == "duplicate":
                if hand.known_already != replayed.SUPERSEDED:
                    hand.known_already = one.plan.reason
                continue
            shown = _with_issues(one.document, one.plan.issues)
            made = filing.Filing.of(
                shown,
                encode(shown),
                one.plan,
                patient=hand.person or 0,
                message_seq=hand.message.seq,
                now=now,
            )
            made = versions.filed(made, one)
            hand.filings.append(made)
            record.add(made)

    def _consents(
        self,
        connection: Connection,
        hands: Sequence[InHand],
        identities: Identities,
        now: datetime,
    ) -> None:
        """What the messages say of traits and consent: the newest administrative word is kept.

        A replay's word on traits is an old one, and not kept; on consent it counts where nothing as new is known.
        Who merges or links says nothing new of either.
        """
        traits = {}
        for hand in hands:
            for document in hand.documents:
                if hand.person is None or document.patient is None or hand.origin is not None:
                    continue
                if hand.applied in KEEP_TRAITS:
                    continue
                if document.kind in ("encounter_event", "patient_event"):
                    traits[hand.person] = document.patient
        identities.update_traits(traits)
        patients.add_consents(connection, [said for hand in hands for said in _said(hand)], now)
        care_team.note(connection, [one for hand in hands for one in _team(hand, now)], now)

    def _note(self, connection: Connection, hands: Sequence[InHand], now: datetime) -> None:
        """Write each message's new state, its business keys, and the counters."""
        changes = []
        keys: list[messages.Key] = []
        flows: Counter[tuple[str, str]] = Counter()
        waited: dict[str, list[float]] = {}
        for hand in hands:
            self._conclude(hand)
            changes.append(self._transition(hand, now))
            if not (hand.verdict == State.WAITING == hand.message.state):
                keys += self._business_keys(hand)
            if hand.verdict == State.WAITING:
                continue
            source, fate = hand.message.source, tallies.FATES_BY_STATE[hand.verdict or State.FILED]
            flows[(source, fate)] += 1
            seconds = (now - hand.message.received_at).total_seconds()
            waited.setdefault(source, []).append(seconds)
            if hand.reason is not None:
                self._telemetry.emit(
                    fate,
                    source=source,
                    reason=hand.reason,
                    message_id=hand.message.id,
                    where=hand.place or "",
                )
        for source, each in waited.items():
            for measure, n in tallies.latency_measures("filing", each).items():
                flows[(source, measure)] += n
            self._telemetry.observe_many("filing_seconds", each, source=source)
        messages.transition(connection, changes, self._writer)
        messages.add_keys(connection, keys)
        tallies.flow(connection, flows, now, self._writer)
        for source, n in Counter(
            h.message.source for h in hands if h.verdict == State.FILED
        ).items():
            self._telemetry.emit_many("filed", n, source=source)

    def _business_keys(self, hand: InHand) -> list[messages.Key]:
        """What the message is searched by: from its documents or, where it gave none, from what its bytes show.

        Of one that waits too, once: it may wait for days behind one that a person has to look at.
        """
        message = hand.message
        keys = [
            key
            for document in hand.documents
            for key in search_keys.keys_of(document, message.seq, self._secret)
        ]
        if not hand.documents and message.format == "hl7v2":
            charset = message.charset_declared
            return search_keys.keys_of_bytes(message.body, charset, message.seq, self._secret)
        return keys

    def _conclude(self, hand: InHand) -> None:
        """The fate of a message nothing stood against."""
        if hand.verdict is not None:
            return
        if hand.filings:
            hand.verdict = State.FILED
        elif hand.applied:
            hand.verdict = State.DELIVERED_ONLY if hand.owed else State.FILTERED
            hand.reason = hand.applied
        elif hand.known_already:
            hand.verdict, hand.reason = State.FILTERED, hand.known_already
        elif hand.owed:
            hand.verdict, hand.reason = State.DELIVERED_ONLY, hand.not_filed
        elif hand.filtered_by and not hand.is_routed:
            hand.end(State.FILTERED, "routing.filtered", hand.filtered_by)
        else:
            hand.verdict, hand.reason = State.FILTERED, hand.not_filed

    def _transition(self, hand: InHand, now: datetime) -> messages.Transition:
        return messages.Transition(
            hand.message,
            hand.verdict or State.FILED,
            now,
            reason=hand.reason,
            place=hand.place,
            person=hand.person,
            mapping_set=self._mapper.set_hash[:16],
            engine=ENGINE,
            rules_version=self._rules.version,
            charset_used=hand.reading.charset_used or None,
            attempts=hand.message.attempts,
            answers=hand.answers,
            trail=hand.trail(now),
        )

    def _lanes(
        self,
        connection: Connection,
        ready: Sequence[InHand],
        waiting: Sequence[InHand],
        now: datetime,
    ) -> list[Work]:
        """Block the lanes that must wait, and free those that flow again: their waiting messages come back in order."""
        held = {hand.message.lane: hand for hand in ready if hand.verdict == State.HELD}
        blocked = [
            (lane, "held", hand.message.seq, now, hand.reason, None)
            for lane, hand in held.items()
            if lane
        ]
        blocked += [
            (hand.message.lane, "waiting", hand.message.seq, now, None, None) for hand in waiting
        ]
        lanes.block(connection, blocked)
        settled = (
            {hand.message.lane for hand in ready}
            - held.keys()
            - {hand.message.lane for hand in waiting}
        )
        return [Work(seq, lane) for seq, lane in lanes.free(connection, settled)]

    def _audit(
        self,
        connection: Connection,
        hands: Sequence[InHand],
        answered: Sequence[trail.Entry],
        now: datetime,
    ) -> None:
        """One entry a filed document, one a message that was not filed, one an answer; in this transaction, last."""
        entries = list(answered)
        for hand in hands:
            decision = hand.decision or None
            entries += [
                self._entry(hand, one.act, one.document_id, now, decision, one.document)
                for one in hand.filings
            ]
            entries += [
                self._entry(hand, ACTS[one.kind], f"patient:{one.patient}", now, None)
                for one in hand.changes
                if hand.applied and one.kind in ACTS
            ]
            if not hand.filings:
                act = tallies.FATES_BY_STATE[hand.verdict or State.FILTERED]
                entries.append(self._entry(hand, act, hand.message.id, now, decision))
        trail.write(connection, entries, now)

    def _entry(
        self,
        hand: InHand,
        act: str,
        subject: str,
        now: datetime,
        decision: str | None,
        document: Document | None = None,
    ) -> trail.Entry:
        return trail.Entry(
            act=act,
            at=now,
            actor_kind="machine",
            actor=hand.message.source,
            patient=hand.person,
            subject=subject,
            decision=decision,
            outcome=hand.reason,
            software=header.software_of(document) if document is not None else None,
            control_id=hand.message.control_id,
            details=header.told_of(document) if document is not None else None,
        )


def _coverage(message: messages.Open) -> Coverage:
    """Every HL7v2 message is looked at in the fast way; of the others a sample, wholly."""
    if message.format == "hl7v2":
        return "fast"
    return message.seq % _TREES_LOOKED_AT == 0


def _behind_early(
    ready: Sequence[InHand], waiting: Sequence[InHand], early: Sequence[InHand]
) -> tuple[list[InHand], list[InHand]]:
    """Answers that came too early come again, and whoever came behind one in its lane waits for it."""
    if not early:
        return list(ready), list(waiting)
    numbers = {hand.message.seq for hand in early}
    first: dict[int, int] = {}
    for hand in early:
        if lane := hand.message.lane:
            first[lane] = min(hand.message.seq, first.get(lane, hand.message.seq))
    going, stopped = [], list(waiting)
    for hand in ready:
        if hand.message.seq in numbers:
            continue
        if hand.message.seq > first.get(hand.message.lane, hand.message.seq):
            hand.end(State.WAITING, "lane.behind")
            stopped.append(hand)
        else:
            going.append(hand)
    return going, stopped


def _behind_held(
    ready: Sequence[InHand], waiting: Sequence[InHand]
) -> tuple[list[InHand], list[InHand]]:
    """Whoever is held in this batch holds those of its lane that came after it."""
    held: set[int] = set()
    going: list[InHand] = []
    stopped = list(waiting)
    for hand in ready:
        lane = hand.message.lane
        if lane and lane in held:
            hand.end(State.WAITING, "lane.behind")
            stopped.append(hand)
            continue
        if hand.verdict == State.HELD:
            held.add(lane)
        going.append(hand)
    return going, stopped


def _said(hand: InHand) -> list[patients.ConsentSaid]:
    """What a message says of its patient's consent."""
    if hand.person is None:
        return []
    return [
        patients.ConsentSaid(
            hand.person,
            consent,
            hand.message.source,
            hand.message.seq,
            first_said=None if hand.origin is None else hand.origin.received_at,
            team=care_team.team_of(document) if consent.scope == "consultation" else "",
        )
        for document in hand.documents
        for consent in document.consents
    ]


def _carried(
    connection: Connection, filings: Sequence[filing.Filing], now: datetime
) -> tuple[list[filing.Filing], list[sight.SightChange]]:
    """Filings with the visibility their documents get: a new version does not open or hide what the last one did not.

    The second are masks that the patient set: they are the new version's as well.
    """
    masks: list[sight.SightChange] = []
    old = sight.standing(connection, {one for made in filings for one in made.supersedes})
    found = []
    for made in filings:
        before = next((old[one] for one in made.supersedes if one in old), None)
        if before is not None:
            asked = made.document.delivery
            standing = orders.Standing(*before)
            if standing.by_patient:
                by, seq = f"patient:{made.patient}", made.message_seq
                masks.append(
                    sight.SightChange(made.document.id, "mask", by, "replacement", "VIS-01", seq)
                )
            sees = orders.carried(
                standing,
                made.visibility,
                now,
                only_visibility=asked is not None and bool(asked.change_confidentiality),
            )
            made = replace(made, visibility=sees)
        seen_as = made.visibility
        old[made.document.id] = (
            seen_as.masked_ps,
            seen_as.visible_from,
            seen_as.hidden_from_reps,
            before is not None and before[3],
        )
        found.append(made)
    return found, masks


def _team(hand: InHand, now: datetime) -> list[care_team.TeamEvent]:
    """Who a message lets into its patient's care, or out of it (L.1110-12)."""
    if hand.person is None:
        return []
    seq, source = hand.message.seq, hand.message.source
    told = (care_team.of_message(one, hand.person, source, seq, now) for one in hand.documents)
    return [one for one in told if one is not None]


def _is_again(message: messages.Open) -> bool:
    """Whether a message is not new: a replay, or one that a worker or a person has had in hand before."""
    return message.replay_of is not None or message.trail is not None


def _waits(hand: InHand) -> bool:
    """Whether the documents of a message wait for what becomes of the patient's space."""
    return (
        hand.is_open
        and hand.not_filed in account_waits.REASONS
        and hand.patient is not None
        and account_waits.waits(hand.patient.account)
    )


def _waiting(hand: InHand) -> tuple[int, int]:
    seq = hand.message.seq if hand.origin is None else hand.origin.seq
    return hand.person or 0, seq


def _with_issues(document: Document, codes: Sequence[str]) -> Document:
    if not codes:
        return document
    found = tuple(Issue(severity="warning", code=code, target_path="unique_id") for code in codes)
    return msgspec.structs.replace(document, issues=(*document.issues, *found))
