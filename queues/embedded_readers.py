"""Who reads which partition of the embedded queue: one reader each, by a lease in a table.

The reader of a partition holds all its rows without marking them, so that taking work writes nothing. A lease ends
by itself; it ends at once when its owner closes, or when its process is known to be gone (same machine, same
process namespace). A partition read by a stand-by goes back to its own reader when that one asks.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    bindparam,
    select,
    update,
)

LEASE = timedelta(seconds=60)
"""How long the work of a reader that vanished from another machine waits for a new one."""

STAND_BY_SECONDS = 2.0
LOOK_SECONDS = 1.0

metadata = MetaData()
readers = Table(
    "carnet_queue_reader",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("is_wanted", BigInteger, nullable=False),
)

CHANGE = (
    update(readers)
    .where(
        and_(
            readers.c.topic == bindparam("of_topic"),
            readers.c.partition == bindparam("of_partition"),
            readers.c.owner == bindparam("seen_owner"),
            readers.c.until == bindparam("seen_until"),
        )
    )
    .values(owner=bindparam("owner"), until=bindparam("until"), is_wanted=bindparam("is_wanted"))
)

READERS_OF = select(
    readers.c.partition, readers.c.owner, readers.c.until, readers.c.is_wanted
).where(readers.c.topic == bindparam("of_topic"))

Change = dict[str, str | int | float]
ReaderRow = Row[tuple[int, str, float, int]]


@dataclass(frozen=True, slots=True)
class Statements:
    """What `Readership` needs of the database: the rows of its topic with the database's time, and a conditional
    change of one row that says whether it took place."""

    rows: Callable[[], tuple[float, Sequence[ReaderRow]]]
    change: Callable[[Sequence[Change]], list[bool]]


class Readership:
    """The partitions of one topic that one consumer reads. Belongs to the thread of its queue."""

    def __init__(
        self, topic: str, own: Iterable[int], is_held: Callable[[int], bool], statements: Statements
    ) -> None:
        self.mine: frozenset[int] = frozenset()
        self._topic = topic
        self._own = frozenset(own)
        self._is_held = is_held
        self._statements = statements
        self._owner = owner_name()
        self._yielding: frozenset[int] = frozenset()
        self._free_since: dict[int, float] = {}
        self._look_at = 0.0

    @property
    def readable(self) -> frozenset[int]:
        """Those to read more from: all but the ones being given back."""
        return self.mine - self._yielding

    def refresh(self) -> frozenset[int]:
        """Renew, take what is free, give back what is wanted; at most once a second. Gives the partitions lost."""
        moment = time.monotonic()
        if moment < self._look_at:
            return frozenset()
        now, rows = self._statements.rows()
        wishes = [wish for row in rows if (wish := self._wish(row, now, moment))]
        came_true = self._statements.change([wish for _partition, wish in wishes]) if wishes else []
        before = self.mine
        kept = {
            row.partition
            for row in rows
            if row.owner == self._owner and not self._is_over(row, now)
        }
        for (partition, change), is_true in zip(wishes, came_true, strict=True):
            if is_true and change["owner"] == self._owner:
                kept.add(partition)
            elif partition in kept:
                kept.discard(partition)
        self.mine = frozenset(kept)
        self._look_at = moment + LOOK_SECONDS
        return before - self.mine

    def release(self) -> None:
        """Give everything back at once."""
        now, rows = self._statements.rows()
        mine = [row for row in rows if row.owner == self._owner]
        if mine:
            self._statements.change([self._change(row, owner="", until=now) for row in mine])
        self.mine = frozenset()

    def _wish(self, row: ReaderRow, now: float, moment: float) -> tuple[int, Change] | None:
        """What should become of one row, if anything."""
        partition = row.partition
        lease = LEASE.total_seconds()
        if row.owner == self._owner and not self._is_over(row, now):
            if row.is_wanted and partition not in self._own:
                self._yielding |= {partition}
                return (
                    None
                    if self._is_held(partition)
                    else (partition, self._change(row, owner="", until=now))
                )
            is_due = row.until - now < lease * 2 / 3
            return (
                (partition, self._change(row, owner=self._owner, until=now + lease))
                if is_due
                else None
            )
        self._yielding -= {partition}
        if self._is_over(row, now) or is_gone(row.owner):
            since = self._free_since.setdefault(partition, moment)
            if partition in self._own or moment - since >= STAND_BY_SECONDS:
                return partition, self._change(row, owner=self._owner, until=now + lease)
            return None
        self._free_since.pop(partition, None)
        if partition in self._own and not row.is_wanted:
            return partition, self._change(row, owner=row.owner, until=row.until, is_wanted=1)
        return None

    @staticmethod
    def _is_over(row: ReaderRow, now: float) -> bool:
        # An end further away than a lease is long was written before the clock was set back.
        return not row.owner or row.until <= now or row.until > now + 2 * LEASE.total_seconds()

    def _change(self, row: ReaderRow, *, owner: str, until: float, is_wanted: int = 0) -> Change:
        return {
            "of_topic": self._topic,
            "of_partition": row.partition,
            "seen_owner": row.owner,
            "seen_until": row.until,
            "owner": owner,
            "until": until,
            "is_wanted": is_wanted,
        }


def owner_name() -> str:
    """This process, so that others on the same machine can tell when it is gone: place, id, start, a nonce."""
    return f"{_place()}/{os.getpid()}/{_started(os.getpid())}/{secrets.token_hex(4)}"


def is_gone(owner: str) -> bool:
    """Whether the process that made this name surely ended. False when that cannot be known from here."""
    place, pid, started, _nonce = owner.split("/")
    return bool(place) and place == _place() and _started(int(pid)) != started


def _place() -> str:
    """This boot of this machine and its process namespace; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in clock ticks since the boot (field 22 of proc(5) stat); empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    is_dead = fields[0] in {"Z", "X"}
    return "" if is_dead else fields[19]
