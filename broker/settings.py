"""What `carnet.toml` says, as values: for `app` and the command, read once and passed on.

Strict on purpose: a key that nobody reads is a wish that nobody fulfils. Every problem is reported at once, each
with file, line and key. Secrets are references and are never shown. Relative paths count from the file's folder.
Longer than other modules because every section of the file is read in one place.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import available_timezones

import msgspec

from broker import settings_retention
from broker.accounts.notices import CHANNELS
from broker.circuit import CircuitPolicy
from broker.contracts import Adapter, PerRecipient, QueuePlugin
from broker.correlating import Expects
from broker.errors import SetupError
from broker.retry import Policy
from broker.settings_read import Problem, Reader, key_lines
from broker.settings_tables import (
    TABLES,
    Audit,
    Database,
    DestinationCommon,
    Encryption,
    Intake,
    Mappings,
    Notices,
    OnConflict,
    Queue,
    Retention,
    Route,
    Rules,
    Scheduler,
    Sends,
    Site,
    SourceCommon,
    Telemetry,
    Web,
    When,
    Worker,
)

__all__ = [
    "Audit",
    "Database",
    "Destination",
    "Encryption",
    "Intake",
    "Mappings",
    "Notices",
    "OnConflict",
    "Problem",
    "Queue",
    "Retention",
    "Route",
    "Rules",
    "Scheduler",
    "Settings",
    "SettingsError",
    "Site",
    "Source",
    "Telemetry",
    "Web",
    "When",
    "Worker",
    "host_port",
    "installed_folder",
    "load",
]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_DATABASES = ("sqlite", "postgresql+psycopg")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A configured source: its name, the common settings, and the adapter's own (`options`, may hold secrets)."""

    name: str
    adapter: str
    on_conflict: OnConflict
    options: Any

    def __repr__(self) -> str:
        return f"Source(name={self.name!r}, adapter={self.adapter!r})"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A configured destination: its name, the common settings, and the adapter's own (`options`)."""

    name: str
    adapter: str
    sends: Sends
    mapping: str
    idempotent: bool
    verifiable: bool
    for_record: bool
    per_recipient: PerRecipient | None
    expects: Expects | None
    pause: timedelta
    retry: Policy
    circuit: CircuitPolicy
    options: Any

    def __repr__(self) -> str:
        return f"Destination(name={self.name!r}, adapter={self.adapter!r})"


