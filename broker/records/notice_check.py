"""The mirror: what the trail says of accesses, what the patient sees of them, and what is due to be told, are the same.

Of an emergency there is besides a notice to the médecin traitant with as many lines as the holder's (EMG-04).
Promise 7 and F29. Counted per patient and day (Europe/Paris), of everybody but the patient: an entry of the trail, a line
of a visit, and a line of a notice for each access. Reads a day of lines and notices by their indexes, and the entries of
people's reads in the months of that day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, text

from broker.accounts.days import PARIS
from broker.database.types import to_micros
from broker.records.lookups import any_of
from broker.records.notices import BOTH
from broker.records.traces import SESSION
from broker.values import first_seq, month_of

ACTS = ("document_listed", "document_read", "body_revealed", "consent_read")
"""Entries of the trail that are an access with a line of its own."""

_ENTRIES = (
    "SELECT patient, count(*) AS n FROM audit_entry WHERE actor_kind <> 'machine' AND act = :act AND n >= :low "
    "AND n < :high AND at >= :since AND at < :until AND actor_kind <> 'patient' AND patient IS NOT NULL "
    "AND NOT (act = 'document_listed' AND actor_kind = 'operator') GROUP BY patient"
)
_LINES = (
    "SELECT v.patient + 0 AS patient, count(*) AS n FROM visit v CROSS JOIN access_line a WHERE a.visit = v.id AND v.started >= :begun "
    "AND v.started < :until AND a.at >= :since AND a.at < :until AND v.actor_kind <> 'patient' GROUP BY v.patient + 0"
)
_NOTICES = (
    "SELECT patient, sum(lines) AS n FROM notice WHERE day = :day "
    "AND kind IN ('first_access', 'access', 'emergency_access') GROUP BY patient"
)
_EMERGENCIES = (
    "SELECT patient, sum(lines) AS n FROM notice WHERE day = :day AND kind IN ('first_access', 'access', 'emergency_access') "
    "AND kind = 'emergency_access' AND cause LIKE :both GROUP BY patient"
)
_TO_TRAITANT = (
    "SELECT patient, sum(lines) AS n FROM notice WHERE {within} AND created_at >= :since AND created_at < :until "
    "AND kind = 'emergency_traitant' GROUP BY patient"
)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Accesses of a day by patient, as three tellers have them; and emergencies, as holder and médecin traitant do."""

    entries: Mapping[int, int]
    lines: Mapping[int, int]
    notices: Mapping[int, int]
    emergencies: Mapping[int, int] = field(default_factory=dict)
    to_traitant: Mapping[int, int] = field(default_factory=dict)

    def gaps(self) -> list[int]:
        """The patients of whom they do not say the same."""
        everybody = self.entries.keys() | self.lines.keys() | self.notices.keys()
        return sorted(
            one
            for one in everybody
            if not self.entries.get(one, 0) == self.lines.get(one, 0) == self.notices.get(one, 0)
            or self.emergencies.get(one, 0) != self.to_traitant.get(one, 0)
        )


def count(connection: Connection, day: int) -> Mirror:
    """Count one day (20261130). Raises ValueError when it is no calendar day."""
    wanted = date(day // 10_000, day // 100 % 100, day % 100)
    since = datetime.combine(wanted, time(), tzinfo=PARIS).astimezone(UTC)
    until = datetime.combine(wanted + timedelta(days=1), time(), tzinfo=PARIS).astimezone(UTC)
    given = {"since": to_micros(since), "until": to_micros(until)}
    months = {"low": first_seq(month_of(since)), "high": first_seq(month_of(until) + 1)}
    entries: dict[int, int] = {}
    for act in ACTS:
        for row in connection.execute(text(_ENTRIES), {"act": act, **given, **months}):
            entries[int(row.patient)] = entries.get(int(row.patient), 0) + int(row.n)
    lines = connection.execute(text(_LINES), {"begun": to_micros(since - SESSION), **given})
    told = connection.execute(text(_NOTICES), {"day": day})
    urgent = connection.execute(text(_EMERGENCIES), {"day": day, "both": f"%{BOTH}"})
    emergencies = {int(row.patient): int(row.n) for row in urgent}
    return Mirror(
        entries,
        {int(row.patient): int(row.n) for row in lines},
        {int(row.patient): int(row.n) for row in told},
        emergencies,
        _to_traitants(connection, emergencies, given),
    )


def _to_traitants(
    connection: Connection, patients: Collection[int], day: Mapping[str, int]
) -> dict[int, int]:
    """Lines of the day's notices to médecins traitants, of patients who had an emergency: a handful, by their index."""
    if not patients:
        return {}
    within, given = any_of(connection, "patient", sorted(patients))
    rows = connection.execute(text(_TO_TRAITANT.format(within=within)), {**day, **given})
    return {int(row.patient): int(row.n) for row in rows}
