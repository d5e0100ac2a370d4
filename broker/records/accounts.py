"""The state of a patient's space and what the holder says of it, as events that are never overwritten.

For the command; messages say it through `patients.add_consents`. The transitions of the life-cycle (six weeks,
reopening, deletion after ten years) are not built yet: here a state is set, with who said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from broker.database.engine import reading
from broker.database.types import from_micros
from broker.errors import SetupError
from broker.records.patients import ACCOUNT_STATES, NewConsent, add_consents, load

EMERGENCY_MODES = ("bris_de_glace", "centre_15")


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a patient's consent history."""

    n: int
    kind: str
    scope: str
    value: str
    by: str
    channel: str
    at: datetime


def move(
    connection: Connection, patient: int, state: str, *, by: str, channel: str, now: datetime
) -> None:
    """Set the state of the space (`closed`, `suspended`, `active`, ...).

    Raises: SetupError("account.unknown") for a state or a patient that does not exist.
    """
    if state not in ACCOUNT_STATES:
        raise SetupError(
            "account.unknown", where="state", reason="no such state", hint=", ".join(ACCOUNT_STATES)
        )
    _say(connection, NewConsent(patient, "account", state, by, channel, now, account=state), now)


def oppose_filing(
    connection: Connection, patient: int, is_opposed: bool, *, by: str, channel: str, now: datetime
) -> None:
    """Note that the patient opposes filing (ZFA-9 IO) or no longer does (INO)."""
    _say(
        connection,
        NewConsent(patient, "filing", "IO" if is_opposed else "INO", by, channel, now),
        now,
    )


def oppose_emergency(
    connection: Connection,
    patient: int,
    mode: str,
    is_opposed: bool,
    *,
    by: str,
    channel: str,
    now: datetime,
) -> None:
    """Note that the patient opposes one emergency mode, or no longer does (EMG-03)."""
    if mode not in EMERGENCY_MODES:
        raise SetupError(
            "account.unknown", where="mode", reason="no such mode", hint=", ".join(EMERGENCY_MODES)
        )
    value = "opposed" if is_opposed else "allowed"
    _say(connection, NewConsent(patient, "emergency", value, by, channel, now, scope=mode), now)


def history(engine: Engine, patient: int) -> list[Said]:
    """Everything said, oldest first: `n` is the consent version that decisions point to."""
    with reading(engine) as connection:
        rows = connection.execute(
            text(
                "SELECT n, kind, scope, value, by, channel, at FROM consent_event WHERE patient = :id ORDER BY n"
            ),
            {"id": patient},
        ).all()
    return [
        Said(row.n, row.kind, row.scope, row.value, row.by, row.channel, from_micros(int(row.at)))
        for row in rows
    ]


def _say(connection: Connection, event: NewConsent, now: datetime) -> None:
    if event.patient not in load(connection, [event.patient]):
        raise SetupError("account.unknown", where="patient", reason="no such patient")
    add_consents(connection, [event], now)
