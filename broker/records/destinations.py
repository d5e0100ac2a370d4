"""How each destination is doing now: one row each, for the list of partners."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.types import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class Doing:
    """What a courier saw since it last told: `delivered_at` and `error_at` None where there was none."""

    delivered_at: datetime | None
    error_code: str
    error_at: datetime | None
    is_open: bool
    consecutive_failures: int


def tell(connection: Connection, destination: str, doing: Doing, now: datetime) -> None:
    """Note how a destination is doing; what is not told anew stays."""
    connection.execute(
        text(
            "INSERT INTO destination_now (destination, delivered_at, error_code, error_at, circuit, "
            "consecutive_failures, heartbeat_at) VALUES (:destination, :delivered, :code, :failed, :circuit, :n, :now) "
            "ON CONFLICT (destination) DO UPDATE SET "
            "delivered_at = COALESCE(excluded.delivered_at, destination_now.delivered_at), "
            "error_code = COALESCE(excluded.error_code, destination_now.error_code), "
            "error_at = COALESCE(excluded.error_at, destination_now.error_at), circuit = excluded.circuit, "
            "consecutive_failures = excluded.consecutive_failures, heartbeat_at = excluded.heartbeat_at"
        ),
        {
            "destination": destination,
            "delivered": doing.delivered_at and to_micros(doing.delivered_at),
            "code": doing.error_code or None,
            "failed": doing.error_at and to_micros(doing.error_at),
            "circuit": "open" if doing.is_open else "closed",
            "n": doing.consecutive_failures,
            "now": to_micros(now),
        },
    )


def failed(connection: Connection, destination: str, code: str, now: datetime) -> None:
    """Note that a destination's courier ended, and is to be started again."""
    _turned(connection, destination, "failed", code, now)


def back(connection: Connection, destination: str, now: datetime) -> None:
    """Note that it is at work again."""
    _turned(connection, destination, "closed", None, now)


def _turned(
    connection: Connection, destination: str, circuit: str, code: str | None, now: datetime
) -> None:
    connection.execute(
        text(
            "INSERT INTO destination_now (destination, error_code, error_at, circuit, heartbeat_at) "
            "VALUES (:destination, :code, :at, :circuit, :now) ON CONFLICT (destination) DO UPDATE SET "
            "error_code = COALESCE(excluded.error_code, destination_now.error_code), "
            "error_at = COALESCE(excluded.error_at, destination_now.error_at), circuit = excluded.circuit, "
            "heartbeat_at = excluded.heartbeat_at"
        ),
        {
            "destination": destination,
            "code": code,
            "at": to_micros(now) if code else None,
            "circuit": circuit,
            "now": to_micros(now),
        },
    )


@dataclass(frozen=True, slots=True)
class Troubled:
    """A destination that is not sent to as usual: `circuit` is open (it fails), or failed (its courier does)."""

    destination: str
    circuit: str
    error_code: str
    error_at: datetime | None


def troubled(connection: Connection) -> list[Troubled]:
    """Destinations that are left alone for a while, or whose courier does not run."""
    rows = connection.execute(
        text(
            "SELECT destination, circuit, error_code, error_at FROM destination_now WHERE circuit <> 'closed' "
            "ORDER BY destination"
        )
    )
    return [
        Troubled(
            row.destination,
            row.circuit,
            row.error_code or "",
            None if row.error_at is None else from_micros(int(row.error_at)),
        )
        for row in rows
    ]
