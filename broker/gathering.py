"""How long is waited so that what comes at nearly the same time is done together.

A transaction costs as much as several messages. While few come, whoever files or delivers them rests a few times as long
as the last batch took: that bounds what small batches cost to a part of the processor, and a message that comes alone,
after a pause, waits for nobody. Where work piles up there is no rest. What arrives waits a moment for company only where
company is likely, and never for the sake of others where its sender waits for nothing but the answer.
"""

from __future__ import annotations

TIMES_A_WORKER = 8
"""So many times the work of a batch is rested: a ninth of one processor, at most, goes into small batches."""
TIMES_A_COURIER = 16
"""The same for the delivery of a batch, of which only what it took of the processor counts: a partner's time is free."""
_FEW = 64
"""More than so many at once say that work piles up. Fewer than a queue holds ready for one reader of one partition, so
that a pile is never taken for a trickle."""

COMPANY_SECONDS = 0.015
"""So long a message waits for others to share its commit, where nobody is in a hurry."""
ENOUGH_COMPANY = 16
MOMENT_SECONDS = 0.001
"""So long it waits for those who come at once."""
_WEIGHT = 1 / 16
_LONGEST_BETWEEN = 1.0


class Gathering:
    """The rests of one worker or courier; `most` are the seconds of the longest, `batch` the most items it takes at once."""

    def __init__(self, most: float, times: float, *, batch: int) -> None:
        self._most = most
        self._times = times
        self._few = min(_FEW, batch - 1)
        self._piled = False

    def rest(self, taken: int, worked: float) -> float:
        """Seconds to rest after a batch of `taken` items that took `worked` seconds.

        None after the batch behind a large one either: the queue had no time to bring what else is there.
        """
        before, self._piled = self._piled, taken > self._few
        return 0.0 if before or self._piled else min(self._most, worked * self._times)


class Company:
    """Whether another message is likely to come within `COMPANY_SECONDS`, by the time between the last ones."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._between = _LONGEST_BETWEEN

    def came(self, now: float) -> None:
        """A message came at `now` (seconds of any clock that only goes forward)."""
        between = min(_LONGEST_BETWEEN, now - self._last)
        self._between += (between - self._between) * _WEIGHT
        self._last = now

    def patience(self, returning: int, *, is_hurried: bool) -> tuple[int, float]:
        """(so many are enough for a commit at once, so many seconds the first waits for them).

        `returning` are those who were just answered and are about to send again, `is_hurried` whether one that waits is of
        a sender who waits for nothing but the answer.
        """
        if not is_hurried and self._between < COMPANY_SECONDS:
            return ENOUGH_COMPANY, COMPANY_SECONDS
        return returning, MOMENT_SECONDS
