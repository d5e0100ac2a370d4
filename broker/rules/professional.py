"""May a professional see this: the order of evaluation, one function a step, the first that speaks wins. Pure.

1. the space is not open (LIFE), the document is no more (RET-08)   2. barred actors (ACC-09)   3. blocked by the holder
(ACC-05)   4. author or depositor: allowed (ACC-06)   5. nobody responsible (ACC-11, MAT-09); emergency (EMG), else
consent (CON)   6. médecin traitant: skips 8 (ACC-07)   7. the matrix (MAT)   8. masked (VIS-01)   9. allowed.
"""
# ruff: noqa: ARG001 - every step is asked the same way

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from broker.access import Viewer, viewer_keys
from broker.rules import consent
from broker.rules.facts import Facts
from broker.rules.profession import PHYSICIANS, SECRETARIES, Matrix

Verdict = tuple[bool, str, str]
"""(allowed, rule, reason)."""

Step = Callable[[Facts, Viewer, Matrix], Verdict | None]

_PARIS = ZoneInfo("Europe/Paris")
_NO_MORE: Verdict = (False, "RET-08", "access.deleted")
_ABSENT: Verdict = (False, "AUD-07", "access.absent")
_AUTHOR: Verdict = (True, "ACC-06", "access.author")
_RECORD: Verdict = (True, "AUD-05", "access.record")
_MASKED: Verdict = (False, "VIS-01", "access.masked")
_TRAITANT: Verdict = (True, "ACC-07", "access.traitant")


def space(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """1: the space must be open, and the document there."""
    against = consent.against_reading(facts.account)
    if against is not None:
        return False, *against
    return gone(facts)


def gone(facts: Facts) -> Verdict | None:
    """A deleted document is read by nobody; one that does not exist is decided like one that is hidden (AUD-07)."""
    if facts.availability == "deleted":
        return _NO_MORE
    return _ABSENT if facts.availability == "absent" else None


def barred(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """2: insurers, banks, employers: never, even with consent."""
    rule = matrix.barred.get(viewer.profession)
    return None if rule is None else (False, rule, "access.barred")


def blocked(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """3: the holder's block, with or without authorisation."""
    against = consent.against_blocked(facts, viewer)
    return None if against is None else (False, *against)


def author(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """4: their own document, masked or not."""
    if facts.author_keys and not viewer_keys(viewer).isdisjoint(facts.author_keys):
        return _AUTHOR
    return None


def responsible(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """For a machine (ACC-11) and a secretary (MAT-09) a named professional answers, or they read nothing more."""
    if viewer.responsible:
        return None
    if viewer.automated:
        return False, "ACC-11", "access.nobody_responsible"
    if matrix.group_of(viewer.profession) == SECRETARIES:
        return False, "MAT-09", "access.nobody_responsible"
    return None


def emergency(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """5: bris de glace and centre 15; no consent is asked for (EMG-01, EMG-02)."""
    if viewer.mode not in ("bris_de_glace", "centre_15"):
        return None
    against = consent.against_emergency(
        facts,
        viewer,
        matrix.is_health_professional(viewer.profession),
        matrix.group_of(viewer.profession) == PHYSICIANS,
    )
    return None if against is None else (False, *against)


def secrecy(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """5: a connexion secrète is about a minor of the age it takes (MIN-04, MIN-05)."""
    if viewer.mode != "connexion_secrete":
        return None
    age = age_on(facts)
    if age is None or age >= facts.switches.majority:
        return False, "MIN-04", "access.secret_no_minor"
    if age < facts.switches.secret_age:
        return False, "MIN-05", "access.secret_too_young"
    return None


def authorised(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """5: the holder's prior consent."""
    if viewer.mode in ("bris_de_glace", "centre_15"):
        return None
    against = consent.against_consent(facts, matrix.regimes.get(viewer.profession))
    return None if against is None else (False, *against)


def record(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """The record as a whole may be looked at; each document is decided by itself."""
    return None if facts.document else _RECORD


def closed(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """7: the matrix closes the type to the profession."""
    cell = matrix.allows(matrix.group_of(viewer.profession), facts.type_code)
    return None if cell.is_open else cell.verdict


def masked(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """8: masked to professionals, save the declared médecin traitant (6)."""
    if not facts.masked_ps:
        return None
    return _TRAITANT if facts.traitant else _MASKED


def opened(facts: Facts, viewer: Viewer, matrix: Matrix) -> Verdict | None:
    """9: allowed, by the cell that opens it."""
    return matrix.allows(matrix.group_of(viewer.profession), facts.type_code).verdict


STEPS: tuple[Step, ...] = (
    space, barred, blocked, author, responsible, emergency, secrecy, authorised, record, closed, masked, opened,
)  # fmt: skip


def age_on(facts: Facts) -> int | None:
    """The patient's age on the day of the decision, as days are counted in Paris; None where the birth is unknown.

    A birthday on 29 February is kept on 1 March of other years.
    """
    return None if facts.born is None else years_between(facts.born, today(facts))


def years_between(born: date, day: date) -> int:
    """Whole years from a birth to a day."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def is_minor(facts: Facts) -> bool:
    """Under the age of majority today; nobody whose birth is unknown is."""
    age = age_on(facts)
    return age is not None and age < facts.switches.majority


def today(facts: Facts) -> date:
    """The day of the decision in Paris."""
    return day_of(facts.now)


@lru_cache(maxsize=256)
def day_of(now: datetime) -> date:
    """The day of an instant as texts count days: from midnight to midnight in Paris."""
    return now.astimezone(_PARIS).date()
