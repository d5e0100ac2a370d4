"""How a process of Carnet is told to stop, and how it says why it did: for the supervisor and for roles."""

from __future__ import annotations

import signal
import threading

AWAY = 3
"""The exit code of a role that ended because something it needs is away."""


def set_at(number: signal.Signals, stop: threading.Event) -> None:
    """Set `stop` at a signal, from a thread of its own.

    The handler runs in the main thread, which may be inside `stop.wait` and hold the lock that `stop.set` needs.
    """
    signal.signal(number, lambda *_: threading.Thread(target=stop.set, daemon=True).start())
