"""Seal and open values of rows: what writers and readers of content call, a batch at a time.

A place is the table and the identity of the row in it: a value that was put into another row does not open.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker.encryption import sealed
from broker.encryption.vault import Vault, vault_of
from broker.errors import CarnetError, PermanentError

Seal = Callable[[bytes, bytes], bytes]
"""(identity, bytes) -> as it is to be stored."""

PACK_FROM = 1024
"""What a record holds is packed from this size on, in bytes: workers do it, before they write."""
PACK_RECEIVED_FROM = 16 * 1024
"""What was received is, from this size on: a sender waits meanwhile, and half a millisecond is spent on what would take
the database longer."""

SEALED_TEXT = base64.b64encode(sealed.SEALED + bytes([sealed.MONTH])).decode()
"""How a sealed value of a column of text begins: the mark and the kind of its key."""


def seal_of_patients(
    connection: Connection,
    table: bytes,
    values: Sequence[tuple[int, bytes, bytes]],
    *,
    packs: bool = True,
) -> list[bytes]:
    """Values (patient, identity of the row, bytes), each under the key of its patient. One statement, two for new ones."""
    pack_from = PACK_FROM if packs else None
    vault = vault_of(connection)
    if vault is None or not vault.seals or not values:
        return [sealed.form_of(plain, pack_from) for _, _, plain in values]
    keys = vault.of_patients(connection, {patient for patient, _, _ in values})
    return [
        keys[patient].seal(table + b"\0" + identity, sealed.form_of(plain, pack_from))
        for patient, identity, plain in values
    ]


def sealing_of_month(
    connection: Connection, table: bytes, month: int, *, packs: bool = True
) -> Seal:
    """What seals values of a table under the key of a month. No statement once `ready` was called for the month."""
    pack_from = PACK_RECEIVED_FROM if packs else None
    vault = vault_of(connection)
    if vault is None or not vault.seals:
        return lambda _, plain: sealed.form_of(plain, pack_from)
    key = vault.of_month(connection, month)
    before = table + b"\0"
    return lambda identity, plain: key.seal(before + identity, sealed.form_of(plain, pack_from))


def ready(connection: Connection, month: int) -> Callable[[], None]:
    """Have the key of a month made; what is returned keeps it at hand, and is called after the commit."""
    vault = vault_of(connection)
    if vault is None or not vault.seals:
        return lambda: None
    key, keep = vault.of_month(connection, month), vault.keep_month
    return lambda: keep(month, key)


def open_all(
    connection: Connection, table: bytes, values: Sequence[tuple[bytes, bytes]]
) -> list[bytes | PermanentError]:
    """Stored values (identity of the row, as stored) as they were; one that cannot be opened is the error of that.

    Raises: TransientError("encryption.key_missing") where the keyring has not the key of one of them.
    """
    numbers = {number for _, stored in values if (number := sealed.number_of(stored)) is not None}
    keys = (vault_of(connection) or _NONE).to_open(connection, numbers) if numbers else {}
    answers: list[bytes | PermanentError] = []
    for identity, stored in values:
        place = table + b"\0" + identity
        number = sealed.number_of(stored)
        try:
            if number is None:
                answers.append(sealed.plain_of(place, stored))
                continue
            if number not in keys:
                raise sealed.altered(place)
            key = keys[number]
            if key is None:
                raise sealed.erased(place)
            answers.append(sealed.plain_of(place, key.open(place, stored)))
        except PermanentError as error:
            answers.append(error)
    return answers


def open_one(connection: Connection, table: bytes, identity: bytes, stored: bytes) -> bytes:
    """One stored value as it was.

    Raises: PermanentError("encryption.erased"), ("encryption.altered"); TransientError("encryption.key_missing").
    """
    (found,) = open_all(connection, table, [(identity, stored)])
    if isinstance(found, CarnetError):
        raise found
    return found


def seal_text(seal: Seal, identity: bytes, plain: str) -> str:
    """A value of a column of text as it is to be stored: base64 where it is sealed, else as it is."""
    kept = seal(identity, plain.encode())
    return base64.b64encode(kept).decode() if sealed.is_sealed(kept) else plain


def open_texts(
    connection: Connection,
    table: bytes,
    rows: Sequence[tuple[bytes, str]],
    is_plain: Callable[[str], bool],
) -> list[str]:
    """Values of a column of text (identity of the row, as stored) as they were; `is_plain` tells those that are not sealed.

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    closed = [(identity, _raw(table, stored)) for identity, stored in rows if not is_plain(stored)]
    values = iter(open_all(connection, table, closed))
    answers = []
    for _, stored in rows:
        found = stored if is_plain(stored) else next(values)
        if isinstance(found, CarnetError):
            raise found
        answers.append(found if isinstance(found, str) else found.decode())
    return answers


def _raw(table: bytes, stored: str) -> bytes:
    """A sealed value out of its base64. Raises: PermanentError("encryption.altered")."""
    try:
        raw = base64.b64decode(stored, validate=True)
    except ValueError as error:
        raise sealed.altered(table) from error
    if not sealed.is_sealed(raw):
        raise sealed.altered(table)
    return raw


_NONE = Vault(lambda: None, seals=False)
