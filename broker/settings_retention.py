"""What a retention may not be: shorter than anything that still needs what it prunes. For `settings`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from broker.retry import Policy
from broker.settings_fields import duration_text
from broker.settings_read import Reader
from broker.settings_tables import Retention

SHORTEST = timedelta(days=31)
"""Senders send again, people release and edit, and the balance of a month is counted again: all of it needs the rows."""


TRAIL = ("audit", "trail", "traces")
"""What somebody might write to have the trail pruned."""


def refuse_trail(table: Mapping[str, Any], reader: Reader) -> Mapping[str, Any]:
    """The table without keys that would prune the trail, each noted as a problem: there is no such bound (RET-09)."""
    for name in TRAIL:
        if name in table:
            reader.problem(
                f"retention.{name}",
                "is no setting: the trail is kept for the life of each record and at least ten years beyond (RET-09), "
                "so no length prunes it.",
                "Leave it out. `carnet audit export` takes a copy elsewhere.",
            )
    return {name: value for name, value in table.items() if name not in TRAIL}


def check(retention: Retention, retries: Mapping[str, Policy], reader: Reader) -> None:
    """Note every bound that does not go with the queue, with a destination's retries or with another bound."""
    for name in ("messages", "raw", "deliveries"):
        bound: timedelta = getattr(retention, name)
        if bound:
            _check_bound(name, bound, retries, reader)
    for name in ("raw", "deliveries"):
        if retention.messages and getattr(retention, name) > retention.messages:
            reader.problem(
                f"retention.{name}",
                "is longer than retention.messages, with which it goes.",
                "Leave it out, or keep messages longer.",
            )
    if not timedelta(hours=1) <= retention.flow_minutes <= timedelta(days=31):
        reader.problem("retention.flow_minutes", "must lie between 1h and 31d.")
    if retention.flow_quarters < max(timedelta(days=1), retention.flow_minutes):
        reader.problem(
            "retention.flow_quarters", "must be 1d or more, and no shorter than flow_minutes."
        )


def _check_bound(
    name: str, bound: timedelta, retries: Mapping[str, Policy], reader: Reader
) -> None:
    key = f"retention.{name}"
    if bound < SHORTEST:
        reader.problem(
            key,
            f"must be {duration_text(SHORTEST)} or more, or 0s for never.",
            "Senders repeat messages, and people release them, for weeks: what is needed for that must be there.",
        )
    for destination, policy in retries.items():
        if policy.max_age > bound:
            reader.problem(
                key,
                f"is shorter than destination.{destination}.retry.max_age: "
                f"what is still tried after {duration_text(policy.max_age)} would have nothing to send.",
                f'Write {key} = "{duration_text(policy.max_age)}" or longer, or lower that max_age.',
            )
        elif not policy.max_age and not policy.max_attempts:
            reader.problem(
                key,
                f"does not go with destination.{destination}, which is tried for ever.",
                f"Set destination.{destination}.retry.max_age or max_attempts.",
            )
