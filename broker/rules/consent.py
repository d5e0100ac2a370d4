"""What the patient's own word does: the account's state, opposition, blocks, the care team's consent. Pure.

What was said is gathered in `rules.facts`; here it is judged, each function one step of `rules.professional`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from broker.access import Viewer
from broker.rules.facts import Facts

READABLE = frozenset({"open_unactivated", "active"})
"""States of the space in which it is read and fed (life-cycle, section 1)."""

_NOT_FED = {
    "opposed": "account.opposed",
    "suspended": "account.suspended",
    "closed": "account.closed",
    "deleted": "account.closed",
}
_REFUSED = frozenset({"INC", "withdrawn"})


class Refusal(NamedTuple):
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


def against_blocked(facts: Facts, viewer: Viewer) -> Refusal | None:
    """Blocked by the holder: authorised or not (ACC-05). In bris de glace by the switch of EMG-05, never in centre 15."""
    if not facts.blocked or viewer.mode == "centre_15":
        return None
    if viewer.mode == "bris_de_glace" and not facts.switches.block_holds_in_emergency:
        return None
    return Refusal("ACC-05", "access.blocked")


def against_emergency(
    facts: Facts, viewer: Viewer, is_professional: bool, is_physician: bool
) -> Refusal | None:
    """What stands against an emergency mode: EMG-01, EMG-02, EMG-03, EMG-08. Source: CSP L.1111-17 I, R.1111-48.

    Each mode is refused separately, and beforehand. A session that is over is none: it is broken again, with a reason.
    """
    if facts.oppositions.get(viewer.mode) == "opposed":
        return Refusal("EMG-03", "access.emergency_opposed")
    if viewer.mode == "centre_15" and not is_physician:
        return Refusal("EMG-02", "access.emergency_profession")
    if not is_professional:
        return Refusal("EMG-01", "access.emergency_profession")
    if not viewer.motive.strip():
        return Refusal("EMG-01", "access.emergency_motive")
    longest = timedelta(hours=facts.switches.emergency_hours)
    if viewer.session is not None and facts.now - viewer.session >= longest:
        return Refusal("EMG-08", "access.emergency_over")
    return None


def against_consent(facts: Facts, regime: str | None) -> Refusal | None:
    """Whether the holder's prior consent is there (CON-01): to this viewer, or to a team the viewer is a member of.

    `regime` is the rule of those who need express consent each time (CON-10). The declared médecin traitant has it by
    the declaration itself (derived: R.1111-43, and the status is given with an authorisation, EEDS TD0.3).
    """
    if facts.explicit == "IC":
        return None
    if facts.explicit in _REFUSED:
        return Refusal("CON-01", "access.consent_refused")
    if regime is not None:
        return Refusal(regime, "access.consent_each_time")
    if facts.traitant:
        return None
    words = [word for _, _, word in facts.team]
    if "IC" in words:
        return None
    if any(word in _REFUSED for word in words):
        return Refusal("CON-06", "access.consent_refused")
    if words:
        if facts.switches.presumed_team_consent:
            return None
        return Refusal("CON-03", "access.consent_initial")
    return Refusal("CON-04", "access.consent_each_time")
