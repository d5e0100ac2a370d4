"""What decisions look at: gathered first, judged afterwards, stored with the decision. Pure.

`of_reading` and `of_filing` gather from a patient, a viewer and a document as the records know them; nothing that a
step asks stands anywhere else, so stored facts are judged again to the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Protocol

import msgspec

from broker.access import Action, Viewer, keys_of, viewer_keys
from broker.document import Delivery, Document
from broker.header import confidentiality
from broker.rules.switches import NORMAL, Switches

FILE = "file"
BIOLOGY_REPORT = "11502-2"
"""JDV_J07: compte rendu d'examens biologiques."""

NO_INSTANT = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_NOT_SAID = ("", NO_INSTANT)


class Membership(msgspec.Struct, frozen=True):
    """A team of the patient's that somebody belongs to now (L.1110-12): `branch` 1 structure, 2 recognised, 3 group.

    `team` is what consent is given to: the member's key, and `#` and the visit where there is one.
    """

    team: str
    branch: int


class FilingFacts(Protocol):
    """What filing looks at in a patient."""

    @property
    def id(self) -> int: ...
    @property
    def account(self) -> str: ...
    @property
    def consent_version(self) -> int: ...
    @property
    def filing_opposed(self) -> bool: ...


class PatientFacts(FilingFacts, Protocol):
    """What rules look at in a patient (`records.patients.PatientRow`).

    `team` are the open memberships of the one who asks (`records.care_team`); `born` the date of birth, if known.
    """

    @property
    def consents(self) -> Mapping[tuple[str, str], tuple[str, datetime]]: ...
    @property
    def team(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def born(self) -> date | None: ...


class DocumentFacts(Protocol):
    """What rules look at in a filed document (`records.reading.DocumentRow`)."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def type_code(self) -> str | None: ...
    @property
    def masked_ps(self) -> bool: ...
    @property
    def visible_from(self) -> datetime | None: ...
    @property
    def hidden_from_reps(self) -> bool: ...
    @property
    def availability(self) -> str: ...
    @property
    def author_keys(self) -> tuple[str, ...]: ...


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a decision looked at, and nothing it did not.

    team: the viewer's memberships of today, each with what was said of consent to it (`""` when nothing was)
    explicit: the last word to this very viewer, when it is of this consultation
    mandate: what lets a representative act, as it was declared
    codes: masks a document asks for at filing; `orders` what else its sender says of it
    """

    action: str
    now: datetime
    patient: int
    account: str
    consent_version: int
    filing_opposed: bool = False
    identity_status: str = ""
    oppositions: dict[str, str] = {}
    viewer: Viewer | None = None
    blocked: bool = False
    traitant: bool = False
    team: tuple[tuple[str, int, str], ...] = ()
    explicit: str = ""
    authorised: str = ""
    mandate: str = ""
    born: date | None = None
    document: str = ""
    type_code: str = ""
    masked_ps: bool = False
    visible_from: datetime | None = None
    hidden_from_reps: bool = False
    availability: str = ""
    author_keys: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    switches: Switches = NORMAL


def of_filing(
    patient: FilingFacts, document: Document | None, now: datetime, switches: Switches
) -> Facts:
    """Facts of filing a document, or of filing anything at all."""
    facts = Facts(
        action=FILE,
        now=now,
        patient=patient.id,
        account=patient.account,
        consent_version=patient.consent_version,
        filing_opposed=patient.filing_opposed,
        switches=switches,
    )
    if document is None:
        return facts
    known = document.patient
    asked = document.delivery
    return msgspec.structs.replace(
        facts,
        identity_status=known.identity_status if known is not None else "",
        born=_day(known.birth_date.value) if known is not None and known.birth_date else None,
        codes=tuple(sorted(confidentiality(document))) if document.confidentiality else (),
        orders=_orders(asked),
    )


def _orders(asked: Delivery | None) -> tuple[str, ...]:
    """`stated`: the sender's orders came along, and CI-SIS has each mask said there with Y or N (MIN-06)."""
    if asked is None:
        return ()
    return ("secret_connection", "stated") if asked.secret_connection else ("stated",)


def _day(value: str) -> date | None:
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


class Sitting:
    """One viewer before one patient's record at one instant: what every document's facts have in common."""

    __slots__ = ("_given", "now", "patient", "viewer")

    def __init__(
        self, viewer: Viewer, patient: PatientFacts, now: datetime, switches: Switches
    ) -> None:
        self.viewer, self.patient, self.now = viewer, patient, now
        said = patient.consents
        keys = viewer_keys(viewer)
        if viewer.responsible:
            keys |= keys_of(viewer.responsible)
        self._given: dict[str, object] = {
            "now": now,
            "viewer": viewer,
            "patient": patient.id,
            "account": patient.account,
            "consent_version": patient.consent_version,
            "oppositions": {
                scope: value for (kind, scope), (value, _) in said.items() if kind == "emergency"
            },
            "blocked": any(said.get(("block", key), _NOT_SAID)[0] == "blocked" for key in keys),
            "traitant": said.get(("traitant", ""), _NOT_SAID)[0] in keys,
            "team": tuple((team, branch, _to_team(said, team)) for team, branch in patient.team),
            "explicit": _explicit(viewer, keys, said, now, switches),
            "born": patient.born,
            "switches": switches,
        }
        if viewer.kind == "application":
            self._given["authorised"] = said.get(("application", viewer.id), _NOT_SAID)[0]
        elif viewer.kind == "representative":
            self._given["mandate"] = said.get(("mandate", viewer.id), _NOT_SAID)[0]

    def facts(self, document: DocumentFacts | None, type_code: str, action: Action) -> Facts:
        """The facts of one document, or of the record as a whole."""
        if document is None:
            return Facts(action=action, **self._given)  # type: ignore[arg-type]
        return Facts(
            action=action,
            document=document.id,
            type_code=type_code,
            masked_ps=document.masked_ps,
            visible_from=document.visible_from,
            hidden_from_reps=document.hidden_from_reps,
            availability=document.availability,
            author_keys=document.author_keys,
            **self._given,  # type: ignore[arg-type]
        )


def _to_team(said: Mapping[tuple[str, str], tuple[str, datetime]], team: str) -> str:
    """What was said to a team: of its episode, else of the team without one; a general refusal stands for all.

    A consent that names no team opens none (CON-03: one initial consent for each team and episode).
    """
    whole = team.partition("#")[0]
    found = [said[key] for key in (("consultation", team), ("consultation", whole)) if key in said]
    general = said.get(("consultation", ""), _NOT_SAID)
    if general[0] in ("INC", "withdrawn"):
        found.append(general)
    return max(found, key=lambda one: one[1])[0] if found else ""


def _explicit(
    viewer: Viewer,
    keys: frozenset[str],
    said: Mapping[tuple[str, str], tuple[str, datetime]],
    now: datetime,
    switches: Switches,
) -> str:
    """The patient's word to this viewer: of this consultation, noted beforehand or told by the viewer (CON-04)."""
    last = max(
        (said[key] for key in (("explicit", one) for one in keys) if key in said),
        key=lambda one: one[1],
        default=_NOT_SAID,
    )
    if last[0] in ("INC", "withdrawn"):
        return last[0]
    if last[0] == "IC" and now - last[1] < timedelta(hours=switches.consultation_hours):
        return "IC"
    return "IC" if viewer.consent == "explicit" else ""
