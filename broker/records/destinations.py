"""How each destination is doing now: one row each, for the list of partners."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.types import to_micros


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
