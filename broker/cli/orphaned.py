"""How commands name what is left of sources and destinations that are no longer configured, and how to settle it."""

from __future__ import annotations

import msgspec

from broker.cli import opened, output
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import orphans
from broker.records.orphans import Orphan


def remark(ledger: opened.Ledger, as_json: bool) -> bool:
    """Say what is left, after what a command shows; whether there is any."""
    found = find(ledger)
    if found and as_json:
        output.tell({"orphans": [plain(one) for one in found]})
    for one in found if not as_json else ():
        output.aside().print(sentence(one), markup=False)
    return bool(found)


def find(ledger: opened.Ledger) -> list[Orphan]:
    """What is left, by the ledger's own settings."""
    given = ledger.settings
    with reading(ledger.engine) as connection:
        return orphans.find(connection, given.sources, given.destinations)


def plain(one: Orphan) -> dict[str, object]:
    """An orphan for programs."""
    made: dict[str, object] = msgspec.to_builtins(one)
    return made


def sentence(one: Orphan) -> str:
    """An orphan for people, with what to do about it."""
    if one.kind == "source":
        return (
            f"source {one.name} is no longer configured: {one.open} messages are not settled, {one.parked} are parked. "
            f"They are settled as any others: carnet parked list --source {one.name}"
        )
    return (
        f"destination {one.name} is no longer configured: {one.open} deliveries are owed, {one.unknown} of unknown "
        f"outcome, {one.parked} parked. Configure it again and they go on, or give them up: "
        f"carnet parked discard --orphaned {one.name}"
    )


def deliveries(ledger: opened.Ledger, destination: str) -> list[int]:
    """All that is unsettled to a destination. Raises: SetupError("usage.orphaned") for one that is configured."""
    if destination in ledger.settings.destinations:
        raise SetupError(
            "usage.orphaned",
            where="--orphaned",
            reason="this destination is configured: its courier may be sending",
            hint="take it out of the settings and restart the couriers, or discard what is parked",
        )
    with reading(ledger.engine) as connection:
        return orphans.deliveries(connection, destination)
