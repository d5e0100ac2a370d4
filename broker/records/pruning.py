"""Take out of the ledger what an archive holds: whole partitions where all of one is held, else run by run.

Whoever calls has verified the archive. Deliveries go before their messages, and messages before their bytes, so that a
reader between two steps finds nothing that misses something. Done again after a kill, a step finds less to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, text

from broker.database import partitions
from broker.database.engine import is_sqlite
from broker.records.archiving import DELIVERY, MESSAGE, is_held
from broker.values import first_seq

AT_ONCE = 1_000
"""Numbers that one transaction takes out."""

STAGES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "bodies": {MESSAGE: ("message_body",)},
    "deliveries": {DELIVERY: ("prepared",)},
    "messages": {
        DELIVERY: ("expectation", "delivery", "attempt", "prepared"),
        MESSAGE: ("message", "message_body"),
    },
}
"""Stage of pruning -> the tables whose rows go, by whose numbers, in their order."""

_NUMBER = {
    "message": "seq",
    "message_body": "seq",
    "delivery": "id",
    "attempt": "delivery_id",
    "prepared": "delivery_id",
    "expectation": "delivery_id",
}
_KEYS_OF: Mapping[str, tuple[str, str, str]] = {
    "control": ("seq", "message", "seq"),
    "business_key": ("seq", "message", "seq"),
    "correlation": ("delivery_id", "delivery", "id"),
}
"""Table -> its column, whose number that is, and there."""
KEYS = tuple(_KEYS_OF)
"""What has no index by the number it belongs to: taken out by the month."""


def runs(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs of numbers cut to what one transaction takes."""
    for first, last in spans:
        for start in range(first, last + 1, AT_ONCE):
            yield start, min(last, start + AT_ONCE - 1)


def take_out(connection: Connection, stage: str, kind: str, first: int, last: int) -> None:
    """Delete what a stage takes of the numbers `first` to `last`, all of which an archive holds."""
    given = {"first": first, "last": last}
    for table in STAGES[stage].get(kind, ()):
        column = _NUMBER[table]
        connection.execute(
            text(f"DELETE FROM {table} WHERE {column} BETWEEN :first AND :last"),  # noqa: S608
            given,
        )
    if (stage, kind) == ("deliveries", DELIVERY):
        connection.execute(
            text(
                "UPDATE attempt SET answer = NULL WHERE delivery_id BETWEEN :first AND :last AND answer IS NOT NULL"
            ),
            given,
        )


def whole_partitions(connection: Connection, stage: str, month: int) -> list[str]:
    """Partitions of a month of which an archive holds every row, in the order they go. None on SQLite.

    For the stage `messages` also those of the keys, once nothing of the month is left in need of them.
    """
    if is_sqlite(connection):
        return []
    found: list[str] = []
    there = partitions.existing(connection)
    for kind, tables in STAGES[stage].items():
        # A delivery of the month may belong to a message of an earlier one; both are older than the bound.
        for table in tables:
            name = partitions.partition_name(table, month)
            if name in there and _all_held(connection, name, _NUMBER[table], kind):
                found.append(name)
    for table, (_, owner, _) in _KEYS_OF.items() if stage == "messages" else ():
        owners = partitions.partition_name(owner, month)
        name = partitions.partition_name(table, month)
        if name in there and (owners in found or owners not in there):
            found.append(name)
    return found


def forget_keys(
    connection: Connection, table: str, month: int, after: int, limit: int
) -> int | None:
    """Take keys of what is gone of a month out of `table`; returns where to go on, None at its end.

    On PostgreSQL one walk through the month's partition. On SQLite, whose rows lie in the order they were written,
    `limit` rows from the position `after`, down to the first that are all younger.
    """
    low, high = first_seq(month), first_seq(month + 1)
    column, owner, number = _KEYS_OF[table]
    gone = f"NOT EXISTS (SELECT 1 FROM {owner} o WHERE o.{number} = {table}.{column})"  # noqa: S608
    within = f"DELETE FROM {table} WHERE {column} >= :low AND {column} < :high AND {gone}"  # noqa: S608
    if not is_sqlite(connection):
        connection.execute(text(within), {"low": low, "high": high})
        return None
    rows = connection.execute(
        text(
            f"SELECT rowid AS place, {column} AS number FROM {table} WHERE rowid > :after ORDER BY rowid LIMIT :n"  # noqa: S608
        ),
        {"after": after, "n": limit},
    ).all()
    if not rows:
        return None
    upto = int(rows[-1].place)
    connection.execute(
        text(within + " AND rowid > :after AND rowid <= :upto"),
        {"low": low, "high": high, "after": after, "upto": upto},
    )
    return upto if len(rows) == limit and min(row.number for row in rows) < high else None


def _all_held(connection: Connection, partition: str, column: str, kind: str) -> bool:
    other = connection.execute(
        text(f'SELECT 1 FROM "{partition}" p WHERE NOT ({is_held(f"p.{column}", kind)}) LIMIT 1')  # noqa: S608
    ).first()
    return other is None
