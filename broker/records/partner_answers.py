"""What partners answered, kept with the attempts it came to: sealed under the key of the month it came in. Health data.

A value is bound to its delivery and the number of the attempt. Where nothing is encrypted it is kept as it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from broker.encryption import sealing
from broker.errors import PermanentError
from broker.values import month_of

TABLE = b"attempt"

Attempt = tuple[int, int]
"""A delivery and the number of one of its attempts."""


def identity(one: Attempt) -> bytes:
    """What an answer is bound to."""
    return b"%d/%d" % one


def stored(
    connection: Connection, answers: Sequence[tuple[Attempt, datetime, bytes]]
) -> list[bytes | None]:
    """Answers (attempt, when it ended, bytes) as they are to be stored; None for one without a byte."""
    seals: dict[int, sealing.Seal] = {}
    made: list[bytes | None] = []
    for one, at, answer in answers:
        if not answer:
            made.append(None)
            continue
        month = month_of(at)
        if month not in seals:
            seals[month] = sealing.sealing_of_month(connection, TABLE, month)
        made.append(seals[month](identity(one), answer))
    return made


def opened(
    connection: Connection, values: Mapping[Attempt, bytes]
) -> dict[Attempt, bytes | PermanentError]:
    """Stored answers as they came; the error of one that is not as it was written.

    Raises: TransientError("encryption.key_missing").
    """
    found = sealing.open_all(
        connection, TABLE, [(identity(one), value) for one, value in values.items()]
    )
    return dict(zip(values, found, strict=True))


def of_delivery(connection: Connection, number: int) -> dict[int, bytes | PermanentError]:
    """The answers to the attempts of one delivery that have one, by the attempt's number. Raises as `opened`."""
    rows = connection.execute(
        text(
            "SELECT number, answer FROM attempt WHERE delivery_id = :id AND answer IS NOT NULL ORDER BY number"
        ),
        {"id": number},
    )
    values = {(number, int(row.number)): bytes(row.answer) for row in rows}
    return {one[1]: answer for one, answer in opened(connection, values).items()}
