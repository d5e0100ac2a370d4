"""Values that rows are found by, like a patient's numbers: sealed so that the same value is always the same text.

AES-SIV (RFC 5297) under one key of the installation, with the table and the value's system as associated data: whoever
has the database sees that two rows of one system hold the same number, which a primary key rules out, and nothing else.
A stored text is the value itself; or MARK, `S` and base64; or MARK, `P` and the value, where it begins with MARK.

Until everything is sealed a value may stand in either form, so it is looked for in both; and a process that began before
there was a key asks for it where it would take somebody for unknown (`seek`).
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from broker.encryption import sealed
from broker.encryption.sealed import FindKey
from broker.encryption.vault import vault_of

MARK = "\x01CA1"
SEALED = MARK + "S"
"""How every sealed text begins."""
_PLAIN = MARK + "P"

Pair = tuple[str, str]
"""(system, value)."""


def stored(connection: Connection, table: bytes, pairs: Collection[Pair]) -> dict[Pair, str]:
    """How each value is to be stored now."""
    key = _key(connection)
    return {pair: _as_it_is(pair) if key is None else _sealed(key, table, pair) for pair in pairs}


def forms(connection: Connection, table: bytes, pairs: Collection[Pair]) -> dict[Pair, Pair]:
    """(system, as it may be stored) of every form of these values -> the value."""
    found = {(pair[0], _as_it_is(pair)): pair for pair in pairs}
    key = _key(connection)
    if key is not None:
        found |= {(pair[0], _sealed(key, table, pair)): pair for pair in pairs}
    return found


def is_known(connection: Connection) -> bool:
    """Whether this process knows the key: what `forms` says is all that there is."""
    return _key(connection) is not None


def seek(connection: Connection) -> bool:
    """Whether there is a key now, of which this process may have known nothing. One statement, until there is one.

    Raises: TransientError("encryption.key_missing"); PermanentError("encryption.altered") where it is lost.
    """
    vault = vault_of(connection)
    return vault is not None and vault.seek(connection) is not None


def opened(connection: Connection, table: bytes, rows: Sequence[Pair]) -> list[str]:
    """Stored texts (system, as stored) as they were.

    Raises: PermanentError("encryption.altered"), TransientError("encryption.key_missing").
    """
    return [_opened(connection, table, *row) for row in rows]


def is_sealed(text: str) -> bool:
    """Whether a stored text is sealed."""
    return text.startswith(SEALED)


def _key(connection: Connection) -> FindKey | None:
    vault = vault_of(connection)
    return None if vault is None else vault.find_key


def _as_it_is(pair: Pair) -> str:
    return _PLAIN + pair[1] if pair[1].startswith(MARK) else pair[1]


def _sealed(key: FindKey, table: bytes, pair: Pair) -> str:
    system, value = pair
    return SEALED + base64.b64encode(key.seal(_place(table, system), value.encode())).decode()


def _opened(connection: Connection, table: bytes, system: str, text: str) -> str:
    if not text.startswith(MARK):
        return text
    if text.startswith(_PLAIN):
        return text[len(_PLAIN) :]
    place = _place(table, system)
    vault = vault_of(connection)
    key = vault.seek(connection) if vault is not None else None
    if key is None or not text.startswith(SEALED):
        raise sealed.altered(table)
    try:
        kept = base64.b64decode(text[len(SEALED) :], validate=True)
    except ValueError as error:
        raise sealed.altered(table) from error
    return key.open(place, kept).decode()


def _place(table: bytes, system: str) -> Sequence[bytes]:
    return (table, system.encode())
