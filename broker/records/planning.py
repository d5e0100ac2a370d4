"""What a document does to the record: new, replacement, deletion, known already. Pure; for `records.filing`.

The id its author gave a document is not unique in the world (corpora share ids between documents and senders), so
the same id with other content never overwrites: it is filed beside and flagged. Only an explicit replacement does.
Sources: IHE ITI TF-3 4.2.2 (RPLC); XDS availabilityStatus.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from broker import header
from broker.document import (
    AttachmentRef,
    Document,
    Event,
    Identifier,
    MappingRef,
    Source,
    encode,
)
from broker.values import digest64

Action = Literal[
    "file", "replace", "delete", "duplicate", "conflict", "missing_target", "not_latest"
]

REFUSALS = {
    "conflict": "file.target_ambiguous",
    "missing_target": "file.target_missing",
    "not_latest": "file.not_latest",
}
DOCUMENT_KINDS = frozenset(
    {"clinical_document", "result_report", "immunization_event", "medication_event", "other"}
)
"""Kinds for which a cancellation takes a document back; cancelling an admission or a booking is an event itself."""

SHARED_ID = "shared-unique-id"
OWN_TARGET = "relation-to-itself"


@dataclass(frozen=True, slots=True)
class FiledRow:
    """What planning needs of a document that is in the record (or is about to be, in this batch)."""

    id: str
    patient: int
    series: int
    unique_key: int | None
    set_key: int | None
    version_number: int | None
    status: str
    availability: str
    content_sha256: bytes | None
    type_code: str | None
    media: str | None
    message_seq: int
    filed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one document. `refusal` is a reason code when it can be neither filed nor applied.

    `targets` are the documents it replaces or deletes; `issues` are codes to show beside the document.
    """

    action: Action
    targets: tuple[FiledRow, ...] = ()
    reason: str = ""
    refusal: str | None = None
    place: str = ""
    series: int | None = None
    issues: tuple[str, ...] = ()

    @property
    def target(self) -> FiledRow | None:
        return self.targets[0] if self.targets else None


class Taken(Protocol):
    """A filing of this batch, as far as later documents of the batch must know it."""

    @property
    def action(self) -> Action: ...
    @property
    def row(self) -> FiledRow: ...
    @property
    def supersedes(self) -> tuple[str, ...]: ...
    @property
    def deletes(self) -> tuple[str, ...]: ...


class Existing:
    """The documents of the record that share an id with those of a batch, kept current while the batch is planned."""

    def __init__(self, rows: Sequence[FiledRow] = ()) -> None:
        self._rows: dict[str, FiledRow] = {}
        self._by_unique: dict[int, list[str]] = defaultdict(list)
        self._by_set: dict[int, list[str]] = defaultdict(list)
        for row in rows:
            self._insert(row)

    def by_unique(self, key: int | None) -> list[FiledRow]:
        """Documents with this unique id."""
        return (
            [] if key is None else [self._rows[number] for number in self._by_unique.get(key, ())]
        )

    def by_set(self, key: int | None) -> list[FiledRow]:
        """All versions of this set."""
        return [] if key is None else [self._rows[number] for number in self._by_set.get(key, ())]

    def include(self, rows: Sequence[FiledRow]) -> None:
        """Take in documents that are looked for by something else than an id."""
        for row in rows:
            self._insert(row)

    def rows(self) -> list[FiledRow]:
        """All documents, as far as the batch has been planned."""
        return list(self._rows.values())

    def add(self, filing: Taken) -> None:
        """Take note of a filing of this batch, so that the next document is planned against it."""
        for number in filing.supersedes:
            self._mark(number, "superseded")
        for number in filing.deletes:
            self._mark(number, "deleted")
        if filing.action != "delete":
            self._insert(filing.row)

    def _mark(self, number: str, availability: str) -> None:
        if number in self._rows:
            self._rows[number] = replace(self._rows[number], availability=availability)

    def _insert(self, row: FiledRow) -> None:
        if row.id in self._rows:
            return
        self._rows[row.id] = row
        if row.unique_key is not None:
            self._by_unique[row.unique_key].append(row.id)
        if row.set_key is not None:
            self._by_set[row.set_key].append(row.id)


def key_of(identifier: Identifier | None) -> int | None:
    """The 64-bit key a document id is found by: its authority and value."""
    if identifier is None or not identifier.value:
        return None
    authority = (identifier.oid or identifier.system).removeprefix("urn:oid:")
    return digest64(f"{authority}|{identifier.value.removeprefix('urn:oid:')}".encode())


def content_hash(document: Document) -> bytes:
    """What makes two documents the same: the shared bytes, else all the content without how and when it came."""
    main = header.main_attachment(document)
    if main is not None:
        return bytes.fromhex(main.sha256)
    bare = msgspec.structs.replace(
        document,
        id="",
        source=Source(),
        original=AttachmentRef(),
        mapping=MappingRef(),
        extras=(),
        issues=(),
        event=_bare_event(document.event),
    )
    return hashlib.sha256(encode(bare)).digest()


def _bare_event(event: Event | None) -> Event | None:
    return None if event is None else msgspec.structs.replace(event, recorded_at=None)


