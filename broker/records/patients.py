"""Patients of the record: found by identifier, created once, their traits and what they consented to.

One statement a batch. Two workers may meet the same new patient at once: the identifier's primary key decides, and
the loser's batch is tried again (`TransientError("identity.race")`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, text

from broker.accounts import days
from broker.database import bulk
from broker.database.engine import is_sqlite, reading
from broker.database.schema import consent_event, patient, patient_identifier
from broker.database.types import from_micros, to_micros
from broker.document import Consent, Patient
from broker.encryption import findable
from broker.errors import PermanentError, TransientError
from broker.header import earliest
from broker.records import account_rows, people
from broker.records.lookups import any_of, rows_of_pairs

INS_SYSTEMS = tuple(f"1.2.250.1.213.1.4.{n}" for n in (8, 9, 10, 11))
"""Authorities of which a person has one number at most (INS: production, test, demonstration)."""

IDENTIFIER = b"patient_identifier"
"""Where identifiers stand, for `encryption.findable`."""

ACCOUNT_STATES = (
    "not_eligible", "informed", "opposed", "open_unactivated", "active", "suspended", "closed", "deleted",
)  # fmt: skip
UNKNOWN_ACCOUNT = "open_unactivated"
"""What an account is taken for until something is known of it: a space is opened by silence (R.1111-28)."""

COLUMNS = "id, account, account_since, consent_version, merged_into, traits_digest"
"""What `row_of` takes, in its order."""

WORDS = "patient, kind, scope, value, at"
"""What `last_words` takes of consent events."""

EACH_TIME = "explicit"
"""Kind of consent that is given anew at each consultation: the same word again is news (CON-04)."""


class IdentifierKey(Protocol):
    """A key of `identity.matching`, as far as it is stored."""

    @property
    def system(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NewPatient:
    """A patient to create: a reserved number (`sequences.reserve("patient")`), the keys, the traits as received."""

    id: int
    keys: Sequence[IdentifierKey]
    traits: Patient | None = field(default=None, repr=False)
    traits_digest: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A further identifier of a known patient."""

    patient: int
    key: IdentifierKey


@dataclass(frozen=True, slots=True)
class PatientRow:
    """What rules need of a patient.

    `consents` is the last word on each (kind, scope): its value and when it was said. `filing_opposed` is ZFA-9 IO.
    `team` (open memberships of one who asks, as team and branch) and `born` are filled by `records.care_team`.
    """

    id: int
    account: str = UNKNOWN_ACCOUNT
    account_since: datetime | None = None
    consent_version: int = 0
    consents: Mapping[tuple[str, str], tuple[str, datetime]] = field(default_factory=dict)
    merged_into: int | None = None
    traits_digest: int | None = field(default=None, repr=False)
    team: tuple[tuple[str, int], ...] = ()
    born: date | None = None

    @property
    def filing_opposed(self) -> bool:
        return self.consents.get(("filing", ""), ("", None))[0] == "IO"


@dataclass(frozen=True, slots=True)
class ConsentSaid:
    """What a message says of consent, as received; `source` is who said it.

    `first_said` is when the message first came, where it is read again: only where nothing as new is known, it counts.
    `team` is the care team (structure and visit) that a consent to consultation is given to (CON-06: per episode).
    """

    patient: int
    consent: Consent
    source: str
    message_seq: int
    first_said: datetime | None = None
    team: str = ""


@dataclass(frozen=True, slots=True)
class NewConsent:
    """One consent event to append. `account`, when given, is the state the patient's account goes to."""

    patient: int
    kind: str
    value: str
    by: str
    channel: str
    at: datetime
    scope: str = ""
    on_behalf_of: str | None = None
    text_version: str | None = None
    message_seq: int | None = None
    account: str | None = None
    is_again: bool = False


