"""Named places where a drill ends the process, to prove that nothing is lost when it ends there. For `carnet drill`.

The code says `fault_points.reach("filing.written")` where a death would be worst. Nothing happens there, unless the
environment names a folder of orders (`VARIABLE`), which only a drill does, and the site is not in production.
The one module with state: a point is passed in the middle of everything, and an argument through all of it for the
sake of a drill would cost every reader something.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from broker.errors import SetupError

VARIABLE = "CARNET_FAULT_POINTS"
"""Names the folder of a drill: orders in `<process>.orders`, one a line; kills in `<process>.kills`; the end in `over`."""

OVER = "over"


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die in: which roles pass it, and what is true at that moment.

    `passages` is the latest passage worth waiting for; with `within_ms` the death comes up to so much later, in the
    middle of the step that begins there. `only_postgresql`: on SQLite nobody passes. What
    is not drilled is passed only where something is old enough: a test of its own dies there.
    """

    roles: tuple[str, ...]
    says: str
    passages: int = 3
    within_ms: int = 0
    only_postgresql: bool = False
    is_drilled: bool = True


POINTS: Mapping[str, Point] = {
    "intake.read": Point(
        ("gateway",), "a message is read from its connection, and nothing of it is stored", 40
    ),
    "intake.written": Point(
        ("gateway",), "a batch is written in its transaction, which is not committed", 12
    ),
    "intake.committing": Point(
        ("gateway",), "the transaction of a batch is being committed", 12, within_ms=6
    ),
    "intake.committed": Point(
        ("gateway",), "a batch is committed, and no sender of it is answered", 12
    ),
    "intake.answered": Point(
        ("gateway",), "senders are being answered, and the queue knows of nothing", 4
    ),
    "queue.publishing": Point(
        ("gateway", "worker"), "work is on its way to the queue, and not confirmed", within_ms=8
    ),
    "queue.confirmed": Point(
        ("gateway", "worker"), "the queue has confirmed the work it was given"
    ),
    "unpack.written": Point(
        ("worker",),
        "received messages are unpacked into rows, and this is not committed",
        only_postgresql=True,
    ),
    "filing.leased": Point(("worker",), "a batch is leased, and nothing of it is read"),
    "filing.mapped": Point(("worker",), "a batch is mapped, and its transaction has not begun"),
    "filing.written": Point(
        ("worker",), "documents, audit and deliveries are written, and not committed"
    ),
    "filing.committing": Point(
        ("worker",), "the transaction of a batch is being committed", within_ms=6
    ),
    "filing.committed": Point(
        ("worker",), "a batch is filed, and nobody was told: lease and deliveries are open"
    ),
    "filing.handed_over": Point(
        ("worker",), "deliveries are handed to the queue, and the lease is not settled"
    ),
    "lease.settled": Point(("worker",), "the lease of a filed batch is settled"),
    "delivery.claimed": Point(
        ("courier",), "deliveries are taken in hand, and nothing of them was sent", 4
    ),
    "delivery.begun": Point(
        ("courier",), "the journal says that a delivery begins, and nothing of it was sent", 10
    ),
    "delivery.sending": Point(
        ("courier",), "a delivery is being sent, or waits for its answer", 10, within_ms=8
    ),
    "delivery.answered": Point(
        ("courier",), "the partner has answered, and the journal does not say so", 10
    ),
    "delivery.journaled": Point(
        ("courier",), "the journal has the answer, and the ledger has not", 10
    ),
    "delivery.noted": Point(
        ("courier",), "answers are noted, and the lease of the deliveries is not settled", 4
    ),
    "sweep.found": Point(
        ("scheduler",), "the sweep has found work that the queue does not have", 1
    ),
    "sweep.put": Point(("scheduler",), "the sweep has put work back into the queue", 1),
    "seal.written": Point(
        ("scheduler",), "a segment of the audit trail is written, and not committed", 2
    ),
    "seal.committed": Point(("scheduler",), "a segment of the audit trail is sealed", 2),
    "archive.written": Point(
        ("archive",),
        "an archive is written under a name of its own, and not verified",
        is_drilled=False,
    ),
    "archive.published": Point(
        ("archive",),
        "an archive is whole on the disk, and the ledger does not know it",
        is_drilled=False,
    ),
    "archive.registered": Point(
        ("archive",), "the ledger knows an archive, and nothing of it is pruned", is_drilled=False
    ),
    "prune.dropped": Point(
        ("archive",),
        "a partition is dropped, and others of its month are not",
        only_postgresql=True,
        is_drilled=False,
    ),
    "prune.committed": Point(
        ("archive",),
        "some of an archive is taken out of the ledger, and more is there",
        is_drilled=False,
    ),
}
"""Every point that the code passes. A test holds the two against each other."""


