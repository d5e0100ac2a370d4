"""Who does what and why, when a person decides about messages and deliveries: the act, its entry, what follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from broker.access import Entry
from broker.contracts import Work

WRITER = "command"
"""Whose counters an operator's acts go to."""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision: the operator's login, their own words (they stand in the trail, nowhere else), and when."""

    by: str
    why: str
    at: datetime

    def entry(self, act: str, subject: str, outcome: str | None = None, **details: Any) -> Entry:
        """The entry of the trail for one message or lane; `details` are kept as JSON."""
        return Entry(
            act=act,
            at=self.at,
            actor_kind="operator",
            actor=self.by,
            subject=subject,
            motive=self.why or None,
            outcome=outcome,
            software="carnet",
            details=msgspec.json.encode(details).decode() if details else None,
        )


@dataclass(slots=True)
class Done:
    """What became of an act: `outcome` in a word, the names it took, those it left with the reason, and what follows.

    `inbound` and `outbound` (by destination) go to the queue after the commit; the sweep finds them too, later.
    """

    outcome: str = "done"
    taken: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    inbound: list[Work] = field(default_factory=list)
    outbound: dict[str, list[Work]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: Done) -> None:
        """Take what another round did."""
        self.taken += other.taken
        self.left |= other.left
        self.inbound += other.inbound
        for destination, work in other.outbound.items():
            self.outbound[destination] += work

    def follows(self, kind: str, destination: str, work: list[Work]) -> None:
        """Note work of a lane that goes on."""
        if kind == "filing":
            self.inbound += work
        else:
            self.outbound[destination] += work


def delivery_details(number: int, destination: str) -> Mapping[str, Any]:
    """What an entry about a delivery says beside the message it is owed for: `{"delivery": …, "destination": …}`."""
    return {"delivery": number, "destination": destination}
