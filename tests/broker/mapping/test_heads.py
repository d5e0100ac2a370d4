"""Passing over rules that cannot give anything must never change what a message becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.document import encode
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.mapping.source_cda import CdaSource

PROJECT = Path(__file__).resolve().parents[3]
GIVEN = Given(message_id="018f0000-0000-7000-8000-000000000000", source="test")
MESSAGES = sorted((PROJECT / "mappings" / "cda").rglob("*.xml"))


def documents(mapper: Mapper, path: Path) -> list[bytes]:
    return [encode(document) for document in mapper.read(path.read_bytes(), GIVEN).documents]


def test_a_message_becomes_the_same_when_every_rule_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = Mapper(load(PROJECT / "mappings"))
    monkeypatch.setattr(CdaSource, "present", None)
    thorough = Mapper(load(PROJECT / "mappings"))

    assert MESSAGES
    for path in MESSAGES:
        assert documents(quick, path) == documents(thorough, path), path.name
