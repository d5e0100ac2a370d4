"""May the holder, a representative, an application or an operator see this. Pure; the first that speaks wins.

Sources: CSP R.1111-32, -40, -50, -53; civil code 371-1, 425, 458, 459; MIN-01 to MIN-05, ADU-01, ADU-02.
"""
# ruff: noqa: ARG001 - every step is asked the same way

from __future__ import annotations

from datetime import date

import msgspec

from broker.access import Viewer
from broker.rules import consent, visibility
from broker.rules.facts import Facts
from broker.rules.professional import Verdict, gone, is_minor, today

MANDATES = ("parent", "representation", "assistance", "carer", "ended")
"""What lets somebody act for a patient; `ended` takes it back. Assistance and carers read nothing (ADU-01, ADU-02)."""

SCOPES = ("person", "property", "all")


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """What a representative was declared with; days included. As text: `representation/person/2026-01-01/2027-12-31`."""

    kind: str
    scope: str = "all"
    start: date | None = None
    end: date | None = None

    def __str__(self) -> str:
        return f"{self.kind}/{self.scope}/{self.start or ''}/{self.end or ''}"

    @classmethod
    def parse(cls, text: str) -> Mandate:
        """Raises: ValueError when it is none."""
        kind, scope, start, end = text.split("/")
        if kind not in MANDATES or scope not in SCOPES:
            raise ValueError(text)
        return cls(kind=kind, scope=scope, start=_day(start), end=_day(end))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def of_holder(facts: Facts, viewer: Viewer) -> Verdict:
    """The holder: their own record, when it is open, and each document from its day on; masks are not for them."""
    if viewer.id != str(facts.patient):
        return False, "HOLD-01", "access.other_record"
    return _shown(facts) or (True, "HOLD-01", "access.own_record")


def of_representative(facts: Facts, viewer: Viewer) -> Verdict:
    """A representative: while the mandate holds, and never what the minor keeps from them."""
    if not facts.mandate or facts.mandate.startswith("ended/"):
        return False, "HOLD-01", "access.other_record"
    mandate = Mandate.parse(facts.mandate)
    refused = _against_mandate(facts, mandate)
    if refused is not None:
        return refused
    shown = _shown(facts)
    if shown is not None:
        return shown
    if facts.hidden_from_reps and mandate.kind == "parent":
        return False, "VIS-04", "access.hidden_from_representatives"
    return True, "MIN-01" if mandate.kind == "parent" else "ADU-01", "access.represented"


def _against_mandate(facts: Facts, mandate: Mandate) -> Verdict | None:
    if mandate.kind == "carer":
        return False, "ADU-02", "access.carer"
    rule = "MIN-01" if mandate.kind == "parent" else "ADU-01"
    day = today(facts)
    is_over = (mandate.start is not None and day < mandate.start) or (
        mandate.end is not None and day > mandate.end
    )
    if is_over:
        return False, rule, "access.mandate_over"
    if mandate.kind == "parent" and not is_minor(facts):
        return False, "VIS-08", "access.of_age"
    if mandate.kind == "assistance" or mandate.scope == "property":
        return False, rule, "access.mandate_scope"
    return None


def of_application(facts: Facts, viewer: Viewer) -> Verdict:
    """An application the holder authorised: what the holder sees, until they take it back (CON-09)."""
    if facts.authorised != "read":
        return False, "CON-09", "access.not_authorised"
    return _shown(facts) or (True, "CON-09", "access.authorised")


def of_operator(facts: Facts, viewer: Viewer) -> Verdict:
    """Metadata for the work; content only with a typed reason, and the patient sees that it was opened."""
    if facts.availability == "absent":
        return False, "AUD-07", "access.absent"
    if facts.action == "list":
        return True, "OPR-01", "access.operator"
    if not viewer.motive.strip():
        return False, "OPR-02", "access.operator_motive"
    return True, "OPR-02", "access.operator_reveal"


def _shown(facts: Facts) -> Verdict | None:
    """What holds against anybody who reads as the holder does; a closed space is only obtained on request (RET-03)."""
    if facts.action == "obtain" and facts.account == "closed":
        return gone(facts) or (True, "RET-03", "access.archive")
    against = consent.against_reading(facts.account)
    if against is not None:
        return False, *against
    found = gone(facts)
    if found is not None:
        return found
    hidden = visibility.against_holder(facts.visible_from, facts.now)
    return None if hidden is None else (False, *hidden)
