"""When a failed delivery is tried again, and when it is given up. Pure: time and chance come in as arguments.

Backoff grows by `factor` from `base` to `max_delay`, with jitter so that a hundred deliveries that failed together
do not come back together. Giving up is by age or by attempts, whichever comes first; 0 means without limit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one destination is tried again.

    Fields:
        base: wait after the first failure
        factor: how much longer each further wait is
        jitter: share of the wait that chance may take off (0 none, 0.5 up to half)
        max_delay: longest wait between two attempts
        max_age: given up when the delivery has been owed for longer; "0s" never
        max_attempts: given up after so many attempts; 0 without limit
    """

    base: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    jitter: float = 0.2
    max_delay: timedelta = timedelta(minutes=10)
    max_age: timedelta = timedelta(hours=72)
    max_attempts: int = 0

    def __post_init__(self) -> None:
        if self.base <= timedelta(0):
            raise ValueError("base must be longer than nothing")
        if self.factor < 1:
            raise ValueError("factor must be 1 or more")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must lie between 0 and 1")
        if self.max_delay < self.base:
            raise ValueError("max_delay must not be shorter than base")
        if self.max_age < timedelta(0) or self.max_attempts < 0:
            raise ValueError("max_age and max_attempts must not be negative")


def delay(policy: Policy, attempt: int, random: Callable[[], float]) -> timedelta:
    """How long to wait after the failure of attempt number `attempt`, counted from 1.

    `random` gives a number in [0, 1), as `random.random` does. The result lies in
    [(1 - jitter) * full, full], where full is min(max_delay, base * factor ** (attempt - 1)).
    """
    longest = policy.max_delay.total_seconds()
    full = policy.base.total_seconds()
    for _ in range(attempt - 1):
        if full >= longest or policy.factor == 1:
            break
        full *= policy.factor
    full = min(full, longest)
    return timedelta(seconds=full * (1 - policy.jitter * random()))


def gives_up(policy: Policy, attempts: int, age: timedelta) -> bool:
    """True when a delivery owed since `age` and tried `attempts` times is not tried again."""
    if policy.max_attempts and attempts >= policy.max_attempts:
        return True
    return bool(policy.max_age) and age >= policy.max_age
