"""The content of documents: JSON of the common model, sealed under the key of the record it is filed in."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from broker.database import bulk
from broker.database.schema import document_payload
from broker.database.together import ask_rows
from broker.encryption import sealed, sealing
from broker.errors import CarnetError, PermanentError
from broker.records.lookups import among_texts

TABLE = b"document_payload"


def write(connection: Connection, payloads: Sequence[tuple[str, int, bytes]]) -> None:
    """Keep the content of new documents: id, the patient it is filed under, JSON."""
    values = [(patient, name.encode(), payload) for name, patient, payload in payloads]
    stored = sealing.seal_of_patients(connection, TABLE, values)
    bulk.insert_rows(
        connection,
        document_payload,
        ("id", "encoding", "payload"),
        [
            (name, "sealed" if sealed.is_sealed(kept) else "json", kept)
            for (name, _, _), kept in zip(payloads, stored, strict=True)
        ],
    )


def found(connection: Connection, ids: Collection[str]) -> dict[str, bytes | PermanentError]:
    """The JSON of documents by their id; the error of one that was erased or altered. Health data.

    Raises: TransientError("encryption.key_missing").
    """
    if not ids:
        return {}
    within, given = among_texts(connection, "id", sorted(ids), kind="uuid")
    statement = f"SELECT id, payload FROM document_payload WHERE {within}"  # noqa: S608 - our own words
    (answer,) = ask_rows(connection, [(statement, (given,))])
    rows = [(str(number), bytes(payload)) for number, payload in answer]
    opened = sealing.open_all(connection, TABLE, [(name.encode(), kept) for name, kept in rows])
    return {name: payload for (name, _), payload in zip(rows, opened, strict=True)}


def read(connection: Connection, ids: Collection[str]) -> dict[str, bytes]:
    """The JSON of documents by their id. Health data.

    Raises: PermanentError("encryption.erased"), ("encryption.altered") for the first that cannot be opened;
    TransientError("encryption.key_missing").
    """
    answer = {}
    for name, payload in found(connection, ids).items():
        if isinstance(payload, CarnetError):
            raise payload
        answer[name] = payload
    return answer


def one(connection: Connection, name: str) -> bytes:
    """The JSON of one document that was filed.

    Raises: PermanentError("encryption.erased"), ("encryption.altered"); TransientError("encryption.key_missing").
    """
    payload = read(connection, [name]).get(name)
    if payload is None:
        raise sealed.erased(TABLE)
    return payload


def kept(connection: Connection, ids: Collection[str]) -> dict[str, bytes]:
    """Like `read`, without those that were erased."""
    answer = {}
    for name, payload in found(connection, ids).items():
        if not isinstance(payload, CarnetError):
            answer[name] = payload
        elif payload.code != "encryption.erased":
            raise payload
    return answer
