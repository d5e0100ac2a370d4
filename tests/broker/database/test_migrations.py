"""The migrations make the schema that the code uses, and keep it there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from broker.database import migrate, partitions, sequences
from broker.database.engine import open_engine, reading, writing
from broker.database.schema import PARTITIONED, metadata
from broker.errors import TransientError
from broker.values import month_of

NEWER = Path(__file__).parents[2] / "faults" / "newer_versions"
NOVEMBER = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "sqlite":
        return open_engine(f"sqlite:///{tmp_path}/carnet.db")
    return open_engine(request.getfixturevalue("empty_postgres_url"))


def test_the_migrations_make_the_schema_of_the_code(engine: Engine) -> None:
    assert migrate.revision(engine) is None

    migrate.upgrade(engine, NOVEMBER)

    assert migrate.revision(engine) == migrate.head()
    assert [change for change in _differences(engine) if not _is_partition(change)] == []
    wanted = {
        table.name: {str(one.name) for one in table.indexes} for table in metadata.tables.values()
    }
    with engine.connect() as connection:
        found = inspect(connection)
        assert {
            name: {str(one["name"]) for one in found.get_indexes(name)} for name in wanted
        } == wanted
    engine.dispose()


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    migrate.upgrade(engine, NOVEMBER)

    assert migrate.upgrade(engine, NOVEMBER) == migrate.head()
    engine.dispose()


def test_a_migration_does_not_have_others_wait_for_who_reads_long(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(empty_postgres_url)
    migrate.upgrade(engine, NOVEMBER)
    monkeypatch.setattr(migrate, "VERSIONS", (*migrate.VERSIONS, NEWER))
    with engine.connect() as long, long.begin():
        long.execute(text("SELECT count(*) FROM message"))
        began = monotonic()
        with pytest.raises(TransientError) as refused:
            migrate.upgrade(engine, NOVEMBER)
        assert refused.value.reason == migrate.IN_USE
        assert monotonic() - began < 10 * migrate.LOCK_SECONDS
        with writing(engine) as other:
            other.execute(text("UPDATE message SET source = source"))

    assert migrate.upgrade(engine, NOVEMBER) == "9999"
    engine.dispose()


def test_numbers_rise_over_a_month_and_a_clock_that_goes_back(engine: Engine) -> None:
    migrate.upgrade(engine, NOVEMBER)
    numbers = []

    for now in (NOVEMBER, NOVEMBER.replace(month=12), NOVEMBER, NOVEMBER.replace(month=12)):
        with writing(engine) as connection:
            numbers.append(sequences.reserve(connection, "message", 3, now))

    assert numbers == sorted(numbers)
    assert numbers[2] == numbers[1] + 3
    assert [number >> 40 for number in numbers[:2]] == [month_of(NOVEMBER), month_of(NOVEMBER) + 1]
    engine.dispose()


def _differences(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        # Indexes on expressions compare falsely; they are compared by name.
        return [one for one in compare_metadata(context, metadata) if "index" not in one[0]]


def _is_partition(change: Any) -> bool:
    """Monthly partitions are made by `partitions.ensure`, not by the schema; the same goes for their indexes."""
    kind, thing = change[0], change[1]
    name = (
        thing.name if kind == "remove_table" else getattr(getattr(thing, "table", None), "name", "")
    )
    months = {
        partitions.partition_name(table, month_of(NOVEMBER) + n)
        for table in PARTITIONED
        for n in range(3)
    }
    return name in months


def test_revisions_are_known_by_the_names_of_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    assert migrate.head() == script.get_current_head()
    assert all(
        Path(one.path).name.startswith(f"{one.revision}_") for one in script.walk_revisions()
    )
