"""Resources as they were last written, at hand for the next page: a document never changes, so neither do they.

Whoever opens a record turns its pages, looks again, and is followed by somebody else of the ward. Decided, counted and
told to the trail is each look of its own; only reading, opening and writing the same content again is spared.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from broker.web.refusing import ENCODER
from broker.web.rendered import DECODER

KEEP_SECONDS = 900.0
"""Longest that health data stays in memory for that: as long as a page can be followed, by default."""

_OVERHEAD = 300
"""Bytes that one more resource takes beside its own."""


class Written(msgspec.Struct, frozen=True):
    """A resource as JSON, with its type and id. Health data."""

    kind: str
    id: str
    body: msgspec.Raw

    def __repr__(self) -> str:
        return f"Written({self.kind})"

    def again(self) -> dict[str, Any]:
        """The resource, to be looked into."""
        found: dict[str, Any] = DECODER.decode(self.body)
        return found


def written(resource: dict[str, Any]) -> Written:
    """A resource with its type and id, written."""
    body = msgspec.Raw(ENCODER.encode(resource))
    return Written(resource["resourceType"], resource["id"], body)


class Shelf:
    """What was written last, of one process: at most so many bytes, and nothing for long. Thread-safe."""

    def __init__(
        self,
        max_bytes: int,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes, self._keep_seconds, self._clock = max_bytes, keep_seconds, clock
        self._kept: OrderedDict[Hashable, tuple[float, int, tuple[Written, ...]]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What is kept, in bytes."""
        return self._bytes

    def find(self, keys: Sequence[Hashable]) -> dict[Hashable, tuple[Written, ...]]:
        """What is kept under these keys."""
        oldest = self._clock() - self._keep_seconds
        found = {}
        with self._lock:
            self._drop(oldest)
            for key in keys:
                kept = self._kept.get(key)
                if kept is not None:
                    found[key] = kept[2]
        return found

    def keep(self, written: Sequence[tuple[Hashable, tuple[Written, ...]]]) -> None:
        """Keep what was written; what was written first gives way."""
        now = self._clock()
        with self._lock:
            for key, resources in written:
                size = _OVERHEAD + sum(len(one.body) + _OVERHEAD for one in resources)
                if key in self._kept or size > self._max_bytes:
                    continue
                self._kept[key] = now, size, resources
                self._bytes += size
            self._drop(now - self._keep_seconds)

    def _drop(self, oldest: float) -> None:
        """Let go of what is too old, and of the first while there is too much."""
        while self._kept:
            key, (at, size, _) = next(iter(self._kept.items()))
            if at > oldest and self._bytes <= self._max_bytes:
                return
            del self._kept[key]
            self._bytes -= size
