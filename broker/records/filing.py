"""File documents once: what is planned is written, one statement a table for the whole batch. For the pipeline.

`existing` finds what the record has under the ids of a batch, `plan` (pure, in `records.planning`) says what each
document does to it, `file` writes. Deletion is logical: the row stays, its availability is `deleted` (RET-08).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from broker import header
from broker.database import bulk
from broker.database import schema as tables
from broker.database.types import from_micros, to_micros
from broker.document import Document
from broker.records import payloads as payloads_of
from broker.records.lookups import any_of
from broker.records.planning import Action, Existing, FiledRow, Plan, content_hash, key_of, plan
from broker.values import digest64

__all__ = [
    "Action", "Existing", "FiledRow", "Filing", "Plan", "content_hash", "existing", "file", "key_of", "of_messages",
    "plan",
]  # fmt: skip

_ROW = (
    "SELECT id, patient, series, unique_key, set_key, version_number, status, availability, content_sha256, "
    "type_code, media, message_seq, filed_at FROM document WHERE "
)


@dataclass(frozen=True, slots=True)
class Filing:
    """One document on its way into the record (or, for `delete`, the targets it takes out of it)."""

    action: Action
    document: Document = field(repr=False)
    payload: bytes = field(repr=False)
    patient: int
    message_seq: int
    row: FiledRow
    visibility: header.Visibility
    supersedes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    category: str | None = None

    @property
    def document_id(self) -> str:
        """The document concerned: the new one, or the one deleted."""
        return self.deletes[0] if self.deletes else self.document.id

    @property
    def act(self) -> str:
        """Its word in the trail: filed, replaced or deleted."""
        return {"replace": "replaced", "delete": "deleted"}.get(self.action, "filed")

    @classmethod
    def of(
        cls,
        document: Document,
        payload: bytes,
        plan: Plan,
        *,
        patient: int,
        message_seq: int,
        now: datetime,
        category: str | None = None,
    ) -> Filing:
        """Make a filing of a plan that is not refused and no duplicate."""
        ids = tuple(target.id for target in plan.targets)
        return cls(
            action=plan.action,
            document=document,
            payload=payload,
            patient=patient,
            message_seq=message_seq,
            row=_row_of(document, plan, patient, message_seq, now),
            visibility=header.visibility(document, now),
            supersedes=ids if plan.action == "replace" else (),
            deletes=ids if plan.action == "delete" else (),
            category=category,
        )


def existing(connection: Connection, documents: Sequence[Document]) -> Existing:
    """What the record has under the ids that these documents carry or refer to; two statements for all of them."""
    unique = {key_of(document.unique_id) for document in documents}
    unique |= {key_of(relation.target) for document in documents for relation in document.relations}
    sets = {key_of(document.set_id) for document in documents}
    sets |= {
        key_of(relation.target)
        for document in documents
        for relation in document.relations
        if relation.kind == "replaces"
    }
    rows: dict[str, FiledRow] = {}
    for column, keys in (("unique_key", unique), ("set_key", sets)):
        wanted = sorted(key for key in keys if key is not None)
        if wanted:
            within, given = any_of(connection, column, wanted)
            statement = text(f"{_ROW}{column} IS NOT NULL AND {within} ORDER BY filed_at, id")
            for row in connection.execute(statement, given):
                rows.setdefault(str(row.id), _filed_row(row))
    return Existing(list(rows.values()))


def of_messages(connection: Connection, seqs: Collection[int]) -> list[FiledRow]:
    """The documents that came with these messages."""
    if not seqs:
        return []
    within, given = any_of(connection, "message_seq", sorted(seqs))
    rows = connection.execute(text(f"{_ROW}{within} ORDER BY filed_at, id"), given)
    return [_filed_row(row) for row in rows]


def _filed_row(row: Any) -> FiledRow:
    return FiledRow(
        id=str(row.id),
        patient=int(row.patient),
        series=int(row.series),
        unique_key=row.unique_key,
        set_key=row.set_key,
        version_number=row.version_number,
        status=row.status,
        availability=row.availability,
        content_sha256=None if row.content_sha256 is None else bytes(row.content_sha256),
        type_code=row.type_code,
        media=row.media,
        message_seq=int(row.message_seq),
        filed_at=from_micros(int(row.filed_at)),
    )


def _row_of(
    document: Document, planned: Plan, patient: int, message_seq: int, now: datetime
) -> FiledRow:
    main = header.main_attachment(document)
    series = planned.series if planned.series is not None else digest64(document.id.encode())
    return FiledRow(
        id=document.id,
        patient=patient,
        series=series,
        unique_key=key_of(document.unique_id),
        set_key=key_of(document.set_id),
        version_number=document.version_number,
        status=document.status,
        availability="current",
        content_sha256=content_hash(document),
        type_code=header.type_code(document)[0] or None,
        media=(main.media_type or main.detected_type or None) if main is not None else None,
        message_seq=message_seq,
        filed_at=now,
    )


_COLUMNS = (
    "id", "patient", "series", "unique_key", "set_key", "version_number", "kind", "type_code", "type_system",
    "class_code", "category", "status", "availability", "replaces", "sort_at", "filed_at", "visible_from",
    "masked_ps", "hidden_from_reps", "confidentiality", "deposited_by", "author", "author_ids", "media", "size",
    "content_sha256", "message_seq",
)  # fmt: skip


def file(connection: Connection, filings: Sequence[Filing], now: datetime) -> None:
    """Write a batch of filings: documents, payloads, and the end of what they replace or delete."""
    new = [filing for filing in filings if filing.action != "delete"]
    at = to_micros(now)
    # A document may be filed and replaced in one batch: insert it as what the batch leaves it.
    ended = {number: "superseded" for filing in filings for number in filing.supersedes}
    ended |= {number: "deleted" for filing in filings for number in filing.deletes}
    rows = [
        _document_row(filing, ended.get(filing.document.id, "current"), at, now) for filing in new
    ]
    bulk.insert_rows(connection, tables.document, _COLUMNS, rows)
    payloads_of.write(
        connection, [(filing.document.id, filing.patient, filing.payload) for filing in new]
    )
    earlier = sorted(
        ended.items() - {(filing.document.id, ended.get(filing.document.id)) for filing in new}
    )
    bulk.update_rows(connection, tables.document, "id", ("availability",), earlier)


def _document_row(filing: Filing, availability: str, at: int, now: datetime) -> tuple[object, ...]:
    document, row, sight = filing.document, filing.row, filing.visibility
    main = header.main_attachment(document)
    code, system = header.type_code(document)
    return (
        document.id, filing.patient, row.series, row.unique_key, row.set_key, row.version_number, document.kind,
        code or None, system or None, header.class_code(document) or None, filing.category, document.status,
        availability, filing.supersedes[0] if filing.supersedes else None,
        to_micros(header.sort_instant(document, now)), at, to_micros(sight.visible_from), sight.masked_ps,
        sight.hidden_from_reps, sight.code, deposited_by(document), _author(document),
        msgspec.json.encode(header.author_keys(document)).decode(), row.media,
        main.size if main is not None else len(filing.payload), row.content_sha256, filing.message_seq,
    )  # fmt: skip


def deposited_by(document: Document) -> str:
    """patient, device or professional, by the first author's role and the type (DOCPAT.., EXPPAT_..)."""
    code = header.type_code(document)[0]
    roles = {
        coding.code
        for author in document.authors
        if author.person is not None and author.person.role_code is not None
        for coding in author.person.role_code.codings
    }
    if code.startswith(("DOCPAT", "EXPPAT_")) or "EXP_PATIENT" in roles:
        return "patient"
    is_device = bool(document.authors) and all(author.person is None for author in document.authors)
    return "device" if is_device and document.authors[0].device is not None else "professional"


def _author(document: Document) -> str | None:
    """The first author as JSON, as the lists show them: name, profession code, structure."""
    if not document.authors:
        return None
    author = document.authors[0]
    person, name = author.person, author.person.name if author.person is not None else None
    role = person.role_code or person.profession if person is not None else None
    shown = {
        "name": " ".join(part for part in (*name.given[:1], name.family) if part) or name.text
        if name
        else "",
        "role": role.codings[0].code if role is not None and role.codings else "",
        "structure": author.organization.name if author.organization is not None else "",
    }
    return msgspec.json.encode({key: value for key, value in shown.items() if value}).decode()
