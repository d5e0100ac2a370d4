"""The tables of keys: data keys, each wrapped by a master key, and which master keys are in use. For `vault`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, text

from broker.database import bulk, together
from broker.database.engine import is_sqlite
from broker.database.schema import data_key
from broker.database.types import to_micros
from broker.encryption.sealed import FIND, MONTH, PATIENT, KeyNumber


class Wrapped(NamedTuple):
    """A data key as it stands: `secret` None was destroyed."""

    number: KeyNumber
    master: str
    secret: bytes | None


_COLUMNS = ("kind", "owner", "generation", "master", "wrapped", "made_at")
_CURRENT = "SELECT id FROM master_key ORDER BY n DESC LIMIT 1"
_OF_OWNERS = (
    "SELECT kind, owner, generation, master, {hex} FROM data_key WHERE {within} "  # noqa: S608 - our own words
    f"UNION ALL SELECT 0, 0, 0, id, NULL FROM ({_CURRENT}) AS m ORDER BY 1, 2, 3"
)
_SQLITE = _OF_OWNERS.format(
    hex="hex(wrapped)", within="kind = ? AND owner IN (SELECT value FROM json_each(?))"
)
_POSTGRESQL = _OF_OWNERS.format(
    hex="encode(wrapped, 'hex')", within="kind = %s::smallint AND owner = ANY(%s::text::bigint[])"
)
_ADD = (
    "INSERT INTO data_key (kind, owner, generation, master, wrapped, made_at) "
    "SELECT %s::smallint, k.owner, k.generation, %s::text, decode(k.wrapped, 'hex'), %s::bigint "
    "FROM unnest(%s::text::bigint[], %s::text::smallint[], %s::text::text[]) AS k(owner, generation, wrapped) "
    "ON CONFLICT DO NOTHING RETURNING owner"
)


def of_owners(
    connection: Connection, kind: int, owners: Collection[int]
) -> tuple[list[Wrapped], str | None]:
    """Every key that these patients (or months) ever had, by generation, and the master key that wraps now.

    One statement; the master key is None where nothing is encrypted.
    """
    if is_sqlite(connection):
        question = (_SQLITE, (kind, msgspec.json.encode(list(owners)).decode()))
    else:
        question = (_POSTGRESQL, (kind, _array(owners)))
    (rows,) = together.ask(connection, [question])
    keys, master = [], None
    for row_kind, owner, generation, row_master, secret in rows:
        if not int(row_kind):
            master = _text(row_master)
            continue
        number = KeyNumber(int(row_kind), int(owner), int(generation))
        wrapped = bytes.fromhex(_text(secret)) if secret else None
        keys.append(Wrapped(number, _text(row_master), wrapped))
    return keys, master


def current_master(connection: Connection) -> str | None:
    """The id of the master key that wraps; None where nothing is encrypted."""
    found = connection.execute(text(_CURRENT)).scalar()
    return None if found is None else str(found)


def add(connection: Connection, kind: int, keys: Sequence[Wrapped], now: datetime) -> set[int]:
    """Add data keys of one kind under one master key; returns whose were added: not those that another process added."""
    at, ordered = to_micros(now), sorted(keys)
    if is_sqlite(connection):
        rows = [(*key.number, key.master, key.secret, at) for key in ordered]
        bulk.insert_rows(connection, data_key, _COLUMNS, rows)
        return {key.number.owner for key in ordered}
    parameters = (
        kind,
        ordered[0].master,
        at,
        _array(key.number.owner for key in ordered),
        _array(key.number.generation for key in ordered),
        _array((key.secret or b"").hex() for key in ordered),
    )
    (added,) = together.ask(connection, [(_ADD, parameters)])
    return {int(owner) for (owner,) in added}


def destroy(connection: Connection, kind: int, owners: Iterable[int], now: datetime) -> None:
    """Destroy every key of these owners: what they sealed is lost, but to who has an older copy of this table and the keyring."""
    at = to_micros(now)
    rows = [(owner, None, at) for owner in sorted(set(owners))]
    bulk.update_rows(
        connection,
        data_key,
        "owner",
        ("wrapped", "destroyed_at"),
        rows,
        where=f"t.kind = {kind:d} AND t.destroyed_at IS NULL",
    )


def page(connection: Connection, after: KeyNumber, master: str, limit: int) -> list[Wrapped]:
    """The next keys behind `after` that another master key than `master` wraps."""
    rows = connection.execute(
        text(
            "SELECT kind, owner, generation, master, wrapped FROM data_key "
            "WHERE (kind, owner, generation) > (:kind, :owner, :generation) AND wrapped IS NOT NULL "
            "AND master <> :master ORDER BY kind, owner, generation LIMIT :limit"
        ),
        {**after._asdict(), "master": master, "limit": limit},
    )
    return [
        Wrapped(KeyNumber(row.kind, row.owner, row.generation), row.master, bytes(row.wrapped))
        for row in rows
    ]


def rewrap(connection: Connection, keys: Sequence[Wrapped]) -> None:
    """Replace how keys are wrapped; one that was destroyed meanwhile stays destroyed."""
    connection.execute(
        text(
            "UPDATE data_key SET master = :master, wrapped = :wrapped WHERE kind = :kind "
            "AND owner = :owner AND generation = :generation AND wrapped IS NOT NULL"
        ),
        [
            {**key.number._asdict(), "master": key.master, "wrapped": key.secret}
            for key in sorted(keys)
        ],
    )


def register(connection: Connection, master: str, now: datetime, floor: str) -> bool:
    """Let a master key wrap from now on; False where it does already. No version older than `floor` may start then."""
    if current_master(connection) == master:
        return False
    connection.execute(
        text(
            "INSERT INTO master_key (n, id, since) "
            "SELECT coalesce(max(n), 0) + 1, CAST(:id AS varchar), :now FROM master_key"
        ),
        {"id": master, "now": to_micros(now)},
    )
    raise_floor(connection, floor)
    return True


def raise_floor(connection: Connection, floor: str) -> None:
    """Let no version older than the revision `floor` start any more."""
    connection.execute(
        text("UPDATE schema_floor SET revision = :floor WHERE revision < :floor"), {"floor": floor}
    )


_FINDS = "find key"
"""The counter that says that numbers are sealed: it stands apart from the keys, and tells when theirs is lost."""


def finds(connection: Connection) -> bool:
    """Whether what rows are found by may be sealed."""
    found = connection.execute(
        text("SELECT value FROM counter WHERE name = :name"), {"name": _FINDS}
    )
    return found.scalar() is not None


def note_finding(connection: Connection) -> None:
    """Note that what rows are found by is sealed from now on."""
    connection.execute(
        text("INSERT INTO counter (name, value) VALUES (:name, 1)"), {"name": _FINDS}
    )


def retire(connection: Connection, now: datetime) -> list[str]:
    """Retire the master keys that are not the last and wrap nothing any more; returns their ids."""
    found = connection.execute(
        text(
            "SELECT m.id FROM master_key m WHERE m.retired_at IS NULL "
            "AND m.n < (SELECT max(n) FROM master_key) "
            "AND NOT EXISTS (SELECT 1 FROM data_key d WHERE d.master = m.id AND d.wrapped IS NOT NULL)"
        )
    )
    gone = [str(row.id) for row in found]
    for master in gone:
        connection.execute(
            text("UPDATE master_key SET retired_at = :now WHERE id = :id"),
            {"now": to_micros(now), "id": master},
        )
    return gone


def needed(connection: Connection) -> list[str]:
    """The master keys without which something cannot be read, the newest last."""
    rows = connection.execute(text("SELECT id FROM master_key WHERE retired_at IS NULL ORDER BY n"))
    return [str(row.id) for row in rows]


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """(kind, master key, how many) of the data keys; of those destroyed the master key is empty."""
    rows = connection.execute(
        text(
            "SELECT kind, CASE WHEN wrapped IS NULL THEN '' ELSE master END AS by_master, count(*) AS n "
            "FROM data_key GROUP BY kind, by_master ORDER BY kind, by_master"
        )
    )
    names = {PATIENT: "patient", MONTH: "month", FIND: "find"}
    return [(names[int(row.kind)], str(row.by_master), int(row.n)) for row in rows]


def _array(values: Iterable[object]) -> str:
    """Values without commas as PostgreSQL reads an array."""
    return "{" + ",".join([str(value) for value in values]) + "}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
