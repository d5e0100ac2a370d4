"""How each destination is doing now: one row each, for the list of partners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from broker.database.types import from_micros, to_micros

_CLOSED, _OPEN, _FAILED, _FAILED_OPEN = "closed", "open", "failed", "failed, open"
"""Of a circuit: deliveries flow, or wait; the courier ended by an error of its own, and the circuit was open then."""


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
            "circuit": _OPEN if doing.is_open else _CLOSED,
            "n": doing.consecutive_failures,
            "now": to_micros(now),
        },
    )


def failed(connection: Connection, destination: str, code: str, now: datetime) -> None:
    """Note that a destination's courier ended, and is to be started again; a circuit that was open stays so."""
    _turned(
        connection,
        destination,
        {_OPEN: _FAILED_OPEN, _FAILED_OPEN: _FAILED_OPEN},
        _FAILED,
        code,
        now,
    )


def back(connection: Connection, destination: str, now: datetime) -> None:
    """Note that it is at work again."""
    _turned(connection, destination, {_OPEN: _OPEN, _FAILED_OPEN: _OPEN}, _CLOSED, None, now)


def has_failed(connection: Connection, destination: str) -> bool:
    """Whether a destination's courier ended, and none was said to be at work again."""
    return _circuit(connection, destination)[0] in (_FAILED, _FAILED_OPEN)


def left_open(connection: Connection, destination: str) -> int:
    """Failures in a row of a destination whose circuit the courier before left open; 0 where it was closed."""
    circuit, failures = _circuit(connection, destination)
    return max(1, failures) if circuit in (_OPEN, _FAILED_OPEN) else 0


def _circuit(connection: Connection, destination: str) -> tuple[str, int]:
    row = connection.execute(
        text(
            "SELECT circuit, consecutive_failures FROM destination_now WHERE destination = :destination"
        ),
        {"destination": destination},
    ).one_or_none()
    return (_CLOSED, 0) if row is None else (row.circuit, int(row.consecutive_failures))


def _turned(
    connection: Connection,
    destination: str,
    turns: Mapping[str, str],
    otherwise: str,
    code: str | None,
    now: datetime,
) -> None:
    """Turn a circuit from what it is now to what `turns` says, from anything else to `otherwise`."""
    cases = " ".join(f"WHEN '{was}' THEN '{becomes}'" for was, becomes in turns.items())
    connection.execute(
        text(
            "INSERT INTO destination_now (destination, error_code, error_at, circuit, heartbeat_at) "  # noqa: S608 - our own words
            "VALUES (:destination, :code, :at, :circuit, :now) ON CONFLICT (destination) DO UPDATE SET "
            "error_code = COALESCE(excluded.error_code, destination_now.error_code), "
            "error_at = COALESCE(excluded.error_at, destination_now.error_at), "
            f"circuit = CASE destination_now.circuit {cases} ELSE excluded.circuit END, "
            "heartbeat_at = excluded.heartbeat_at"
        ),
        {
            "destination": destination,
            "code": code,
            "at": to_micros(now) if code else None,
            "circuit": otherwise,
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


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination now: when it took something last, and why it did not, last."""

    destination: str
    delivered_at: datetime | None
    error_code: str
    error_at: datetime | None


def listing(connection: Connection) -> list[Destination]:
    """Every destination that was ever sent something, by name."""
    rows = connection.execute(
        text(
            "SELECT destination, delivered_at, error_code, error_at FROM destination_now ORDER BY destination"
        )
    )
    return [
        Destination(
            row.destination,
            None if row.delivered_at is None else from_micros(int(row.delivered_at)),
            row.error_code or "",
            None if row.error_at is None else from_micros(int(row.error_at)),
        )
        for row in rows
    ]


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
            _FAILED if row.circuit == _FAILED_OPEN else row.circuit,
            row.error_code or "",
            None if row.error_at is None else from_micros(int(row.error_at)),
        )
        for row in rows
    ]