@dataclass(frozen=True, slots=True)
class Order:
    """Die at the n-th passage of a point, at once or so many milliseconds later."""

    point: str
    passage: int
    after_ms: float = 0.0

    @classmethod
    def of(cls, line: str) -> Order:
        """The order of one line: `filing.written 2 0.0`. Raises: ValueError."""
        point, passage, after_ms = line.split()
        if point not in POINTS:
            raise ValueError(f"no point '{point}'")
        return cls(point, int(passage), float(after_ms))

    def __str__(self) -> str:
        return f"{self.point} {self.passage} {self.after_ms}"


def _go_on(_name: str) -> None:
    return


reach: Callable[[str], None] = _go_on
"""Say that a point is reached: a call of nothing, unless a drill armed this process. Any thread."""


def is_armed(environment: Mapping[str, str], *, production: bool) -> bool:
    """Whether a drill is running. Raises: SetupError("drill.production") where it must not be."""
    folder = environment.get(VARIABLE)
    if not folder:
        return False
    if production:
        raise SetupError(
            "drill.production",
            where=VARIABLE,
            reason="a production site never runs with armed fault points",
            hint=f"unset {VARIABLE}; `carnet drill` makes a site of its own",
        )
    if not Path(folder).is_dir():
        raise SetupError(
            "drill.orders",
            where=VARIABLE,
            reason="it names no folder",
            hint=f"unset {VARIABLE}; only `carnet drill` sets it",
        )
    return True


def arm(environment: Mapping[str, str], process: str, *, production: bool) -> None:
    """Arm this process (`worker-0`) with the first of its orders that was not carried out yet, if any.

    Raises: SetupError on a production site, and for orders that cannot be read: whoever set the variable is told.
    """
    global reach  # noqa: PLW0603 - the state this module is there for
    if not is_armed(environment, production=production):
        return
    folder = Path(environment[VARIABLE])
    orders, kills = folder / f"{process}.orders", folder / f"{process}.kills"
    if not orders.exists():
        return
    lines = orders.read_text(encoding="utf-8").splitlines()
    carried_out = kills.read_text(encoding="utf-8").count("\n") if kills.exists() else 0
    if carried_out >= len(lines):
        return
    try:
        order = Order.of(lines[carried_out])
    except ValueError as error:
        raise SetupError("drill.orders", where=f"{process}.orders", reason=str(error)) from error
    reach = _armed(order, kills, folder / OVER)


def _armed(order: Order, kills: Path, over: Path) -> Callable[[str], None]:
    passages = count(1)

    def reach(name: str) -> None:
        if name != order.point or next(passages) != order.passage:
            return
        if order.after_ms:
            threading.Thread(target=_die_later, args=(order, kills, over), daemon=True).start()
        else:
            _die(order, kills, over)

    return reach


def _die_later(order: Order, kills: Path, over: Path) -> None:
    time.sleep(order.after_ms / 1000)
    _die(order, kills, over)


def _die(order: Order, kills: Path, over: Path) -> None:
    """As by `kill -9`: no handler, no flush, no farewell. Written down first, in one write that survives the process."""
    if over.exists():
        return
    note = os.open(kills, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(note, f"{time.time():.3f} {order}\n".encode())
    os.close(note)
    os.kill(os.getpid(), signal.SIGKILL)
