"""The folder destination: whole files, once, under names that say nothing of a patient."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.file_writer import FileDestination, FileDestinationSettings
from broker.envelope import Envelope
from broker.errors import SetupError, TransientError

HL7 = "x-application/hl7-v2+er7"


def envelope(body: bytes = b"MSH|", delivery: str = "d-1", media: str = HL7) -> Envelope:
    return Envelope(
        source="out",
        body=body,
        media=media,
        keys={"delivery": delivery},
        received_at=datetime.now(UTC),
    )


def writer(folder: Path, **settings: str) -> FileDestination:
    return FileDestination("out", FileDestinationSettings(folder=folder, **settings))


def test_a_message_is_one_file_and_nothing_else(tmp_path: Path) -> None:
    receipt = writer(tmp_path).deliver(envelope())

    assert receipt.outcome == "accepted"
    assert receipt.keys["file"] == "d-1.hl7"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"d-1.hl7": b"MSH|"}


def test_the_same_delivery_made_twice_is_one_file(tmp_path: Path) -> None:
    destination = writer(tmp_path)

    names = [destination.deliver(envelope()).keys["file"] for _ in range(2)]

    assert names == ["d-1.hl7", "d-1.hl7"]
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "d-1.hl7").write_bytes(b"theirs")

    writer(tmp_path).deliver(envelope(b"ours"))

    assert (tmp_path / "d-1.hl7").read_bytes() == b"theirs"
    assert (tmp_path / "d-1-2.hl7").read_bytes() == b"ours"


def test_what_a_crash_left_unfinished_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "d-1.hl7.tmp").write_bytes(b"MS")

    writer(tmp_path).deliver(envelope())

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"d-1.hl7": b"MSH|"}


@pytest.mark.parametrize(
    "delivery", ["../../etc/x", "/etc/x", "", ".hidden", "a/b", "x" * 200, "a\nb"]
)
def test_a2_a_key_that_is_no_plain_name_is_not_used_as_one(tmp_path: Path, delivery: str) -> None:
    name = writer(tmp_path).deliver(envelope(delivery=delivery)).keys["file"]

    assert len(name) == 32 + len(".hl7")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_companion_is_written_after_the_file(tmp_path: Path) -> None:
    writer(tmp_path, companion=".ok").deliver(envelope())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["d-1.hl7", "d-1.hl7.ok"]


def test_where_there_are_no_links_a_name_is_reserved_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "d-1.hl7").write_bytes(b"theirs")

    assert writer(tmp_path).deliver(envelope()).keys["file"] == "d-1-2.hl7"
    assert (tmp_path / "d-1-2.hl7").read_bytes() == b"MSH|"


def test_a_folder_that_is_away_is_for_later(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    destination = writer(folder)
    folder.rmdir()

    with pytest.raises(TransientError):
        destination.deliver(envelope())


@pytest.mark.parametrize("name", ["fixed.hl7", "{patient}.hl7", "../{delivery}", "a/{digest}", ""])
def test_a_pattern_that_is_no_unique_plain_name_is_a_set_up_error(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SetupError):
        writer(tmp_path, name=name)


def test_a_folder_that_is_missing_is_a_set_up_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        writer(tmp_path / "nowhere")
