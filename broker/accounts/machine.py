"""The state machine of a space: which event leads from which state to which, under which id, with which effects. Pure.

`TABLE` is the whole machine as data; what is not in it is refused. The ids are those of the life-cycle (T1 to T13, M1
to M6). `steps` adds what depends on the day: who opposes after the window has ended opens and closes (T3, then T7).

A space nobody has spoken of is `presumed`: taken for opened by silence, and it may still be informed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PRESUMED = "presumed"
NOT_ELIGIBLE = "not_eligible"
INFORMED = "informed"
OPPOSED = "opposed"
OPEN = "open_unactivated"
ACTIVE = "active"
SUSPENDED = "suspended"
CLOSED = "closed"
DELETED = "deleted"

STATES = (
    PRESUMED,
    NOT_ELIGIBLE,
    INFORMED,
    OPPOSED,
    OPEN,
    ACTIVE,
    SUSPENDED,
    CLOSED,
    DELETED,
)
ALIVE = tuple(state for state in STATES if state != DELETED)
IN_USE = (PRESUMED, OPEN, ACTIVE)
"""States of an open space."""

WAITING = (INFORMED, SUSPENDED)
"""States in which documents wait: what becomes of the space decides whether they are filed."""

Waits = Literal["", "release", "drop"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge. `waits` is what becomes of documents that waited; `notice` what the holder is told; `sets` and
    `clears` the timed transitions that begin or end with it; `source` the text it comes from.
    """

    id: str
    event: str
    target: str | None
    source: str
    waits: Waits = ""
    notice: str = ""
    sets: tuple[str, ...] = ()
    clears: tuple[str, ...] = ()

    def leads_to(self, state: str) -> str:
        """The state after it; an edge without a target stays."""
        return self.target or state