def plan(
    document: Document,
    existing: Existing,
    *,
    patient: int,
    message_seq: int = 0,
    persons: Sequence[int] = (),
) -> Plan:
    """Decide what a document does to the record. Pure; `existing` is what `existing()` found for the batch.

    `persons` are all of a merged record: an explicit replacement or deletion finds its target with any of them.
    """
    operation = document.event.operation if document.event is not None else None
    own_key = key_of(document.unique_id)
    own = [row for row in existing.by_unique(own_key) if row.patient == patient]
    if operation == "delete" or (operation == "cancel" and document.kind in DOCUMENT_KINDS):
        return _plan_delete(document, existing, own, patient, persons)
    target, is_self = _target(document)
    same = [row for row in own if row.content_sha256 == content_hash(document)]
    changes_visibility = document.delivery is not None and bool(
        document.delivery.change_confidentiality
    )
    if same and not changes_visibility:
        is_deleted = all(row.availability == "deleted" for row in same)
        return Plan(
            "duplicate", tuple(same[:1]), "document.deleted" if is_deleted else "document.duplicate"
        )
    if target is not None:
        return _plan_replace(
            existing, target, existing.by_unique(key_of(target)), own, patient, persons
        )
    if operation == "replace" or (own and changes_visibility):
        rows = (
            own
            or _mine(existing.by_unique(own_key), patient, persons)
            or _mine(existing.by_set(key_of(document.set_id)), patient, persons)
        )
        return _plan_latest(rows, "unique_id", "replace")
    if is_newer_result := _newer_result(document, own):
        return Plan("replace", (is_newer_result,), series=is_newer_result.series)
    issues = (OWN_TARGET,) if is_self else ()
    sets = [row for row in existing.by_set(key_of(document.set_id)) if row.patient == patient]
    is_shared = bool(existing.by_unique(own_key))
    return _plan_beside(own, sets, message_seq, (*issues, SHARED_ID) if is_shared else issues)


def _plan_beside(
    own: Sequence[FiledRow], sets: Sequence[FiledRow], message_seq: int, issues: tuple[str, ...]
) -> Plan:
    """File it: in the series of its set, or of the document with the same id that came in the same message."""
    companion = next((row for row in own if message_seq and row.message_seq == message_seq), None)
    series = companion.series if companion is not None else sets[-1].series if sets else None
    return Plan("file", issues=issues, series=series)


def _target(document: Document) -> tuple[Identifier | None, bool]:
    """The document this one replaces, and whether it only names itself."""
    is_self = False
    for relation in document.relations:
        if relation.kind != "replaces" or relation.target is None or not relation.target.value:
            continue
        if document.unique_id is not None and key_of(relation.target) == key_of(document.unique_id):
            is_self = True
            continue
        return relation.target, False
    return None, is_self


def _plan_replace(
    existing: Existing,
    target: Identifier,
    rows: Sequence[FiledRow],
    own: Sequence[FiledRow],
    patient: int,
    persons: Sequence[int],
) -> Plan:
    """A replacement of another id. A target of another patient is no target: nobody's document is touched by it."""
    mine = _mine(rows, patient, persons)
    if not mine:
        mine = _mine(existing.by_set(key_of(target)), patient, persons)
    if not mine and rows:
        return _refused("conflict", "relations", "file.target_other_patient")
    return _plan_latest(mine, "relations", "replace", companions=own)


def _mine(rows: Sequence[FiledRow], patient: int, persons: Sequence[int]) -> list[FiledRow]:
    """Those of this person; where it has none, those of the persons it was merged with."""
    own = [row for row in rows if row.patient == patient]
    return own or [row for row in rows if row.patient in persons]


def _plan_delete(
    document: Document,
    existing: Existing,
    own: Sequence[FiledRow],
    patient: int,
    persons: Sequence[int],
) -> Plan:
    target, _ = _target(document)
    rows = list(own) or _mine(existing.by_unique(key_of(document.unique_id)), patient, persons)
    if not rows and target is not None:
        rows = _mine(existing.by_unique(key_of(target)), patient, persons)
    if not rows:
        rows = _mine(existing.by_set(key_of(document.set_id)), patient, persons)
    if rows and all(row.availability == "deleted" for row in rows):
        return Plan("duplicate", tuple(rows[:1]), "document.deleted")
    return _plan_latest(rows, "unique_id", "delete")


def _plan_latest(
    rows: Sequence[FiledRow],
    place: str,
    action: Literal["replace", "delete"],
    companions: Sequence[FiledRow] = (),
) -> Plan:
    """Apply to the current version: exactly one, or several that one message brought together."""
    current = [row for row in rows if row.availability == "current"]
    if not rows or all(row.availability == "deleted" for row in rows):
        return _refused("missing_target", place)
    if not current:
        # The second document of a replacement in one message (a report in two levels) meets its target replaced.
        by_companion = [row for row in companions if row.series in {one.series for one in rows}]
        if by_companion:
            return Plan("file", series=by_companion[0].series, issues=(SHARED_ID,))
        return _refused("not_latest", place)
    if len({row.message_seq for row in current}) > 1 and len(current) > 1:
        return _refused("conflict", place)
    return Plan(action, tuple(current), series=current[0].series)


def _refused(action: Action, place: str, refusal: str | None = None) -> Plan:
    code = refusal or REFUSALS[action]
    return Plan(action, reason=code, refusal=code, place=place)


def _newer_result(document: Document, own: Sequence[FiledRow]) -> FiledRow | None:
    """The report that a corrected or now final one of the same order number replaces.

    Laboratories send a report again under the same number until it is final, then as correction, without the word
    "replace". Source: HL7 v2.5.1 §7.4.1.25, OBR-25 result status; table 0123.
    """
    if document.kind != "result_report":
        return None
    current = [row for row in own if row.availability == "current"]
    if len(current) != 1:
        return None
    was_preliminary = (
        current[0].status in ("preliminary", "unknown") and document.status != "unknown"
    )
    is_correction = document.status in ("corrected", "amended", "cancelled", "entered_in_error")
    return current[0] if was_preliminary or is_correction else None