_NAMES = [*TABLES, "source", "destination", "route"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `carnet.toml` says. `secrets` are the keys that came by reference: never show their values."""

    path: Path | None = None
    site: Site = Site()
    database: Database = Database()
    encryption: Encryption = Encryption()
    queue: Queue = Queue()
    intake: Intake = Intake()
    worker: Worker = Worker()
    scheduler: Scheduler = Scheduler()
    retention: Retention = Retention()
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    mappings: Mappings = Mappings()
    rules: Rules = Rules()
    notices: Notices = Notices()
    web: Web = Web()
    sources: dict[str, Source] = {}
    destinations: dict[str, Destination] = {}
    routes: tuple[Route, ...] = ()
    secrets: frozenset[str] = frozenset()

    @classmethod
    def default(cls, data_folder: Path) -> Settings:
        """The embedded defaults with nothing listening: SQLite and the embedded queue in `data_folder`."""
        return load(None, {"site.data_folder": str(data_folder)}, adapters={})

    def __repr__(self) -> str:
        return f"Settings(path={self.path}, sources={list(self.sources)}, destinations={list(self.destinations)})"


class SettingsError(SetupError):
    """The settings are wrong; `problems` are all of them, and the text has one line for each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("settings.invalid", reason="\n" + "\n".join(str(p) for p in problems))


def load(
    path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    adapters: Mapping[str, Adapter],
    queues: Mapping[str, QueuePlugin] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read `path` (none: the embedded defaults), lay `overrides` over it, and check everything.

    `overrides` has dotted keys (`{"database.url": "sqlite:///x.db"}`); being given by a program or on the command
    line, they may hold a URL with its password. `adapters` and `queues` are the installed plug-ins.
    Raises SettingsError with every problem found.
    """
    reader = Reader(
        file=path.name if path else "settings",
        folder=(path.parent if path else Path()).resolve(),
        environ=os.environ if environ is None else environ,
        trusted=frozenset(overrides or ()),
    )
    table = _parsed(path, reader) if path else {}
    for key, value in (overrides or {}).items():
        _lay(table, key, value)
    values = _tables(table, reader)
    sources = _sources(_named(table, "source", reader), adapters, reader)
    destinations = _destinations(_named(table, "destination", reader), adapters, reader)
    _expect_sources(destinations, set(sources), reader)
    _expect_ways(values["notices"], destinations, reader)
    routes = _routes(table.get("route", []), set(sources), set(destinations), reader)
    _check(values, queues, reader)
    settings_retention.check(
        values["retention"], {n: d.retry for n, d in destinations.items() if d}, reader
    )
    if reader.problems:
        raise SettingsError(sorted(reader.problems, key=lambda p: (p.line == 0, p.line)))
    return Settings(
        path=path,
        sources={name: s for name, s in sources.items() if s},
        destinations={name: d for name, d in destinations.items() if d},
        routes=routes,
        secrets=frozenset(reader.secrets),
        **_completed(values, reader.folder),
    )


def installed_folder(name: str) -> Path:
    """A data folder that is installed beside the package (`mappings`)."""
    return Path(__file__).resolve().parent.parent / name


def host_port(listen: str) -> tuple[str, int]:
    """`127.0.0.1:9464` or `[::1]:9464` in its two parts. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s\[\]]+)):(\d{1,5})", listen)
    if match is None or int(match[3]) > 65535:
        raise ValueError("expected host:port")
    return match[1] or match[2], int(match[3])