def find(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Which person each (system, value) belongs to; unknown ones are left out.

    A merged person keeps its identifiers: whose record it is now, `records.identity_circle` says.
    """
    if not keys:
        return {}
    is_known = findable.is_known(connection)
    found = _owners(connection, keys)
    if not is_known and len(found) < len(set(keys)) and findable.seek(connection):
        found = _owners(connection, keys)
    return found


def _owners(
    connection: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    wanted = findable.forms(connection, IDENTIFIER, keys)
    select = "SELECT t.system, t.value, t.patient FROM patient_identifier AS t"
    rows = rows_of_pairs(connection, select, sorted(wanted))
    # Where two wrote one number at once, one of them before there was a key, the sealed row counts.
    ordered = sorted(rows, key=lambda row: findable.is_sealed(row.value))
    return {wanted[row.system, row.value]: int(row.patient) for row in ordered}


def ins_of(connection: Connection, ids: Collection[int]) -> dict[int, list[tuple[str, str]]]:
    """The INS each patient already has, as (system, value)."""
    if not ids:
        return {}
    within, given = any_of(connection, "patient", sorted(ids))
    systems = ", ".join(f"'{system}'" for system in INS_SYSTEMS)
    rows = connection.execute(
        text(
            f"SELECT patient, system, value FROM patient_identifier WHERE {within} AND system IN ({systems})"  # noqa: S608
        ),
        given,
    )
    known: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for patient_id, system, value, _ in opened_keys(connection, [(*row, "") for row in rows]):
        known[patient_id].append((system, value))
    return dict(known)


def opened_keys(
    connection: Connection, rows: Sequence[Sequence[Any]]
) -> list[tuple[int, str, str, str]]:
    """Rows of identifiers (patient, system, value as stored, kind) with their values, by system and value.

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    values = findable.opened(connection, IDENTIFIER, [(row[1], row[2]) for row in rows])
    found = [
        (int(patient_id), system, value, kind)
        for (patient_id, system, _, kind), value in zip(rows, values, strict=True)
    ]
    return sorted(found, key=lambda one: one[1:3])


def load(
    connection: Connection, ids: Collection[int], *, lock: bool = False
) -> dict[int, PatientRow]:
    """The rows of patients with their last consents.

    `lock` keeps other workers off these patients until the commit (PostgreSQL; SQLite has one writer anyway).
    """
    if not ids:
        return {}
    within, given = any_of(connection, "id", sorted(ids))
    locking = " ORDER BY id FOR UPDATE" if lock and not is_sqlite(connection) else ""
    rows = connection.execute(
        text(
            f"SELECT {COLUMNS} FROM patient WHERE {within}{locking}"  # noqa: S608 - our own words
        ),
        given,
    ).all()
    said = _consents(connection, [int(row.id) for row in rows if row.consent_version])
    return {int(row.id): row_of(row, said.get(int(row.id), {})) for row in rows}


def row_of(
    values: Sequence[Any], said: Mapping[tuple[str, str], tuple[str, datetime]]
) -> PatientRow:
    """A patient out of the values of `COLUMNS` and the last word on each matter (`last_words`)."""
    number, account, since, version, merged_into, digest, *_ = values
    return PatientRow(
        id=int(number),
        account=account,
        account_since=from_micros(int(since)),
        consent_version=int(version),
        consents=said,
        merged_into=merged_into,
        traits_digest=digest,
    )


def of_message(connection: Connection, seq: int) -> PatientRow | None:
    """Whose a message is, with the consents of today; None where nobody was found."""
    row = connection.execute(
        text("SELECT person FROM message WHERE seq = :seq"), {"seq": seq}
    ).first()
    if row is None or row.person is None:
        return None
    return load(connection, {int(row.person)}).get(int(row.person))


def _consents(
    connection: Connection, ids: Sequence[int]
) -> dict[int, dict[tuple[str, str], tuple[str, datetime]]]:
    if not ids:
        return {}
    within, given = any_of(connection, "patient", ids)
    rows = connection.execute(
        text(f"SELECT {WORDS} FROM consent_event WHERE {within} ORDER BY patient, n"),  # noqa: S608 - our own words
        given,
    )
    return last_words(rows.all())


def last_words(
    rows: Sequence[Sequence[Any]],
) -> dict[int, dict[tuple[str, str], tuple[str, datetime]]]:
    """The last word on each (kind, scope) by patient, out of the values of `WORDS` in the order they were said."""
    last: dict[int, dict[tuple[str, str], tuple[str, datetime]]] = defaultdict(dict)
    for person, kind, scope, value, at in rows:
        last[int(person)][kind, scope] = (value, from_micros(int(at)))
    return last


def create(connection: Connection, rows: Sequence[NewPatient], now: datetime) -> None:
    """Create patients with their identifiers.

    Raises: TransientError("identity.race") when one of the identifiers belongs to somebody by now.
    """
    if not rows:
        return
    at = to_micros(now)
    sealed = people.seal(connection, [(row.id, people.encoded(row.traits)) for row in rows], now)
    bulk.insert_rows(
        connection,
        patient,
        (
            "id",
            "created_at",
            "updated_at",
            "account",
            "account_since",
            "consent_version",
            "traits",
            "traits_digest",
        ),
        [
            (row.id, at, at, UNKNOWN_ACCOUNT, at, 0, stored, row.traits_digest)
            for row, (_, stored) in zip(rows, sealed, strict=True)
        ],
    )
    _insert_keys(connection, [NewKey(row.id, key) for row in rows for key in row.keys], at)


def add_keys(connection: Connection, rows: Sequence[NewKey], now: datetime) -> None:
    """Store further identifiers of known patients.

    Raises: TransientError("identity.race") as `create`; PermanentError("identity.ins_differs") when it would give a
    patient two numbers of one INS authority: that is another person.
    """
    if not rows:
        return
    ins = [row for row in rows if row.key.system in INS_SYSTEMS]
    if ins:
        known = ins_of(connection, {row.patient for row in ins})
        for row in ins:
            mine = known.setdefault(row.patient, [])
            if any(system == row.key.system and value != row.key.value for system, value in mine):
                raise PermanentError("identity.ins_differs", where="patient.identifiers")
            mine.append((row.key.system, row.key.value))
    _insert_keys(connection, rows, to_micros(now))


def give_keys(connection: Connection, owners: Mapping[tuple[str, str], int]) -> None:
    """Let identifiers that somebody has name these persons instead."""
    for pair, (within, given) in each_form(connection, owners).items():
        connection.execute(
            text(f"UPDATE patient_identifier SET patient = :person WHERE {within}"),  # noqa: S608
            {"person": owners[pair], **given},
        )


def each_form(
    connection: Connection, pairs: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, dict[str, str]]]:
    """(condition, parameters) of the row of each identifier, in the order in which all writers take them.

    Both forms in one condition: a row that is being sealed is waited for, and is still meant afterwards.
    """
    findable.seek(connection)
    forms: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (_, value), pair in sorted(findable.forms(connection, IDENTIFIER, pairs).items()):
        forms[pair].append(value)
    return {
        pair: (
            "system = :system AND value IN (:one, :other)",
            {"system": pair[0], "one": values[0], "other": values[-1]},
        )
        for pair, values in sorted(forms.items())
    }


