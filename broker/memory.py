"""The garbage collector in processes that live long: it never walks what they were made of.

Modules, rules and mapping sets are a million objects and more, which stay; a message leaves hardly a cycle behind.
`starting` comes first, `settled` once everything is loaded. A set that is loaded later sets itself aside (`catalogue`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 20, 50)


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
