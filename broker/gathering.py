"""How long to rest between two batches, so that what comes at nearly the same time is done together. Pure.

A transaction costs as much as several messages. While few come, whoever files or sends them rests a few times as long
as the last batch took: that bounds what small batches cost to a part of the processor, and a message that comes alone,
after a pause, waits for nobody. Where work piles up there is no rest.
"""

from __future__ import annotations

_TIMES = 4
"""So many times the work of a batch is rested: a fifth of one processor, at most, goes into small batches."""
_PILING_UP = 4
"""A batch of more than one part in so many of the largest says that work piles up."""


def rest(taken: int, largest: int, worked: float, most: float) -> float:
    """Seconds to rest after a batch of `taken` items, of at most `largest`, that took `worked` seconds; at most `most`."""
    if taken * _PILING_UP > largest:
        return 0.0
    return min(most, worked * _TIMES)
