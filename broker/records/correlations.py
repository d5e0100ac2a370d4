"""Which deliveries a key names: kept with the attempt that may have arrived, looked up by the answers that come later.

A key is found by its digest; its text stands beside it, so that two keys are never taken for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.schema import correlation
from broker.records.lookups import any_of
from broker.values import digest64

Key = tuple[str, str]


def add(connection: Connection, keys: Sequence[tuple[int, Key]]) -> None:
    """Keep keys of deliveries; one that is known stays."""
    rows = sorted({(digest_of(key), number, *key) for number, key in keys})
    bulk.insert_missing(connection, correlation, ("digest", "delivery_id", "kind", "key"), rows)


def find(connection: Connection, keys: Collection[Key]) -> dict[Key, list[int]]:
    """The deliveries each key names, oldest first; one statement."""
    if not keys:
        return {}
    within, given = any_of(connection, "digest", sorted({digest_of(key) for key in keys}))
    rows = connection.execute(
        text(
            f"SELECT kind, key, delivery_id FROM correlation WHERE {within} ORDER BY delivery_id"  # noqa: S608
        ),
        given,
    )
    found: dict[Key, list[int]] = defaultdict(list)
    for row in rows:
        if (row.kind, row.key) in keys:
            found[(row.kind, row.key)].append(int(row.delivery_id))
    return dict(found)


def digest_of(key: Key) -> int:
    """Signed 64 bits of a key, as the table is searched by."""
    return digest64("\0".join(key).encode("utf-8", "replace"))