def _parsed(path: Path, reader: Reader) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise SetupError(
            "settings.unreadable",
            where=str(path),
            reason=error.strerror or type(error).__name__,
            hint="give another file with --config",
        ) from error
    except UnicodeDecodeError as error:
        raise SetupError("settings.unreadable", where=str(path), reason="not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SetupError("settings.not_toml", where=path.name, reason=str(error)) from error
    reader.lines = key_lines(text)
    return table


def _lay(table: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        below = table.setdefault(name, {})
        if not isinstance(below, dict):
            raise SetupError(
                "settings.invalid",
                where=key,
                reason="an override goes through something not a table",
            )
        table = below
    table[last] = value


def _tables(table: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    for name in table:
        if name not in _NAMES:
            reader.unknown(name, name, _NAMES, what="table")
    values: dict[str, Any] = {}
    for name, cls in TABLES.items():
        given = table.get(name, {})
        if isinstance(given, dict):
            if cls is Retention:
                given = settings_retention.refuse_trail(given, reader)
            made = reader.struct(given, cls, name)
            values[name] = cls() if made is msgspec.UNSET else made
        else:
            reader.problem(name, "expected a table.", f"Write [{name}] on a line of its own.")
            values[name] = cls()
    return values


def _named(table: Mapping[str, Any], kind: str, reader: Reader) -> dict[str, dict[str, Any]]:
    """The tables `[kind.NAME]` whose names can be labels, queue names and parts of file names."""
    given = table.get(kind, {})
    if not isinstance(given, dict) or not all(isinstance(below, dict) for below in given.values()):
        reader.problem(kind, "every entry needs a name.", f"Write [{kind}.NAME].")
        return {}
    for name in given:
        if not _NAME.fullmatch(name):
            reader.problem(
                f"{kind}.{name}", "a name is 1 to 40 of a-z, 0-9, _ and -, beginning with a letter."
            )
    return given


def _sources(
    tables: dict[str, dict[str, Any]], adapters: Mapping[str, Adapter], reader: Reader
) -> dict[str, Source | None]:
    made: dict[str, Source | None] = {}
    for name, table in tables.items():
        common, options = _plugged(
            table, f"source.{name}", SourceCommon, "source", adapters, reader
        )
        made[name] = common and Source(
            name=name, adapter=common.adapter, on_conflict=common.on_conflict, options=options
        )
    return made


def _destinations(
    tables: dict[str, dict[str, Any]], adapters: Mapping[str, Adapter], reader: Reader
) -> dict[str, Destination | None]:
    made: dict[str, Destination | None] = {}
    for name, table in tables.items():
        common, options = _plugged(
            table, f"destination.{name}", DestinationCommon, "destination", adapters, reader
        )
        per_recipient = common and adapters[common.adapter].per_recipient(options)
        if per_recipient is not None and common.sends == "original":
            reader.problem(
                f"destination.{name}.sends",
                "a recipient gets the document that names them, not the message it came in.",
                'Write the form, like sends = "xdm".',
            )
        made[name] = common and Destination(
            name=name,
            adapter=common.adapter,
            sends=common.sends,
            mapping=common.mapping,
            idempotent=common.idempotent,
            verifiable=common.verifiable,
            for_record=common.for_record,
            per_recipient=per_recipient,
            expects=common.expects,
            pause=common.pause,
            retry=common.retry,
            circuit=common.circuit,
            options=options,
        )
    return made


def _expect_sources(
    destinations: Mapping[str, Destination | None], sources: set[str], reader: Reader
) -> None:
    """Answers come on sources that there are."""
    for name, destination in destinations.items():
        expects = destination.expects if destination else None
        for source in expects.sources if expects else ():
            if source not in sources:
                key = f"destination.{name}.expects.sources"
                reader.unknown(key, source, list(sources), what="source")


def _expect_ways(
    notices: Notices, destinations: Mapping[str, Destination | None], reader: Reader
) -> None:
    """Notices go out by destinations that there are; those to holders by one that may write to anybody."""
    for channel in CHANNELS:
        name = getattr(notices, channel)
        if name and name not in destinations:
            reader.unknown(f"notices.{channel}", name, list(destinations), what="destination")
    way = destinations.get(notices.mail)
    if way is not None and way.per_recipient is not None:
        reader.problem(
            "notices.mail",
            f'"{way.name}" writes only to addresses of its recipient_domains.',
            "Name a destination without per_recipient.",
        )


def _plugged(
    table: dict[str, Any],
    key: str,
    common: type[Any],
    direction: Literal["source", "destination"],
    adapters: Mapping[str, Adapter],
    reader: Reader,
) -> tuple[Any, Any]:
    """The common settings and the adapter's own of one source or destination; (None, None) when one is wrong."""
    shared = {f.encode_name for f in msgspec.structs.fields(common)}
    ours = reader.struct({k: v for k, v in table.items() if k in shared}, common, key)
    adapter = adapters.get(str(table.get("adapter")))
    if adapter is None:
        if isinstance(table.get("adapter"), str):
            reader.unknown(f"{key}.adapter", table["adapter"], list(adapters), what="adapter")
        return None, None
    cls = adapter.source_settings if direction == "source" else adapter.destination_settings
    if cls is None:
        reader.problem(f"{key}.adapter", f'the adapter "{adapter.name}" cannot be a {direction}.')
        return None, None
    own = {f.encode_name for f in msgspec.structs.fields(cls)}
    rest = {k: v for k, v in table.items() if k not in shared or k in own}
    options = reader.struct(rest, cls, key, also=tuple(sorted(shared)))
    return (None, None) if msgspec.UNSET in (ours, options) else (ours, options)


def _routes(
    given: Any, sources: set[str], destinations: set[str], reader: Reader
) -> tuple[Route, ...]:
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        reader.problem("route", "expected a list of tables.", "Write [[route]].")
        return ()
    made = [reader.struct(table, Route, f"route[{n}]") for n, table in enumerate(given)]
    seen: set[str] = set()
    for number, route in enumerate(made):
        key = f"route[{number}]"
        if route is msgspec.UNSET:
            continue
        if route.name in seen:
            reader.problem(f"{key}.name", f'another route is named "{route.name}".')
        seen.add(route.name)
        for name in route.to:
            if name not in destinations:
                reader.unknown(f"{key}.to", name, list(destinations), what="destination")
        for name in route.when.source:
            if name not in sources:
                reader.unknown(f"{key}.when.source", name, list(sources), what="source")
    return tuple(route for route in made if route is not msgspec.UNSET)


def _check(
    values: Mapping[str, Any], queues: Mapping[str, QueuePlugin] | None, reader: Reader
) -> None:
    """What a type cannot say: ranges, zones, schemes, addresses."""
    if values["site"].timezone not in available_timezones():
        reader.unknown(
            "site.timezone",
            values["site"].timezone,
            sorted(available_timezones()),
            what="time zone",
        )
    url = values["database"].url
    if url and url.partition(":")[0] not in _DATABASES:
        reader.problem("database.url", "unknown scheme.", f"Known: {', '.join(_DATABASES)}.")
    # "embedded" stands for the configured database: `app` completes it to embedded+sqlite:// and the like.
    schemes = sorted(
        {s.partition("+")[0] for plugin in (queues or {}).values() for s in plugin.schemes}
    )
    if queues is not None and re.split("[+:]", values["queue"].url)[0] not in schemes:
        reader.problem("queue.url", "unknown scheme.", f"Known: {', '.join(schemes)}.")
    if not _NAME.fullmatch(values["queue"].prefix):
        reader.problem(
            "queue.prefix", "a prefix is 1 to 40 of a-z, 0-9, _ and -, beginning with a letter."
        )
    for key, low, high in _RANGES:
        table, _, name = key.partition(".")
        if not low <= getattr(values[table], name) <= high:
            reader.problem(key, f"must lie between {low} and {high}.")
    try:
        if values["telemetry"].listen:
            host_port(values["telemetry"].listen)
    except ValueError as error:
        reader.problem("telemetry.listen", f"{error}.", 'Write it like "127.0.0.1:9464".')
    try:
        if values["audit"].receiver:
            host_port(values["audit"].receiver)
    except ValueError as error:
        reader.problem("audit.receiver", f"{error}.", 'Write it like "audit.example:6514".')


_RANGES = (
    ("queue.partitions", 1, 256),
    ("intake.max_batch", 1, 10_000),
    ("intake.max_bytes", 1_000, 1_000_000_000),
    ("intake.max_batch_bytes", 1_000, 2_000_000_000),
    ("worker.processes", 0, 256),
    ("worker.batch", 1, 10_000),
    ("worker.gather_ms", 0, 10_000),
    ("worker.nice", 0, 19),
    ("scheduler.sweep_seconds", 1, 3_600),
    ("scheduler.sweep_grace_seconds", 1, 3_600),
    ("scheduler.seal_seconds", 1, 86_400),
    ("notices.every_seconds", 1, 86_400),
)


def _completed(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill in the defaults that depend on other settings or on where Carnet is installed."""
    site: Site = values["site"]
    site = msgspec.structs.replace(site, data_folder=folder / site.data_folder)
    database: Database = values["database"]
    url = database.url or f"sqlite:///{site.data_folder / 'carnet.db'}"
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    encryption: Encryption = values["encryption"]
    mappings: Mappings = values["mappings"]
    rules: Rules = values["rules"]
    retention: Retention = values["retention"]
    archive = (
        folder / retention.folder if retention.folder != Path() else site.data_folder / "archive"
    )
    notices: Notices = values["notices"]
    return {
        **values,
        "site": site,
        "database": Database(url=url),
        "encryption": msgspec.structs.replace(
            encryption, keyring=encryption.keyring or site.data_folder / "keyring"
        ),
        "worker": values["worker"].sized(url),
        "retention": msgspec.structs.replace(retention, folder=archive),
        "mappings": Mappings(folders=mappings.folders or (installed_folder("mappings"),)),
        "rules": msgspec.structs.replace(
            rules,
            folder=folder / rules.folder
            if rules.folder != Path()
            else installed_folder("mappings/rules"),
        ),
        "notices": msgspec.structs.replace(
            notices,
            folder=folder / notices.folder
            if notices.folder != Path()
            else installed_folder("mappings/notices"),
        ),
    }
