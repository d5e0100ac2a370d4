"""A partner that receives by MLLP, keeps the control id of everything that arrives, and answers AA. For the drill.

Written apart from the adapters on purpose: what it saw is evidence. Source: MLLP, Release 1; HL7 v2.5.1 §2.9.2.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress

_START, _END = b"\x0b", b"\x1c\r"
_CHUNK = 65_536


class Partner:
    """Listens on a free port of loopback until closed. `arrivals` are control ids in the order of their arrival."""

    def __init__(self, seed: int, *, longest_ms: float = 6.0) -> None:
        self.arrivals: list[str] = []
        self._chance = random.Random(seed)  # noqa: S311 - chance, not a secret
        self._longest = longest_ms / 1000
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="drill-partner", daemon=True).start()

    def close(self) -> None:
        """Hear no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        with connection, suppress(OSError):
            while data := connection.recv(_CHUNK):
                received += data
                while (end := received.find(_END)) >= 0:
                    message, received = received[:end].lstrip(_START), received[end + len(_END) :]
                    connection.sendall(self._answer(message))
        with self._lock:
            self._open.discard(connection)

    def _answer(self, message: bytes) -> bytes:
        """Keep the message, then say AA after a moment: a death of the sender in between leaves it in doubt."""
        fields = message.split(b"\r", 1)[0].split(b"|")
        with self._lock:
            self.arrivals.append(fields[9].decode("ascii"))
            pause = self._chance.random() * self._longest
        time.sleep(pause)
        head = b"|".join((b"MSH|^~\\&|PARTNER|DRILL|CARNET|DRILL", fields[6], b"", b"ACK"))
        return b"%b%b|A%b|T|2.5\rMSA|AA|%b\r%b" % (_START, head, fields[9], fields[9], _END)
