"""A hospital that sends A08 updates and laboratory results of invented patients, and sends again what is not answered AA.

Each patient belongs to one connection, which sends its messages one after the other, numbered from 1: the number is
in MSH-10 (`<run>P<patient>N<number>`) and, of an A08, in the street of PID-11. So what was acknowledged of a patient
is always the numbers 1 to n, and what the record must show at the end is known without looking at it.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from broker import simulation
from broker import simulation_hl7v2 as hl7v2
from broker.simulation_people import person

STREET = "RUE DE L'EXERCICE"
_START, _END = b"\x0b", b"\x1c\r"
_ANSWER_SECONDS = 20.0
_AGAIN_SECONDS = 0.2
_RESULTS = 0.2


@dataclass(slots=True)
class Sent:
    """What became of the messages of one patient: how many were answered AA, and which of them were results."""

    acknowledged: int = 0
    results: set[int] = field(default_factory=set)
    in_hand: int = 0

    @property
    def last_update(self) -> int:
        """The number of the newest acknowledged A08; 0 when there is none."""
        numbers = range(self.acknowledged, 0, -1)
        return next((number for number in numbers if number not in self.results), 0)


def control_id(run: str, patient: int, number: int) -> str:
    return f"{run}P{patient:04d}N{number:05d}"


class Traffic:
    """Sends at a rate over many connections, from `start` until `stop`."""

    def __init__(
        self, port: int, *, seed: int, run: str, connections: int, patients: int, rate: float
    ) -> None:
        self.run = run
        self.patients = {number: Sent() for number in range(patients)}
        self.beside: Counter[str] = Counter()
        """Sent again, connections lost, and answers other than AA by their code."""
        self._port = port
        self._seed = seed
        self._pause = connections / rate
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._send, args=(range(index, patients, connections), index), daemon=True
            )
            for index in range(connections)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Send nothing new; whether everything in hand was answered AA within the time."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._give_up.set()
        return not any(thread.is_alive() for thread in started)

    @property
    def acknowledged(self) -> int:
        return sum(sent.acknowledged for sent in self.patients.values())

    def _send(self, mine: Sequence[int], index: int) -> None:
        chance = random.Random(f"{self._seed}/{index}")  # noqa: S311 - chance, not a secret
        link = _Link(self._port)
        self._stop.wait(chance.random() * self._pause)
        while not self._stop.is_set():
            begun = time.monotonic()
            sent = self.patients[patient := chance.choice(mine)]
            sent.in_hand = sent.acknowledged + 1
            is_result = chance.random() < _RESULTS
            if is_result:
                sent.results.add(sent.in_hand)
            if not self._until_taken(link, self._message(patient, sent.in_hand, is_result)):
                break
            sent.acknowledged, sent.in_hand = sent.in_hand, 0
            self._stop.wait(begun + self._pause - time.monotonic())
        link.close()

    def _until_taken(self, link: _Link, message: tuple[bytes, bytes]) -> bool:
        """Send one message until it is answered AA, byte for byte the same each time, as a hospital's engine does."""
        identity, body = message
        while not self._give_up.is_set():
            try:
                answer = link.exchange(body)
            except OSError:
                link.close()
                self._count("connections lost")
            else:
                if answer[:2] == (b"AA", identity):
                    return True
                self._count(f"answered {answer[0].decode('ascii', 'replace')}")
            self._give_up.wait(_AGAIN_SECONDS)
            self._count("sent again")
        return False

    def _count(self, what: str) -> None:
        with self._lock:
            self.beside[what] += 1

    def _message(self, patient: int, number: int, is_result: bool) -> tuple[bytes, bytes]:
        identity, now = control_id(self.run, patient, number), datetime.now(UTC)
        who = replace(person(patient), street=f"{number} {STREET}")
        stay = hl7v2.Stay(f"{patient:06d}", now)
        if is_result:
            header = hl7v2.Header(identity, now, application="SIL", facility="LABO_DEMO")
            text = hl7v2.oru(who, header, stay, simulation.analyses(random.Random(number), 3))  # noqa: S311
        else:
            text = hl7v2.adt("A08", who, hl7v2.Header(identity, now), stay)
        return identity.encode(), text.encode()


class _Link:
    """One connection, made when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def exchange(self, body: bytes) -> tuple[bytes, bytes]:
        """Send a message; (MSA-1, MSA-2) of what came back. Raises: OSError when nothing whole did."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), _ANSWER_SECONDS)
        self._socket.sendall(_START + body + _END)
        answer = b""
        while not answer.endswith(_END):
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionError("closed before the answer")
            answer += data
        for segment in answer.strip(_START + _END).split(b"\r"):
            fields = segment.split(b"|")
            if fields[0] == b"MSA" and len(fields) > 2:
                return fields[1], fields[2]
        raise ConnectionError("no acknowledgement")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
