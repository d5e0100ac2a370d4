"""Pairs of persons that might be one: found by their strict traits, decided by a person, and never merged by us.

Filled per batch, for persons that are new or whose traits changed: one index probe each, a few rows. Which pair was
decided how, by whom and why is kept for ever, so that nobody is asked twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from broker.database import bulk
from broker.database.engine import is_sqlite
from broker.database.schema import identity_candidate
from broker.database.types import from_micros, to_micros
from broker.records import identity_circle, patients
from broker.records.lookups import any_of

State = Literal["open", "merged", "linked", "different"]
Why = Literal["same_traits", "homonym"]

MOST = 5
"""Candidates a new person is paired with at most: a test identity that a thousand others share makes no thousand."""

NEWEST = (2**62, 0, 0)
"""Before everything: a list begins here."""

_SAME = (
    "(SELECT s.id FROM patient s WHERE s.traits_digest = k.digest AND s.traits_digest IS NOT NULL "
    "ORDER BY s.id LIMIT {most})"
)
_LIKE = "SELECT k.digest AS digest, p.id AS id FROM {keys} JOIN patient p ON p.id IN " + _SAME  # noqa: S608
"""On SQLite, which has no LATERAL and does this by the index; PostgreSQL would read every patient."""
_LIKE_EACH = (
    "SELECT k.digest AS digest, p.id AS id FROM {keys} CROSS JOIN LATERAL " + _SAME + " AS p"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair to be looked at, or that was."""

    one: int
    other: int
    why: str
    state: str
    found_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    because: str | None = None


def find(connection: Connection, digests: Mapping[int, int], now: datetime) -> int:
    """Pair persons (number to digest of traits) with those whose strict traits are the same; returns how many pairs.

    A pair that is known already stays what it is; one within a record waits as merged, in case it is parted. Two with
    different INS are homonyms: two people, whom somebody will confuse.
    """
    if not digests:
        return 0
    alike = _alike(connection, set(digests.values()))
    pairs = {
        (min(person, other), max(person, other))
        for person, digest in digests.items()
        for other in alike.get(digest, ())
        if other != person
    }
    if not pairs:
        return 0
    persons = {person for pair in pairs for person in pair}
    circle = identity_circle.around(connection, persons)
    known = patients.ins_of(connection, persons)
    rows = []
    for one, other in sorted(pairs):
        numbers: dict[str, set[str]] = defaultdict(set)
        for system, value in (*known.get(one, ()), *known.get(other, ())):
            numbers[system].add(value)
        why: Why = "homonym" if any(len(of) > 1 for of in numbers.values()) else "same_traits"
        state: State = "merged" if circle.root(one) == circle.root(other) else "open"
        rows.append((one, other, why, state, to_micros(now)))
    columns = ("one", "other", "why", "state", "found_at")
    bulk.insert_missing(connection, identity_candidate, columns, rows)
    return len(rows)


def _alike(connection: Connection, digests: set[int]) -> dict[int, list[int]]:
    if is_sqlite(connection):
        keys, given = "(SELECT value AS digest FROM json_each(:digests)) AS k", str(sorted(digests))
        rows = connection.execute(
            text(_LIKE.format(keys=keys, most=MOST)), {"digests": given}
        ).all()
    else:
        keys = "unnest(CAST(:digests AS bigint[])) AS k(digest)"
        rows = connection.execute(
            text(_LIKE_EACH.format(keys=keys, most=MOST)), {"digests": sorted(digests)}
        ).all()
    found: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        found[int(row.digest)].append(int(row.id))
    return found


def listing(
    connection: Connection,
    *,
    limit: int = 50,
    before: tuple[int, int, int] | None = None,
) -> list[Candidate]:
    """Open pairs, newest first; `before` is (microseconds, one, other) of the last one seen."""
    given = dict(zip(("at", "one", "other"), before or NEWEST, strict=True))
    rows = connection.execute(
        text(
            "SELECT * FROM identity_candidate WHERE state = 'open' AND (found_at, one, other) < (:at, :one, :other) "
            "ORDER BY found_at DESC, one DESC, other DESC LIMIT :limit"
        ),
        given | {"limit": limit},
    )
    return [_candidate(row) for row in rows]


def decide(
    connection: Connection,
    one: int,
    other: int,
    state: State,
    *,
    by: str,
    because: str | None,
    now: datetime,
) -> bool:
    """Say what a pair is; False where it is no pair on the list."""
    low, high = sorted((one, other))
    changed = connection.execute(
        text(
            "UPDATE identity_candidate SET state = :state, decided_by = :by, decided_at = :at, because = :because "
            "WHERE one = :low AND other = :high"
        ),
        {
            "state": state, "by": by, "at": to_micros(now), "because": because, "low": low, "high": high,
        },
    )  # fmt: skip
    return bool(changed.rowcount)


def merged(
    connection: Connection, one: Collection[int], other: Collection[int], *, by: str, now: datetime
) -> None:
    """Two records became one: their pairs need nobody any more."""
    across, given = _across(connection, one, other)
    connection.execute(
        text(
            "UPDATE identity_candidate SET state = 'merged', decided_by = :by, decided_at = :at "  # noqa: S608
            f"WHERE state = 'open' AND {across}"
        ),
        given | {"by": by, "at": to_micros(now)},
    )


def parted(connection: Connection, one: Collection[int], other: Collection[int]) -> None:
    """Two records are two again: their pairs are to be looked at as before."""
    across, given = _across(connection, one, other)
    connection.execute(
        text(
            "UPDATE identity_candidate SET state = 'open', decided_by = NULL, decided_at = NULL, because = NULL "  # noqa: S608
            f"WHERE state = 'merged' AND {across}"
        ),
        given,
    )


def _across(
    connection: Connection, one: Collection[int], other: Collection[int]
) -> tuple[str, dict[str, Any]]:
    conditions: list[str] = []
    given: dict[str, Any] = {}
    for n, (low, high) in enumerate(((one, other), (other, one))):
        first, of_first = any_of(connection, "one", sorted(low), f"low{n}")
        second, of_second = any_of(connection, "other", sorted(high), f"high{n}")
        conditions.append(f"({first} AND {second})")
        given |= of_first | of_second
    return f"({' OR '.join(conditions)})", given


def _candidate(row: Any) -> Candidate:
    return Candidate(
        one=int(row.one),
        other=int(row.other),
        why=row.why,
        state=row.state,
        found_at=from_micros(int(row.found_at)),
        decided_by=row.decided_by,
        decided_at=None if row.decided_at is None else from_micros(int(row.decided_at)),
        because=row.because,
    )
