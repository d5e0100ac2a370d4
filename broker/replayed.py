"""What a replayed message does to the record: a new version of what it filed, nothing, or never an older one again.

For the pipeline, and for a dry run. A replay is compared with what its family (the original and its replays) filed:
what is read the same is left, what is read otherwise replaces it in its series, and where somebody else's later
content stands there by now, that stays. What the original never filed is filed as any message, unless a later one
did. A document the new mappings do not make any more stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from broker import header
from broker.batch import InHand
from broker.document import AttachmentRef, Document, MappingRef, decode, encode
from broker.mapping.run import ids_from
from broker.records import filing, payloads, replays
from broker.records.filing import Existing, FiledRow, Filing, Plan
from broker.records.replays import Origin

UNCHANGED, SUPERSEDED, OTHER_PATIENT = (
    "replay.unchanged",
    "replay.superseded",
    "replay.other_patient",
)
_DUPLICATE = "document.duplicate"
_NUMBERS = 64
"""Documents of one message that are known by their place in it."""


@dataclass(slots=True)
class Planned:
    """One document of a replay, what is to be done with it, and the version it is compared with, as it is filed."""

    document: Document = field(repr=False)
    plan: Plan
    before: FiledRow | None = None
    versions: tuple[FiledRow, ...] = ()
    content: Document | None = field(default=None, repr=False)


def bare(document: Document) -> Document:
    """A document as its content: without its id, its source, the mappings that made it, and what they remarked."""
    return msgspec.structs.replace(
        document,
        id="",
        source=msgspec.structs.replace(
            document.source, received_at="", charset_used="", channel="", peer="", parent=""
        ),
        original=AttachmentRef(),
        mapping=MappingRef(),
        issues=(),
    )


class Versions:
    """What the replays of one batch stand against, kept current while the batch is planned."""

    def __init__(
        self,
        connection: Connection,
        record: Existing,
        hands: Sequence[InHand],
        *,
        lock: bool = True,
    ) -> None:
        origins = [hand.origin for hand in hands if hand.origin is not None]
        self._record = record
        self._since: dict[str, datetime] = {}
        self._payloads: dict[str, bytes] = {}
        self._roots: dict[int, int] = {}
        if not origins:
            return
        if lock:
            replays.lock(connection, {origin.seq for origin in origins})
        members = {seq for origin in origins for seq, _ in origin.family}
        record.include(filing.of_messages(connection, members))
        rows = record.rows()
        self._roots = replays.roots_of(connection, {row.message_seq for row in rows})
        self._roots |= {hand.message.seq: hand.origin.seq for hand in hands if hand.origin}
        current = {row.id for row in rows if row.availability == "current"}
        self._payloads = payloads.kept(connection, current)

    def content(self, row: FiledRow) -> Document | None:
        """The document of a row, where it is the current one."""
        payload = self._payloads.get(row.id)
        return None if payload is None else decode(payload)

    def plans(self, hand: InHand) -> list[Planned]:
        """What a replay does, document by document."""
        origin = hand.origin
        if origin is None or hand.person is None:
            return []
        kept = self._kept(origin)
        places = _places(hand, kept)
        made = [
            self._plan(hand, origin, document, kept.get(place) if place is not None else None)
            for document, place in zip(hand.documents, places, strict=True)
        ]
        return _together(made)

    def gone(self, hand: InHand) -> list[FiledRow]:
        """Current documents of the family that this reading does not make any more."""
        if hand.origin is None:
            return []
        kept = self._kept(hand.origin)
        left = kept.keys() - {place for place in _places(hand, kept) if place is not None}
        return [
            row for place in sorted(left) for row in kept[place] if row.availability == "current"
        ]

    def filed(self, made: Filing, planned: Planned) -> Filing:
        """Take note of a filing; a new version is visible since when the first one was."""
        self._payloads[made.document.id] = made.payload
        since = [row.filed_at for row in planned.versions if row.filed_at is not None]
        if not since:
            return made
        return replace(made, visibility=header.visibility(made.document, min(since)))

    def _kept(self, origin: Origin) -> dict[int, list[FiledRow]]:
        """What the family filed, by the place of the document in its message; oldest version first."""
        members = {seq for seq, _ in origin.family}
        place_of = {
            document_id(n): n
            for _, name in origin.family
            for document_id in (ids_from(name),)
            for n in range(_NUMBERS)
        }
        kept: dict[int, list[FiledRow]] = defaultdict(list)
        for row in self._record.rows():
            if row.message_seq in members:
                kept[place_of.get(row.id, _NUMBERS + row.message_seq)].append(row)
        return kept

    def _plan(
        self, hand: InHand, origin: Origin, document: Document, versions: list[FiledRow] | None
    ) -> Planned:
        if versions is None:
            return self._plan_anew(hand, origin, document)
        current = next((row for row in versions if row.availability == "current"), None)
        if current is None:
            return Planned(document, Plan("duplicate", reason=SUPERSEDED))
        if current.patient != hand.person:
            refused = Plan("conflict", reason=OTHER_PATIENT, refusal=OTHER_PATIENT, place="patient")
            return Planned(document, refused, current)
        return self._against(document, current, versions)

    def _against(
        self, document: Document, current: FiledRow, versions: Sequence[FiledRow]
    ) -> Planned:
        plan = Plan("replace", (current,), series=current.series)
        before = self.content(current)
        if before is not None and encode(bare(before)) == encode(bare(document)):
            plan = Plan("duplicate", (current,), UNCHANGED)
        return Planned(document, plan, current, tuple(versions), before)

    def _plan_anew(self, hand: InHand, origin: Origin, document: Document) -> Planned:
        """A document the family never filed: as of any message, but never over or beside what came later."""
        plan = filing.plan(
            document, self._record, patient=hand.person or 0, message_seq=hand.message.seq
        )
        unique = self._record.by_unique(filing.key_of(document.unique_id))
        beside = [*unique, *self._record.by_set(filing.key_of(document.set_id))]
        mine = [row for row in beside if row.patient == hand.person]
        if plan.action == "not_latest" or any(
            self._root(row) > origin.seq for row in (*mine, *plan.targets)
        ):
            return Planned(document, Plan("duplicate", reason=SUPERSEDED))
        current = [row for row in mine if row.availability == "current"]
        if origin.reason == _DUPLICATE and len(current) == 1 and plan.action == "file":
            # It was the same as what an earlier message had filed; both are read otherwise now.
            return self._against(document, current[0], current)
        return Planned(document, plan)

    def _root(self, row: FiledRow) -> int:
        return self._roots.get(row.message_seq, row.message_seq)


def _places(hand: InHand, kept: dict[int, list[FiledRow]]) -> list[int | None]:
    """For each document of a message, the place of what it was before: by its id, else by its own place.

    A changed mapping may make more documents, or fewer, than the one before.
    """
    own = {ids_from(hand.message.id)(n): n for n in range(_NUMBERS)}
    keys = {place: {row.unique_key for row in rows} for place, rows in kept.items()}
    found: list[int | None] = [None] * len(hand.documents)
    free = set(kept)

    def take(n: int, place: int | None) -> None:
        if found[n] is None and place in free:
            found[n] = place
            free.discard(place)

    unique = [filing.key_of(document.unique_id) for document in hand.documents]
    places = [own.get(document.id) for document in hand.documents]
    for n, place in enumerate(places):
        if place is not None and unique[n] in keys.get(place, ()):
            take(n, place)
    for n, key in enumerate(unique):
        if key is not None:
            take(n, next((place for place in sorted(free) if key in keys[place]), None))
    for n, place in enumerate(places):
        take(n, place)
    return found


def _together(made: list[Planned]) -> list[Planned]:
    """What shares its id or its series with a document that changes is filed anew with it.

    A report in several levels is current as what one message brought (see `records.planning`): a later replacement
    takes all of it back.
    """
    changing = [one.before for one in made if one.before and one.plan.action == "replace"]
    keys = {row.unique_key for row in changing} - {None}
    series = {row.series for row in changing}
    for one in made:
        row = one.before
        if row is None or one.plan.reason != UNCHANGED:
            continue
        if row.unique_key in keys or row.series in series:
            one.plan = Plan("replace", (row,), series=row.series)
    return made
