"""The process of one role: signals, a watch on the supervisor, then `app.run_role`. Started by name, see `supervisor`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

from broker import app, stopping
from broker.errors import CarnetError, TransientError
from broker.settings import Settings


def main(settings: Settings, role: str, index: int, saying: Connection, is_patient: bool) -> None:
    """Run a role until SIGTERM or until the supervisor is gone; says ("ready", addresses), ("away" or "failed", why).

    is_patient: it ran before, so what is away now will come back, and is waited for.
    """
    stop = threading.Event()
    stopping.set_at(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    try:
        app.run_role(
            settings,
            role,
            index,
            stop,
            lambda addresses: saying.send(("ready", addresses)),
            is_patient=is_patient,
        )
    except CarnetError as error:
        is_away = isinstance(error, TransientError)
        saying.send(("away" if is_away else "failed", str(error)))
        os._exit(stopping.AWAY if is_away else 2)


def _end_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()
