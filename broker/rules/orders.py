"""What may be filed with which masks, and who may change, delete or replace a document afterwards. Pure.

VIS-00, VIS-01, VIS-03, VIS-04, VIS-05, MIN-03 to MIN-06, ACC-06, RET-07, RET-08. Nothing is deleted physically:
a deletion is a change of status, kept for the trace.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple

from broker.access import Viewer, viewer_keys
from broker.header import Visibility
from broker.rules import consent
from broker.rules.consent import Refusal
from broker.rules.facts import Facts
from broker.rules.professional import Verdict, age_on, gone, is_minor

Change = Literal[
    "mask", "unmask", "show_patient", "hide_patient", "show_representatives", "hide_representatives",
    "delete", "replace",
]  # fmt: skip
CHANGES: tuple[Change, ...] = (
    "mask", "unmask", "show_patient", "hide_patient", "show_representatives", "hide_representatives",
    "delete", "replace",
)  # fmt: skip

MASKED, INVISIBLE = "MASQUE_PS", "INVISIBLE_PATIENT"
HIDDEN_FROM_REPS = "INVISIBLE_REPRESENTANTS_LEGAUX"


def of_filing(facts: Facts) -> Verdict:
    """May it be filed? Refused is "not filed, deliveries go on" (CON-07). No consent to reading is asked (CON-08)."""
    against = consent.against_filing(
        facts.account, facts.filing_opposed, facts.identity_status
    ) or _against_masks(facts)
    return (True, "CON-07", "filing.allowed") if against is None else (False, *against)


def _against_masks(facts: Facts) -> Refusal | None:
    codes = facts.codes
    if MASKED in codes and INVISIBLE in codes and not facts.switches.cumulated_masks:
        return Refusal("VIS-05", "filing.masks_cumulated")
    if "secret_connection" in facts.orders:
        if facts.born is not None and not is_minor(facts):
            return Refusal("MIN-04", "access.secret_no_minor")
        age = age_on(facts)
        if age is not None and age < facts.switches.secret_age:
            return Refusal("MIN-05", "access.secret_too_young")
        if HIDDEN_FROM_REPS not in codes:
            return Refusal("MIN-04", "filing.secret_unhidden")
    elif (
        facts.switches.explicit_choice_for_minors
        and "stated" not in facts.orders
        and HIDDEN_FROM_REPS not in codes
        and is_minor(facts)
    ):
        return Refusal("MIN-06", "filing.no_choice")
    return None


class Standing(NamedTuple):
    """How a version of a document stands that is about to be replaced; `by_patient`: the patient's own mask."""

    masked_ps: bool
    visible_from: datetime
    hidden_from_reps: bool
    by_patient: bool = False


def carried(
    old: Standing, asked: Visibility, now: datetime, *, only_visibility: bool
) -> Visibility:
    """The visibility of the version that replaces another one. `only_visibility`: MODIF_CONF_CODE, the same content.

    What the message does not order is not opened in passing (derived; filing, section 7); the month of VIS-02 counts
    from the first filing; what may be seen is not hidden again when only the visibility changes (VIS-03, VIS-04). A
    mask the patient set is the patient's to lift.
    """
    is_masked = asked.masked_ps or old.by_patient or (old.masked_ps and not only_visibility)
    was_visible, wants_visible = old.visible_from <= now, asked.visible_from <= now
    if was_visible:
        visible_from = asked.visible_from if not only_visibility else min(asked.visible_from, now)
    elif wants_visible and only_visibility:
        visible_from = asked.visible_from
    else:
        visible_from = old.visible_from
    if only_visibility:
        is_hidden = old.hidden_from_reps and asked.hidden_from_reps
    else:
        is_hidden = old.hidden_from_reps or asked.hidden_from_reps
    return replace(
        asked, masked_ps=is_masked, visible_from=visible_from, hidden_from_reps=is_hidden
    )


def of_change(facts: Facts, viewer: Viewer, by_patient: bool) -> Verdict:
    """May this viewer change the visibility of a document, delete or replace it? `by_patient`: the patient filed it."""
    against = consent.against_reading(facts.account)
    if against is not None:
        return False, *against
    found = gone(facts)
    if found is not None:
        return found
    if viewer.kind == "patient" and viewer.id == str(facts.patient):
        return _by_holder(facts, by_patient)
    if viewer.kind == "professional" and not viewer_keys(viewer).isdisjoint(facts.author_keys):
        return _by_author(facts)
    return False, "ACC-06", "change.not_author"


def _by_holder(facts: Facts, by_patient: bool) -> Verdict:
    """The holder masks and unmasks at any time (VIS-01); what a professional filed they do not delete (RET-07)."""
    action = facts.action
    if action in ("mask", "unmask"):
        if action == "mask" and _is_invisible(facts) and not facts.switches.cumulated_masks:
            return False, "VIS-05", "filing.masks_cumulated"
        return True, "VIS-01", "change.holder"
    if action == "hide_representatives":
        if not is_minor(facts):
            return False, "VIS-08", "access.of_age"
        return True, "MIN-03", "change.holder"
    if action == "show_representatives":
        return True, "VIS-04", "change.irreversible"
    if action in ("delete", "replace"):
        return (
            (True, "RET-07", "change.holder")
            if by_patient
            else (False, "RET-07", "change.not_author")
        )
    return False, "VIS-03", "change.one_way"


def _by_author(facts: Facts) -> Verdict:
    """The author replaces and deletes (ACC-06), shows an announced document at any time (VIS-03), never hides it again."""
    action = facts.action
    if action in ("delete", "replace"):
        return True, "ACC-06", "change.author"
    if action == "show_patient":
        return True, "VIS-03", "change.author"
    if action == "hide_patient":
        return False, "VIS-03", "change.one_way"
    if action == "show_representatives":
        return True, "VIS-04", "change.irreversible"
    if action == "hide_representatives":
        return False, "VIS-04", "change.one_way"
    if action == "mask" and _is_invisible(facts) and not facts.switches.cumulated_masks:
        return False, "VIS-05", "filing.masks_cumulated"
    return True, "VIS-01", "change.author"


def _is_invisible(facts: Facts) -> bool:
    return facts.visible_from is not None and facts.now < facts.visible_from
