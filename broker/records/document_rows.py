"""Filed documents without their content: the rows that lists show and rules look at. For `records.reading`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, text

from broker import header
from broker.access import Decision, particulars
from broker.database.engine import is_sqlite
from broker.database.types import from_micros, to_micros
from broker.document import Document
from broker.records import payloads
from broker.records.lookups import any_of, any_text, newest_of

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_COLUMNS = (
    "id, patient, series, kind, type_code, type_system, class_code, status, availability, sort_at, filed_at, "
    "visible_from, masked_ps, hidden_from_reps, confidentiality, deposited_by, author, author_ids, media, size, "
    "message_seq"
)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One filed document without its content: what lists show and rules look at."""

    id: str
    patient: int
    series: int
    kind: str
    type_code: str | None
    type_system: str | None
    class_code: str | None
    status: str
    availability: str
    sort_at: datetime
    filed_at: datetime
    visible_from: datetime | None
    masked_ps: bool
    hidden_from_reps: bool
    confidentiality: str
    deposited_by: str
    author: Mapping[str, str]
    author_keys: tuple[str, ...]
    media: str | None
    size: int
    message_seq: int


ABSENT = DocumentRow(
    id="absent",
    patient=0,
    series=0,
    kind="other",
    type_code=None,
    type_system=None,
    class_code=None,
    status="unknown",
    availability="absent",
    sort_at=from_micros(0),
    filed_at=from_micros(0),
    visible_from=None,
    masked_ps=False,
    hidden_from_reps=False,
    confidentiality="",
    deposited_by="",
    author={},
    author_keys=(),
    media=None,
    size=0,
    message_seq=0,
)
"""What stands for a document that is not there: nobody is shown it, and it is decided like any other."""


def load(connection: Connection, document_id: str) -> DocumentRow | None:
    """The row of a document; None for an id that is none."""
    if _UUID.fullmatch(document_id) is None:
        return None
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM document WHERE id = :id"),  # noqa: S608 - our own columns
        {"id": document_id},
    ).first()
    return None if row is None else _document_row(row)


def told_of(made: Decision | None, row: DocumentRow, document: Document | None = None) -> str | None:  # fmt: skip
    """What an entry of the trail says of a document and of the decision on it (AUD-03); no title, nothing it says.

    `document` where its content was opened: its own ids stand in there. The id of the row is the entry's subject.
    """
    unique = document.unique_id if document is not None else None
    of_set = document.set_id if document is not None else None
    return particulars(
        made,
        type=row.type_code,
        **{"class": row.class_code},
        unique_id=header.written(unique),
        set_id=header.written(of_set),
    )


def by_ids(connection: Connection, ids: Collection[str]) -> dict[str, DocumentRow]:
    """Rows of documents by id, in one statement; ids of none are left out."""
    if not ids:
        return {}
    within, given = any_text(connection, "id", sorted(ids), kind="uuid")
    rows = connection.execute(
        text(f"SELECT {_COLUMNS} FROM document WHERE {within}"),  # noqa: S608 - our own columns
        given,
    )
    return {str(row.id): _document_row(row) for row in rows}


def candidates(
    connection: Connection,
    persons: Sequence[int],
    position: tuple[int, str] | None,
    limit: int,
    *,
    only_current: bool,
) -> list[DocumentRow]:
    """The next rows of a record's persons in the order of lists: newest first, then by id.

    Each person's are read by their index and no further than the page, however much lies behind it.
    """
    conditions = " AND availability = 'current'" if only_current else ""
    given: dict[str, Any] = {"limit": limit}
    if position is not None:
        own = ":id" if is_sqlite(connection) else "CAST(:id AS uuid)"
        conditions += f" AND sort_at <= :sort AND (sort_at < :sort OR id < {own})"
        given |= {"sort": position[0], "id": position[1]}
    select = (
        f"SELECT {_COLUMNS} FROM document WHERE patient = {{patient}}{conditions} "  # noqa: S608 - our own words
        "ORDER BY sort_at DESC, id DESC LIMIT :limit"
    )
    statement, numbers = newest_of(select, persons, "sort_at DESC, id DESC")
    rows = connection.execute(text(statement), given | numbers)
    return [_document_row(row) for row in rows]


