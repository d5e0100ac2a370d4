"""Attachment bytes, once a patient under their SHA-256, exactly as decoded at entry. For filing, reading and writers.

They are sealed under the key of the patient whose record they belong to. Those of before that stand in a table of their
own, by their SHA-256 alone, until `carnet encryption seal` has moved them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import attachment
from broker.encryption import sealing
from broker.errors import PermanentError
from broker.records.lookups import any_of

TABLE = b"attachment"
Name = tuple[int, str]
"""A patient, and the hex SHA-256 of bytes in that record."""


def store(connection: Connection, blobs: Mapping[Name, bytes]) -> None:
    """Keep blobs by the patient and the hex SHA-256 they are named by; those already there are not sent again."""
    missing = sorted(blobs.keys() - present(connection, blobs.keys()))
    values = [(patient, bytes.fromhex(name), blobs[patient, name]) for patient, name in missing]
    stored = sealing.seal_of_patients(connection, TABLE, values)
    rows = [
        (patient, sha256, len(body), kept)
        for (patient, sha256, body), kept in zip(values, stored, strict=True)
    ]
    bulk.insert_missing(connection, attachment, ("patient", "sha256", "size", "body"), rows)


def present(connection: Connection, names: Collection[Name]) -> set[Name]:
    """Which of these the store has."""
    if not names:
        return set()
    patients, given = any_of(connection, "patient", sorted({patient for patient, _ in names}))
    keys = sorted({bytes.fromhex(name) for _, name in names})
    select = f"SELECT patient, sha256 FROM attachment WHERE {patients} AND sha256 "  # noqa: S608 - our own words
    if is_sqlite(connection):
        marks = ", ".join(f":key{n}" for n in range(len(keys)))
        given |= {f"key{n}": key for n, key in enumerate(keys)}
        rows = connection.execute(text(f"{select} IN ({marks})"), given)
    else:
        rows = connection.execute(
            text(f"{select} = ANY(CAST(:keys AS bytea[]))"), {**given, "keys": keys}
        )
    found = {(int(row.patient), bytes(row.sha256).hex()) for row in rows}
    return found.intersection(names)


def open(connection: Connection, patient: int, name: str) -> bytes:  # noqa: A001 - content.open reads as what it does
    """The bytes of a hex SHA-256 in a patient's record, checked against it.

    Raises: PermanentError("content.missing") when they are not there; ("content.damaged") when they are not those;
    ("encryption.erased"), ("encryption.altered"); TransientError("encryption.key_missing").
    """
    key = bytes.fromhex(name)
    stored = connection.execute(
        text("SELECT body FROM attachment WHERE patient = :patient AND sha256 = :key"),
        {"patient": patient, "key": key},
    ).scalar()
    if stored is not None:
        body = sealing.open_one(connection, TABLE, key, bytes(stored))
    else:
        older = connection.execute(
            text("SELECT body FROM content WHERE sha256 = :key"), {"key": key}
        ).scalar()
        if older is None:
            raise PermanentError("content.missing", where="attachment")
        body = bytes(older)
    if hashlib.sha256(body).digest() != key:
        raise PermanentError("content.damaged", where="attachment")
    return body
