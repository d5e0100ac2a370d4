"""Who holds parental authority over a minor, since when and until when (M2, M5, M6). From the account service, never
from a message (NK1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.schema import account_holder
from broker.database.types import from_micros, to_micros
from broker.records.lookups import any_of


def attach(connection: Connection, child: int, parent: int, now: datetime) -> bool:
    """Let a child's space be reached from a parent's; False where it is already."""
    if parent in holders(connection, [child], now).get(child, {}):
        return False
    bulk.insert_missing(
        connection, account_holder, ("child", "parent", "since"), [(child, parent, to_micros(now))]
    )
    return True


def detach(
    connection: Connection,
    children: Collection[int],
    now: datetime,
    reason: str,
    *,
    parent: int | None = None,
) -> int:
    """End the authority of one parent, or of all, over children; returns how many ended."""
    within, given = any_of(connection, "child", sorted(children))
    whose = "" if parent is None else " AND parent = :parent"
    done = connection.execute(
        text(
            f"UPDATE account_holder SET until = :now, reason = :reason WHERE {within}{whose} AND until IS NULL"  # noqa: S608
        ),
        {"now": to_micros(now), "reason": reason, **given}
        | ({} if parent is None else {"parent": parent}),
    )
    return int(done.rowcount)


def holders(
    connection: Connection, children: Collection[int], at: datetime
) -> dict[int, dict[int, datetime]]:
    """Child -> its holders at an instant, each with since when. `at` in the past answers for that day."""
    if not children:
        return {}
    within, given = any_of(connection, "child", sorted(children))
    rows = connection.execute(
        text(
            f"SELECT child, parent, since FROM account_holder WHERE {within} AND since <= :at "  # noqa: S608
            "AND (until IS NULL OR until > :at) ORDER BY child, parent"
        ),
        {"at": to_micros(at), **given},
    )
    found: dict[int, dict[int, datetime]] = defaultdict(dict)
    for row in rows:
        found[int(row.child)][int(row.parent)] = from_micros(int(row.since))
    return dict(found)


def represents(connection: Connection, parent: int, child: int, at: datetime) -> bool:
    """Whether somebody acts for a child at an instant: authority ends by itself at 18 (M5), or by decision (M6).

    The due date of M5 is looked at too, so that nobody reads in the minutes before the scheduler comes.
    """
    if parent not in holders(connection, [child], at).get(child, {}):
        return False
    due = connection.execute(
        text("SELECT due_at FROM account_due WHERE patient = :id AND name = 'M5'"), {"id": child}
    ).scalar()
    return due is None or to_micros(at) < int(due)
