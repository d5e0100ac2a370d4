"""What the masks of a document say: against showing it, and what a reader must be told of it. Pure; VIS-01 to VIS-10."""

from __future__ import annotations

from datetime import datetime

from broker.rules.consent import Refusal

EXPRESSED_BY_PATIENT = "90"
"""Class of documents that the patient expressed (TRE_A03)."""

DIRECTIVES = frozenset({"EXPPAT_1", "EXPPAT_3"})
"""Types under which advance directives and wishes are filed (TRE_A05)."""


def against_professional(masked_ps: bool) -> Refusal | None:
    """MASQUE_PS: not even listed (VIS-01). Authors were let in before; an emergency changes nothing (EMG-06)."""
    return Refusal("VIS-01", "access.masked") if masked_ps else None


def against_holder(visible_from: datetime | None, now: datetime) -> Refusal | None:
    """INVISIBLE_PATIENT: not before the day it becomes visible by itself (VIS-02, R.1111-53)."""
    if visible_from is not None and now < visible_from:
        return Refusal("VIS-02", "access.not_yet_visible")
    return None


def marks(
    *,
    visible_from: datetime | None,
    hidden_from_reps: bool,
    is_minor: bool,
    class_code: str | None,
    type_code: str | None,
    now: datetime,
) -> tuple[str, ...]:
    """What a professional who reads it is shown with it, as rule ids.

    VIS-06: not to be disclosed to the patient, or to a minor's representatives. VIS-07: expressed by the patient.
    VIS-10: advance directives, to be looked for before a decision to limit or stop treatment (R.1111-19, -20).
    """
    found = []
    if (visible_from is not None and now < visible_from) or (hidden_from_reps and is_minor):
        found.append("VIS-06")
    if class_code == EXPRESSED_BY_PATIENT or (type_code or "") in DIRECTIVES:
        found.append("VIS-07")
    if (type_code or "") in DIRECTIVES:
        found.append("VIS-10")
    return tuple(found)
