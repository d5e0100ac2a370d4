"""F19: files still being written, empty, huge, twice the same, unreadable, vanished: none lost, none read by half."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.file_drop import FileSource, FileSourceSettings
from adapters.file_folders import Claim, Folders, UnsettledError
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError
from tests.adapters.gateway import Gateway, stored

A = b"MSH|^~\\&|A|F|C|F|20260301||ADT^A01|1|P|2.5\rPID|1\r"
B = A.replace(b"|1|P", b"|2|P")
C = A.replace(b"|1|P", b"|3|P")
CANARY = "DUPONT_JEAN"


def watch(gateway: Gateway, folder: Path, **settings: Any) -> None:
    quick: dict[str, Any] = {
        "stable_time": timedelta(milliseconds=30),
        "scan_interval": timedelta(milliseconds=50),
    }
    gateway.start(
        FileSource("drop", FileSourceSettings(folder=folder, **quick | settings), gateway.notice)
    )


def put(folder: Path, name: str, data: bytes) -> Path:
    """As a partner should: written elsewhere, then moved in."""
    outside = folder.parent / f"{name}.outside"
    outside.write_bytes(data)
    return outside.rename(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def bodies(gateway: Gateway) -> list[bytes]:
    return [envelope.body for envelope in gateway.envelopes]


def test_a_file_moved_in_is_taken_and_done(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)

    put(folder, "one.hl7", A)
    gateway.until(lambda: names(folder / "done") and not list((folder / ".working").iterdir()))

    (envelope,) = gateway.envelopes
    assert (envelope.body, envelope.media) == (A, "x-application/hl7-v2+er7")
    assert envelope.keys == {"file_sha256": hashlib.sha256(A).hexdigest(), "file_index": "1"}
    assert (folder / "done" / "one.hl7").read_bytes() == A
    assert gateway.source.address.startswith("file://")


def test_f40_a_batch_is_one_envelope_a_message_in_its_order(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)
    many = [A.replace(b"|1|P", b"|%d|P" % number) for number in range(100)]

    put(folder, "lab.hl7", b"FHS|^~\\&\rBHS|^~\\&\r" + b"".join(many) + b"BTS|100\rFTS|1\r")
    gateway.until(lambda: names(folder / "done"))

    assert bodies(gateway) == many
    assert [e.keys["file_index"] for e in gateway.envelopes] == [str(n) for n in range(1, 101)]


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', ""),
        (b'{"resourceType":"Bundle"}', ""),
        (b"PK\x03\x04....", "application/zip"),
    ],
)
def test_other_files_are_one_envelope_as_they_are(
    gateway: Gateway, folder: Path, data: bytes, media: str
) -> None:
    watch(gateway, folder)

    put(folder, "document", data)
    gateway.until(lambda: names(folder / "done"))

    assert [(e.body, e.media) for e in gateway.envelopes] == [(data, media)]


def test_a_refused_message_sends_the_file_to_failed_with_the_reason(
    gateway: Gateway, folder: Path
) -> None:
    async def accept(envelope: Envelope) -> Receipt:
        if envelope.body == B:
            return Receipt(
                outcome="refused", code="control_id.conflict", where="MSH-10", text="Used before."
            )
        return stored(envelope)

    gateway.accept = accept
    watch(gateway, folder)

    put(folder, f"{CANARY}.hl7", A + B + C)
    gateway.until(lambda: len(names(folder / "failed")) == 2)

    reason = (folder / "failed" / f"{CANARY}.hl7.reason.txt").read_text()
    assert "2 of 3 messages were taken in" in reason
    assert "message 2 of 3: control_id.conflict at MSH-10\n    Used before." in reason
    assert (folder / "failed" / f"{CANARY}.hl7").read_bytes() == A + B + C
    assert not names(folder / "done")


def test_not_now_keeps_the_file_claimed_and_tries_only_the_rest_again(
    gateway: Gateway, folder: Path
) -> None:
    refusals = 2

    async def accept(envelope: Envelope) -> Receipt:
        nonlocal refusals
        if envelope.body == B and refusals:
            refusals -= 1
            return Receipt(outcome="refused", code="x", retry_after=timedelta(milliseconds=10))
        return stored(envelope)

    gateway.accept = accept
    watch(gateway, folder)

    put(folder, "one.hl7", A + B)
    put(folder, "two.hl7", C)
    gateway.until(lambda: len(names(folder / "done")) == 2)

    assert bodies(gateway) == [A, B, B, B, C]
    assert not names(folder / "failed")


def test_f19_the_same_name_twice_is_kept_twice(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)

    def has_done(number: int) -> bool:
        return len(names(folder / "done")) == number

    for number, data in enumerate((A, B, C), 1):
        put(folder, "same.hl7", data)
        gateway.until(partial(has_done, number))

    assert names(folder / "done") == ["same-2.hl7", "same-3.hl7", "same.hl7"]
    assert {(folder / "done" / name).read_bytes() for name in names(folder / "done")} == {A, B, C}


def test_f19_a_file_still_being_written_is_not_touched(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder, stable_time=timedelta(milliseconds=1500))

    with (folder / "slow.hl7").open("wb", buffering=0) as file:
        file.write(A)
        put(folder, "other.hl7", B)
        for _ in range(200):
            file.write(b"NTE|1\r")
            if names(folder / "done"):
                break
            gateway.until(lambda: True)
        file.write(C)
    gateway.until(lambda: "slow.hl7" in names(folder / "done"))

    taken = b"".join(body for body in bodies(gateway) if body != B)
    assert taken == (folder / "done" / "slow.hl7").read_bytes()
    assert taken.endswith(C)


def test_f19_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(A)
    real = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        before = real(descriptor)
        with path.open("ab") as writer:
            writer.write(b"more")
        return before

    monkeypatch.setattr("adapters.file_folders.os.fstat", grow)

    with pytest.raises(UnsettledError):
        Claim(path).read(1000)


def test_f19_an_empty_file_is_given_time_and_then_failed(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)

    put(folder, "empty.hl7", b"")
    gateway.until(lambda: len(names(folder / "failed")) == 2)

    assert "file.empty" in (folder / "failed" / "empty.hl7.reason.txt").read_text()
    assert not gateway.envelopes


def test_f19_a_file_of_2_gb_is_not_read(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)
    with (folder.parent / "huge").open("wb") as file:
        file.truncate(2 * 1024**3)

    (folder.parent / "huge").rename(folder / "huge.hl7")
    gateway.until(lambda: len(names(folder / "failed")) == 2)

    assert "size.exceeded" in (folder / "failed" / "huge.hl7.reason.txt").read_text()
    assert not gateway.envelopes


def test_f19_an_unreadable_file_is_failed(
    gateway: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def refuse(path: Path, *mode: Any, **options: Any) -> Any:
        if path.name == "secret.hl7":
            raise PermissionError(13, "as for an account that is not root")
        return real(path, *mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    watch(gateway, folder)

    put(folder, "secret.hl7", A)
    gateway.until(lambda: len(names(folder / "failed")) == 2)

    assert "file.unreadable" in (folder / "failed" / "secret.hl7.reason.txt").read_text()


def test_f19_a_file_that_vanished_is_nobodys(tmp_path: Path) -> None:
    folders = made(tmp_path)
    path = put(tmp_path / "in", "one.hl7", A)
    path.unlink()

    assert folders.claim(path) is None
    assert not list((tmp_path / "in" / "working").iterdir())


def test_f19_of_two_claimers_one_gets_the_file(tmp_path: Path) -> None:
    one, two = made(tmp_path), made(tmp_path)
    path = put(tmp_path / "in", "one.hl7", A)

    claims = [folders.claim(path) for folders in (one, two)]

    assert [claim is not None for claim in claims] == [True, False]


def test_f19_links_and_folders_and_unfinished_files_are_left_alone(
    gateway: Gateway, folder: Path
) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(C)
    (folder / "link.hl7").symlink_to(secret)
    (folder / "sub").mkdir()
    for name in (".hidden", "a.tmp", "b.PART", "c.filepart"):
        put(folder, name, B)
    watch(gateway, folder)

    put(folder, "real.hl7", A)
    gateway.until(lambda: names(folder / "done"))

    assert bodies(gateway) == [A]
    assert (folder / "link.hl7").is_symlink()


def test_f19_a_folder_that_is_away_is_reported_once_and_watched_again(
    gateway: Gateway, folder: Path
) -> None:
    watch(gateway, folder)
    away = folder.with_name("away")

    folder.rename(away)
    gateway.until(lambda: any(event == "source_unavailable" for event, _ in gateway.notices))
    away.rename(folder)
    put(folder, "one.hl7", A)
    gateway.until(lambda: names(folder / "done"))

    assert [event for event, _ in gateway.notices] == ["source_unavailable", "source_back"]


def test_f19_what_a_crash_left_claimed_is_taken_up_again(gateway: Gateway, folder: Path) -> None:
    box = folder / ".working" / "0f1e"
    box.mkdir(parents=True)
    (box / "one.hl7").write_bytes(A)
    (folder / ".working" / "empty").mkdir()

    watch(gateway, folder)
    gateway.until(lambda: names(folder / "done") and not list((folder / ".working").iterdir()))

    assert bodies(gateway) == [A]


def test_stopping_lets_what_is_on_its_way_be_answered_and_the_rest_is_for_the_next_start(
    gateway: Gateway, folder: Path
) -> None:
    gate = asyncio.Event()

    async def accept(envelope: Envelope) -> Receipt:
        await gate.wait()
        return stored(envelope)

    gateway.accept = accept
    watch(gateway, folder)
    put(folder, "many.hl7", A * 50)
    gateway.until(lambda: len(gateway.envelopes) == 32)

    gateway.cancel()
    gateway.loop.call_soon_threadsafe(gate.set)
    gateway.join()

    assert len(gateway.envelopes) == 32
    assert not names(folder / "done")
    (box,) = (folder / ".working").iterdir()
    assert names(box) == ["many.hl7"]


@pytest.mark.parametrize("companion", ["one.hl7.ok", "one.ok"])
def test_with_a_companion_rule_the_companion_decides(
    gateway: Gateway, folder: Path, companion: str
) -> None:
    put(folder, "waits.hl7", B)
    put(folder, "one.hl7", A)
    watch(gateway, folder, companion=".ok")

    (folder / companion).touch()
    gateway.until(lambda: names(folder / "done"))

    assert bodies(gateway) == [A]
    assert names(folder) == ["waits.hl7"]


def test_a_batch_that_may_be_cut_is_not_taken_in_part(gateway: Gateway, folder: Path) -> None:
    watch(gateway, folder)

    put(folder, "cut.hl7", b"FHS|^~\\&\rBHS|^~\\&\r" + A + B[:-3])
    gateway.until(lambda: len(names(folder / "failed")) == 2)

    assert not gateway.envelopes


def test_the_name_of_a_file_is_told_to_nobody(
    gateway: Gateway, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="adapters")
    watch(gateway, folder)

    put(folder, f"{CANARY}.hl7", A)
    put(folder, f"{CANARY}-empty.hl7", b"")
    gateway.until(lambda: names(folder / "done") and len(names(folder / "failed")) == 2)

    told = repr(gateway.notices) + repr([(e.keys, e.parts, e.source) for e in gateway.envelopes])
    assert CANARY not in told + caplog.text + repr(Claim(folder / "x" / CANARY))


@pytest.mark.parametrize("settings", [{"folder": Path("/nowhere")}, {"companion": "ok"}])
def test_what_cannot_work_is_not_started(
    gateway: Gateway, folder: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(SetupError):
        watch(gateway, **{"folder": folder} | settings)


def made(root: Path) -> Folders:
    root = root / "in"
    root.mkdir(exist_ok=True)
    folders = Folders(
        folder=root,
        working=root / "working",
        done=root / "done",
        failed=root / "failed",
        pattern="*",
        companion="",
    )
    folders.prepare("source.drop")
    return folders
