"""Who is to be told of what, when, and with how much in it. Decisions only: sending is somebody else's. Pure.

NOT-01 to NOT-06, EMG-04, VIS-02, ADU-01. A notice never carries content (NOT-03).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from broker.access import Viewer
from broker.header import month_after

To = Literal["holder", "representatives", "medecin_traitant"]
When = Literal["now", "daily", "never"]
Preference = Literal["each", "daily", "first"]
"""What a holder chose: every access session at once, the first one and then a daily list, the first one only."""

NEUTRAL_AFTER = timedelta(weeks=2)
"""VIS-02: no consultation for so long, and the patient is told that the record was updated, and nothing else."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notice due: to whom, from when on, of what kind, by which rule. `never` stays in the history (NOT-05)."""

    to: To
    when: When
    kind: Literal["access", "emergency", "document", "neutral"]
    rule: str
    due: datetime


class Addressee(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may be told about a patient: is the patient a minor, who has an address, what the holder prefers."""

    is_minor: bool = False
    has_address: bool = True
    has_representatives: bool = False
    has_traitant: bool = False
    preference: Preference = "daily"


def of_access(
    viewer: Viewer, to: Addressee, now: datetime, *, is_first: bool, is_allowed: bool = True
) -> tuple[Notice, ...]:
    """Notices of one access session. `is_first`: this professional was never in this record before (NOT-01).

    Refused attempts are told to nobody (AUD-04); the holder's own looks neither. After an emergency the holder and
    the médecin traitant are informed (EMG-04, R.1111-48). Of a connexion secrète the representatives learn nothing
    (MIN-04, NOT-06).
    """
    if not is_allowed or viewer.kind in ("patient", "representative"):
        return ()
    if viewer.mode in ("bris_de_glace", "centre_15"):
        found = _to_patient(to, now, "now", "emergency", "EMG-04")
        if to.has_traitant:
            found += (
                Notice(to="medecin_traitant", when="now", kind="emergency", rule="EMG-04", due=now),
            )
        return found
    if viewer.mode == "connexion_secrete":
        return (_history("access", "NOT-06", now),)
    if is_first:
        return _to_patient(to, now, "now", "access", "NOT-01")
    when: When = {"each": "now", "daily": "daily", "first": "never"}[to.preference]  # type: ignore[assignment]
    return _to_patient(to, now, when, "access", "NOT-02")


def of_document(
    to: Addressee, filed_at: datetime, visible_from: datetime | None, *, hidden_from_reps: bool
) -> tuple[Notice, ...]:
    """Notices of a document filed (NOT-03). What is not visible yet is not told: a neutral notice after two weeks.

    Nothing of a document that representatives must not see goes to a minor's address, which is theirs (NOT-04, NOT-06).
    """
    if hidden_from_reps and to.is_minor:
        return (_history("document", "NOT-06", filed_at),)
    if visible_from is not None and visible_from > filed_at:
        return _to_patient(to, filed_at + NEUTRAL_AFTER, "now", "neutral", "VIS-02")
    return _to_patient(to, filed_at, "daily", "document", "NOT-03")


def neutral_due(filed_at: datetime, visible_from: datetime | None, last_visit: date | None) -> bool:
    """Whether the two-week notice is still to be sent: not when the patient saw the author meanwhile (VIS-02)."""
    if visible_from is None or visible_from <= filed_at:
        return False
    return last_visit is None or last_visit < filed_at.date()


def opens(filed_at: datetime) -> datetime:
    """When what is INVISIBLE_PATIENT becomes visible by itself: one month after filing (R.1111-53)."""
    return month_after(filed_at)


def _to_patient(
    to: Addressee,
    due: datetime,
    when: When,
    kind: Literal["access", "emergency", "document", "neutral"],
    rule: str,
) -> tuple[Notice, ...]:
    """To the holder, or for a minor to those who act for them; without an address it stays in the history (NOT-05)."""
    who: To = "representatives" if to.is_minor and to.has_representatives else "holder"
    if not to.has_address:
        return (Notice(to=who, when="never", kind=kind, rule="NOT-05", due=due),)
    return (Notice(to=who, when=when, kind=kind, rule=rule, due=due),)


def _history(
    kind: Literal["access", "emergency", "document", "neutral"], rule: str, due: datetime
) -> Notice:
    return Notice(to="holder", when="never", kind=kind, rule=rule, due=due)
