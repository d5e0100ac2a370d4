"""Attachment bytes, once each and exactly."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import Engine, text

from broker.database.engine import reading, writing
from broker.errors import PermanentError
from broker.records import content

PDF = b"%PDF-1.7\x00\xff invented"
PATIENT = 77
NAME = hashlib.sha256(PDF).hexdigest()


def test_the_same_bytes_are_kept_once(empty_ledger: Engine) -> None:
    for _ in range(2):
        with writing(empty_ledger) as connection:
            content.store(connection, {(PATIENT, NAME): PDF})

    with reading(empty_ledger) as connection:
        assert content.open(connection, PATIENT, NAME) == PDF
        row = connection.execute(
            text("SELECT count(*) AS n, max(size) AS size FROM attachment")
        ).one()
    assert (row.n, row.size) == (1, len(PDF))


def test_missing_and_damaged_bytes_are_told_apart(sqlite_ledger: Engine) -> None:
    with (
        reading(sqlite_ledger) as connection,
        pytest.raises(PermanentError, match=r"content\.missing"),
    ):
        content.open(connection, PATIENT, NAME)
    with writing(sqlite_ledger) as connection:
        content.store(connection, {(PATIENT, NAME): PDF})
        connection.execute(text("UPDATE attachment SET body = :body"), {"body": PDF + b"x"})

    with (
        reading(sqlite_ledger) as connection,
        pytest.raises(PermanentError, match=r"content\.damaged"),
    ):
        content.open(connection, PATIENT, NAME)
