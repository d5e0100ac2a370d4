"""What the masks of a document say against showing it. Pure; VIS-01, VIS-02. Filing reads them by `header.visibility`."""

from __future__ import annotations

from datetime import datetime

from broker.rules.consent import Refusal


def against_professional(masked_ps: bool) -> Refusal | None:
    """MASQUE_PS: not even listed (VIS-01). Authors were let in before; an emergency changes nothing (EMG-06)."""
    return Refusal("VIS-01", "access.masked") if masked_ps else None


def against_holder(visible_from: datetime | None, now: datetime) -> Refusal | None:
    """INVISIBLE_PATIENT: not before the day it becomes visible by itself (VIS-02, R.1111-53)."""
    if visible_from is not None and now < visible_from:
        return Refusal("VIS-02", "access.not_yet_visible")
    return None
