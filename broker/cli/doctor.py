"""`carnet doctor`: what is missing or unsafe, each line with its remedy. Changes nothing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import typer
from cryptography import x509
from rich.markup import escape

from broker import at_rest, installation, plugins
from broker.cli import output, setup
from broker.contracts import INBOUND
from broker.database import migrate
from broker.database.engine import open_engine, reading
from broker.encryption import key_rows
from broker.errors import CarnetError
from broker.records import messages_reading
from broker.settings import Settings, host_port

Level = Literal["ok", "warn", "fail"]
_LOOPBACK = ("127.", "::1", "localhost")
_LEAST_DISK = 1_000_000_000
_MOST_SKEW = timedelta(seconds=2)
_SOON = timedelta(days=30)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked about, not listened on
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was looked at, how it stands, and what to do."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def doctor(config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Look at everything an installation stands on and say what to do.

    Settings and secrets, database and migrations, clocks, queue, disk, ports, certificates, plaintext beyond this
    machine, and what a production site must not have.

        carnet doctor
        carnet doctor --config /etc/carnet/carnet.toml --json

    JSON, one line a check: {"name", "level": "ok" | "warn" | "fail", "text", "remedy"}.

    Exit codes: 0 nothing failed, 1 something did, 2 the settings cannot be read.
    """
    settings = setup.read_settings(config)
    failed = False
    with output.aside().status("looking"):
        for check in checks(settings):
            failed = failed or check.level == "fail"
            if json:
                output.tell(check)
            else:
                output.say(
                    f"[{_COLOURS[check.level]}]{check.level:4}[/] {escape(check.name)}: {escape(check.text)}"
                )
                if check.remedy:
                    output.say(f"       {escape(check.remedy)}")
    raise typer.Exit(output.FOUND if failed else output.GOOD)


def _encryption(settings: Settings) -> Iterator[Check]:
    path = installation.keyring_file(settings)
    try:
        ring = installation.master_keys(settings)
    except CarnetError as error:
        yield Check(name="encryption", level="fail", text=_why(error), remedy=error.hint)
        return
    if ring is None:
        yield Check(
            name="encryption",
            level="warn",
            text=f"no keyring at {path}: what is received and filed is kept as it is",
            remedy="an empty SQLite database gets one at its first start; else `carnet encryption init`",
        )
        return
    if path is not None and path.stat().st_mode & 0o077:
        yield Check(
            name="encryption",
            level="fail" if settings.site.production else "warn",
            text=f"{path} can be read by others than its owner",
            remedy=f"chmod 600 {path}",
        )
        return
    yield Check(
        name="encryption",
        level="ok",
        text=f"the keyring has {len(ring.keys)} master keys; keep a copy apart from the database's backups",
    )


def checks(settings: Settings) -> Iterator[Check]:
    """Every check, in the order in which an installation is built up."""
    yield _settings(settings)
    for look in _LOOKS:
        yield from look(settings)


def _settings(settings: Settings) -> Check:
    path = str(settings.path) if settings.path else "no file: the embedded defaults"
    text = f"{path}; {len(settings.sources)} sources, {len(settings.destinations)} destinations"
    if settings.secrets:
        text += f"; {len(settings.secrets)} secrets resolved"
    if not settings.sources:
        return Check(
            name="settings",
            level="warn",
            text=text,
            remedy="nothing will listen: add a [source.NAME] (carnet explain mllp)",
        )
    return Check(name="settings", level="ok", text=text)


def _digest_key(settings: Settings) -> Iterator[Check]:
    try:
        installation.digest_key(settings)
    except (CarnetError, OSError) as error:
        yield Check(
            name="digest key",
            level="fail",
            text=f"cannot be used ({_why(error)})",
            remedy="make site.data_folder writable, or set site.digest_key",
        )
        return
    yield Check(name="digest key", level="ok", text="present")


def _database(settings: Settings) -> Iterator[Check]:
    kind = settings.database.url.partition(":")[0]
    try:
        engine = open_engine(settings.database.url)
        found = migrate.revision(engine)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, the database cannot be used
        yield Check(
            name="database",
            level="fail",
            text=f"{kind} cannot be reached ({_why(error)})",
            remedy="start the database, and check [database] url and its password",
        )
        return
    try:
        yield Check(name="database", level="ok", text=f"{kind} answers")
        yield _migrations(found)
        with reading(engine) as connection:
            there = messages_reading.database_now(connection)
            needed = key_rows.needed(connection) if found == migrate.head() else []
        yield _clock(there)
        yield from _master_keys(settings, needed)
    finally:
        engine.dispose()


def _master_keys(settings: Settings, needed: list[str]) -> Iterator[Check]:
    """What the database is encrypted under has to be in the keyring."""
    try:
        at_rest.expect(settings, needed)
    except CarnetError as error:
        yield Check(name="master keys", level="fail", text=error.reason, remedy=error.hint)


def _migrations(found: str | None) -> Check:
    head = migrate.head()
    if found == head:
        return Check(name="migrations", level="ok", text=f"at {head}")
    if found is None:
        return Check(
            name="migrations",
            level="warn",
            text="the database is empty",
            remedy="`carnet serve` sets it up at its first start",
        )
    if found > head:
        return Check(
            name="migrations",
            level="warn",
            text=f"at {found} by a newer version; this one knows {head}",
            remedy="finish the upgrade, or the way back: docs/operations.md says what works meanwhile",
        )
    return Check(
        name="migrations",
        level="warn",
        text=f"at {found}, this version needs {head}",
        remedy="make a backup, then start `carnet serve` of this version",
    )


