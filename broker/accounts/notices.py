"""Notices: which there are, to whom one goes and by which way, or why it goes to nobody. Pure.

Rules: NOT-01 to NOT-06, EMG-04, VIS-02, PAT-10. A notice never says which document, what it is about, nor who looked: it says
that something happened and where to look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from broker.accounts import machine

Channel = Literal["mail", "letter", "webhook", "mssante"]
CHANNELS: tuple[Channel, ...] = ("mail", "letter", "webhook", "mssante")

ACCESS = ("first_access", "access", "emergency_access")
"""Notices of somebody's access: at once for the first of a professional and for an emergency, then once a day."""

TRAITANT = "emergency_traitant"
"""The notice of an emergency access to the declared médecin traitant: one beside each of the holder's (EMG-04)."""

DOCUMENTS = ("new_document", "neutral")
"""Notices of what was filed. `neutral`: something was, and a professional should be seen (VIS-02)."""

OF_ACCOUNT = (
    "informed", "opposed", "opened", "not_opened", "activated", "code", "reopened", "closed", "suspended", "resumed",
    "deletion_requested", "deleted", "adult",
)  # fmt: skip
"""Notices of the life-cycle; by letter where there is no mail address."""

KINDS = (*ACCESS, TRAITANT, *DOCUMENTS, *OF_ACCOUNT)

GATHER = timedelta(minutes=10)
"""What is filed within this time is told in one notice (NOT-03)."""

NEUTRAL_AFTER = timedelta(days=14)
"""After two weeks in which a document was not shown to the patient the neutral notice goes out (VIS-02)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may be told: by number, mail address, language."""

    patient: int
    mail: str = field(default="", repr=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked at when a notice is due.

    `holders` are those of a minor's parental authority; `visible_from` and `is_current` are of the document, where
    the notice is of one. `is_secret`: of an act that representatives are not to learn of.
    traitant: key of the declared médecin traitant; `traitant_mail` their MSSanté address, where it is known
    actor: key of the professional whose access it is
    """

    kind: str
    state: str
    holder: Person
    holders: Sequence[Person] = ()
    is_dead: bool = False
    is_secret: bool = False
    visible_from: datetime | None = None
    is_current: bool = True
    tried: Collection[str] = ()
    traitant: str = ""
    traitant_mail: str = field(default="", repr=False)
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How a notice goes out, and to whom: each of them gets it."""

    channel: Channel
    to: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why a notice goes to nobody; the fact stays in the history."""

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """It is not the time yet."""

    at: datetime


SUPPRESSED_WORDS = {
    "deceased": "the holder has died",
    "deleted": "the space was deleted",
    "document_gone": "the document is not in the record any more",
    "visible_already": "the document was shown to the patient within two weeks (VIS-02)",
    "NOT-04": "representatives are not to see the document (VIS-04)",
    "NOT-05": "there is no address: it stands in the history",
    "NOT-06": "representatives are not to learn of it (MIN-02, MIN-03)",
    "no_address": "there is no address to write to",
    "no_traitant": "no médecin traitant is declared (ACC-07)",
    "own_access": "the médecin traitant looked themselves",
    "no_mssante": "no MSSanté address of the médecin traitant is known",
    "no_channel": "no way of sending it is set up ([notices])",
}


def judge(facts: Facts, channels: Collection[str], now: datetime) -> Way | Suppressed | Later:
    """What becomes of a notice that is due; `channels` are those the installation has."""
    if facts.is_dead:
        return Suppressed("deceased")
    if facts.state == machine.DELETED and facts.kind != "deleted":
        return Suppressed("deleted")
    if facts.kind == TRAITANT:
        return _to_traitant(facts, channels)
    if facts.kind in DOCUMENTS:
        if not facts.is_current:
            return Suppressed("document_gone")
        is_visible = facts.visible_from is None or facts.visible_from <= now
        if facts.kind == "neutral" and is_visible:
            return Suppressed("visible_already")
        if facts.kind == "new_document" and not is_visible and facts.visible_from is not None:
            return Later(facts.visible_from)
    if facts.is_secret and facts.holders:
        return Suppressed("NOT-04" if facts.kind in DOCUMENTS else "NOT-06")
    return _way(facts, channels)


def _to_traitant(facts: Facts, channels: Collection[str]) -> Way | Suppressed:
    """The declared médecin traitant, by secure mail alone: the notice names the patient (R.1111-48)."""
    if not facts.traitant:
        return Suppressed("no_traitant")
    if facts.actor == facts.traitant:
        return Suppressed("own_access")
    if not facts.traitant_mail:
        return Suppressed("no_mssante")
    if "mssante" not in channels:
        return Suppressed("no_channel")
    return Way("mssante", (Person(facts.holder.patient, facts.traitant_mail),))


def _way(facts: Facts, channels: Collection[str]) -> Way | Suppressed:
    told = tuple(facts.holders) or (facts.holder,)
    able = [one for one in channels if one not in facts.tried]
    with_mail = tuple(one for one in told if one.mail)
    if "mail" in able and with_mail:
        return Way("mail", with_mail)
    if "webhook" in able and facts.state == machine.ACTIVE:
        return Way("webhook", told)
    if facts.kind not in OF_ACCOUNT:
        return Suppressed("NOT-05")
    if "letter" in able:
        return Way("letter", told)
    return Suppressed("no_channel")
