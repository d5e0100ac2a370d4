"""Whether this installation encrypts what it keeps, and the vault that does it. For whoever opens its database.

Encryption begins with the first master key that is registered: in a database that is still empty when Carnet first
starts, where it is SQLite or a keyring was given; else by `carnet encryption init`, once every process is of a version
that can read what is sealed. From then on nothing starts without the keyring.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Engine, text

from broker import installation
from broker.database.engine import is_sqlite, reading, writing
from broker.encryption import key_rows, keyring
from broker.encryption.vault import Vault, begin_finding, hang
from broker.errors import PermanentError, SetupError
from broker.settings import Settings

FLOOR = "0014"
"""The oldest revision whose code reads what is sealed."""


def attach(engine: Engine, settings: Settings, now: datetime | None = None) -> Vault:
    """Let the connections of this engine seal and open; with `now`, begin with it where the database is empty.

    Raises: SetupError("encryption.keyring") for a keyring that cannot be read or misses a key that is needed;
    TransientError.
    """
    if now is not None:
        _begin(engine, settings, now)
    with reading(engine) as connection:
        needed = key_rows.needed(connection)
        if needed:
            expect(settings, needed)
        vault = Vault(partial(installation.master_keys, settings), seals=bool(needed))
        if needed:
            _seek(vault, connection)
    hang(engine, vault)
    return vault


def _seek(vault: Vault, connection: Connection) -> None:
    try:
        vault.seek(connection)
    except PermanentError as error:
        raise SetupError(
            error.code, where=error.where, reason=error.reason, hint=error.hint
        ) from error


def expect(settings: Settings, needed: list[str]) -> None:
    """That the keyring has these master keys. Raises: SetupError("encryption.keyring")."""
    ring = installation.master_keys(settings)
    missing = [one for one in needed if ring is None or one not in ring.keys]
    if missing:
        raise SetupError(
            "encryption.keyring",
            where=place(settings),
            reason=f"the database is encrypted under {', '.join(missing)}, which is not there",
            hint="restore the keyring from its copy; on several machines all need the same",
        )


def place(settings: Settings) -> str:
    """Where the keyring is, in words."""
    return str(installation.keyring_file(settings) or "encryption.master_keys")


def _begin(engine: Engine, settings: Settings, now: datetime) -> None:
    """Register a first master key in an empty database; it is made for SQLite, whose data folder is here."""
    with reading(engine) as connection:
        if not _is_untouched(connection):
            return
    path = installation.keyring_file(settings)
    if path is not None and engine.dialect.name == "sqlite":
        keyring.make(path)
    ring = installation.master_keys(settings)
    if ring is None:
        return
    with writing(engine) as connection:
        lock(connection)
        if _is_untouched(connection):
            key_rows.register(connection, ring.newest, now, FLOOR)
            begin_finding(connection, ring, ring.newest, now)


def lock(connection: Connection) -> None:
    """One process at a time registers a master key: until the transaction ends."""
    if not is_sqlite(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('carnet master key'))"))


def _is_untouched(connection: Connection) -> bool:
    """Whether nothing was ever received, and nothing is encrypted."""
    return not connection.execute(
        text(
            "SELECT 1 FROM counter WHERE name IN ('message', 'patient') UNION ALL SELECT 1 FROM master_key"
        )
    ).first()
