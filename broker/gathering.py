"""How long a worker rests between two batches, so that what comes at nearly the same time is done together.

A transaction costs as much as several messages. While few come, whoever files them rests a few times as long
as the last batch took: that bounds what small batches cost to a part of the processor, and a message that comes alone,
after a pause, waits for nobody. Where work piles up there is no rest.
"""

from __future__ import annotations

_TIMES = 4
"""So many times the work of a batch is rested: a fifth of one processor, at most, goes into small batches."""
_FEW = 64
"""More than so many at once say that work piles up. Fewer than a queue holds ready for one reader of one partition, so
that a pile is never taken for a trickle."""


class Gathering:
    """The rests of one worker; `most` are the seconds of the longest."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._piled = False

    def rest(self, taken: int, worked: float) -> float:
        """Seconds to rest after a batch of `taken` items that took `worked` seconds.

        None after the batch behind a large one either: the queue had no time to bring what else is there.
        """
        before, self._piled = self._piled, taken > _FEW
        return 0.0 if before or self._piled else min(self._most, worked * _TIMES)
