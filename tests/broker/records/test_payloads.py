"""What documents say is kept packed, and reads as it was written; what an older version kept reads as well."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import pytest
from sqlalchemy import Engine, text

from broker.database import bulk
from broker.database.engine import reading, writing
from broker.database.schema import document_payload
from broker.encryption import sealed, sealing
from broker.errors import PermanentError
from broker.records import payloads

NARRATIVE = "Analyse de sang, patient d'essai. Glycémie 5,1 mmol/L. " * 40


def paper(title: str) -> bytes:
    return msgspec.json.encode({"title": title, "sections": [{"narrative": NARRATIVE}]})


def kept(payload: bytes) -> bytes:
    return sealed.form_of(payload, sealing.PACK_FROM)


def put_as_before(engine: Engine, name: str, form: bytes) -> None:
    """A row as an older version wrote it, or as somebody left it."""
    with writing(engine) as connection:
        bulk.insert_rows(
            connection, document_payload, ("id", "encoding", "payload"), [(name, "json", form)]
        )


def test_a_document_is_kept_packed_and_read_as_it_was_written(empty_ledger: Engine) -> None:
    name, payload = str(uuid.uuid4()), paper("one")
    with writing(empty_ledger) as connection:
        payloads.write(connection, [(name, 1, payload)])

    with reading(empty_ledger) as connection:
        form = connection.execute(text("SELECT payload FROM document_payload")).scalar_one()
        assert payloads.one(connection, name) == payload
    assert len(bytes(form)) < len(payload) / 5


def test_what_an_older_version_kept_is_read(empty_ledger: Engine) -> None:
    name = str(uuid.uuid4())
    put_as_before(empty_ledger, name, paper("older"))

    with reading(empty_ledger) as connection:
        assert payloads.one(connection, name) == paper("older")


HUGE = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\1\0\0"
"""A frame whose header says that it holds a terabyte (RFC 8878 §3.1.1.1)."""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda form: form[:-9],
        lambda form: form[:20] + b"\0" * 40,
        lambda form: form[:5] + HUGE,
    ],
)
def test_what_was_altered_is_told_and_hides_no_other(empty_ledger: Engine, spoil: object) -> None:
    good, bad = str(uuid.uuid4()), str(uuid.uuid4())
    put_as_before(empty_ledger, good, kept(paper("good")))
    put_as_before(empty_ledger, bad, spoil(kept(paper("bad"))))  # type: ignore[operator]

    with reading(empty_ledger) as connection:
        found = payloads.found(connection, [good, bad])
    assert found[good] == paper("good")
    error = found[bad]
    assert isinstance(error, PermanentError)
    assert error.code == "encryption.altered"


def test_many_threads_pack_and_read_at_a_time() -> None:
    """The API reads on many threads; a compressor that two share mixes their documents."""
    papers = [paper(f"{n} " * n) for n in range(200)]
    with ThreadPoolExecutor(8) as threads:
        forms = list(threads.map(kept, papers))
        assert list(threads.map(partial(sealed.plain_of, payloads.TABLE), forms)) == papers
