"""The rows of a space's life-cycle: where each stands, what is due, and the history. Read and written per batch.

For `account_moves`, which decides, and for `patients`, whose messages close and reopen a space too. `patient.account`
is the state as the rules look at it, `account.state` the machine's; a space without a row is `presumed` open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from broker.accounts import machine
from broker.accounts.codes import Kept
from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import account, account_due, account_event, patient
from broker.database.types import from_micros, to_micros
from broker.records import people
from broker.records.lookups import any_of


@dataclass(frozen=True, slots=True)
class Space:
    """One patient's space as it stands. `due` is what will happen by the clock, by its name (T3, T12, …)."""

    patient: int
    state: str = machine.PRESUMED
    since: datetime | None = None
    events: int = 0
    has_former: bool = False
    is_attached: bool = False
    died_at: datetime | None = None
    language: str = ""
    mail: str = field(default="", repr=False)
    code: Kept | None = field(default=None, repr=False)
    card: str = field(default="", repr=False)
    due: Mapping[str, datetime] = field(default_factory=dict)
    merged_into: int | None = None
    consent_version: int = 0

    @property
    def column(self) -> str:
        """The state for the rules."""
        return machine.column_of(self.state, self.has_former)


@dataclass(frozen=True, slots=True)
class Step:
    """One transition that was made: for the history."""

    patient: int
    n: int
    transition: str
    before: str
    after: str
    actor_kind: str
    actor: str
    channel: str
    reason: str
    rule: str
    at: datetime


_SPACES = (
    "SELECT p.id, p.account AS known_as, p.account_since, p.merged_into, p.consent_version, a.patient AS has_row, "
    "a.state, a.since, a.events, a.former, a.attached, a.died_at, a.language, a.mail, a.code_number, a.code_digest, "
    "a.code_until, a.code_tries, a.card_digest FROM patient p LEFT JOIN account a ON a.patient = p.id WHERE "
)


def load(connection: Connection, ids: Collection[int], *, lock: bool = False) -> dict[int, Space]:
    """The spaces of patients that exist; `lock` keeps other writers off them until the commit (PostgreSQL)."""
    if not ids:
        return {}
    within, given = any_of(connection, "p.id", sorted(set(ids)))
    locking = " ORDER BY p.id FOR UPDATE OF p" if lock and not is_sqlite(connection) else ""
    rows = connection.execute(text(f"{_SPACES}{within}{locking}"), given).all()
    due = _due(connection, [int(row.id) for row in rows])
    mails = people.opened_mails(connection, [(int(row.id), row.mail) for row in rows if row.mail])
    return {
        int(row.id): _space(row, due.get(int(row.id), {}), mails.get(int(row.id), ""))
        for row in rows
    }


def _due(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, datetime]]:
    if not ids:
        return {}
    within, given = any_of(connection, "patient", ids)
    rows = connection.execute(
        text(f"SELECT patient, name, due_at FROM account_due WHERE {within}"),  # noqa: S608 - our own words
        given,
    )
    found: dict[int, dict[str, datetime]] = defaultdict(dict)
    for row in rows:
        found[int(row.patient)][row.name] = from_micros(int(row.due_at))
    return found


def _space(row: Any, due: Mapping[str, datetime], mail: str) -> Space:
    if row.has_row is None:
        return Space(
            int(row.id),
            machine.state_of(row.known_as, is_known=False),
            from_micros(int(row.account_since)),
            due=due,
            merged_into=row.merged_into,
            consent_version=int(row.consent_version),
        )
    kept = None
    if row.code_digest:
        kept = Kept(
            int(row.code_number), row.code_digest, row.card_digest or "", from_micros(int(row.code_until)),
            int(row.code_tries),
        )  # fmt: skip
    state = row.state
    if machine.column_of(state, bool(row.former)) != row.known_as:
        # Set past the machine (an installation of before it): what the rules obey is the truth.
        state = machine.state_of(row.known_as, is_known=True)
    return Space(
        patient=int(row.id),
        state=state,
        since=from_micros(int(row.since)),
        events=int(row.events),
        has_former=bool(row.former),
        is_attached=bool(row.attached),
        died_at=None if row.died_at is None else from_micros(int(row.died_at)),
        language=row.language or "",
        mail=mail,
        code=kept,
        card=row.card_digest or "",
        due=due,
        merged_into=row.merged_into,
        consent_version=int(row.consent_version),
    )


_COLUMNS = (
    "patient", "state", "since", "events", "former", "attached", "died_at", "language", "mail", "code_number",
    "code_digest", "code_until", "code_tries", "card_digest",
)  # fmt: skip


