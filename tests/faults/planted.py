"""The command `carnet` with a defect in it, for the drill to find: `python -m tests.faults.planted serve …`.

Every process of the broker runs this module again as its main module, and so has the defect too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from broker import fault_points
from broker.cli import main
from broker.database.engine import writing
from broker.envelope import Envelope, Receipt
from broker.intake import Intake
from broker.pipeline import Outcome, Pipeline
from broker.records import messages

VARIABLE = "CARNET_TEST_PLANTED"


def answer_before_the_commit() -> None:
    """AA for what is only in memory."""
    accept = Intake.accept

    def hasty(self: Intake, envelope: Envelope) -> asyncio.Future[Receipt]:
        accept(self, envelope)
        answered: asyncio.Future[Receipt] = self._here().create_future()
        answered.set_result(
            Receipt(
                outcome="accepted",
                code="accepted",
                message_id=str(uuid4()),
                first_received_at=envelope.received_at,
            )
        )
        return answered

    Intake.accept = hasty  # type: ignore[method-assign]


def settle_after_the_filing() -> None:
    """Documents in one transaction, the state of their messages in the next."""
    process, transition = Pipeline.process, messages.transition

    def in_two(self: Pipeline, seqs: Sequence[int]) -> Outcome:
        later: list[Any] = []

        def put_off(_connection: object, changes: Sequence[Any], writer: str) -> int:
            later.append((changes, writer))
            return len(changes)

        messages.transition = put_off  # type: ignore[assignment]
        outcome = process(self, seqs)
        fault_points.reach("filing.committed")
        with writing(self._engine) as connection:
            for changes, writer in later:
                transition(connection, changes, writer)
        return outcome

    Pipeline.process = in_two  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    "answer": answer_before_the_commit,
    "settle": settle_after_the_filing,
}

if os.environ.get(VARIABLE):
    DEFECTS[os.environ[VARIABLE]]()

if __name__ == "__main__":
    main()