def has_author(connection: Connection, persons: Collection[int], keys: Collection[str]) -> bool:
    """Whether somebody of these keys wrote or deposited any current document of a record."""
    within, given = any_of(connection, "patient", sorted(persons))
    rows = connection.execute(
        text(
            f"SELECT DISTINCT author_ids FROM document WHERE {within} AND availability = 'current' "  # noqa: S608
            "AND author_ids <> '[]'"
        ),
        given,
    )
    wanted = set(keys)
    return any(
        wanted.intersection(msgspec.json.decode(row.author_ids, type=tuple[str, ...]))
        for row in rows
        if row.author_ids
    )


class Wanted(Protocol):
    """What rows tell of a search (`records.looking.Want`)."""

    @property
    def only_current(self) -> bool: ...
    @property
    def oldest_first(self) -> bool: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def until(self) -> datetime | None: ...


def wanted(
    connection: Connection,
    persons: Collection[int],
    want: Wanted,
    position: tuple[int, str] | None,
    limit: int,
    *,
    is_inclusive: bool,
) -> Iterator[DocumentRow]:
    """Rows of a record's persons that were not deleted, in the order of lists or against it, from a position on.

    With `is_inclusive` the row at the position comes again. Rows are made as they are asked for.
    """
    kept = "availability = 'current'" if want.only_current else "availability <> 'deleted'"
    among, of_persons = any_of(connection, "patient", sorted(persons))
    conditions = [among, kept]
    given: dict[str, Any] = {**of_persons, "limit": limit}
    bounds = (
        ("sort_at >= :since", "since", want.since),
        ("sort_at < :until", "until", want.until),
    )
    for condition, name, instant in bounds:
        if instant is not None:
            conditions.append(condition)
            given[name] = to_micros(instant)
    direction, beyond = ("ASC", ">") if want.oldest_first else ("DESC", "<")
    if position is not None:
        own = ":id" if is_sqlite(connection) else "CAST(:id AS uuid)"
        further = f"{beyond}=" if is_inclusive else beyond
        conditions.append(
            f"sort_at {beyond}= :sort AND (sort_at {beyond} :sort OR id {further} {own})"
        )
        given |= {"sort": position[0], "id": position[1]}
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM document WHERE {' AND '.join(conditions)} "  # noqa: S608 - our own words
            f"ORDER BY sort_at {direction}, id {direction} LIMIT :limit"
        ),
        given,
    )
    for row in rows:
        yield _document_row(row)


def titles_of(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Titles by id, out of the payloads; none of a document whose payload cannot be opened."""
    if not ids:
        return {}
    return {
        name: msgspec.json.decode(payload, type=_Titled).title
        for name, payload in payloads.found(connection, ids).items()
        if isinstance(payload, bytes)
    }


class _Titled(msgspec.Struct):
    title: str = ""


def cursor_of(row: DocumentRow) -> str:
    """The place of a row in the order of lists."""
    return f"{to_micros(row.sort_at)}.{row.id}"


def position_of(cursor: str) -> tuple[int, str] | None:
    """The place a cursor names; None for none and for one that was tampered with."""
    sort, _, number = cursor.partition(".")
    if not sort.lstrip("-").isdigit() or _UUID.fullmatch(number) is None:
        return None
    return int(sort), number


def _document_row(row: Any) -> DocumentRow:
    return DocumentRow(
        id=str(row.id),
        patient=int(row.patient),
        series=int(row.series),
        kind=row.kind,
        type_code=row.type_code,
        type_system=row.type_system,
        class_code=row.class_code,
        status=row.status,
        availability=row.availability,
        sort_at=from_micros(int(row.sort_at)),
        filed_at=from_micros(int(row.filed_at)),
        visible_from=None if row.visible_from is None else from_micros(int(row.visible_from)),
        masked_ps=bool(row.masked_ps),
        hidden_from_reps=bool(row.hidden_from_reps),
        confidentiality=row.confidentiality,
        deposited_by=row.deposited_by,
        author=msgspec.json.decode(row.author, type=dict[str, str]) if row.author else {},
        author_keys=msgspec.json.decode(row.author_ids, type=tuple[str, ...])
        if row.author_ids
        else (),
        media=row.media,
        size=int(row.size),
        message_seq=int(row.message_seq),
    )
