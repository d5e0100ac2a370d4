"""The story's installation: real roles under a clock that is moved, real senders, and a client of the record's API.

The roles are those of `carnet serve`; they run as threads of this process, since a clock that is moved cannot be
shared with others. Nothing is simulated but the people and the passing of days.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from broker import app, plugins, settings
from broker.cli import opened, sending
from broker.cli.story_issuer import Issuers
from broker.database import partitions
from broker.database.engine import open_engine, reading, writing
from broker.errors import SetupError
from broker.records import messages_reading
from broker.settings import Settings

ROLES = ("worker", "scheduler", "web", "gateway")
WAIT_SECONDS = 120.0
_PAUSE_SECONDS = 0.05
_START_SECONDS = 120.0
_TIMEOUT = 60.0

_SETTINGS = """# The story's site: everything on this machine, invented people, mails and letters as files.

[site]
name = "saint-exemple"
timezone = "Europe/Paris"
data_folder = "."
{database}
[telemetry]
listen = ""

[scheduler]
sweep_seconds = 1
seal_seconds = 1

[source.hospital]                 # HL7v2 by MLLP: the hospital, the laboratory
adapter = "mllp"
host = "127.0.0.1"
port = 0

[source.portal]                   # CDA by HTTP: radiology
adapter = "http"
host = "127.0.0.1"
port = 0
allow_anonymous = true

[destination.mails]               # what a mail server would be given; here a folder
adapter = "file_drop"
folder = "mails"
idempotent = true

[destination.letters]             # what a printer would be given
adapter = "file_drop"
folder = "letters"
idempotent = true

[destination.mssante]             # what the operator of secure health mail would be given
adapter = "file_drop"
folder = "mssante"
idempotent = true

[notices]
mail = "mails"
letter = "letters"
mssante = "mssante"
language = "en"
link = "https://space.example/"
every_seconds = 1

[web]
port = 0
"""


class Clock:
    """Now, as far as the story has come: the machine's time less a span that only shrinks."""

    def __init__(self, behind: timedelta) -> None:
        self._behind = behind

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self._behind

    def move_to(self, instant: datetime) -> None:
        """Let the days pass up to an instant; never back, and never past today."""
        ahead = instant - self()
        self._behind -= min(max(ahead, timedelta(0)), self._behind)


def prepare(folder: Path, issuers: Issuers, database: str = "") -> Settings:
    """Write the story's carnet.toml into a folder and read it. Raises: SetupError where a ledger is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mails", "letters", "mssante"):
        (folder / name).mkdir(exist_ok=True)
    file, address, named = folder / "carnet.toml", folder / "database.url", ""
    if database:
        # An address may hold a password: a file of its own that its owner alone reads, as settings want secrets.
        address.touch(mode=0o600)
        address.write_text(database, encoding="utf-8")
        named = f'\n[database]\nurl = {{ file = "{address.absolute()}" }}\n'
    file.write_text(_SETTINGS.format(database=named) + issuers.settings(), encoding="utf-8")
    made = settings.load(file, adapters=plugins.adapters(), queues=plugins.queues())
    if opened.has_ledger(made):
        raise SetupError(
            "demo.start",
            where="--data",
            reason="a story was told there already, and it tells of one person's record",
            hint="name a folder that is empty, or leave --data out",
        )
    return made


@dataclass(slots=True)
class Site:
    """A running story: its clock, where its listeners are, and what ended a role before its time."""

    settings: Settings
    clock: Clock
    stop: threading.Event = field(default_factory=threading.Event)
    addresses: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    _ready: set[str] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> opened.Ledger:
        """Start every role, and open the ledger they made. Raises: SetupError when they are not up in time."""
        for role in ROLES:
            thread = threading.Thread(target=self._run, args=(role,), name=f"story-{role}")
            self._threads.append(thread)
            thread.start()
            # The first one makes the database; the others find it made.
            self._await(role)
        return opened.Ledger(self.settings)

    def end(self) -> None:
        """Drain the roles."""
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def pass_to(self, instant: datetime) -> None:
        """Move the clock; what the database keeps by month is made first."""
        engine = open_engine(self.settings.database.url)
        try:
            with writing(engine) as connection:
                partitions.ensure(connection, instant)
        finally:
            engine.dispose()
        self.clock.move_to(instant)

    def until(self, is_so: Callable[[], bool]) -> bool:
        """Wait until something is so; false when it is not in time, or a role has ended."""
        waited = 0.0
        while not is_so():
            if waited > WAIT_SECONDS or self.failure or self.stop.wait(_PAUSE_SECONDS):
                return False
            waited += _PAUSE_SECONDS
        return True

    def settled(self, ledger: opened.Ledger, received: int) -> bool:
        """Whether so many messages were received and nothing moves any more."""

        def is_so() -> bool:
            ledger.catch_up()
            with reading(ledger.engine) as connection:
                balance = messages_reading.balance(connection)
            return balance.received >= received and not balance.in_flight

        return self.until(is_so)

    def send(self, source: str, path: Path) -> str:
        """Send the messages of a file with a real client; the worst of the answers."""
        client = sending.destination(self.addresses[source], plugins.adapters())
        try:
            said = {sending.deliver(client, one).outcome for one in sending.messages_of(path)}
        finally:
            client.close()
        return "accepted" if said == {"accepted"} else min(said - {"accepted"})

    def _run(self, role: str) -> None:
        try:
            app.run_role(self.settings, role, 0, self.stop, self._up(role), self.clock)
        except Exception as error:  # noqa: BLE001 - the top of a thread: it is told, and ends the story
            with self._changed:
                self.failure = f"{role}: {error}"
                self._changed.notify_all()

    def _up(self, role: str) -> Callable[[dict[str, str]], None]:
        def ready(addresses: dict[str, str]) -> None:
            with self._changed:
                self.addresses |= addresses
                self._ready.add(role)
                self._changed.notify_all()

        return ready

    def _await(self, role: str) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: role in self._ready or bool(self.failure), _START_SECONDS
            )
        if self.failure or role not in self._ready:
            raise SetupError(
                "demo.start",
                where="carnet serve",
                reason=self.failure or "it was not up in time",
            )


class Api:
    """One person at the record's API: their token, and what they asked last."""

    def __init__(self, site: Site, token: str, **headers: str) -> None:
        self._base = f"{site.addresses['web']}/fhir/"
        self._headers = {"Authorization": f"Bearer {token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }

    def get(self, path: str) -> httpx.Response:
        """One resource."""
        return httpx.get(self._base + path, headers=self._headers, timeout=_TIMEOUT)

    def search(self, resource: str, **parameters: str) -> httpx.Response:
        """A search, posted, so that nothing of it stands in a URL."""
        given = {
            name.replace("_identifier", ".identifier"): one for name, one in parameters.items()
        }
        url = f"{self._base}{resource}/_search"
        return httpx.post(url, headers=self._headers, data=given, timeout=_TIMEOUT)


def resources(answer: httpx.Response) -> list[Mapping[str, Any]]:
    """The resources of a searchset; none of an answer that is none."""
    if answer.status_code != httpx.codes.OK:
        return []
    found: list[Mapping[str, Any]] = [one["resource"] for one in answer.json().get("entry", [])]
    return found
