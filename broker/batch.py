"""What the pipeline knows of one message while a batch is in hand, and the words its trail is written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from broker.correlating import Answer
from broker.document import Document
from broker.mapper import Reading
from broker.records.filing import Filing
from broker.records.identity_journal import Change
from broker.records.messages import Open
from broker.records.outbox import Owed
from broker.records.patients import PatientRow
from broker.records.replays import Origin
from broker.rules.routing import Routed
from broker.values import Seq, State


@dataclass(slots=True)
class InHand:
    """One message on its way: what was read, whose it is, what became of it.

    `answer` is what it says of a message that was sent, `answers` the message that one was.
    `origin` is what it is a replay of. `verdict` is None while nothing has been decided against it; once set, later steps leave the message alone.
    `patient` is the person as consents stand, `filtered_by` the first routing rule that kept it from a destination,
    `is_routed` whether a rule sends it anywhere.
    `person` is whom it is filed under, `record` all persons of that record as it was then. `applied` says what it did to
    identities (`changes`): such a message is in the journal, and no document of the record. `signs` are those of a
    circle (`records.circles`).
    """

    message: Open
    reading: Reading
    started: datetime
    origin: Origin | None = None
    person: int | None = None
    patient: PatientRow | None = field(default=None, repr=False)
    record: Sequence[int] = ()
    applied: str | None = None
    changes: list[Change] = field(default_factory=list)
    filings: list[Filing] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    signs: int = 0
    answer: Answer | None = None
    answers: Seq | None = None
    not_filed: str | None = None
    verdict: State | None = None
    reason: str | None = None
    place: str | None = None
    known_already: str | None = None
    filtered_by: str = ""
    is_routed: bool = False
    decision: str = ""
    steps: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def documents(self) -> list[Document]:
        return self.reading.documents

    @property
    def is_open(self) -> bool:
        """Whether the message is still on its way to being filed."""
        return self.verdict is None

    @property
    def to_deliver(self) -> list[Document]:
        """The documents that are owed to whom routes lead to; what a replay changes, only where it is to be."""
        if self.origin is not None:
            return [one.document for one in self.filings] if self.origin.delivers else []
        return self.documents if self.filings or self.not_filed or self.applied else []

    def end(self, state: State, reason: str, place: str = "") -> None:
        """Settle (or hold) the message here, for a reason; nothing of it is filed."""
        self.verdict, self.reason, self.place = state, reason, place or None
        self.filings = []

    def step(self, name: str, microseconds: int, outcome: str = "") -> None:
        """Note a step of the trail: its name, how long it took, and how it ended when not well."""
        self.steps.append((name, microseconds, outcome))

    def route(self, routed: Routed) -> None:
        """Note which rule sends the message where, and which one filtered it and why; of several documents each once."""
        self.is_routed = self.is_routed or bool(routed.sent)
        steps = [
            (f"routed to {destination}", 0, f"rule {rule}") for destination, rule in routed.sent
        ]
        for one in routed.filtered:
            self.filtered_by = self.filtered_by or one.rule
            name = f"filtered for {one.destination or 'every destination'}"
            steps.append((name, 0, f"rule {one.rule}: {one.reason}"))
        self.steps += [step for step in steps if step not in self.steps]

    def trail(self, at: datetime) -> str:
        """The steps of this commit as one JSON line: {"at", "steps": [[name, µs, outcome], …]}."""
        return msgspec.json.encode({"at": at.isoformat(), "steps": self.steps}).decode() + "\n"
