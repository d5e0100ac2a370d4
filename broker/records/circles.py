"""How often a content came back to the source it had come from: bounded in time, and in rows for each content.

Going out and coming back is one circle, however many systems are in it: only when a source sends again what it had sent
before, and it was sent on for another source in between, has a circle closed. So two sources that send the same content
in turn, each for itself, look like a circle only after as many rounds as a real one would need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.engine import is_sqlite
from broker.database.types import to_micros
from broker.records.lookups import any_of

ROWS = 20
"""Attempts looked at of each content, the newest: a circle's last round is among them."""

_NEWEST = "WHERE a.sent_digest = k.value AND a.started_at >= :since ORDER BY a.started_at DESC LIMIT :rows"
_SQLITE = (
    "SELECT k.value AS digest, a.started_at, a.delivery_id FROM json_each(:digests) AS k "  # noqa: S608
    f"JOIN attempt a ON a.rowid IN (SELECT a.rowid FROM attempt a {_NEWEST})"
)
_POSTGRESQL = (
    "SELECT k.value AS digest, a.started_at, a.delivery_id FROM unnest(CAST(:digests AS bigint[])) AS k(value) "  # noqa: S608
    f"CROSS JOIN LATERAL (SELECT a.started_at, a.delivery_id FROM attempt a {_NEWEST}) AS a"
)


def rounds_of(
    connection: Connection, wanted: Collection[tuple[int, str]], since: datetime
) -> dict[tuple[int, str], int]:
    """(digest of a content, source it comes from now) -> circles it has closed since, this time included."""
    if not wanted:
        return {}
    digests = sorted({digest for digest, _ in wanted})
    found: dict[int, list[tuple[int, str, int]]] = defaultdict(list)
    tries = _attempts(connection, digests, since)
    deliveries = _deliveries(connection, {number for _, _, number in tries})
    for digest, at, number in tries:
        if number in deliveries:
            found[digest].append((at, *deliveries[number]))
    return {
        (digest, source): _rounds(found[digest], source)
        for digest, source in set(wanted)
        if digest in found
    }


def _rounds(tries: list[tuple[int, str, int]], source: str) -> int:
    """Circles closed by `source` sending it now: those it had closed, and one if another's was sent since."""
    own = max(((at, rounds) for at, name, rounds in tries if name == source), default=None)
    if own is None:
        return 0
    return own[1] + any(name != source and at > own[0] for at, name, _ in tries)


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


def _deliveries(connection: Connection, ids: Collection[int]) -> dict[int, tuple[str, int]]:
    """Delivery -> (source of its message, circles that one had closed)."""
    if not ids:
        return {}
    within, given = any_of(connection, "d.id", sorted(ids))
    rows = connection.execute(
        text(
            f"SELECT d.id, m.source, d.hops FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {within}"  # noqa: S608
        ),
        given,
    )
    return {int(row.id): (row.source, int(row.hops)) for row in rows}
