"""What the patient's own word does: the account's state, opposition to filing, opposition to emergency modes. Pure.

`consents` is the last word on each (kind, scope), see `records.patients`. Care team consent, blocks and the médecin
traitant are not decided yet; `rules.decide` says where they will stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

READABLE = frozenset({"open_unactivated", "active"})
"""States of the space in which it is read and fed (life-cycle, section 1)."""

_NOT_FED = {
    "opposed": "account.opposed",
    "suspended": "account.suspended",
    "closed": "account.closed",
    "deleted": "account.closed",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: the rule and the reason code."""

    rule: str
    reason: str


def against_filing(account: str, is_opposed: bool, identity_status: str) -> Refusal | None:
    """What stands against filing. Deliveries to others are not touched by it (CON-07).

    Source: CSP R.1111-36, R.1111-47; RNIV for a doubtful or fictitious identity.
    """
    if account not in READABLE:
        return Refusal("LIFE", _NOT_FED.get(account, "account.not_open"))
    if is_opposed:
        return Refusal("CON-07", "account.opposed")
    if identity_status in ("doubtful", "fictitious"):
        return Refusal("IDT-01", "identity.doubtful")
    return None


def against_reading(account: str) -> Refusal | None:
    """What the state of the space says against any reading.

    A holder who reads has signed in, and signing in is what activates the space (T5), so `open_unactivated` is no
    obstacle to them.
    """
    return None if account in READABLE else Refusal("LIFE", "access.account_not_open")


def against_emergency(
    mode: str,
    motive: str,
    is_professional: bool,
    is_physician: bool,
    oppositions: Mapping[str, str],
) -> Refusal | None:
    """What stands against an emergency mode: EMG-01, EMG-02, EMG-03. Source: CSP L.1111-17 I, R.1111-48.

    `oppositions` maps a mode to `opposed` where the holder refused it beforehand; each mode is refused separately.
    """
    if mode == "normal":
        return None
    if oppositions.get(mode) == "opposed":
        return Refusal("EMG-03", "access.emergency_opposed")
    if mode == "centre_15" and not is_physician:
        return Refusal("EMG-02", "access.emergency_profession")
    if not is_professional:
        return Refusal("EMG-01", "access.emergency_profession")
    if not motive.strip():
        return Refusal("EMG-01", "access.emergency_motive")
    return None