@dataclass(frozen=True, slots=True)
class Moment:
    """What the guards look at: when a timed transition of this space is due, and whether its holder has died."""

    now: datetime
    due: Mapping[str, datetime]
    is_dead: bool = False
    cannot_open: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event changes nothing: a code of the catalogue."""

    reason: str


_TIMED = ("T3", "T10", "T12")

T1 = Transition("T1", "inform", INFORMED, "R.1111-28", notice="informed", sets=("T3",))
T2 = Transition(
    "T2", "oppose", OPPOSED, "R.1111-28", waits="drop", notice="opposed", clears=("T3",)
)
T3 = Transition(
    "T3", "window_ends", OPEN, "L.1111-13-1", waits="release", notice="opened", clears=("T3",)
)
T3B = Transition("T3b", "window_ends", None, "R.1111-28", notice="not_opened", sets=("T3",))
T4 = Transition(
    "T4", "activate", ACTIVE, "R.1111-32", waits="release", notice="activated", clears=("T3",)
)
T5 = Transition("T5", "activate", ACTIVE, "R.1111-32", notice="activated")
T5B = Transition("T5b", "renew_code", None, "R.1111-32", notice="code")
T6 = Transition(
    "T6", "reopen", ACTIVE, "R.1111-36", waits="release", notice="reopened", clears=("T12",)
)
T7 = Transition(
    "T7", "close", CLOSED, "L.1111-13-1", waits="drop", notice="closed", sets=("T12",), clears=("T3", "T10")
)  # fmt: skip
T8 = Transition(
    "T8", "death", CLOSED, "L.1111-13-1", waits="drop", sets=("T12",), clears=("T3", "T10")
)
T9 = Transition("T9", "suspend", SUSPENDED, "R.1111-36", notice="suspended", sets=("T10",))
T10 = Transition(
    "T10", "suspension_ends", CLOSED, "R.1111-36", waits="drop", notice="closed", sets=("T12",),
    clears=("T10",),
)  # fmt: skip
T10A = Transition("T10a", "object", None, "R.1111-36", clears=("T10",))
T10B = Transition(
    "T10b", "resume", ACTIVE, "R.1111-36", waits="release", notice="resumed", clears=("T10",)
)
T11 = Transition(
    "T11", "reopen", ACTIVE, "R.1111-36", waits="release", notice="reopened", clears=("T12",)
)
T12 = Transition(
    "T12", "archive_ends", DELETED, "R.1111-36", waits="drop", clears=("T12", "T13", "M5")
)
T13_ASKED = Transition(
    "T13", "ask_deletion", None, "R.1111-36", notice="deletion_requested", sets=("T13",)
)
T13 = Transition(
    "T13", "delete", DELETED, "R.1111-36", waits="drop", notice="deleted",
    clears=("T3", "T10", "T12", "T13", "M5"),
)  # fmt: skip
M2 = Transition("M2", "attach", None, "ameli, children's page", sets=("M5",))
M6 = Transition("M6", "detach", None, "derived")
M5 = Transition("M5", "come_of_age", None, "derived", notice="adult", clears=("M5",))
DIED_CLOSED = Transition("T8", "death", None, "derived")
ARCHIVE_OF_OPPOSED = Transition(
    "T12", "archive_ends", None, "R.1111-36", waits="drop", clears=("T12",)
)
OPPOSED_LATE = Transition(
    "T7", "oppose", CLOSED, "L.1111-13-1", waits="drop", notice="closed", sets=("T12",)
)

TRANSITIONS = (
    T1, T2, T3, T3B, T4, T5, T5B, T6, T7, T8, T9, T10, T10A, T10B, T11, T12, T13_ASKED, T13, M2, M5, M6, DIED_CLOSED,
    ARCHIVE_OF_OPPOSED, OPPOSED_LATE,
)  # fmt: skip

TABLE: Mapping[tuple[str, str], Transition] = {
    **{(state, "inform"): T1 for state in (PRESUMED, NOT_ELIGIBLE)},
    (INFORMED, "oppose"): T2,
    **{(state, "oppose"): OPPOSED_LATE for state in IN_USE},
    (INFORMED, "window_ends"): T3,
    (INFORMED, "activate"): T4,
    **{(state, "activate"): T5 for state in (PRESUMED, OPEN)},
    **{(state, "renew_code"): T5B for state in (PRESUMED, INFORMED, OPEN)},
    (OPPOSED, "reopen"): T6,
    (CLOSED, "reopen"): T11,
    **{(state, "close"): T7 for state in (*IN_USE, SUSPENDED)},
    **{(state, "death"): T8 for state in (*IN_USE, INFORMED, SUSPENDED)},
    **{(state, "death"): DIED_CLOSED for state in (OPPOSED, CLOSED)},
    **{(state, "suspend"): T9 for state in IN_USE},
    (SUSPENDED, "suspension_ends"): T10,
    (SUSPENDED, "object"): T10A,
    (SUSPENDED, "resume"): T10B,
    (CLOSED, "archive_ends"): T12,
    (OPPOSED, "archive_ends"): ARCHIVE_OF_OPPOSED,
    **{(state, "ask_deletion"): T13_ASKED for state in ALIVE},
    **{(state, "delete"): T13 for state in ALIVE},
    **{(state, "attach"): M2 for state in ALIVE},
    **{(state, "detach"): M6 for state in ALIVE},
    **{(state, "come_of_age"): M5 for state in ALIVE},
}
"""(state, event) -> the edge. An event that is not here is refused in that state."""

EVENTS = tuple(dict.fromkeys(event for _, event in TABLE))

TIMED: Mapping[str, str] = {
    "T3": "window_ends",
    "T10": "suspension_ends",
    "T12": "archive_ends",
    "T13": "delete",
    "M5": "come_of_age",
}
"""What happens by the clock: the name of a due date, and the event it brings."""

_NAMES = {event: name for name, event in TIMED.items()}


def steps(state: str, event: str, moment: Moment) -> tuple[Transition, ...] | Refusal:
    """The edges that an event takes from a state at a moment, in order; or why it takes none.

    A window that has ended counts as ended, whether or not the scheduler has been there yet.
    """
    edge = TABLE.get((state, event))
    if edge is None:
        return Refusal("account.no_transition")
    if event in _NAMES:
        due = moment.due.get(_NAMES[event])
        if due is None or moment.now < due:
            return Refusal("account.not_due")
    if edge is T3 and moment.cannot_open:
        return (T3B,)
    if edge is T2 and _is_over(moment, "T3"):
        return (T3, OPPOSED_LATE)
    if edge is T4 and _is_over(moment, "T3"):
        return (T3, T5)
    if event in ("object", "resume") and _is_over(moment, "T10"):
        return Refusal("account.too_late")
    if event == "reopen" and moment.is_dead:
        return Refusal("account.deceased")
    if event == "reopen" and _is_over(moment, "T12"):
        return Refusal("account.too_late")
    return (edge,)


def _is_over(moment: Moment, name: str) -> bool:
    due = moment.due.get(name)
    return due is not None and moment.now >= due


# --- what others see ----------------------------------------------------------------------------------------------


def column_of(state: str, has_former: bool) -> str:
    """The state as the rules look at it (`patient.account`).

    A record of before the spaces that has not been taken over goes on as before: it is fed and read.
    """
    if state == PRESUMED or (has_former and state in (NOT_ELIGIBLE, INFORMED)):
        return OPEN
    return state


def state_of(column: str, is_known: bool) -> str:
    """The state of a space that has no events yet, by `patient.account`."""
    return PRESUMED if column == OPEN and not is_known else column


@dataclass(frozen=True, slots=True)
class Outside:
    """How a space looks from outside: ZFA-1 and TD0.2 say `ACTIF`, `FERME` or `INEXISTANT`, and whether the record is
    part of a space (`rattaché`).
    """

    status: Literal["ACTIF", "FERME", "INEXISTANT"]
    is_attached: bool


def outside(state: str, has_former: bool) -> Outside:
    """The external status of a space. Source: ZFA-1, TD0.2; the mapping of states is our reading."""
    if state in IN_USE:
        return Outside("ACTIF", True)
    if state in (SUSPENDED, CLOSED):
        return Outside("FERME", True)
    if has_former and state in (NOT_ELIGIBLE, INFORMED):
        return Outside("ACTIF", False)
    if has_former and state == OPPOSED:
        return Outside("FERME", False)
    return Outside("INEXISTANT", False)
