"""What a replay would do, message by message, and nothing is touched: for `carnet messages replay --dry-run`.

Stored messages are read with the set now active, or a candidate, and held against what they filed; where they filed
nothing, against what the set they were read with makes of them, if it is still kept. Each message is looked at by
itself, as if it were replayed alone: what an earlier one of the same run changes first is seen within a page only.
What is told holds no value: paths, counts, rules, destinations and a few message ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine

from broker.batch import InHand
from broker.contracts import PerRecipient
from broker.database.engine import reading
from broker.document import Document, encode
from broker.errors import SetupError
from broker.identifying import CHANGING, REPLAYED
from broker.identity import matching, merging
from broker.mapper import Given, Mapper, errors_of, held_at
from broker.mapping.catalogue import MappingSet
from broker.mapping.comparison import Seen, changes
from broker.recipients import outlook
from broker.records import (
    filing,
    identity_circle,
    message_detail,
    patients,
    replaying,
    replays,
)
from broker.records.messages import Open
from broker.records.patients import PatientRow
from broker.records.replaying import Candidate
from broker.replay import Page
from broker.replayed import SUPERSEDED, UNCHANGED, Planned, Versions, bare
from broker.rules import decide
from broker.rules.routing import Routing
from broker.values import State

MOST_GROUPS = 2_000
SAMPLES = 3
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of messages that are looked at together."""

_OTHERS = "other"


@dataclass(slots=True)
class Group:
    """Changes of one kind: how many messages, how often, and the first few of them."""

    messages: int = 0
    times: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, name: str, times: int = 1) -> None:
        self.messages += 1
        self.times += times
        if len(self.samples) < SAMPLES:
            self.samples.append(name)


