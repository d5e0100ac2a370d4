"""The demo's site: its settings, its processes, and its senders. For `carnet demo`.

A demo is the real broker with real senders: MLLP, HTTP and a file moved into a folder. Nothing in here is simulated but
the people in the samples.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from broker import plugins, settings, supervisor
from broker.cli import opened, sending
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import messages_reading, outbox
from broker.settings import Settings, installed_folder

EXPECTED_STATES = ("filed", "filtered", "parked", "held", "delivered_only")
_START_SECONDS = 40.0
_PAUSE_SECONDS = 0.05
_PORT = re.compile(r"^port = \d+", re.MULTILINE)
_FRAME_START, _FRAME_END = b"\x0b", b"\x1c\x0d"


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of the samples: how it is sent, and what must become of each of its messages."""

    path: Path
    send_by: str
    patient: str
    expected: str
    why: str
    messages: int


def samples() -> list[Sample]:
    """The samples in the order they are sent. Raises SetupError when they are not installed."""
    folder = installed_folder("samples")
    try:
        lines = (folder / "samples.csv").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SetupError(
            "demo.samples",
            where=str(folder),
            reason="the sample messages are not installed",
            hint="run the demo from the project's folder, or reinstall",
        ) from error
    found = [
        Sample(
            path=folder / row["file"],
            send_by=row["send_by"],
            patient=row["patient"],
            expected=row["expected"],
            why=row["why"],
            messages=len(sending.messages_of(folder / row["file"])) or 1,
        )
        for row in csv.DictReader(lines)
    ]
    # A refusal is counted with the commit that follows it, so none is sent last.
    refused = [sample for sample in found if sample.expected == "refused"]
    others = [sample for sample in found if sample.expected != "refused"]
    return [*others[:-1], *refused, *others[-1:]]


def expected(of: list[Sample]) -> tuple[Counter[str], Counter[str]]:
    """(fates of what is received, what stands beside) that these samples must give."""
    fates: Counter[str] = Counter()
    beside: Counter[str] = Counter()
    for sample in of:
        if sample.expected in EXPECTED_STATES:
            fates[sample.expected] += sample.messages
        else:
            name = "duplicate_answered" if sample.expected == "duplicate" else "refused_at_door"
            beside[name] += sample.messages
    return fates, beside


def prepare(folder: Path) -> Settings:
    """Write the demo's carnet.toml into a folder (the sample site's, on free ports) and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (installed_folder("samples") / "carnet.toml").read_text(encoding="utf-8")
    text = _PORT.sub("port = 0", text).replace("../data/demo", ".")
    text += '\n[telemetry]\nlisten = ""\n\n[scheduler]\nsweep_seconds = 1\nseal_seconds = 1\n'
    file = folder / "carnet.toml"
    file.write_text(text, encoding="utf-8")
    made = settings.load(file, adapters=plugins.adapters(), queues=plugins.queues())
    for options in (
        *(source.options for source in made.sources.values()),
        *(destination.options for destination in made.destinations.values()),
    ):
        place = getattr(options, "folder", None)
        if isinstance(place, Path):
            place.mkdir(parents=True, exist_ok=True)
    return made


@dataclass(slots=True)
class Site:
    """A running demo: the addresses of its listeners, its processes, and how to end it."""

    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    addresses: dict[str, str] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    code: int = 0
    _up: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Start every role and wait until all listen. Raises SetupError when they do not."""
        thread = threading.Thread(target=self._serve, name="demo-supervisor")
        thread.start()
        self._up.wait(_START_SECONDS)
        if self.failure or not self.addresses:
            self.stop.set()
            thread.join()
            raise SetupError(
                "demo.start", where="carnet serve", reason=self.failure or "it was not up in time"
            )
        return thread

    def _serve(self) -> None:
        try:
            self.code = supervisor.serve(
                self.settings, ready=self._ready, failed=self._failed, stop=self.stop
            )
        finally:
            self._up.set()

    def _ready(self, addresses: dict[str, str], processes: Mapping[str, int]) -> None:
        self.addresses, self.processes = dict(addresses), dict(processes)
        self._up.set()

    def _failed(self, role: str, why: str) -> None:
        self.failure = f"{role}: {why}"
        self._up.set()

    def address_of(self, adapter: str) -> str:
        """Where the first source of an adapter listens (a folder for a file drop)."""
        return next(
            self.addresses.get(name, "")
            for name, source in self.settings.sources.items()
            if source.adapter == adapter
        )

    def drop_folder(self) -> Path:
        """The folder that is watched."""
        source = next(s for s in self.settings.sources.values() if s.adapter == "file_drop")
        found = source.options.folder
        assert isinstance(found, Path)
        return found


class Senders:
    """One real client a protocol, kept open over the samples."""

    def __init__(self, site: Site) -> None:
        adapters = plugins.adapters()
        self._site = site
        self._mllp = sending.destination(site.address_of("mllp"), adapters)
        self._http = sending.destination(site.address_of("http"), adapters)

    def send(self, sample: Sample) -> list[sending.Answer]:
        """Send one file the way it travels. A dropped file has no answer."""
        if sample.send_by == "file_drop":
            self._drop(sample.path)
            return []
        messages = sending.messages_of(sample.path) or sending.messages_of(sample.path, as_is=True)
        if sample.expected == "refused":
            return [self._raw(message) for message in messages]
        client = self._mllp if sample.send_by == "mllp" else self._http
        return [sending.deliver(client, message) for message in messages]

    def close(self) -> None:
        self._mllp.close()
        self._http.close()

    def _drop(self, path: Path) -> None:
        """Copy beside the folder, then move in: a partner's `mv`, never a half-written file."""
        folder = self._site.drop_folder()
        draft = folder.parent / f".{path.name}"
        shutil.copyfile(path, draft)
        draft.rename(folder / path.name)

    def _raw(self, message: sending.Outgoing) -> sending.Answer:
        """Frame whatever the bytes are: our own client rightly refuses to send what is no HL7v2."""
        parts = urlsplit(self._site.address_of("mllp"))
        answer = b""
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as link:
            link.sendall(_FRAME_START + message.body + _FRAME_END)
            while _FRAME_END not in answer and (more := link.recv(65_536)):
                answer += more
        text = answer.strip(_FRAME_START + _FRAME_END).decode("utf-8", "replace")
        is_taken = "MSA|AA" in text or "MSA|CA" in text
        return sending.Answer(
            file=message.file,
            index=message.index,
            outcome="accepted" if is_taken else "refused",
            answer=text.replace("\r", "\n"),
        )


def settled(site: Site, ledger: opened.Ledger, wanted: int, deadline: float) -> Iterator[int]:
    """Yield how many messages are settled, until `wanted` were received and nothing moves any more, or the deadline."""
    while True:
        ledger.catch_up()
        with reading(ledger.engine) as connection:
            balance = messages_reading.balance(connection)
            owed = sum(one.owed for one in outbox.backlog(connection).values())
        yield balance.received - balance.unsettled
        if balance.received >= wanted and not balance.in_flight and not owed:
            return
        if time.monotonic() > deadline or site.stop.wait(_PAUSE_SECONDS):
            return


@contextmanager
def log_to(path: Path) -> Iterator[TextIO]:
    """Let the roles' log lines go to a file, so that the tour can be read; yields the real standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as log, os.fdopen(os.dup(kept), "w", encoding="utf-8") as real:
        os.dup2(log.fileno(), 2)
        try:
            yield real
        finally:
            os.dup2(kept, 2)
            os.close(kept)
