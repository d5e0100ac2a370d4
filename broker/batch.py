"""What the pipeline knows of one message while a batch is in hand, and the words its trail is written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from broker.correlating import Answer
from broker.document import Document
from broker.mapper import Reading
from broker.records.filing import Filing
from broker.records.messages import Open
from broker.records.outbox import Owed
from broker.values import Seq, State


@dataclass(slots=True)
class InHand:
    """One message on its way: what was read, whose it is, what became of it.

    `answer` is what it says of a message that was sent, `answers` the message that one was.
    `verdict` is None while nothing has been decided against it; once set, later steps leave the message alone.
    """

    message: Open
    reading: Reading
    started: datetime
    person: int | None = None
    filings: list[Filing] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    hops: int = 0
    answer: Answer | None = None
    answers: Seq | None = None
    not_filed: str | None = None
    verdict: State | None = None
    reason: str | None = None
    place: str | None = None
    known_already: str | None = None
    decision: str = ""
    steps: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def documents(self) -> list[Document]:
        return self.reading.documents

    @property
    def is_open(self) -> bool:
        """Whether the message is still on its way to being filed."""
        return self.verdict is None

    def end(self, state: State, reason: str, place: str = "") -> None:
        """Settle (or hold) the message here, for a reason; nothing of it is filed."""
        self.verdict, self.reason, self.place = state, reason, place or None
        self.filings = []

    def step(self, name: str, microseconds: int, outcome: str = "") -> None:
        """Note a step of the trail: its name, how long it took, and how it ended when not well."""
        self.steps.append((name, microseconds, outcome))

    def trail(self, at: datetime) -> str:
        """The steps of this commit as one JSON line: {"at", "steps": [[name, µs, outcome], …]}."""
        return msgspec.json.encode({"at": at.isoformat(), "steps": self.steps}).decode() + "\n"
