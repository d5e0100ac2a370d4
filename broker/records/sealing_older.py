"""Seal what was written before content was encrypted, some rows at a time. For `carnet encryption seal`.

Each step finds its rows by what is not sealed yet, so it may be stopped at any row. Messages and what was rendered for
deliveries have no index of that: they are walked by their numbers, and the place is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from broker.database import bulk, schema
from broker.database.engine import is_sqlite
from broker.database.types import from_micros
from broker.encryption import findable, sealed, sealing
from broker.records import (
    bodies,
    content,
    identity_circle,
    identity_journal,
    outbox,
    partner_answers,
    patients,
    payloads,
    people,
)
from broker.records.lookups import any_of, rows_of_pairs
from broker.values import SEQ_MONTH_SHIFT, month_of

AT_ONCE = 100
"""Rows that one transaction seals."""

WALKED: Mapping[str, tuple[str, str]] = {
    "message_body": ("seq", "body"),
    "prepared": ("delivery_id", "body"),
    "patient": ("id", "traits"),
}
"""Tables that are walked: the number they are walked by, and the column that is sealed."""

_PREFIX = len(sealed.ERASED)


class _Attached(msgspec.Struct, frozen=True):
    sha256: str = ""


class _Holding(msgspec.Struct, frozen=True):
    attachments: tuple[_Attached, ...] = ()
    original: _Attached = _Attached()


def documents(connection: Connection) -> int:
    """Seal the next documents with their attachments; returns how many, 0 at the end."""
    lock = "" if is_sqlite(connection) else " FOR UPDATE OF p"
    rows = connection.execute(
        text(
            "SELECT p.id, p.payload, d.patient FROM document_payload p JOIN document d ON d.id = p.id "  # noqa: S608
            f"WHERE p.encoding = 'json' ORDER BY p.id LIMIT :limit{lock}"
        ),
        {"limit": AT_ONCE},
    ).all()
    values = [
        (
            int(row.patient),
            str(row.id).encode(),
            sealed.plain_of(payloads.TABLE, bytes(row.payload)),
        )
        for row in rows
    ]
    for name in sorted(_names(values)):
        _attachment(connection, name)
    stored = sealing.seal_of_patients(connection, payloads.TABLE, values)
    bulk.update_rows(
        connection,
        schema.document_payload,
        "id",
        ("encoding", "payload"),
        [(str(row.id), "sealed", kept) for row, kept in zip(rows, stored, strict=True)],
    )
    return len(rows)


def _names(values: Sequence[tuple[int, bytes, bytes]]) -> set[content.Name]:
    """The attachments of documents by patient and SHA-256."""
    found = set()
    for patient, _, payload in values:
        holding = msgspec.json.decode(payload, type=_Holding)
        for one in (*holding.attachments, holding.original):
            if one.sha256:
                found.add((patient, one.sha256))
    return found


def _attachment(connection: Connection, name: content.Name) -> None:
    """Seal one attachment, or move it from the table of before."""
    patient, sha256 = name
    key = {"patient": patient, "key": bytes.fromhex(sha256)}
    stored = connection.execute(
        text("SELECT body FROM attachment WHERE patient = :patient AND sha256 = :key"), key
    ).scalar()
    if stored is None:
        older = connection.execute(
            text("SELECT body FROM content WHERE sha256 = :key"), {"key": key["key"]}
        ).scalar()
        if older is not None:
            content.store(connection, {name: bytes(older)})
        return
    if not sealed.is_sealed(bytes(stored)):
        plain = sealed.plain_of(content.TABLE, bytes(stored))
        (kept,) = sealing.seal_of_patients(
            connection, content.TABLE, [(patient, bytes.fromhex(sha256), plain)]
        )
        connection.execute(
            text("UPDATE attachment SET body = :body WHERE patient = :patient AND sha256 = :key"),
            {**key, "body": kept},
        )


def moved(connection: Connection) -> int:
    """Take attachments out of the table of before, once every document is sealed; returns how many."""
    found = connection.execute(
        text(
            "DELETE FROM content WHERE sha256 IN (SELECT sha256 FROM content LIMIT :limit) "
            "AND NOT EXISTS (SELECT 1 FROM document_payload WHERE encoding = 'json')"
        ),
        {"limit": AT_ONCE},
    )
    return int(found.rowcount)


def walked(connection: Connection, table: str, now: datetime) -> int:
    """Seal the next rows of a table that is walked; returns how many rows were passed, 0 at the end."""
    column, value = WALKED[table]
    # A worker may be writing who somebody is: what it writes must not be put back to what it was.
    lock = " FOR UPDATE" if table == "patient" and not is_sqlite(connection) else ""
    rows = connection.execute(
        text(
            f"SELECT {column} AS number, {value} AS body FROM {table} WHERE {column} > :after "  # noqa: S608 - our own words
            f"ORDER BY {column} LIMIT :limit{lock}"
        ),
        {"after": position(connection, table), "limit": AT_ONCE},
    ).all()
    if not rows:
        return 0
    plain = {
        int(row.number): sealed.plain_of(table.encode(), bytes(row.body))
        for row in rows
        if not sealed.is_sealed(bytes(row.body))
    }
    if plain and table == "prepared":
        bulk.update_rows(
            connection, schema.prepared, column, ("body",), _prepared(connection, plain)
        )
    elif plain and table == "patient":
        stored = people.seal(connection, list(plain.items()), now)
        bulk.update_rows(connection, schema.patient, column, (value,), stored)
    elif plain:
        bulk.update_rows(
            connection, schema.message_body, column, ("body",), _bodies(connection, plain)
        )
    _keep_position(connection, table, int(rows[-1].number))
    return len(rows)


def _keep_position(connection: Connection, table: str, number: int) -> None:
    connection.execute(
        text(
            "INSERT INTO counter (name, value) VALUES (:name, :value) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": f"sealed {table}", "value": number},
    )


def _bodies(connection: Connection, plain: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    within, given = any_of(connection, "seq", sorted(plain))
    hashes = connection.execute(text(f"SELECT seq, sha256 FROM message WHERE {within}"), given)  # noqa: S608
    made = []
    for row in hashes:
        seal = sealing.sealing_of_month(connection, bodies.TABLE, row.seq >> SEQ_MONTH_SHIFT)
        made.append((int(row.seq), seal(bytes(row.sha256), plain[row.seq])))
    return made


def _prepared(connection: Connection, plain: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    within, given = any_of(connection, "id", sorted(plain))
    lanes = connection.execute(text(f"SELECT id, lane FROM delivery WHERE {within}"), given)  # noqa: S608
    by_month: dict[int, list[tuple[int, str, int, bytes]]] = defaultdict(list)
    for row in lanes:
        one = (int(row.id), "", int(row.lane), plain[row.id])
        by_month[row.id >> SEQ_MONTH_SHIFT].append(one)
    return [
        (number, kept)
        for month, some in by_month.items()
        for number, _, kept in outbox.sealed_rendering(connection, some, month)
    ]


def answers(connection: Connection) -> int:
    """Seal the answers to the attempts of the next deliveries; returns how many deliveries were passed, 0 at the end."""
    numbers = [
        int(row.delivery_id)
        for row in connection.execute(
            text(
                "SELECT DISTINCT delivery_id FROM attempt WHERE delivery_id > :after AND answer IS NOT NULL "
                "ORDER BY delivery_id LIMIT :limit"
            ),
            {"after": position(connection, "attempt"), "limit": AT_ONCE},
        )
    ]
    if not numbers:
        return 0
    within, given = any_of(connection, "delivery_id", numbers)
    # One may be erased at this moment, and must not come back by this.
    lock = "" if is_sqlite(connection) else " FOR UPDATE"
    rows = connection.execute(
        text(
            "SELECT delivery_id, number, started_at, answer FROM attempt "  # noqa: S608
            f"WHERE {within} AND answer IS NOT NULL ORDER BY delivery_id, number{lock}"
        ),
        given,
    )
    plain = [
        (
            (int(row.delivery_id), int(row.number)),
            from_micros(int(row.started_at)),
            sealed.plain_of(partner_answers.TABLE, bytes(row.answer)),
        )
        for row in rows
        if not sealed.is_sealed(bytes(row.answer))
    ]
    kept = partner_answers.stored(connection, plain)
    if plain:
        connection.execute(
            text(
                "UPDATE attempt SET answer = :answer WHERE delivery_id = :id AND number = :number"
            ),
            [
                {"answer": answer, "id": one[0], "number": one[1]}
                for (one, _, _), answer in zip(plain, kept, strict=True)
            ],
        )
    _keep_position(connection, "attempt", numbers[-1])
    return len(numbers)


def mails(connection: Connection, now: datetime) -> int:
    """Seal the next mail addresses of holders; returns how many spaces were passed, 0 at the end."""
    lock = "" if is_sqlite(connection) else " FOR UPDATE"
    rows = connection.execute(
        text(
            "SELECT patient, mail FROM account WHERE patient > :after "  # noqa: S608 - our own words
            f"ORDER BY patient LIMIT :limit{lock}"
        ),
        {"after": position(connection, "account"), "limit": AT_ONCE},
    ).all()
    if not rows:
        return 0
    plain = [
        (int(row.patient), row.mail) for row in rows if row.mail and people.is_plain_mail(row.mail)
    ]
    stored = people.sealed_mails(connection, plain, now)
    bulk.update_rows(connection, schema.account, "patient", ("mail",), sorted(stored.items()))
    _keep_position(connection, "account", int(rows[-1].patient))
    return len(rows)


def identifiers(connection: Connection) -> int:
    """Seal the identifiers of the next patients; returns how many patients were passed, 0 at the end.

    From the beginning in each run: a number may have been added in clear, by who did not know of the key yet, to a
    patient that was passed. One that was so given to two patients stays as it is until a person has merged them.
    """
    persons = [
        int(row.patient)
        for row in connection.execute(
            text(
                "SELECT DISTINCT patient FROM patient_identifier WHERE patient > :after ORDER BY patient LIMIT :limit"
            ),
            {"after": position(connection, "patient_identifier"), "limit": AT_ONCE},
        )
    ]
    _keep_position(connection, "patient_identifier", persons[-1] if persons else 0)
    if not persons:
        return 0
    within, given = any_of(connection, "patient", persons)
    lock = "" if is_sqlite(connection) else " FOR UPDATE"
    rows = connection.execute(
        text(
            f"SELECT system, value FROM patient_identifier WHERE {within} ORDER BY system, value{lock}"  # noqa: S608
        ),
        given,
    )
    plain = [(row.system, row.value) for row in rows if not findable.is_sealed(row.value)]
    if plain:
        _seal_numbers(connection, plain)
        _drop_twins(connection, plain)
    return len(persons)


def _seal_numbers(connection: Connection, plain: Sequence[findable.Pair]) -> None:
    """Seal identifiers (system, as stored), those left out that stand sealed already."""
    said = findable.opened(connection, patients.IDENTIFIER, plain)
    values = [(system, value) for (system, _), value in zip(plain, said, strict=True)]
    stored = findable.stored(connection, patients.IDENTIFIER, values)
    changes = [
        {"system": pair[0], "value": before, "stored": stored[pair]}
        for (_, before), pair in zip(plain, values, strict=True)
    ]
    statement = text(
        "UPDATE patient_identifier SET value = :stored WHERE system = :system AND value = :value "
        "AND NOT EXISTS (SELECT 1 FROM patient_identifier o WHERE o.system = :system AND o.value = :stored)"
    )
    try:
        with connection.begin_nested():
            connection.execute(statement, changes)
    except IntegrityError:
        # Somebody sealed one of them at this moment, and has committed: it is seen now.
        connection.execute(statement, changes)


def _drop_twins(connection: Connection, plain: Sequence[findable.Pair]) -> None:
    """Take numbers away that stand in clear and sealed, where both lead to one record."""
    select = "SELECT t.system, t.value, t.patient FROM patient_identifier AS t"
    left = rows_of_pairs(connection, select, plain)
    if not left:
        return
    said = findable.opened(
        connection, patients.IDENTIFIER, [(row.system, row.value) for row in left]
    )
    pairs = [(row.system, value) for row, value in zip(left, said, strict=True)]
    owners = patients.find(connection, pairs)
    around = identity_circle.around(
        connection, sorted({*owners.values(), *(int(row.patient) for row in left)})
    )
    for row, pair in zip(left, pairs, strict=True):
        if around.root(owners[pair]) == around.root(int(row.patient)):
            connection.execute(
                text("DELETE FROM patient_identifier WHERE system = :system AND value = :value"),
                {"system": row.system, "value": row.value},
            )


def deliveries(connection: Connection) -> int:
    """Seal the INS that left with the next deliveries; returns how many deliveries with one were passed, 0 at the end.

    From the beginning in each run, as `identifiers`: who did not know of the key yet wrote numbers in clear.
    """
    rows = connection.execute(
        text(
            "SELECT id, ins_used FROM delivery WHERE id > :after AND ins_used IS NOT NULL "
            "ORDER BY id LIMIT :limit"
        ),
        {"after": position(connection, "delivery"), "limit": AT_ONCE},
    ).all()
    _keep_position(connection, "delivery", int(rows[-1].id) if rows else 0)
    if not rows:
        return 0
    said = [(int(row.id), *row.ins_used.split("|", 1)) for row in rows]
    plain = [(number, (oid, value)) for number, oid, value in said if not findable.is_sealed(value)]
    stored = findable.stored(connection, outbox.DELIVERY, {pair for _, pair in plain})
    changes = [(number, f"{pair[0]}|{stored[pair]}") for number, pair in plain]
    bulk.update_rows(connection, schema.delivery, "id", ("ins_used",), changes)
    return len(rows)


def journal(connection: Connection) -> int:
    """Seal what the next events of the journal of identities tell; returns how many were passed, 0 at the end."""
    rows = connection.execute(
        text("SELECT n, at, details FROM identity_event WHERE n > :after ORDER BY n LIMIT :limit"),
        {"after": position(connection, "identity_event"), "limit": AT_ONCE},
    ).all()
    if not rows:
        return 0
    seals: dict[int, sealing.Seal] = {}
    stored = []
    for row in rows:
        if identity_journal.is_plain(row.details):
            month = month_of(from_micros(int(row.at)))
            if month not in seals:
                seals[month] = sealing.sealing_of_month(connection, identity_journal.TABLE, month)
            kept = sealing.seal_text(seals[month], str(row.n).encode(), row.details)
            stored.append((int(row.n), kept))
    bulk.update_rows(connection, schema.identity_event, "n", ("details",), stored)
    _keep_position(connection, "identity_event", int(rows[-1].n))
    return len(rows)


def position(connection: Connection, table: str) -> int:
    """Up to which number a table was walked."""
    found = connection.execute(
        text("SELECT value FROM counter WHERE name = :name"), {"name": f"sealed {table}"}
    ).scalar()
    return int(found or 0)


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Table -> how many of its values are sealed, plain and erased. It looks at the beginning of every one."""
    found: dict[str, dict[str, int]] = {}
    for table, column in (
        ("document_payload", "payload"),
        ("attachment", "body"),
        ("content", "body"),
        ("attempt", "answer"),
        *((table, value) for table, (_, value) in WALKED.items()),
    ):
        row: Any = connection.execute(
            text(
                "SELECT count(start) AS n, "  # noqa: S608 - our own words
                "coalesce(sum(CASE WHEN start = :sealed THEN 1 ELSE 0 END), 0) AS sealed, "
                "coalesce(sum(CASE WHEN start = :erased THEN 1 ELSE 0 END), 0) AS erased "
                f"FROM (SELECT substr({column}, 1, {_PREFIX}) AS start FROM {table}) AS s"
            ),
            {"sealed": sealed.SEALED, "erased": sealed.ERASED},
        ).one()
        counted = {"sealed": int(row.sealed), "erased": int(row.erased)}
        found[table] = counted | {"plain": int(row.n) - sum(counted.values())}
    for table, column, begins in (
        ("account", "mail", sealing.SEALED_TEXT),
        ("patient_identifier", "value", findable.SEALED),
        ("identity_event", "details", sealing.SEALED_TEXT),
    ):
        texts: Any = connection.execute(
            text(
                f"SELECT count({column}) AS n, "  # noqa: S608 - our own words
                f"coalesce(sum(CASE WHEN substr({column}, 1, {len(begins)}) = :sealed THEN 1 ELSE 0 END), 0) AS sealed "
                f"FROM {table}"
            ),
            {"sealed": begins},
        ).one()
        is_sealed = int(texts.sealed)
        found[table] = {"sealed": is_sealed, "erased": 0, "plain": int(texts.n) - is_sealed}
    left: Any = connection.execute(
        text(
            "SELECT count(*) AS n, coalesce(sum(CASE WHEN ins_used LIKE :sealed THEN 1 ELSE 0 END), 0) AS sealed "
            "FROM delivery WHERE ins_used IS NOT NULL"
        ),
        {"sealed": f"%|{findable.SEALED}%"},
    ).one()
    is_sealed = int(left.sealed)
    found["delivery"] = {"sealed": is_sealed, "erased": 0, "plain": int(left.n) - is_sealed}
    return found
