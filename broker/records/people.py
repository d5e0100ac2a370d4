"""Who patients are: names, birth date, address as last received. Sealed under the key of the month they were written in.

Not under the patient's own key: that goes with the space, and letters about its end are still to be addressed. What is
forgotten is erased in its row. Identifying data.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text

from broker.document import Patient
from broker.encryption import sealed, sealing
from broker.errors import CarnetError
from broker.records.lookups import any_of
from broker.values import month_of

TABLE, MAIL = b"patient", b"account"
NOBODY = b"{}"
"""The traits of somebody who was forgotten."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Patient)


def encoded(who: Patient | None) -> bytes:
    """Traits as JSON of the common model."""
    return _ENCODER.encode(who if who is not None else Patient())


def seal(
    connection: Connection, rows: Sequence[tuple[int, bytes]], now: datetime
) -> list[tuple[int, bytes]]:
    """Traits (patient, JSON) as they are to be stored now. One statement where content is encrypted."""
    if not rows:
        return []
    one = sealing.sealing_of_month(connection, TABLE, month_of(now))
    return [(patient, one(_identity(patient), said)) for patient, said in rows]


def opened(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    """The JSON of traits (patient, as stored).

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    values = [(_identity(patient), stored) for patient, stored in rows]
    answer = {}
    for (patient, _), said in zip(rows, sealing.open_all(connection, TABLE, values), strict=True):
        if not isinstance(said, CarnetError):
            answer[patient] = said
        elif said.code == "encryption.erased":
            answer[patient] = NOBODY
        else:
            raise said
    return answer


def said_of(connection: Connection, ids: Collection[int]) -> dict[int, bytes]:
    """The JSON of the traits of patients, of those that are there. Raises: as `opened`."""
    if not ids:
        return {}
    within, given = any_of(connection, "id", sorted(ids))
    rows = connection.execute(text(f"SELECT id, traits FROM patient WHERE {within}"), given)  # noqa: S608
    return opened(connection, [(int(row.id), bytes(row.traits)) for row in rows])


def of(connection: Connection, ids: Collection[int]) -> dict[int, Patient]:
    """Who patients are, of those that are there. Raises: as `opened`."""
    return {patient: decode(said) for patient, said in said_of(connection, ids).items()}


def decode(said: bytes) -> Patient:
    """Traits out of their JSON."""
    return _DECODER.decode(said)


def forget(connection: Connection, ids: Collection[int], now_micros: int) -> None:
    """Erase who these patients are."""
    within, given = any_of(connection, "id", sorted(ids))
    connection.execute(
        text(f"UPDATE patient SET traits = :erased, updated_at = :now WHERE {within}"),  # noqa: S608
        {"erased": sealed.ERASED, "now": now_micros, **given},
    )


def _identity(patient: int) -> bytes:
    return str(patient).encode()


# --- mail addresses: a column of text ------------------------------------------------------------------------------


def sealed_mails(
    connection: Connection, rows: Sequence[tuple[int, str]], now: datetime
) -> dict[int, str]:
    """Mail addresses (patient, address) as they are to be stored now; those who have none are left out."""
    given = [(patient, mail) for patient, mail in rows if mail]
    if not given:
        return {}
    one = sealing.sealing_of_month(connection, MAIL, month_of(now))
    return {patient: sealing.seal_text(one, _identity(patient), mail) for patient, mail in given}


def opened_mails(connection: Connection, rows: Sequence[tuple[int, str]]) -> dict[int, str]:
    """Mail addresses (patient, as stored).

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    values = [(_identity(patient), stored) for patient, stored in rows]
    mails = sealing.open_texts(connection, MAIL, values, is_plain_mail)
    return {patient: mail for (patient, _), mail in zip(rows, mails, strict=True)}


def is_plain_mail(stored: str) -> bool:
    """Whether a stored address is not sealed: base64 has no `@`."""
    return "@" in stored or not stored.startswith(sealing.SEALED_TEXT)
