"""The garbage collector in processes that live long: it never walks what they were made of.

Modules, rules and mapping sets are a million objects and more, which stay; a message leaves hardly a cycle behind.
`starting` comes first, `settled` once everything is loaded. A set that is loaded later sets itself aside (`catalogue`).
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
