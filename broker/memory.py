"""The garbage collector in processes that live long: it never walks what they were made of.

A worker's mapping set alone is a million objects (closures and their cells), which stay. A message leaves hardly a
cycle behind. `starting` comes first, `settled` once everything is loaded, `renewed` after part of that was exchanged.
"""

from __future__ import annotations

import gc

_THRESHOLDS = (50_000, 20, 50)


def starting() -> None:
    """Collect nothing while modules and sets are loaded: nearly all of it stays."""
    gc.disable()


def settled() -> None:
    """What is there now stays for good; from now on what comes is collected."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


def renewed() -> None:
    """Let go of what was exchanged, and settle again: one walk over everything."""
    gc.unfreeze()
    gc.collect()
    settled()
