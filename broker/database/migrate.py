"""Bring a database to the current schema with Alembic, and say whether it is there.

A database that a newer version migrated is left as it is: this version works on it where the newer one says so
(`schema_floor`), and refuses it otherwise (decision 0017).
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from broker.database.engine import is_sqlite, reading, writing
from broker.database.partitions import ensure
from broker.errors import SetupError

SCRIPTS = Path(__file__).parent / "migrations"
VERSIONS = (SCRIPTS / "versions",)
"""Folders of migrations."""

LOCK_SECONDS = 3
"""So long a migration waits for a table that is in use (PostgreSQL)."""

IN_USE = "LockNotAvailable"
"""The reason a `TransientError` gives then: PostgreSQL's 55P03, as the driver names it."""


def upgrade(engine: Engine, now: datetime) -> str:
    """Apply missing migrations and create the partitions around `now`; returns the revision reached.

    Several processes may call it at once: the first does the work, the others wait. Raises: TransientError whose reason
    is `IN_USE` when a table to change is in use by something that takes long: nothing was changed, try again.
    SetupError("database.newer") when a newer version migrated it and this one cannot work on it.
    """
    with writing(engine) as connection:
        if not is_sqlite(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('carnet migrations'))"))
        found = _revision(connection)
        if found is not None and found not in _known():
            _expect_tolerance(connection, found)
            ensure(connection, now)
            return found
        if found != head():
            _migrate(connection)
        ensure(connection, now)
    return head()


def _migrate(connection: Connection) -> None:
    if not is_sqlite(connection):
        # Whoever waits to change a table has everybody else wait behind: older roles at work, and their senders.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    # Here, because hardly a start migrates, and each would wait half a second for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("version_locations", os.pathsep.join(str(one) for one in VERSIONS))
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def revision(engine: Engine) -> str | None:
    """The revision the database is at, or None when it was never set up."""
    with engine.connect() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def expect_usable(engine: Engine, found: str) -> bool:
    """Whether this version works on a database at the revision `found`; False: it is older, and has to be migrated.

    Raises: SetupError("database.newer").
    """
    if found == head():
        return True
    if found in _known():
        return False
    with reading(engine) as connection:
        _expect_tolerance(connection, found)
    return True


def head() -> str:
    """The revision this version of Carnet needs: migrations follow each other by number."""
    return max(_known())


def _expect_tolerance(connection: Connection, found: str) -> None:
    """That the newer version which migrated to `found` lets this one work on it."""
    floor = None
    if inspect(connection).has_table("schema_floor"):
        floor = connection.execute(text("SELECT max(revision) FROM schema_floor")).scalar()
    if floor is None or floor > head():
        raise SetupError(
            "database.newer",
            where="database.url",
            reason=f"the ledger is at revision {found}, which needs a Carnet that knows {floor or found}; "
            f"this one knows {head()}",
            hint="start the newer version again, or restore the backup from before its upgrade",
        )


def _known() -> set[str]:
    """The revisions of this version: each file is named by its own."""
    return {one.name.partition("_")[0] for folder in VERSIONS for one in folder.glob("[0-9]*_*.py")}
