"""Which of the processes that share a port has more than its part of the connections, so that it lets one go.

The kernel deals new connections out by chance (SO_REUSEPORT), and clients keep theirs for hours: of 16 it gives 10 to
one of two processes as often as not, and those wait while the other has time. A crowded process ends a connection with
an answer (RFC 9112 §9.6, `Connection: close`); the client's next one is dealt out anew.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_SLOT = struct.Struct("<I")
_SLACK = 20
"""A twentieth of its part is no process's trouble: where many clients come and go, chance moves that much."""


class Balance:
    """The open connections of each process, in a file that all map; each writes its own place.

    A process that died leaves its last count until it is started again: the others let go of fewer, never of more.
    """

    def __init__(self, file: Path, index: int, processes: int) -> None:
        self._index, self._processes = index, processes
        self._counts: mmap.mmap | None = None
        if processes > 1:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a+b") as opened:
                if opened.seek(0, 2) < processes * _SLOT.size:
                    opened.truncate(processes * _SLOT.size)
                self._counts = mmap.mmap(opened.fileno(), processes * _SLOT.size)
            self.note(0)

    def note(self, own: int) -> None:
        """Tell the others how many connections this process has."""
        if self._counts is not None:
            _SLOT.pack_into(self._counts, self._index * _SLOT.size, own)

    def is_crowded(self, own: int) -> bool:
        """Whether this process has more than its part, rounded up, told that it has `own`."""
        if self._counts is None:
            return False
        self.note(own)
        total: int = sum(count for (count,) in _SLOT.iter_unpack(self._counts))
        part = -(-total // self._processes)
        return own > part + part // _SLACK

    def close(self) -> None:
        """This process has none any more."""
        self.note(0)
        if self._counts is not None:
            self._counts.close()
            self._counts = None
