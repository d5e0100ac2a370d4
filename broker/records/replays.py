"""A message that is read again, and the one it is read again from: for the pipeline, and for whoever shows a message.

A message's *family* is itself and its replays. Statements are per batch, each an index probe a message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.types import from_micros
from broker.records.lookups import any_of
from broker.records.messages import Open
from broker.values import MessageId, Seq, State


@dataclass(frozen=True, slots=True)
class Origin:
    """The message a replay is read again from: when it came, what became of it, and its family as (number, id).

    `delivers`: whether what changes is owed to destinations again.
    """

    seq: Seq
    id: MessageId
    received_at: datetime
    state: State
    reason: str | None
    delivers: bool
    family: tuple[tuple[Seq, MessageId], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A message of the same family, as a timeline names it."""

    id: MessageId
    received_at: datetime
    run: int | None


def origins(connection: Connection, opened: Sequence[Open]) -> dict[int, Origin]:
    """The origin of each message that is a replay, by the replay's number; two statements, none where there is none."""
    replays = [one for one in opened if one.replay_of is not None]
    if not replays:
        return {}
    roots = {one.replay_of for one in replays if one.replay_of is not None}
    found = family(connection, roots)
    delivering = _delivering(connection, {one.replay_run or 0 for one in replays})
    return {
        one.seq: found[one.replay_of].owing(one.replay_run in delivering)
        for one in replays
        if one.replay_of in found
    }


@dataclass(slots=True)
class Family:
    """A message with its replays."""

    seq: Seq
    id: MessageId
    received_at: datetime
    state: State
    reason: str | None
    members: list[tuple[Seq, MessageId]]

    def owing(self, delivers: bool) -> Origin:
        """The family as a replay of it sees it."""
        return Origin(
            self.seq, self.id, self.received_at, self.state, self.reason, delivers, tuple(self.members)
        )  # fmt: skip


def family(connection: Connection, roots: Collection[int]) -> dict[int, Family]:
    """The families of messages that are no replays themselves, by their number."""
    within, given = any_of(connection, "seq", sorted(roots))
    again, _ = any_of(connection, "replay_of", sorted(roots))
    columns = "SELECT seq, id, received_at, state, reason, replay_of FROM message WHERE "
    made: dict[int, Family] = {}
    replays: dict[int, list[tuple[Seq, MessageId]]] = defaultdict(list)
    for row in connection.execute(text(f"{columns}{within}"), given):
        mine = (Seq(row.seq), MessageId(str(row.id)))
        made[row.seq] = Family(
            *mine, from_micros(int(row.received_at)), State(row.state), row.reason, [mine]
        )
    for row in connection.execute(
        text(f"{columns}replay_of IS NOT NULL AND {again} ORDER BY seq"), given
    ):
        replays[row.replay_of].append((Seq(row.seq), MessageId(str(row.id))))
    for seq, one in made.items():
        one.members += replays[seq]
    return made


def lock(connection: Connection, roots: Collection[int]) -> None:
    """Keep whoever reads the same messages again out until the transaction ends, whatever lane they are in."""
    if roots and not is_sqlite(connection):
        within, given = any_of(connection, "seq", sorted(roots))
        connection.execute(
            text(f"SELECT seq FROM message WHERE {within} ORDER BY seq FOR UPDATE"),  # noqa: S608
            given,
        )


def roots_of(connection: Connection, seqs: Collection[int]) -> dict[int, int]:
    """Replay -> the message it is read again from, for those of `seqs` that are replays."""
    if not seqs:
        return {}
    within, given = any_of(connection, "seq", sorted(seqs))
    rows = connection.execute(
        text(f"SELECT seq, replay_of FROM message WHERE {within} AND replay_of IS NOT NULL"),  # noqa: S608
        given,
    )
    return {int(row.seq): int(row.replay_of) for row in rows}


def origin_of(connection: Connection, seq: int) -> Link | None:
    """What a message is a replay of; None for a message that came from outside."""
    row = connection.execute(
        text(
            "SELECT o.id, o.received_at, m.replay_run FROM message m JOIN message o ON o.seq = m.replay_of "
            "WHERE m.seq = :seq"
        ),
        {"seq": seq},
    ).one_or_none()
    return None if row is None else _link(row.id, row.received_at, row.replay_run)


def replays_of(connection: Connection, seq: int, limit: int = 50) -> list[Link]:
    """The replays of a message, oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, received_at, replay_run FROM message WHERE replay_of IS NOT NULL AND replay_of = :seq "
            "ORDER BY seq LIMIT :limit"
        ),
        {"seq": seq, "limit": limit},
    )
    return [_link(row.id, row.received_at, row.replay_run) for row in rows]


def _link(name: object, received_at: int, run: int | None) -> Link:
    return Link(MessageId(str(name)), from_micros(int(received_at)), run)


def _delivering(connection: Connection, runs: Collection[int]) -> set[int]:
    within, given = any_of(connection, "number", sorted(runs))
    rows = connection.execute(
        text(f"SELECT number, delivers FROM replay_run WHERE {within}"),  # noqa: S608 - our own words
        given,
    )
    return {int(row.number) for row in rows if row.delivers}