def _insert_keys(connection: Connection, rows: Sequence[NewKey], at: int) -> None:
    """Insert in one order for all writers; where not all were new, read back: whoever was first has the identifier."""
    wanted = {(row.key.system, row.key.value): row for row in rows}
    stored = findable.stored(connection, IDENTIFIER, wanted)
    columns = ("system", "value", "patient", "kind", "since")
    values = sorted(
        (pair[0], stored[pair], row.patient, row.key.kind, at) for pair, row in wanted.items()
    )
    if bulk.insert_missing(connection, patient_identifier, columns, values) == len(values):
        return
    owners = find(connection, wanted.keys())
    if any(owners.get(pair) != row.patient for pair, row in wanted.items()):
        raise TransientError("identity.race", where="patient.identifiers")


def update_traits(
    connection: Connection,
    traits: Mapping[int, Patient],
    now: datetime,
    digests: Mapping[int, int | None] | None = None,
    stale: Collection[int] = (),
) -> None:
    """Keep the newest administrative word on who these patients are, and the digest of their strict traits.

    Most messages say again what is known: a row is written only where something is new, or where its digest is another
    one (`stale`: a row of before there were any).
    """
    said = {number: people.encoded(value) for number, value in sorted(traits.items())}
    known = people.said_of(connection, said)
    rows = [
        (number, one) for number, one in said.items() if number in stale or known.get(number) != one
    ]
    at = to_micros(now)
    bulk.update_rows(
        connection,
        patient,
        "id",
        ("traits", "updated_at", "traits_digest"),
        [
            (number, stored, at, (digests or {}).get(number))
            for number, stored in people.seal(connection, rows, now)
        ],
    )


def traits_of(engine: Engine, patient_id: int) -> Patient | None:
    """Who a patient is, for a viewer that was let in already."""
    with reading(engine) as connection:
        return people.of(connection, [patient_id]).get(patient_id)


