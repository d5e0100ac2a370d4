"""One search finds a message whether it was mapped or not: the same value, the same digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import search_keys
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.records.messages import Key
from broker.values import Seq

MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
SECRET = b"k" * 32
MESSAGES = sorted((MAPPINGS / "hl7v2").rglob("*.tests/*.hl7"))
OTHERWISE = {"master_files", "without_patient", "zam"}
"""Of these mappings references are numbers of other kinds: of records of a table, and of messages."""


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(load(MAPPINGS))


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: f"{file.parent.stem}/{file.stem}")
def test_bytes_alone_give_every_key_that_the_mapping_gives(file: Path, mapper: Mapper) -> None:
    body = file.read_bytes()
    reading = mapper.read(body, Given(message_id="00000000-0000-7000-8000-000000000000"))
    own = [one for one in reading.documents if one.source.format == "hl7v2"]
    mapped = {key for one in own for key in search_keys.keys_of(one, Seq(1), SECRET)}
    if file.parent.stem in OTHERWISE:
        mapped = {key for key in mapped if key.kind != search_keys.KEY_KINDS["accession"]}

    seen = search_keys.keys_of_bytes(body, "", Seq(1), SECRET)

    assert mapped <= set(seen)
    assert all(isinstance(key, Key) for key in seen)


def test_characters_that_cannot_be_written_give_a_key_and_no_error() -> None:
    body = b"MSH|^~\\&|A|B\rORC|NW|\\XFFFE00D8\\\r"

    assert search_keys.keys_of_bytes(body, "", Seq(1), SECRET)