def store(connection: Connection, before: Mapping[int, Space], after: Sequence[Space], now: datetime) -> None:  # fmt: skip
    """Write spaces as they are from now on, their due dates, and the state the rules look at."""
    mails = people.sealed_mails(connection, [(one.patient, one.mail) for one in after], now)
    rows = [
        _row(one, mails.get(one.patient), now) for one in sorted(after, key=lambda one: one.patient)
    ]
    bulk.replace_rows(connection, account, _COLUMNS, rows, keys=("patient",))
    gone = [
        (one.patient, name)
        for one in after
        for name in before[one.patient].due.keys() - one.due.keys()
    ]
    _forget(connection, gone)
    dates = [
        (one.patient, name, to_micros(at))
        for one in after
        for name, at in one.due.items()
        if before[one.patient].due.get(name) != at
    ]
    bulk.replace_rows(
        connection,
        account_due,
        ("patient", "name", "due_at"),
        sorted(dates),
        keys=("patient", "name"),
    )
    at = to_micros(now)
    moved = [
        (one.patient, one.column, to_micros(one.since or now), at)
        for one in sorted(after, key=lambda one: one.patient)
        if one.state != before[one.patient].state or one.column != before[one.patient].column
    ]
    bulk.update_rows(connection, patient, "id", ("account", "account_since", "updated_at"), moved)


def _forget(connection: Connection, gone: Sequence[tuple[int, str]]) -> None:
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, name in gone:
        by_name[name].append(number)
    for name, numbers in by_name.items():
        within, given = any_of(connection, "patient", numbers)
        connection.execute(
            text(f"DELETE FROM account_due WHERE name = :name AND {within}"),  # noqa: S608 - our own words
            {"name": name, **given},
        )


def _row(one: Space, mail: str | None, now: datetime) -> tuple[Any, ...]:
    code = one.code
    return (
        one.patient, one.state, to_micros(one.since or now), one.events, one.has_former, one.is_attached,
        one.died_at and to_micros(one.died_at), one.language or None, mail,
        code.number if code else 0, code.digest if code else None, to_micros(code.valid_until) if code else None,
        code.tries if code else 0, one.card or None,
    )  # fmt: skip


def tell(connection: Connection, steps: Sequence[Step]) -> None:
    """Append to the history."""
    columns = (
        "patient", "n", "transition", "from_state", "to_state", "actor_kind", "actor", "channel", "reason", "rule", "at",
    )  # fmt: skip
    rows = [
        (
            one.patient, one.n, one.transition, one.before, one.after, one.actor_kind, one.actor, one.channel,
            one.reason or None, one.rule, to_micros(one.at),
        )
        for one in steps
    ]  # fmt: skip
    bulk.insert_rows(connection, account_event, columns, rows)


def history(connection: Connection, number: int) -> list[Step]:
    """What happened to a space, oldest first."""
    rows = connection.execute(
        text("SELECT * FROM account_event WHERE patient = :id ORDER BY n"), {"id": number}
    )
    return [
        Step(
            int(row.patient), int(row.n), row.transition, row.from_state, row.to_state, row.actor_kind, row.actor,
            row.channel, row.reason or "", row.rule, from_micros(int(row.at)),
        )
        for row in rows
    ]  # fmt: skip


def due(
    connection: Connection,
    before: datetime,
    limit: int,
    *,
    after: tuple[datetime, int] | None = None,
) -> list[tuple[int, str, datetime]]:
    """(patient, name, due at) of what is due up to an instant, the oldest first; `after` continues a page."""
    further = "" if after is None else " AND (due_at, patient) > (:at, :patient)"
    given: dict[str, Any] = {"before": to_micros(before), "limit": limit}
    if after is not None:
        given |= {"at": to_micros(after[0]), "patient": after[1]}
    rows = connection.execute(
        text(
            f"SELECT patient, name, due_at FROM account_due WHERE due_at <= :before{further} "  # noqa: S608
            "ORDER BY due_at, patient LIMIT :limit"
        ),
        given,
    )
    return [(int(row.patient), row.name, from_micros(int(row.due_at))) for row in rows]


def noted(
    connection: Connection,
    moved: Mapping[int, tuple[str, str]],
    *,
    archive_ends: datetime,
    now: datetime,
) -> None:
    """That messages closed spaces (ZFA-1 FERME) or took that back (ACTIF): patient -> (state before, state after).

    `patients.add_consents` has set `patient.account` already.
    """
    if not moved:
        return
    spaces = load(connection, moved)
    before = {
        number: replace(one, state=machine.state_of(moved[number][0], one.events > 0))
        for number, one in spaces.items()
    }
    after, steps = [], []
    for number, one in before.items():
        target = moved[number][1]
        edge = machine.T7 if target == machine.CLOSED else machine.T11
        dates = {name: at for name, at in one.due.items() if name not in ("T3", "T10", "T12")}
        if edge is machine.T7:
            dates["T12"] = archive_ends
        n = one.events + 1
        steps.append(
            Step(
                number, n, edge.id, one.state, target, "machine", "message", "message", f"ZFA-1 {_ZFA[target == machine.CLOSED]}",
                edge.source, now,
            )
        )  # fmt: skip
        after.append(replace(one, state=target, since=now, events=n, due=dates))
    store(connection, before, after, now)
    tell(connection, steps)


_ZFA = {True: "FERME", False: "ACTIF"}
