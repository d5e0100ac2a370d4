"""What is left of sources and destinations that the settings no longer name: nothing of it is lost, and all of it shows.

For the commands that show lanes, parked work and the balance. Nothing here runs over messages.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from broker.records import messages_reading, outbox, parked

_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Orphan:
    """A name that is no longer configured and what waits under it: messages of a source, deliveries to a destination.

    `open` goes on if the name is configured again (messages of a source go on as they are); `unknown` and `parked` wait
    for a person.
    """

    kind: Literal["source", "destination"]
    name: str
    open: int
    unknown: int
    parked: int


def find(
    connection: Connection, sources: Collection[str], destinations: Collection[str]
) -> list[Orphan]:
    """Every name with something unsettled under it that is among neither."""
    found: list[Orphan] = []
    for name in messages_reading.sources(connection):
        if name not in sources:
            total = messages_reading.balance(connection, source=name)
            stuck = total.fates.get("parked", 0)
            if total.unsettled or stuck:
                found.append(Orphan("source", name, total.unsettled, 0, stuck))
    owed = outbox.backlog(connection)
    names = (owed.keys() | set(parked.destinations(connection))) - set(destinations)
    for name in sorted(names):
        one = owed.get(name, outbox.Backlog(0, 0, None))
        stuck = connection.execute(
            text("SELECT count(*) FROM delivery WHERE state = 'parked' AND destination = :name "
                 "AND state IN ('parked', 'unknown')"),
            {"name": name},
        ).scalar_one()  # fmt: skip
        found.append(Orphan("destination", name, one.owed, one.unknown, int(stuck)))
    return found


def deliveries(connection: Connection, destination: str) -> list[int]:
    """The numbers of all that is owed to a destination, of unknown outcome there or parked, oldest first."""
    found = parked.selected_deliveries(connection, destination=destination)
    lane, number = -(1 << 63), 0
    while True:
        rows = connection.execute(
            text(
                "SELECT lane, id FROM delivery WHERE settled_at IS NULL AND destination = :name "
                "AND (lane > :lane OR (lane = :lane AND id > :number)) ORDER BY lane, id LIMIT :n"
            ),
            {"name": destination, "lane": lane, "number": number, "n": _AT_ONCE},
        ).all()
        found += [int(row.id) for row in rows]
        if len(rows) < _AT_ONCE:
            return sorted(set(found))
        lane, number = int(rows[-1].lane), int(rows[-1].id)
