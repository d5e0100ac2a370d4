"""Serves `/metrics`, `/health` and `/ready`, and adds up the processes of one machine: for the roles.

`carnet serve` runs several processes behind one address. Each writes a snapshot of its metrics to a shared folder
once a second (`Snapshots`); the parent serves the pages and adds them up. Chosen over the multiprocess mode of
prometheus_client, which needs an environment variable before the first import and module-wide state, and over a port
per process, which leaves an operator with as many addresses as processes. A role run alone serves its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from broker.errors import SetupError
from broker.settings import Settings
from broker.telemetry import MEASURES, Telemetry

FRESH_SECONDS = 10.0
FORGOTTEN_SECONDS = 86_400.0


def snapshot_folder(settings: Settings) -> Path:
    """Where the roles of this machine leave their counts for the page that adds them up."""
    return settings.site.data_folder / "telemetry"


class Family(msgspec.Struct, frozen=True):
    """One metric with its samples: (sample name, labels, value)."""

    name: str
    kind: str
    meaning: str
    samples: list[tuple[str, dict[str, str], float]]


class Snapshot(msgspec.Struct, frozen=True):
    """The metrics and readiness of one process at one instant (Unix seconds)."""

    role: str
    writer: str
    pid: int
    at: float
    components: dict[str, bool]
    families: list[Family]
    has_ended: bool = False


def snapshot(telemetry: Telemetry, now: float, *, has_ended: bool = False) -> Snapshot:
    """What `telemetry` holds now."""
    families = [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [
                (s.name, dict(s.labels), s.value)
                for s in metric.samples
                if not s.name.endswith("_created")
            ],
        )
        for metric in telemetry.registry.collect()
    ]
    return Snapshot(
        telemetry.role,
        telemetry.writer,
        os.getpid(),
        now,
        telemetry.components,
        families,
        has_ended,
    )


class Snapshots:
    """Writes a process's snapshot to the shared folder, at once and then every `every` seconds, on a thread."""

    def __init__(
        self,
        telemetry: Telemetry,
        folder: Path,
        *,
        every: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._telemetry = telemetry
        self._folder = folder
        self._every = every
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carnet-snapshots", daemon=True)

    def start(self) -> None:
        """Begin. The folder is made when missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        forget(self._folder, self._clock())
        self.write()
        self._thread.start()

    def stop(self) -> None:
        """Write the last counts and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self.write(has_ended=True)

    def write(self, *, has_ended: bool = False) -> None:
        """Write now. A disk that refuses costs a snapshot, nothing else."""
        name = f"{self._telemetry.role}-{self._telemetry.writer or 0}-{os.getpid()}"
        partial = self._folder / f"{name}.partial"
        with suppress(OSError):
            partial.write_bytes(
                msgspec.json.encode(snapshot(self._telemetry, self._clock(), has_ended=has_ended))
            )
            partial.replace(self._folder / f"{name}.json")

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.write()


def clear(folder: Path) -> None:
    """Forget the snapshots of an earlier run; `carnet serve` calls it before it starts its processes."""
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)


def forget(folder: Path, now: float) -> None:
    """Drop snapshots that nobody has written for a day."""
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if now - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink()


def read(folder: Path) -> list[Snapshot]:
    """All snapshots in the folder, those of processes that ended included (a counter must not fall)."""
    found: list[Snapshot] = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Snapshot))
    return found


def merged(snapshots: Sequence[Snapshot], now: float) -> Iterable[Metric]:
    """One metric per family: counters and histograms added over all, gauges over the living only."""
    metrics: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for one in snapshots:
        for family in one.families:
            if family.kind == "gauge" and now - one.at > FRESH_SECONDS:
                continue
            metrics.setdefault(family.name, Metric(family.name, family.meaning, family.kind))
            measure = MEASURES.get(family.name.removeprefix("carnet_"))
            largest = measure is not None and measure.merge == "max"
            values = sums.setdefault(family.name, {})
            for name, labels, value in family.samples:
                key = (name, tuple(labels.items()))
                before = values.get(key, 0.0)
                values[key] = max(before, value) if largest else before + value
    for name, metric in metrics.items():
        for (sample, pairs), value in sums[name].items():
            metric.add_sample(sample, dict(pairs), value)
        yield metric


class Pages:
    """The three pages of one process, or (with `folder`) of all that write there, on a thread.

    `/health`: 200 while the process answers. `/ready`: 200 when every component of every expected role is ready
    and was heard of in the last ten seconds, else 503; which one is not, in JSON. A role that has told of no component
    yet is not ready.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        address: tuple[str, int],
        *,
        folder: Path | None = None,
        expects: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._telemetry = telemetry
        self._folder = folder
        self._expects = tuple(expects)
        self._clock = clock
        try:
            self._server = ThreadingHTTPServer(address, self._handler())
        except OSError as error:
            raise SetupError(
                "telemetry.listen",
                where="telemetry.listen",
                reason=error.strerror or type(error).__name__,
                hint="choose another port, or leave it empty",
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="carnet-pages",
            daemon=True,
        )

    @property
    def address(self) -> str:
        """Where the pages are (`http://127.0.0.1:9464`)."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End, and give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=5)
        self._server.server_close()

    def metrics(self) -> bytes:
        """The text exposition format of Prometheus."""
        if self._folder is None:
            return generate_latest(self._telemetry.registry)
        registry = CollectorRegistry()
        registry.register(_Merged(self._all(), self._clock()))
        return generate_latest(registry)

    def readiness(self) -> dict[str, Any]:
        """`{"ready": bool, "roles": {role: {component: bool}}}`; a role that is expected and silent has `heard` false."""
        now = self._clock()
        roles: dict[str, dict[str, bool]] = {}
        newest: dict[tuple[str, str], Snapshot] = {}
        for one in sorted(self._all(), key=lambda one: one.at):
            newest[(one.role, one.writer)] = one
        for one in newest.values():
            if one.has_ended or (not self._expects and now - one.at > 6 * FRESH_SECONDS):
                continue
            components = roles.setdefault(one.role, {})
            heard = now - one.at <= FRESH_SECONDS
            components["heard"] = components.get("heard", False) or heard
            for name, is_ready in one.components.items() if heard else ():
                components[name] = components.get(name, True) and is_ready
        for role in self._expects:
            roles.setdefault(role, {"heard": False})
        wanted = self._expects or tuple(roles)
        is_ready = all(len(roles[role]) > 1 and all(roles[role].values()) for role in wanted)
        return {"ready": is_ready, "roles": roles}

    def _all(self) -> list[Snapshot]:
        own = snapshot(self._telemetry, self._clock())
        if self._folder is None:
            return [own]
        others = (one for one in read(self._folder) if (one.role, one.pid) != (own.role, own.pid))
        return [own, *others]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5
            server_version = "carnet"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, pages.metrics(), "text/plain; version=0.0.4; charset=utf-8")
                elif path == "/health":
                    self._json(200, {"alive": True})
                elif path == "/ready":
                    state = pages.readiness()
                    self._json(200 if state["ready"] else 503, state)
                else:
                    self._json(404, {"pages": ["/metrics", "/health", "/ready"]})

            def _json(self, status: int, value: Any) -> None:
                self._answer(status, msgspec.json.encode(value), "application/json")

            def _answer(self, status: int, body: bytes, media: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
                """Nothing: a scrape is no event."""

        return Handler


class _Merged(Collector):
    def __init__(self, snapshots: Sequence[Snapshot], now: float) -> None:
        self._snapshots = snapshots
        self._now = now

    def collect(self) -> Iterable[Metric]:
        return merged(self._snapshots, self._now)
