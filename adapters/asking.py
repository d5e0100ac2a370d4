"""A destination that can be asked what the partner has: for adapters whose settings decide whether it can.

`broker.contracts.Verifiable` is what a destination is or is not; a setting cannot take a method away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from broker.contracts import Destination
from broker.envelope import Envelope, Receipt


@dataclass(frozen=True, slots=True)
class Asking:
    """Sends by `sender`; `ask` is what `verify` of the contract says."""

    sender: Destination
    ask: Callable[[Envelope], Receipt | None]

    def deliver(self, envelope: Envelope) -> Receipt:
        """As the sender."""
        return self.sender.deliver(envelope)

    def verify(self, envelope: Envelope) -> Receipt | None:
        """What the partner has of it; None: nothing. Raises: TransientError when that cannot be said now."""
        return self.ask(envelope)

    def close(self) -> None:
        """As the sender."""
        self.sender.close()
