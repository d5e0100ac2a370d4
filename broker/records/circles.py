"""Signs that a content goes round in a circle: bounded in time, and in rows for each content.

What a sender says again, and what comes back to us because we sent it, may be the same bytes. Who says it tells them
apart: a *name* is a source and, on it, who its header says it comes from (MSH-3 and MSH-4), since several senders may
share a port. A sign of a circle is that a name says again

- what it had said, and was sent on for another name in between: it came round by that one;
- what another had said first, and was sent on for this one already: whoever gets it from us gives it back.

One name alone is no circle: senders repeat themselves, in the words they had, as quickly as they like.

Two names that say the same, each for itself, look like a circle only after as many rounds as a real one would need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.types import to_micros
from broker.records.lookups import any_of

ROWS = 20
"""Attempts looked at of each content, the newest: a circle's last round is among them. And the first one."""

_OF = (
    "FROM attempt a WHERE a.sent_digest = k.value AND a.started_at >= :since ORDER BY a.started_at"
)
_SQLITE = (
    "SELECT k.value AS digest, a.started_at, a.delivery_id FROM json_each(:digests) AS k JOIN attempt a ON a.rowid IN ("  # noqa: S608
    f"SELECT * FROM (SELECT a.rowid {_OF} DESC LIMIT :rows) UNION SELECT * FROM (SELECT a.rowid {_OF} LIMIT 1))"
)
_POSTGRESQL = (
    "SELECT k.value AS digest, a.started_at, a.delivery_id FROM unnest(CAST(:digests AS bigint[])) AS k(value) "  # noqa: S608
    "CROSS JOIN LATERAL ("
    f"(SELECT a.started_at, a.delivery_id {_OF} DESC LIMIT :rows) UNION "
    f"(SELECT a.started_at, a.delivery_id {_OF} LIMIT 1)) AS a"
)


class Name(NamedTuple):
    """Who says something: a source, and MSH-3|MSH-4 of its header (nothing where the header has no such words)."""

    source: str
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A content that comes now: by its digest, and by whom."""

    digest: int
    name: Name


class Sending(NamedTuple):
    """One attempt that sent a content on: when (microseconds), for whom, and the signs there were of it."""

    at: int
    name: Name
    signs: int


def signs_of(connection: Connection, wanted: Collection[Said], since: datetime) -> dict[Said, int]:
    """What of it was sent on since, with the signs of a circle there are by now; `hops.Loops.limit` of them are enough."""
    if not wanted:
        return {}
    found: dict[int, list[Sending]] = defaultdict(list)
    tries = _attempts(connection, sorted({one.digest for one in wanted}), since)
    deliveries = _deliveries(connection, {number for _, _, number in tries})
    for digest, at, number in tries:
        if number in deliveries:
            found[digest].append(Sending(at, *deliveries[number]))
    return {one: signs(found[one.digest], one.name) for one in set(wanted) if one.digest in found}


def signs(sendings: Sequence[Sending], name: Name) -> int:
    """The signs of a circle in `name` saying it now: those there were, and what this time adds."""
    own = max((one for one in sendings if one.name == name), default=None)
    if own is None:
        return 0
    came_by_another = any(one.name != name and one.at > own.at for one in sendings)
    return own.signs + (came_by_another or min(sendings).name != name)


def _attempts(
    connection: Connection, digests: list[int], since: datetime
) -> list[tuple[int, int, int]]:
    given: dict[str, object] = {"since": to_micros(since), "rows": ROWS}
    if is_sqlite(connection):
        # A list of numbers as JSON; `repr` of one is that.
        rows = connection.execute(text(_SQLITE), {"digests": repr(digests), **given})
    else:
        rows = connection.execute(text(_POSTGRESQL), {"digests": digests, **given})
    return [(int(row.digest), int(row.started_at), int(row.delivery_id)) for row in rows]


def _deliveries(connection: Connection, ids: Collection[int]) -> dict[int, tuple[Name, int]]:
    """Delivery -> (who said its message, the signs there were of it)."""
    if not ids:
        return {}
    within, given = any_of(connection, "d.id", sorted(ids))
    rows = connection.execute(
        text(
            "SELECT d.id, m.source, m.sender, d.hops FROM delivery d "  # noqa: S608
            f"JOIN message m ON m.seq = d.message_seq WHERE {within}"
        ),
        given,
    )
    return {int(row.id): (Name(row.source, row.sender or ""), int(row.hops)) for row in rows}
