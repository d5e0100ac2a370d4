"""Memory of processes that live long: the garbage collector never walks what they were made of, and what is free goes back.

Modules, rules and mapping sets are a million objects and more, which stay; a message leaves hardly a cycle behind.
`starting` comes first, `settled` once everything is loaded. A set that is loaded later sets itself aside (`catalogue`).
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 20, 50)
_GIVE_BACK_SECONDS = 10.0
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc (malloc_trim(3)); other libraries give back by themselves."""


def starting() -> None:
    """Collect nothing while modules and sets are loaded: nearly all of it stays."""
    gc.disable()


def settled() -> None:
    """What is there now stays for good; from now on what comes is collected."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


@contextmanager
def in_hand() -> Iterator[None]:
    """Collect nothing while a batch is in hand: its documents are alive, and each would be walked once for nothing.

    They go by themselves at its end. What a batch did leave behind in cycles is collected behind it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Spare:
    """Gives back to the system what is free between things in use, every ten seconds at most.

    Letters of 200 KB come and go between what is kept a little longer, and leave holes that glibc keeps for ever: 2 MB a
    minute at 200 messages a second, none of it in use.
    """

    def __init__(self, now: float) -> None:
        self._last = now

    def give_back(self, now: float) -> bool:
        """At `now`, in seconds of a clock that only goes forward; whether it was time. Some milliseconds, then."""
        if now - self._last < _GIVE_BACK_SECONDS:
            return False
        self._last = now
        if _trim is not None:
            _trim(0)
        return True