Key = tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What would become of the messages looked at. Bounded, however many they are.

    outcomes: a word, or a reason code -> messages. changes: (kind, path). decisions: (before, after), each "rule
    allow|deny reason". routes: (owed_now|owed_no_more, destination, route). owed: deliveries by destination.
    """

    compared: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    changes: dict[Key, Group] = field(default_factory=dict)
    decisions: dict[Key, Group] = field(default_factory=dict)
    routes: dict[Key, Group] = field(default_factory=dict)
    owed: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    left_readable: Counter[str] = field(default_factory=Counter)
    no_longer_made: int = 0
    incomparable: int = 0

    @property
    def differs(self) -> bool:
        return bool(
            self.changes or self.decisions or self.routes or set(self.outcomes) - {"unchanged"}
        )


class Shadow:
    """Looks at pages of messages; `report` grows. Used by one thread.

    `before` gives the mapper of a set by the beginning of its hash, where it is kept; `routing` the routing rules of a
    set. With `rules_before` decisions
    are compared with what those rules say today; else with what was decided then.
    """

    def __init__(
        self,
        engine: Engine,
        mapper: Mapper,
        rules: decide.Rules,
        routing: Callable[[MappingSet], Routing],
        *,
        per_recipient: Mapping[str, PerRecipient],
        before: Callable[[str], Mapper | None],
        rules_before: decide.Rules | None,
        production: bool,
        now: datetime,
    ) -> None:
        self._engine = engine
        self._mapper = mapper
        self._rules = rules
        self._routing_of = routing
        self._routing = routing(mapper.mapping_set)
        self._routings: dict[str, Routing] = {mapper.set_hash: self._routing}
        self._per_recipient = per_recipient
        self._before = before
        self._rules_before = rules_before
        self._production = production
        self._now = now
        self.report = Report()

    def look(self, page: Page) -> None:
        """Look at a page, a few messages at a time. Raises: TransientError."""
        for one, why in page.left:
            self.report.left[why] += 1
            if why == "parked":
                with reading(self._engine) as connection:
                    self._look_parked(connection, one)
        for some in _by_size(page.chosen):
            with reading(self._engine) as connection:
                self._look(connection, some)

    def _look(self, connection: Connection, some: Sequence[Candidate]) -> None:
        stories = replaying.stories(connection, [one.seq for one in some])
        families = replays.family(connection, [one.seq for one in some])
        looks = []
        for one in some:
            body, trail = stories.get(one.seq, (b"", ""))
            if one.seq not in families or not body:
                self.report.left["bytes_gone"] += 1
                continue
            hand = self._read(one, body, families[one.seq].owing(delivers=True))
            looks.append(_Look(one, hand, trail))
        people = self._identify(connection, [look.hand for look in looks])
        self._decide(looks, people)
        willing = [look.hand for look in looks if look.hand.is_open and not look.hand.not_filed]
        record = filing.existing(
            connection, [document for hand in willing for document in hand.documents]
        )
        versions = Versions(connection, record, [look.hand for look in looks], lock=False)
        for look in looks:
            if look.hand in willing:
                self._plan(look, record, versions)
            self._tell(look, versions)

    # --- as the pipeline does, and writes nothing ----------------------------------------------------------------

    def _read(self, one: Candidate, body: bytes, origin: replays.Origin | None) -> InHand:
        made = self._mapper.read(body, _given(one))
        hand = InHand(_open(one, body), made, self._now, origin)
        if made.failure is not None:
            hand.end(State.PARKED, made.failure.code, made.failure.where)
        elif (place := held_at(made.issues)) is not None:
            hand.end(State.HELD, "mapping.code_held", place)
        elif errors := errors_of(made.issues):
            hand.end(State.PARKED, f"mapping.{errors[0].code}", errors[0].source_path)
        elif not made.documents:
            hand.end(State.FILTERED, "mapping.no_document")
        return hand

    def _identify(self, connection: Connection, hands: Sequence[InHand]) -> dict[int, PatientRow]:
        """Whose each message is; 0 for somebody the record does not know yet."""
        wanted = [
            (hand, self._keys(hand, document))
            for hand in hands
            if hand.is_open
            for document in hand.documents
        ]
        found = patients.find(connection, {key.pair for _, keys in wanted for key in keys.usable})
        known_ins = patients.ins_of(connection, set(found.values()))
        circle = identity_circle.around(connection, set(found.values()))
        for hand, keys in wanted:
            if any(merging.wish_of(document) in CHANGING for document in hand.documents):
                hand.end(State.FILTERED, REPLAYED)
            if not hand.is_open:
                continue
            match = matching.match(keys, found, known_ins, circle)
            if match.outcome in ("conflict", "missing"):
                hand.end(State.PARKED, match.reason, match.place)
                continue
            person = match.patient or 0
            if hand.person not in (None, person):
                hand.end(State.PARKED, "identity.several_patients", "patient")
            hand.person = person
        people = {hand.person for hand in hands if hand.person}
        return {0: PatientRow(0)} | identity_circle.load(connection, people)

    def _keys(self, hand: InHand, document: Document) -> matching.PatientKeys:
        return matching.keys_of(
            document.patient,
            document.source.format or hand.reading.format,
            hand.message.source,
            production=self._production,
        )

    def _decide(self, looks: Sequence[_Look], people: dict[int, PatientRow]) -> None:
        for look in looks:
            hand = look.hand
            if not hand.is_open or hand.person is None:
                continue
            patient = hand.patient = people[hand.person]
            for document in hand.documents:
                after = self._rules.filing(patient, document, self._now)
                hand.decision = _said(after)
                if self._rules_before is None:
                    look.decided = _last_decision(look.trail)
                else:
                    look.decided = _said(self._rules_before.filing(patient, document, self._now))
                if not after.allowed:
                    hand.not_filed = after.reason
                    break

    def _plan(self, look: _Look, record: filing.Existing, versions: Versions) -> None:
        hand = look.hand
        look.planned = versions.plans(hand)
        for one in look.planned:
            if one.plan.refusal is not None:
                hand.end(State.PARKED, one.plan.refusal, one.plan.place)
                return
        for one in look.planned:
            if one.plan.action != "duplicate":
                made = filing.Filing.of(
                    one.document,
                    encode(one.document),
                    one.plan,
                    patient=hand.person or 0,
                    message_seq=hand.message.seq,
                    now=self._now,
                )
                versions.filed(made, one)
                record.add(made)

    # --- telling -------------------------------------------------------------------------------------------------

    def _tell(self, look: _Look, versions: Versions) -> None:
        report, hand, name = self.report, look.hand, look.one.id
        report.compared += 1
        report.outcomes[_outcome(look)] += 1
        if look.decided and hand.decision and look.decided != hand.decision:
            _group(report.decisions, (look.decided, hand.decision), name)
        if hand.is_open and not hand.not_filed:
            report.no_longer_made += len(versions.gone(hand))
        pairs = self._pairs(look)
        found = [change for old, new in pairs for change in changes(old, new)]
        for key, times in Counter(change.group for change in found).items():
            _group(report.changes, key, name, times)
        self._tell_routes(look, pairs)
        changing = [one.document for one in look.planned if one.plan.action != "duplicate"]
        if hand.is_open and not hand.not_filed:
            for document in changing:
                for destination, _ in self._routes(self._routing, look, document):
                    asked = self._per_recipient.get(destination)
                    n = 1 if asked is None else outlook(document, asked)[0]
                    report.owed += Counter({destination: n})

    def _pairs(self, look: _Look) -> list[tuple[Seen, Seen]]:
        """What is to be compared: each document with its version, or all of them with what was made of them then."""
        planned = [one for one in look.planned if one.before is not None]
        if planned:
            return [
                (Seen([bare(one.content)]), Seen([bare(one.document)]))
                for one in planned
                if one.plan.action == "replace" and one.content is not None
            ]
        if look.hand.is_open and any(one.plan.reason == SUPERSEDED for one in look.planned):
            return []
        before = self._before(look.one.mapping_set or "")
        if before is None:
            self.report.incomparable += 1
            return []
        return [(_seen(before, look), _seen(self._mapper, look))]

    def _tell_routes(self, look: _Look, pairs: Sequence[tuple[Seen, Seen]]) -> None:
        """Where documents go now by the rules of the set in use, and where they went by those of the set of then."""
        before = self._routing_before(look.one.mapping_set or "")
        if before is self._routing and not pairs:
            return
        same = [one.document for one in look.planned if one.plan.action == "duplicate"]
        old = [one for pair in pairs for one in pair[0].documents] + same
        new = [one for pair in pairs for one in pair[1].documents] + same
        was = {pair for one in old for pair in self._routes(before, look, one)}
        now = {pair for one in new for pair in self._routes(self._routing, look, one)}
        for destination, route in sorted(now - was):
            _group(self.report.routes, ("owed_now", destination, route), look.one.id)
        for destination, route in sorted(was - now):
            _group(self.report.routes, ("owed_no_more", destination, route), look.one.id)

    def _routing_before(self, beginning: str) -> Routing:
        """The routing of the set a message was read with; where that is not kept any more, the one in use."""
        mapper = self._before(beginning)
        if mapper is None:
            return self._routing
        if mapper.set_hash not in self._routings:
            try:
                found = self._routing_of(mapper.mapping_set)
            except SetupError:  # it names a destination that is gone: nothing to compare with
                found = self._routing
            self._routings[mapper.set_hash] = found
        return self._routings[mapper.set_hash]

    def _routes(
        self, routing: Routing, look: _Look, document: Document
    ) -> tuple[tuple[str, str], ...]:
        return routing.route(
            document,
            look.one.source,
            look.one.media,
            format=look.hand.reading.format,
            patient=look.hand.patient,
            now=self._now,
        ).sent

    def _look_parked(self, connection: Connection, one: Candidate) -> None:
        """A parked message is not replayed; whether it could be read now is worth knowing."""
        body, _ = replaying.stories(connection, [one.seq]).get(one.seq, (b"", ""))
        if body and self._read(one, body, None).is_open:
            self.report.left_readable["parked"] += 1


@dataclass(slots=True)
class _Look:
    """One message while its page is looked at."""

    one: Candidate
    hand: InHand
    trail: str
    decided: str = ""
    planned: list[Planned] = field(default_factory=list)


def _outcome(look: _Look) -> str:
    """A word, or the reason code of what stands against it."""
    hand = look.hand
    if hand.reason is not None:
        return hand.reason
    if hand.not_filed is not None:
        return hand.not_filed
    actions = {one.plan.action for one in look.planned}
    if "replace" in actions:
        return "new_version"
    if actions - {"duplicate"}:
        return "filed"
    reasons = {one.plan.reason for one in look.planned}
    if SUPERSEDED in reasons:
        return SUPERSEDED
    return "unchanged" if UNCHANGED in reasons else min(reasons, default="unchanged")


def _seen(mapper: Mapper, look: _Look) -> Seen:
    got = mapper.read(look.hand.message.body, _given(look.one))
    if got.failure is not None:
        return Seen(refusal=f"{got.failure.code} {got.failure.where}".strip())
    return Seen([bare(one) for one in got.documents])


def _given(one: Candidate) -> Given:
    return Given(
        message_id=one.id,
        source=one.source,
        media=one.media,
        charset=one.charset_declared,
        received_at=one.received_at.isoformat(),
        sha256=one.sha256.hex(),
    )


def _open(one: Candidate, body: bytes) -> Open:
    return Open(
        one.seq, one.id, one.source, one.received_at, one.day, one.format, one.media, one.type,
        one.charset_declared, one.control_id, one.lane, one.state, 0, one.sha256, None, body,
    )  # fmt: skip


def _said(decision: decide.Decision) -> str:
    return f"{decision.rule} {'allow' if decision.allowed else 'deny'} {decision.reason}"


def _last_decision(trail: str) -> str:
    said = [step.outcome for step in message_detail.timeline(trail) if step.name == "decide"]
    return said[-1] if said else ""


def _group(groups: dict[Key, Group], key: Key, name: str, times: int = 1) -> None:
    if key not in groups and len(groups) >= MOST_GROUPS:
        key = (key[0], *(_OTHERS for _ in key[1:]))
    groups.setdefault(key, Group()).add(name, times)


def _by_size(found: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    some: list[Candidate] = []
    size = 0
    for one in found:
        if some and size + one.size > MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(one)
        size += one.size
    if some:
        yield some
