"""Patients with an INS, a clock that the test moves, and the acts and jobs on their spaces."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from broker.account_acts import Accounts, Result
from broker.account_jobs import AccountJobs
from broker.contracts import Work
from broker.database import partitions, sequences
from broker.database.engine import reading, writing
from broker.document import Address, Patient, PersonName
from broker.identity import ins
from broker.identity.matching import Key
from broker.records import account_rows, notices, patients
from broker.records.account_moves import By
from broker.records.account_rows import Space
from broker.telemetry import Telemetry

KEY = b"k" * 32
BY = By("jd", channel="phone")
TRAITS = Patient(
    names=(PersonName(family="EXEMPLE", given=("Jeanne",)),),
    addresses=(Address(lines=("1 rue des Essais",), postal_code="31000", city="Toulouse"),),
)


def ins_number(n: int) -> str:
    """A test INS with a right key: nobody has it."""
    first = f"2540{n % 12 + 1:02d}".ljust(5, "0")[:5] + "99" + f"{n:06d}"
    return f"{first}{ins.key_of(first):02d}"


@dataclass
class Spaces:
    """One installation's spaces, on a ledger of the test."""

    engine: Engine
    now: datetime = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
    count: int = 0
    work: list[Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.engine, key=KEY, zone=ZoneInfo("Europe/Paris"))
        self.log = io.StringIO()
        self.telemetry = Telemetry("scheduler", writer="0", stream=self.log)
        self.jobs = AccountJobs(
            self.engine, self.accounts, self.telemetry, lambda: self.now, self.work.extend
        )

    def people(self, count: int, *, has_ins: bool = True) -> list[int]:
        with writing(self.engine) as connection:
            partitions.ensure(connection, self.now)
            first = sequences.reserve(connection, "patient", count, self.now)
            made = []
            for n in range(count):
                self.count += 1
                key = Key(ins.TEST, ins_number(self.count), "INS-NIR", "ins")
                local = Key("1.2.250.1.999.2", str(self.count), "PI", "local")
                keys = (key,) if has_ins else (local,)
                made.append(patients.NewPatient(first + n, keys, TRAITS))
            patients.create(connection, made, self.now)
        return list(range(first, first + count))

    def bring(self, number: int, event: str, **more: Any) -> Result:
        return self.accounts.bring([number], event, BY, self.now, **more)

    def inform(self, number: int, **more: str) -> Result:
        return self.accounts.inform([number], BY, self.now, **more)

    def later(self, **span: float) -> None:
        """Move the clock, and let the scheduler do what is due."""
        self.skip(**span)
        self.jobs.move()

    def skip(self, **span: float) -> None:
        """Move the clock alone."""
        self.skip_to(self.now + timedelta(**span))

    def skip_to(self, instant: datetime) -> None:
        self.now = instant
        with writing(self.engine) as connection:
            partitions.ensure(connection, self.now)

    def space(self, number: int) -> Space:
        with reading(self.engine) as connection:
            return account_rows.load(connection, [number])[number]

    def state(self, number: int) -> str:
        return self.space(number).state

    def column(self, number: int) -> str:
        with reading(self.engine) as connection:
            return patients.load(connection, [number])[number].account

    def history(self, number: int) -> list[str]:
        with reading(self.engine) as connection:
            return [step.transition for step in account_rows.history(connection, number)]

    def told(self, number: int) -> list[str]:
        with reading(self.engine) as connection:
            rows: Sequence[notices.Row] = notices.listing(connection, patient=number, limit=500)
        return sorted(row.kind for row in rows)

    def rows(self, statement: str, **given: Any) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(text(statement), given).all())