def add_consents(
    connection: Connection, events: Sequence[ConsentSaid | NewConsent], now: datetime
) -> None:
    """Append what was said of consent, when it is news, and move the account when it is told to.

    Not collected (`NA`) is no answer and is not kept. A word older than the last one on the same matter, or equal
    to it, changes nothing: messages repeat it at every admission.
    """
    news = [event if isinstance(event, NewConsent) else _said(event, now) for event in events]
    news = [event for event in news if event.value not in ("", "NA")]
    if not news:
        return
    people = load(connection, {event.patient for event in news}, lock=True)
    from_messages = {event.patient for event in news if event.channel == "message"}
    rows: list[tuple[Any, ...]] = []
    states: dict[int, tuple[int, str, datetime]] = {}
    last = {number: dict(row.consents) for number, row in people.items()}
    for event in news:
        person, said = people[event.patient], last[event.patient]
        before = said.get((event.kind, event.scope))
        is_told = before is not None and before[0] == event.value and event.kind != EACH_TIME
        if before is not None and (is_told or _is_older(event, before[1])):
            continue
        said[(event.kind, event.scope)] = (event.value, event.at)
        n, account, since = states.get(
            person.id, (person.consent_version, person.account, person.account_since or now)
        )
        wanted = event.account or _reopened(event, before, account)
        if wanted is not None and wanted != account:
            account, since = wanted, event.at
        states[person.id] = (n + 1, account, since)
        rows.append(
            (
                person.id, n + 1, event.kind, event.scope, event.value, event.by, event.on_behalf_of,
                event.channel, event.text_version, to_micros(event.at), event.message_seq,
            )
        )  # fmt: skip
    columns = (
        "patient", "n", "kind", "scope", "value", "by", "on_behalf_of", "channel", "text_version", "at",
        "message_seq",
    )  # fmt: skip
    bulk.insert_rows(connection, consent_event, columns, rows)
    bulk.update_rows(
        connection,
        patient,
        "id",
        ("consent_version", "account", "account_since", "updated_at"),
        [
            (number, n, account, to_micros(since), to_micros(now))
            for number, (n, account, since) in sorted(states.items())
        ],
    )
    moved = {
        number: (people[number].account, account)
        for number, (_, account, _) in states.items()
        if account != people[number].account
    }
    by_message = {number: change for number, change in moved.items() if number in from_messages}
    account_rows.noted(
        connection, by_message, archive_ends=days.archive_ends(now, days.PARIS), now=now
    )


def after(row: PatientRow, said: Sequence[ConsentSaid], now: datetime) -> PatientRow:
    """The patient as `add_consents` will leave them: what later messages of the same batch are decided by."""
    consents = dict(row.consents)
    account = row.account
    for event in (_said(one, now) for one in said):
        before = consents.get((event.kind, event.scope))
        if event.value in ("", "NA") or (before is not None and _is_older(event, before[1])):
            continue
        account = event.account or _reopened(event, before, account) or account
        consents[(event.kind, event.scope)] = (event.value, event.at)
    return replace(row, account=account, consents=consents)


def _is_older(event: NewConsent, than: datetime) -> bool:
    """Dates of consent are often whole days: a word that is read again never wins over another of the same day."""
    return event.at <= than if event.is_again else event.at < than


def _reopened(event: NewConsent, before: tuple[str, datetime] | None, account: str) -> str | None:
    """ZFA-1 ACTIF takes back what ZFA-1 FERME did and nothing else: it must not undo what the patient closed here.

    INEXISTANT may mean four states of the space and moves nothing. Source: PAM FR 2.11.2, ZFA-1.
    """
    if event.kind != "account" or event.value != "ACTIF" or before is None:
        return None
    return UNKNOWN_ACCOUNT if before[0] == "FERME" and account == "closed" else None


def _said(event: ConsentSaid, now: datetime) -> NewConsent:
    consent = event.consent
    now = event.first_said or now
    return NewConsent(
        patient=event.patient,
        kind=consent.scope,
        value=consent.value,
        by=event.source,
        channel="message",
        at=min(earliest(consent.at) or now, now),
        scope=event.team if consent.scope == "consultation" else "",
        message_seq=event.message_seq,
        account="closed" if (consent.scope, consent.value) == ("account", "FERME") else None,
        is_again=event.first_said is not None,
    )