def _clock(there: datetime) -> Check:
    skew = abs(datetime.now(UTC) - there)
    if skew <= _MOST_SKEW:
        return Check(name="clock", level="ok", text="agrees with the database's")
    return Check(
        name="clock",
        level="fail" if skew > timedelta(minutes=1) else "warn",
        text=f"{output.span(skew)} apart from the database's",
        remedy="let both machines follow the same time service (chrony, systemd-timesyncd)",
    )


def _queue(settings: Settings) -> Iterator[Check]:
    kind = settings.queue.url.partition(":")[0]
    try:
        queue = plugins.open_queue(settings)
        try:
            depth = queue.depth(INBOUND)
        finally:
            queue.close()
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises, the queue cannot be used
        yield Check(
            name="queue",
            level="fail",
            text=f"{kind} cannot be reached ({_why(error)})",
            remedy="start the service and check [queue] url; messages are still taken in and wait in the ledger",
        )
        return
    yield Check(name="queue", level="ok", text=f"{kind} answers, {depth} waiting")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = settings.site.data_folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for {settings.site.data_folder}"
    if free >= _LEAST_DISK:
        yield Check(name="disk", level="ok", text=text)
    else:
        yield Check(
            name="disk",
            level="fail",
            text=text,
            remedy="make room: when the disk is full, senders are told to come back",
        )


def _ports(settings: Settings) -> Iterator[Check]:
    for name, options in _listeners(settings):
        host, port = str(getattr(options, "host", "")), getattr(options, "port", 0)
        if not host or not isinstance(port, int) or port == 0:
            continue
        yield _port(f"port of {name}", host, port)
        if not host.startswith(_LOOPBACK) and getattr(options, "allow_plaintext", False):
            yield Check(
                name=f"plaintext of {name}",
                level="fail" if settings.site.production else "warn",
                text=f"listens on {host} without TLS",
                remedy="set tls_certificate, or keep the listener on 127.0.0.1 behind something that has it",
            )
    if settings.telemetry.listen:
        yield _port("port of telemetry", *host_port(settings.telemetry.listen))


def _port(name: str, host: str, port: int) -> Check:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        reached = probe.connect_ex((_ANYWHERE.get(host, host), port)) == 0
    if reached:
        return Check(name=name, level="ok", text=f"{port} is listening")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Check(
                name=name,
                level="fail",
                text=f"{host}:{port} cannot be listened on ({_why(error)})",
                remedy="choose another port or address, or grant the right to use it",
            )
    return Check(name=name, level="ok", text=f"{port} is free")


def _certificates(settings: Settings) -> Iterator[Check]:
    for name, options in (*_listeners(settings), *_outward(settings)):
        for field in ("tls_certificate", "tls_ca", "tls_client_ca"):
            path = getattr(options, field, None)
            if isinstance(path, Path):
                yield _certificate(f"{field} of {name}", path)


def _certificate(name: str, path: Path) -> Check:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return Check(
            name=name,
            level="fail",
            text=f"{path} cannot be read ({_why(error)})",
            remedy="give a PEM file",
        )
    ends = min(one.not_valid_after_utc for one in found)
    left = ends - datetime.now(UTC)
    if left < timedelta():
        return Check(name=name, level="fail", text=f"expired on {ends:%Y-%m-%d}", remedy="renew it")
    level: Level = "warn" if left < _SOON else "ok"
    return Check(
        name=name,
        level=level,
        text=f"valid until {ends:%Y-%m-%d}",
        remedy="renew it soon" if level == "warn" else "",
    )


def _production(settings: Settings) -> Iterator[Check]:
    if not settings.site.production:
        yield Check(
            name="production",
            level="ok",
            text="off: test identities are taken",
            remedy="set site.production = true before real patients",
        )
        return
    problems = list(_unsafe(settings))
    for text, remedy in problems:
        yield Check(name="production", level="fail", text=text, remedy=remedy)
    if not problems:
        yield Check(name="production", level="ok", text="nothing unsafe found in the settings")


def _unsafe(settings: Settings) -> Iterator[tuple[str, str]]:
    """What a production site must not have."""
    if settings.database.url.startswith("sqlite"):
        yield "the ledger is an embedded file", "use PostgreSQL, with replicas and backups"
    for name, options in _listeners(settings):
        if getattr(options, "allow_anonymous", False):
            yield f"{name} takes messages without a token", "give each partner a token of its own"
        for token in getattr(options, "tokens", ()):
            if _is_sample(token.token):
                yield (
                    f"{name} has a token of the demonstration",
                    "make a new secret, and keep it by reference",
                )
    for key in ("database.url", "queue.url"):
        table, _, field = key.partition(".")
        if _is_sample(getattr(getattr(settings, table), field)):
            yield f"{key} has a well-known password", "make a new secret, and keep it by reference"


def _is_sample(secret: str) -> bool:
    lowered = secret.lower()
    return any(
        word in lowered
        for word in ("demo", "change-me", "changeme", "guest:guest", ":password@", "example")
    )


def _listeners(settings: Settings) -> list[tuple[str, Any]]:
    return [(f"source.{name}", source.options) for name, source in settings.sources.items()]


def _outward(settings: Settings) -> list[tuple[str, Any]]:
    return [(f"destination.{name}", one.options) for name, one in settings.destinations.items()]


def _why(error: BaseException) -> str:
    if isinstance(error, CarnetError):
        return error.code
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


_LOOKS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    _digest_key,
    _encryption,
    _database,
    _queue,
    _disk,
    _ports,
    _certificates,
    _production,
)
