"""`carnet serve`: every role as a process of its own, started, watched, started again, drained.

Children are forked from a process that has read the code and opened nothing: a connection that is forked belongs to
two, and code that is read once is ready at once for the next that starts, and in memory once for all.
A child ends by itself when its parent is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from broker import fault_points, stopping
from broker.errors import SetupError
from broker.settings import Settings, host_port
from broker.telemetry import Telemetry
from broker.telemetry_pages import Pages, snapshot_folder

DRAIN = timedelta(seconds=30)
_RESTART_PAUSE = 1.0
_CRASH_LOOP = 5


@dataclass(slots=True)
class _Child:
    role: str
    index: int
    process: BaseProcess
    said: Connection
    starts: list[float] = field(default_factory=list)
    is_ready: bool = False
    was_ready: bool = False
    """Whether it was, here or in a process before this one."""


def serve(
    settings: Settings,
    roles: Sequence[str] | None = None,
    *,
    ready: Callable[[dict[str, str], Mapping[str, int]], None] = lambda *_: None,
    failed: Callable[[str, str], None] = lambda *_: None,
    stop: threading.Event | None = None,
) -> int:
    """Run the roles until `stop` is set (or SIGTERM, SIGINT when on the main thread); returns the exit code.

    `ready` is told the listeners' addresses and the process id of each role once all are up. `failed` is told the
    role and why, when a role cannot start. 0: drained; 1: a role kept failing; 2: it could not start.
    """
    drilled = fault_points.is_armed(os.environ, production=settings.site.production)
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for wanted_signal in (signal.SIGTERM, signal.SIGINT):
            stopping.set_at(wanted_signal, stop)
    chosen = wanted(settings, roles)
    pages = _open_pages(settings, chosen, failed=failed)
    if pages is None and roles is None and settings.telemetry.listen:
        return 2
    children = [_start(settings, role, index) for role, index in chosen]
    addresses: dict[str, str] = {}
    code = 0
    announced = False
    while not stop.is_set() and code == 0:
        wait(
            [child.said for child in children] + [child.process.sentinel for child in children], 0.2
        )
        for number, child in enumerate(children):
            code = code or _listen_to(child, addresses, failed)
            if not child.process.is_alive() and code == 0 and not stop.is_set():
                code, children[number] = _again(settings, child, failed, drilled=drilled)
        if not announced and code == 0 and all(child.is_ready for child in children):
            announced = True
            ready(addresses, {f"{c.role}-{c.index}": c.process.pid or 0 for c in children})
    _drain(children)
    if pages is not None:
        pages.stop()
    return code


def _open_pages(
    settings: Settings,
    chosen: Sequence[tuple[str, int]],
    *,
    failed: Callable[[str, str], None],
) -> Pages | None:
    """Metrics, health and readiness of the roles below. A single role beside a whole broker does without."""
    if not settings.telemetry.listen:
        return None
    try:
        pages = Pages(
            Telemetry("supervisor", level="error"),
            host_port(settings.telemetry.listen),
            folder=snapshot_folder(settings),
            expects=sorted({role for role, _ in chosen}),
        )
    except SetupError as error:
        failed("telemetry", str(error))
        return None
    pages.start()
    return pages


def wanted(settings: Settings, roles: Sequence[str] | None) -> list[tuple[str, int]]:
    """The processes to run: a courier only where there is a destination, as many workers as configured."""
    counts = {
        "gateway": 1 if settings.sources else 0,
        "worker": settings.worker.processes,
        "courier": 1 if settings.destinations else 0,
        "scheduler": 1,
        "web": settings.web.processes if settings.web.issuer else 0,
    }
    chosen = roles if roles is not None else counts
    return [(role, index) for role in chosen for index in range(counts[role])]


def _start(
    settings: Settings,
    role: str,
    index: int,
    starts: Sequence[float] = (),
    *,
    is_patient: bool = False,
) -> _Child:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["broker.preloaded"])
    said, saying = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(
        target=_run,
        args=(settings, role, index, saying, is_patient),
        name=f"carnet-{role}-{index}",
    )
    process.start()
    saying.close()
    return _Child(role, index, process, said, [*starts, time.monotonic()], was_ready=is_patient)


def _listen_to(child: _Child, addresses: dict[str, str], failed: Callable[[str, str], None]) -> int:
    try:
        while child.said.poll():
            word, value = child.said.recv()
            if word == "ready":
                child.is_ready = child.was_ready = True
                addresses.update(value)
            elif word == "away" and child.was_ready:
                continue
            else:
                failed(child.role, value)
                return 2
    except (EOFError, OSError):
        return 0
    return 0


def _again(
    settings: Settings, child: _Child, failed: Callable[[str, str], None], *, drilled: bool
) -> tuple[int, _Child]:
    """Start a role again that died; give up when it died five times within a minute.

    One that ended because the database is away did not fail, however often: started again, it waits there.
    In a drill a kill was ordered: it counts for nothing, and there is nothing to wait for.
    """
    if drilled and child.process.exitcode == -signal.SIGKILL:
        child.said.close()
        return 0, _start(settings, child.role, child.index, is_patient=True)
    recent = [start for start in child.starts if time.monotonic() - start < 60]
    if child.process.exitcode == stopping.AWAY:
        recent = recent[:-1]
    if len(recent) >= _CRASH_LOOP:
        failed(child.role, f"ended {len(recent)} times within a minute")
        return 1, child
    time.sleep(_RESTART_PAUSE)
    child.said.close()
    return 0, _start(settings, child.role, child.index, recent, is_patient=child.was_ready)


def _drain(children: Sequence[_Child]) -> None:
    """Ask everybody to finish, gateways first so that workers can still take what was handed over."""
    for child in children:
        if child.process.is_alive():
            child.process.terminate()
    deadline = time.monotonic() + DRAIN.total_seconds()
    for child in children:
        child.process.join(max(0.0, deadline - time.monotonic()))
        if child.process.is_alive():
            child.process.kill()
            child.process.join()


def _run(settings: Settings, role: str, index: int, saying: Connection, is_patient: bool) -> None:
    """What a child runs: in the process that `preloaded` made ready. The supervisor itself never loads what roles need."""
    try:
        process = import_module("broker.role_process")
    except ImportError as error:
        saying.send(("failed", f"{type(error).__name__}: {error}"))
        os._exit(2)
    process.main(settings, role, index, saying, is_patient)
