"""The load generator tells the truth: what is not a good answer is not counted as one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.messages import sources

PROJECT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)

Answer = Callable[[int, bytes], bytes | None]
"""Given how many messages came before and a control id: the bytes to answer; None closes the connection."""


def framed(code: bytes, control_id: bytes) -> bytes:
    return b"\x0bMSH|^~\\&|PEER\rMSA|%b|%b\r\x1c\r" % (code, control_id)


@contextmanager
def peer(answer: Answer) -> Iterator[tuple[str, list[bytes]]]:
    """An MLLP server that answers as told, one connection after the other; yields its address and all it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    _converse(connection, answer, got)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"mllp://127.0.0.1:{listener.getsockname()[1]}", got
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _converse(connection: socket.socket, answer: Answer, got: list[bytes]) -> None:
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
        while b"\x1c\r" in received:
            frame, _, received = received.partition(b"\x1c\r")
            said = answer(len(got), frame.split(b"|")[9])
            got.append(frame)
            if said is None:
                return
            connection.sendall(said)


def load(address: str, *options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.benchmarks.load", "--to", address, "--connections", "1"]
    command += ["--patients", "4", "--timeout", "5", *options]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout)


def test_every_message_that_is_answered_aa_is_counted_once(tmp_path: Path) -> None:
    with peer(lambda _number, control_id: framed(b"AA", control_id)) as (address, got):
        code, figures = load(address, "--messages", "25", "--out", str(tmp_path / "out"))

    answered = [line.split("\t")[0] for line in (tmp_path / "out").read_text().splitlines()]
    assert code == 0
    assert figures["answers"] == 25
    assert answered == [frame.split(b"|")[9].decode() for frame in got]
    assert len(set(answered)) == 25


@pytest.mark.parametrize(
    "wrong",
    [
        lambda control_id: framed(b"AA", control_id + b"0"),
        lambda control_id: framed(b"AA", control_id[:-1]),
        lambda control_id: framed(b"AA", control_id) * 2,
        lambda control_id: framed(b"AA", control_id)[1:],
    ],
    ids=["longer_id", "shorter_id", "answered_twice", "no_start_block"],
)
def test_a_bad_answer_is_a_fault(wrong: Callable[[bytes], bytes]) -> None:
    with peer(lambda _number, control_id: wrong(control_id)) as (address, _got):
        code, figures = load(address, "--messages", "3")

    assert code == 1
    assert (figures["answers"], figures["bad"]) == (0, 1)


def test_a_refusal_is_named_and_is_a_fault() -> None:
    with peer(lambda _number, control_id: framed(b"AE", control_id)) as (address, _got):
        code, figures = load(address, "--messages", "3")

    assert code == 1
    assert figures["refused"] == {"AE": 1}
    assert figures["missing"] == 1


def test_resilient_sends_the_unanswered_message_again_byte_for_byte() -> None:
    def breaks_off_once(number: int, control_id: bytes) -> bytes | None:
        return None if number == 2 else framed(b"AA", control_id)

    with peer(breaks_off_once) as (address, got):
        code, figures = load(address, "--messages", "6", "--resilient")

    assert code == 0
    assert (figures["answers"], figures["resent"], figures["lost_connections"]) == (6, 1, 1)
    assert got[2] == got[3]
    assert len(got) == 7


def test_resilient_comes_back_after_a_refusal_and_says_so() -> None:
    def refuses_once(number: int, control_id: bytes) -> bytes:
        return framed(b"AE" if number == 1 else b"AA", control_id)

    with peer(refuses_once) as (address, _got):
        code, figures = load(address, "--messages", "4", "--resilient")

    assert code == 0
    assert (figures["answers"], figures["refused"]) == (4, {"AE": 1})


def test_a_sequence_counts_each_patients_updates_on_one_connection() -> None:
    given = sources("a08-sequence", run="r", patients=5, limit=23, connections=2, now=NOW)

    seen: dict[int, list[int]] = {}
    owners: dict[int, set[int]] = {}
    for index, source in enumerate(given):
        while (message := source()) is not None:
            patient, count = message[2]
            seen.setdefault(patient, []).append(count)
            owners.setdefault(patient, set()).add(index)
            assert f"||{count} RUE DE L'ESSAI^".encode() in message[1]

    assert sum(len(counts) for counts in seen.values()) == 23
    assert all(counts == list(range(1, len(counts) + 1)) for counts in seen.values())
    assert all(len(connections) == 1 for connections in owners.values())


@pytest.mark.parametrize(("kind", "low", "high"), [("adt", 850, 1150), ("oru", 2800, 3300)])
def test_messages_have_the_size_that_is_claimed(kind: str, low: int, high: int) -> None:
    source = sources(kind, run="r", patients=50, limit=200, connections=1, now=NOW)[0]

    made = [message for _ in range(200) if (message := source()) is not None]

    assert all(low < len(frame) < high for _, frame, _ in made)
    assert len({control_id for control_id, _, _ in made}) == 200
    assert all(frame.count(b"OBX|") == (20 if kind == "oru" else 0) for _, frame, _ in made)


def test_invented_patients_have_different_identifiers() -> None:
    source = sources("adt", run="r", patients=5000, limit=5000, connections=1, now=NOW)[0]

    made = {
        message[1].split(b"\rPID|")[1].split(b"|")[2] for _ in range(5000) if (message := source())
    }

    assert len({identifiers.split(b"^")[0] for identifiers in made}) == 5000
