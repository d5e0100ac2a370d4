"""A destination that fails again and again is left alone for a while. Pure: time and chance come in as arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from broker import retry


class CircuitPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a destination is left alone.

    Fields:
        failures: So many failures in a row open the circuit; 0 never.
        pause: How long it stays open the first time; after it one delivery is tried.
        max_pause: Longest it stays open, when it goes on failing.
    """

    failures: int = 5
    pause: timedelta = timedelta(seconds=5)
    max_pause: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        if self.failures < 0:
            raise ValueError("failures must not be negative")
        if self.pause <= timedelta(0):
            raise ValueError("pause must be longer than nothing")
        if self.max_pause < self.pause:
            raise ValueError("max_pause must not be shorter than pause")


class Circuit:
    """Closed: deliveries flow. Open: none is tried until the pause is over, and then one at a time until one arrives.

    A refusal is an answer, and closes it: the partner is there.
    """

    def __init__(self, policy: CircuitPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._backoff = retry.Policy(base=policy.pause, max_delay=policy.max_pause, jitter=0.2)
        self._random = random
        self._openings = 0
        self._until: datetime | None = None
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether it is open, or waiting to see if the next delivery arrives."""
        return self._openings > 0

    def resume(self, failures: int) -> None:
        """Take up where a courier before left it open, after so many failures: the next delivery is tried at once, alone.

        That it opened was said, and that it closes will be.
        """
        self.failures, self._openings, self._until = failures, 1, None

    def wait(self, now: datetime) -> timedelta:
        """How long nothing may be tried; nothing where it is closed, or the pause is over.

        Never longer than the longest pause: the clock may have gone back since it opened.
        """
        if self._until is None:
            return timedelta(0)
        return min(max(self._until - now, timedelta(0)), self._policy.max_pause)

    def succeeded(self) -> bool:
        """Note an answer; True where that closes an open circuit."""
        was_open = self.is_open
        self.failures, self._openings, self._until = 0, 0, None
        return was_open

    def failed(self, now: datetime) -> bool:
        """Note a failure; True where that opens a closed circuit."""
        self.failures += 1
        if not self._policy.failures or self.failures < self._policy.failures:
            return False
        self._openings += 1
        self._until = now + retry.delay(self._backoff, self._openings, self._random)
        return self._openings == 1
