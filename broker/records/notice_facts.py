"""What is looked at when notices are due: their holders' spaces, minors' representatives, the documents they are of,
and the médecin traitant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.accounts.notices import TRAITANT, Facts, Person
from broker.database.types import from_micros
from broker.records import account_holders, account_rows, consents, identity_circle
from broker.records.account_rows import Space
from broker.records.lookups import any_text
from broker.records.notices import Row


def facts(connection: Connection, rows: Sequence[Row], now: datetime) -> dict[int, Facts]:
    """The facts of notices by their number; four statements for all of them, two more where a médecin traitant is to be told."""
    holders = account_holders.holders(connection, {row.patient for row in rows}, now)
    people = {row.patient for row in rows} | {one for some in holders.values() for one in some}
    spaces = account_rows.load(connection, people)
    documents = _documents(connection, {row.document for row in rows if row.document})
    traitants = _traitants(connection, {row.patient for row in rows if row.kind == TRAITANT})
    found: dict[int, Facts] = {}
    for row in rows:
        space = spaces.get(row.patient)
        if space is None:
            continue
        minor = "M5" in space.due and now < space.due["M5"]
        seen = documents.get(row.document)
        traitant, address = traitants.get(row.patient, ("", ""))
        found[row.id] = Facts(
            kind=row.kind,
            state=space.state,
            holder=_person(space),
            holders=[_person(spaces[one]) for one in sorted(holders.get(row.patient, {}))]
            if minor
            else (),
            is_dead=space.died_at is not None,
            is_secret=row.secret,
            visible_from=None if seen is None else seen[1],
            is_current=not row.document or (seen is not None and seen[0] == "current"),
            tried=tuple(row.reason.split(",")) if row.reason else (),
            traitant=traitant,
            traitant_mail=address,
            actor=row.actor,
        )
    return found


def _traitants(connection: Connection, patients: Collection[int]) -> dict[int, tuple[str, str]]:
    """Patient -> key and MSSanté address of the médecin traitant declared for the record, now."""
    found = {}
    for number, row in identity_circle.load(connection, patients).items():
        key = row.consents.get(("traitant", ""), ("", None))[0]
        address = row.consents.get((consents.TRAITANT_ADDRESS, key), ("", None))[0]
        if key and key != consents.NOBODY:
            found[number] = (key, address)
    return found


def _person(space: Space) -> Person:
    return Person(space.patient, space.mail, space.language)


def _documents(
    connection: Connection, ids: Collection[str]
) -> dict[str, tuple[str, datetime | None]]:
    if not ids:
        return {}
    within, given = any_text(connection, "id", sorted(ids), kind="uuid")
    rows = connection.execute(
        text(f"SELECT id, availability, visible_from FROM document WHERE {within}"),  # noqa: S608
        given,
    )
    return {str(row.id): (row.availability, _instant(row.visible_from)) for row in rows}


def _instant(value: Any) -> datetime | None:
    return None if value is None else from_micros(int(value))
