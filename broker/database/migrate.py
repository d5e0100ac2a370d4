"""Bring a database to the current schema with Alembic, and say whether it is there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from broker.database.engine import is_sqlite, writing
from broker.database.partitions import ensure
from broker.errors import SetupError

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, now: datetime) -> str:
    """Apply missing migrations and create the partitions around `now`; returns the revision reached.

    Several processes may call it at once: the first does the work, the others wait.
    """
    with writing(engine) as connection:
        if not is_sqlite(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('carnet migrations'))"))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        ensure(connection, now)
    return head()


def revision(engine: Engine) -> str | None:
    """The revision the database is at, or None when it was never set up."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision this version of Carnet needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise SetupError(
            "database.migrations", where="broker/database/migrations", reason="no revision found"
        )
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config
