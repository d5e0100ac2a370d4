"""The ledger of an installation, opened by a command that reads it or writes to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from broker import at_rest, installation
from broker.archive.shelf import Shelf
from broker.cli.setup import read_settings
from broker.database import migrate
from broker.database.engine import open_engine
from broker.errors import SetupError
from broker.records.messages import day_of
from broker.settings import Settings
from broker.unpacking import unpack


class Ledger:
    """The database of an installation that has been set up, opened to be read."""

    def __init__(self, given: Settings) -> None:
        self.settings = given
        _expect_file(given.database.url)
        self.engine = open_engine(given.database.url)
        self._expect_revision()
        at_rest.attach(self.engine, given)
        self.catch_up()

    def catch_up(self) -> None:
        """Make what was received meanwhile readable. Raises: TransientError."""
        unpack(self.engine, "command")

    def close(self) -> None:
        """Close the connections, where the process does not end with the command."""
        self.engine.dispose()

    def shelf(self) -> Shelf:
        """The folder of the archives, and their key."""
        return Shelf(self.settings.retention.folder, installation.archive_key(self.settings))

    def indexes(self) -> Shelf:
        """The folder of the archives without the key: for what stands in clear."""
        return Shelf(self.settings.retention.folder, b"")

    def today(self) -> int:
        """The site's calendar day, as 20261123."""
        return day_of(datetime.now(UTC), self.settings.site.zone)

    def _expect_revision(self) -> None:
        try:
            found = migrate.revision(self.engine)
        except Exception as error:
            raise SetupError(
                "database.unreachable",
                where="database.url",
                reason=f"the database does not answer ({type(error).__name__})",
                hint="start the database service; `carnet doctor` says more",
            ) from error
        if found is None:
            raise _nothing_here()
        if not migrate.expect_usable(self.engine, found):
            raise SetupError(
                "database.other_revision",
                where="database.url",
                reason=f"the ledger is at revision {found}, this version of Carnet needs {migrate.head()}",
                hint="start `carnet serve` of this version once: it migrates",
            )


def has_ledger(given: Settings) -> bool:
    """Whether the settings name a database that is there and was set up."""
    try:
        Ledger(given)
    except SetupError:
        return False
    return True


def open_ledger(config: Path | None) -> Ledger:
    """The ledger of the settings. Raises SetupError when there is none yet."""
    return Ledger(read_settings(config))


def parse_day(text: str | None, default: int) -> int:
    """`2026-11-23`, `20261123` or `today` as 20261123. Raises SetupError for anything else."""
    if text is None or text == "today":
        return default
    try:
        found = datetime.strptime(text.replace("-", ""), "%Y%m%d")  # noqa: DTZ007 - a calendar day has no zone
    except ValueError as error:
        raise SetupError(
            "usage.day", where="--day", reason="not a calendar day", hint="write it like 2026-11-23"
        ) from error
    return found.year * 10_000 + found.month * 100 + found.day


def _expect_file(url: str) -> None:
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise _nothing_here()


def _nothing_here() -> SetupError:
    return SetupError(
        "database.empty",
        where="database.url",
        reason="there is no ledger here yet",
        hint="start `carnet serve` once, or `carnet demo` to look around; --config names another installation",
    )
