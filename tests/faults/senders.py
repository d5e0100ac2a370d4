"""Senders of a hospital: each has one patient's messages, sends them one after the other, and again until AA."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.house import a08

_ANSWER_SECONDS = 20.0


@dataclass
class Senders:
    """`count` threads, each with its own patient, on whichever of the ports answers, until `finish`."""

    ports: Sequence[int]
    count: int = 8
    pause: float = 0.05
    deadline: float = 240.0
    acknowledged: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Senders:
        self._threads = [
            # A test that fails before `finish` does not wait for them.
            threading.Thread(target=self._send_all, args=(number,), daemon=True)
            for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def go_on(self, messages: int = 40) -> None:
        """Wait until so many more messages were answered AA."""
        end, wanted = time.monotonic() + self.deadline, len(self.acknowledged) + messages
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, f"{len(self.acknowledged)} of {wanted}"
            time.sleep(0.02)

    def finish(self) -> list[str]:
        """Let each send what it has in hand until it is answered; the control ids answered AA, in order."""
        end = time.monotonic() + self.deadline
        self._stop.set()
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads)
        return self.acknowledged

    def _send_all(self, number: int) -> None:
        ports = itertools.cycle(self.ports[number % len(self.ports) :] + self.ports[: number % len(self.ports)])  # fmt: skip
        connection: socket.socket | None = None
        for n in itertools.count():
            if self._stop.wait(self.pause):
                break
            name = f"P{number:02d}-{n:05d}"
            body = b"\x0b" + a08(name, patient=f"{9000 + number}") + b"\x1c\r"
            end = time.monotonic() + self.deadline
            while time.monotonic() < end:
                try:
                    if connection is None:
                        connection = socket.create_connection(("127.0.0.1", next(ports)), 5)
                        connection.settimeout(_ANSWER_SECONDS)
                    if _asked(connection, body, name.encode()):
                        self.acknowledged.append(name)
                        break
                except OSError:
                    pass
                if connection is not None:
                    connection.close()
                    connection = None
                time.sleep(0.05)
        if connection is not None:
            connection.close()


def _asked(connection: socket.socket, body: bytes, name: bytes) -> bool:
    """Send and read the answer; whether it is AA for this message. Raises: OSError when the connection is gone."""
    connection.sendall(body)
    answer = b""
    while not answer.endswith(b"\x1c\r"):
        some = connection.recv(4096)
        if not some:
            raise ConnectionResetError
        answer += some
    return b"MSA|AA|" + name in answer
