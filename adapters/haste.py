"""Whether a sender waits for nothing but our answers: then it sends as fast as it is answered, and no faster."""

from __future__ import annotations

_AT_ONCE_SECONDS = 0.02
_IN_A_ROW = 8
"""So many messages, each sent at once when the one before was answered, are no chance any more."""
_MOST_KNOWN = 10_000


class Haste:
    """Of one sender; times are seconds of any clock that only goes forward."""

    __slots__ = ("_answered_at", "_in_a_row")

    def __init__(self) -> None:
        self._answered_at = float("-inf")
        self._in_a_row = 0

    def answered(self, now: float) -> None:
        self._answered_at = now

    def comes(self, now: float, *, before_answer: bool = False) -> bool:
        """A message comes, `before_answer` before the one before it was answered; whether its sender is in a hurry."""
        is_at_once = before_answer or now - self._answered_at < _AT_ONCE_SECONDS
        self._in_a_row = self._in_a_row + 1 if is_at_once else 0
        return self._in_a_row >= _IN_A_ROW


class Hastes:
    """Of many senders, by name. Too many are forgotten all at once: each shows soon enough whether it is in a hurry."""

    def __init__(self) -> None:
        self._known: dict[str, Haste] = {}

    def of(self, sender: str) -> Haste:
        found = self._known.get(sender)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[sender] = Haste()
        return found
