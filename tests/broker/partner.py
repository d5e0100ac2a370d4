"""A partner that receives HL7v2 by MLLP on a real socket, keeps what it got, and answers as it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

Answer = Callable[[str, bytes], str | None]
"""(control id, message) -> the code of MSA-1, or None to hang up without an answer."""


@dataclass(slots=True)
class Got:
    """One message a partner received: when (monotonic seconds), over which of its connections, and what it answered."""

    at: float
    connection: int
    control_id: str
    message: bytes = field(repr=False)
    code: str | None = None


class Partner:
    """Listens until closed; any number of connections, each served by a thread."""

    def __init__(self, answer: Answer = lambda _id, _message: "AA", port: int = 0) -> None:
        self.answer = answer
        self.got: list[Got] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def control_ids(self) -> list[str]:
        """MSH-10 of what it received, in order."""
        return [one.control_id for one in self.got]

    def close(self) -> None:
        """Stop listening and drop every connection."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(
                target=self._serve, args=(connection, self.connections), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        data = b""
        with connection, suppress(OSError):
            while part := connection.recv(65536):
                data += part
                while b"\x1c\r" in data:
                    frame, _, data = data.partition(b"\x1c\r")
                    answer = self._take(frame.lstrip(b"\x0b"), number)
                    if answer is None:
                        return
                    connection.sendall(answer)
        with self._lock:
            self._open.discard(connection)

    def _take(self, message: bytes, number: int) -> bytes | None:
        control_id = message.partition(b"\r")[0].split(b"|")[9].decode()
        code = self.answer(control_id, message)
        with self._lock:
            self.got.append(Got(time.monotonic(), number, control_id, message, code))
        if code is None:
            return None
        told = f"MSH|^~\\&|P|P|C|C|20261125||ACK|{control_id}R|P|2.5\rMSA|{code}|{control_id}\r"
        return b"\x0b" + told.encode() + b"\x1c\r"
