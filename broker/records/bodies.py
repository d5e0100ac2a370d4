"""The bytes of messages, sealed under the key of the month in which they were received. Health data.

A body is bound to the SHA-256 of its message, so one that was exchanged for another does not open. Whoever needs the
bytes of several messages asks once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, text

from broker.database import bulk, together
from broker.database.schema import message_body
from broker.encryption import sealed, sealing
from broker.errors import CarnetError, PermanentError
from broker.records.lookups import among, any_of

TABLE = b"message_body"

Stored = tuple[int, bytes, bytes]
"""Number of a message, its SHA-256, and its body as it is stored."""


def opened(connection: Connection, stored: Sequence[Stored]) -> dict[int, bytes | PermanentError]:
    """Bodies by number; the error of one that was erased or altered. Raises: TransientError("encryption.key_missing")."""
    values = [(sha256, body) for _, sha256, body in stored]
    answers = sealing.open_all(connection, TABLE, values)
    return {seq: answer for (seq, _, _), answer in zip(stored, answers, strict=True)}


def read(connection: Connection, seqs: Collection[int]) -> dict[int, bytes | PermanentError]:
    """The bodies of messages by number, of those that are kept; the error of one that was erased or altered.

    Raises: TransientError("encryption.key_missing").
    """
    if not seqs:
        return {}
    return opened(connection, _stored(connection, seqs))


def _stored(connection: Connection, seqs: Collection[int]) -> Sequence[Stored]:
    within, given = among(connection, "m.seq", sorted(seqs))
    question = (
        "SELECT m.seq, m.sha256, b.body FROM message m JOIN message_body b ON b.seq = m.seq "  # noqa: S608
        f"WHERE {within} ORDER BY m.seq"
    )
    return [
        (seq, sha256, body)
        for seq, sha256, body in together.ask_bytes(connection, question, (given,))
    ]


def legible(connection: Connection, seqs: Collection[int]) -> dict[int, bytes]:
    """Like `read`, without those that were erased.

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    answer = {}
    for seq, body in read(connection, seqs).items():
        if not isinstance(body, CarnetError):
            answer[seq] = body
        elif body.code != "encryption.erased":
            raise body
    return answer


def erase(connection: Connection, seqs: Collection[int]) -> None:
    """Put the mark of erased content in the place of these bodies, and of what was rendered for their deliveries.

    Answers of partners to these deliveries go too, and the INS that left with them.
    """
    if not seqs:
        return
    given = {"erased": sealed.ERASED}
    within, numbers = any_of(connection, "seq", sorted(seqs))
    connection.execute(
        text(f"UPDATE message_body SET body = :erased WHERE {within}"),  # noqa: S608
        {**given, **numbers},
    )
    within, numbers = any_of(connection, "message_seq", sorted(seqs))
    of_them = f"delivery_id IN (SELECT id FROM delivery WHERE {within})"  # noqa: S608
    connection.execute(
        text(f"UPDATE prepared SET body = :erased WHERE {of_them}"),  # noqa: S608
        {**given, **numbers},
    )
    connection.execute(
        text(f"UPDATE attempt SET answer = NULL WHERE answer IS NOT NULL AND {of_them}"),  # noqa: S608
        numbers,
    )
    connection.execute(
        text(f"UPDATE delivery SET ins_used = NULL WHERE ins_used IS NOT NULL AND {within}"),  # noqa: S608
        numbers,
    )


def copy(connection: Connection, copies: Mapping[int, int], month: int) -> None:
    """Give the bodies of messages (original -> new) to new ones with the same bytes, under the key of their month.

    The bytes of one whose own cannot be opened stay as they are: who reads it is told.
    """
    rows = _stored(connection, copies)
    bodies = opened(connection, rows)
    seal = sealing.sealing_of_month(connection, TABLE, month)
    new = []
    for seq, sha256, stored in rows:
        body = bodies[seq]
        again = stored if isinstance(body, CarnetError) else seal(sha256, body)
        new.append((copies[seq], again))
    bulk.insert_rows(connection, message_body, ("seq", "body"), new)
