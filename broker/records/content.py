"""Attachment bytes, once each under their SHA-256, exactly as decoded at entry. For filing, reading and writers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import content
from broker.errors import PermanentError


def store(connection: Connection, blobs: Mapping[str, bytes]) -> None:
    """Keep blobs by the hex SHA-256 they are named by; those already there are not sent again."""
    missing = blobs.keys() - present(connection, blobs.keys())
    rows = []
    for name in sorted(missing):
        body = blobs[name]
        sha1 = hashlib.sha1(body, usedforsecurity=False).digest()
        rows.append((bytes.fromhex(name), sha1, len(body), body))
    bulk.insert_missing(connection, content, ("sha256", "sha1", "size", "body"), rows)


def present(connection: Connection, names: Collection[str]) -> set[str]:
    """Which of these the store has."""
    if not names:
        return set()
    keys = [bytes.fromhex(name) for name in names]
    if is_sqlite(connection):
        marks = ", ".join("?" * len(keys))
        rows = connection.exec_driver_sql(
            f"SELECT sha256 FROM content WHERE sha256 IN ({marks})",  # noqa: S608 - marks only
            tuple(keys),
        )
    else:
        rows = connection.execute(
            text("SELECT sha256 FROM content WHERE sha256 = ANY(CAST(:keys AS bytea[]))"),
            {"keys": keys},
        )
    return {bytes(row[0]).hex() for row in rows}


def open(connection: Connection, name: str) -> bytes:  # noqa: A001 - content.open reads as what it does
    """The bytes of a hex SHA-256, checked against it.

    Raises: PermanentError("content.missing") when they are not there; ("content.damaged") when they are not those.
    """
    row = connection.execute(
        text("SELECT body FROM content WHERE sha256 = :key"), {"key": bytes.fromhex(name)}
    ).first()
    if row is None:
        raise PermanentError("content.missing", where="content")
    body = bytes(row[0])
    if hashlib.sha256(body).hexdigest() != name:
        raise PermanentError("content.damaged", where="content")
    return body
