"""Filed documents without their content: the rows that lists show and rules look at. For `records.reading`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from broker import header
from broker.access import Decision, particulars
from broker.database.engine import is_sqlite
from broker.database.together import ask_rows
from broker.database.types import from_micros, to_micros
from broker.document import Document
from broker.records import payloads
from broker.records.lookups import among, among_texts, any_of, any_text, newest_of

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_COLUMNS = (
    "id, patient, series, kind, type_code, type_system, class_code, status, availability, sort_at, filed_at, "
    "visible_from, masked_ps, hidden_from_reps, confidentiality, deposited_by, author, author_ids, media, size, "
    "message_seq"
)


class DocumentRow(msgspec.Struct, frozen=True):
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
    return None if row is None else row_of(row)


def ask(connection: Connection, document_id: str) -> DocumentRow | None:
    """The row of a document, for who asks several things at a time; an id that is none is asked for like another."""
    name = document_id if _UUID.fullmatch(document_id) else str(UUID(int=0))
    within, given = among_texts(connection, "id", [name], kind="uuid")
    statement = f"SELECT {_COLUMNS} FROM document WHERE {within}"  # noqa: S608 - our own columns
    (rows,) = ask_rows(connection, [(statement, (given,))])
    return next(map(row_of, rows), None)


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
    return {str(row.id): row_of(row) for row in rows}


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
    return [row_of(row) for row in rows]


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
) -> tuple[str, tuple[Any, ...]]:
    """The question for rows of a record's persons that were not deleted, in the order of lists or against it, from a
    position on, for `together.ask_rows`. Its answer is read by `row_of`. With `is_inclusive` the row at the position
    comes again.
    """
    kept = "availability = 'current'" if want.only_current else "availability <> 'deleted'"
    of_persons, numbers = _of(connection, persons)
    conditions = [of_persons, kept]
    given: list[Any] = [numbers]
    for condition, instant in (("sort_at >= %s", want.since), ("sort_at < %s", want.until)):
        if instant is not None:
            conditions.append(condition)
            given.append(to_micros(instant))
    direction, beyond = ("ASC", ">") if want.oldest_first else ("DESC", "<")
    if position is not None:
        own = "%s" if is_sqlite(connection) else "%s::uuid"
        further = f"{beyond}=" if is_inclusive else beyond
        conditions.append(f"sort_at {beyond}= %s AND (sort_at {beyond} %s OR id {further} {own})")
        given += [position[0], position[0], position[1]]
    statement = (
        f"SELECT {_COLUMNS} FROM document WHERE {' AND '.join(conditions)} "  # noqa: S608 - our own words
        f"ORDER BY sort_at {direction}, id {direction} LIMIT %s"
    )
    return statement, (*given, limit)


def _of(connection: Connection, persons: Collection[int]) -> tuple[str, str | int]:
    """(condition, parameter): nearly every record is of one person, whose rows an index has in order already."""
    if len(persons) != 1:
        return among(connection, "patient", sorted(persons))
    (person,) = persons
    return "patient = %s" if is_sqlite(connection) else "patient = %s::bigint", person


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


def row_of(values: Sequence[Any]) -> DocumentRow:
    """A row out of the values of its columns."""
    (
        number, patient, series, kind, type_code, type_system, class_code, status, availability, sort_at, filed_at,
        visible_from, masked_ps, hidden_from_reps, confidentiality, deposited_by, author, author_ids, media, size, seq,
    ) = values  # fmt: skip
    return DocumentRow(
        str(number), int(patient), int(series), kind, type_code, type_system, class_code, status, availability,
        from_micros(int(sort_at)), from_micros(int(filed_at)),
        None if visible_from is None else from_micros(int(visible_from)),
        bool(masked_ps), bool(hidden_from_reps), confidentiality, deposited_by,
        _author(author) if author else {}, _keys(author_ids) if author_ids else (),
        media, int(size), int(seq),
    )  # fmt: skip


# The documents of a record, and those of a ward, have few authors.


@lru_cache(maxsize=4_096)
def _author(kept: str) -> Mapping[str, str]:
    return MappingProxyType(msgspec.json.decode(kept, type=dict[str, str]))


@lru_cache(maxsize=4_096)
def _keys(kept: str) -> tuple[str, ...]:
    return msgspec.json.decode(kept, type=tuple[str, ...])
