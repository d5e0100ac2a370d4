"""What a patient said of who may see the record as a FHIR Consent with its provision. Pure.

Source: FHIR R4 (4.0.1) Consent (ppc-1: a policy or a policyRule must be given); code systems consentscope,
consentaction, v3-ActReason, v3-ParticipationType. A word that was taken back is an inactive Consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from broker.access import NATIONAL
from broker.records.consent_words import Word

Json = dict[str, Any]

CATEGORY = "urn:carnet:consent"
"""System of the codes that say what a Consent is of: the kinds of `consent_words`."""

_TERMS = "http://terminology.hl7.org/CodeSystem"
_NATIONAL_OID = "urn:oid:1.2.250.1.71.4.2.1"
_RECIPIENT = ("v3-ParticipationType", "IRCP", "information recipient")
_EMERGENCIES = {
    "bris_de_glace": ("BTG", "break the glass"),
    "centre_15": ("ETREAT", "Emergency Treatment"),
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a kind of word means: its text, the rule it stands under, what it permits or denies, and when it is over."""

    text: str
    rule: str
    gives: Literal["permit", "deny"]
    action: str = "access"
    over: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()


_KINDS: Mapping[str, _Kind] = {
    "filing": _Kind("documents filed in the record", "CSP R.1111-47", "permit", "collect", (), ("IO",)),
    "consultation": _Kind("the care team reads", "CSP R.1111-46", "permit", "access", ("withdrawn", "NA"), ("INC",)),
    "explicit": _Kind("a professional reads", "CSP L.1110-4 III", "permit", "access", ("withdrawn",), ("INC",)),
    "block": _Kind("a professional is blocked", "DMP, EEDS TD0.2 (blocked professionals)", "deny", "access", ("unblocked",)),
    "traitant": _Kind("the declared médecin traitant", "CSP R.1111-43", "permit", "access", ("none",)),
    "emergency": _Kind("an emergency mode is refused", "CSP L.1111-17 I", "deny", "access", ("allowed",)),
    "application": _Kind("an application reads", "CSP R.1111-32", "permit", "access", ("revoked",)),
    "mandate": _Kind("a representative acts", "CSP R.1111-40", "permit", "access", ("ended",)),
    "minor_act": _Kind("a minor objects to the mention of acts", "CSP R.1111-33", "deny", "collect", ("lifted",)),
}  # fmt: skip


def consent(word: Word, resource_id: str, patient: str) -> Json:
    """The resource; `patient` is the reference of the record's patient."""
    kind = _KINDS[word.kind]
    value = word.value.partition("/")[0] if word.kind == "mandate" else word.value
    at = word.at.isoformat(timespec="milliseconds")
    provision: Json = {
        "type": "deny" if value in kind.denies else kind.gives,
        "action": [_coded("consentaction", kind.action)],
    }
    if word.kind == "mandate" and (period := _period(word.value)):
        provision = {"type": provision["type"], "period": period, "action": provision["action"]}
    if actor := _actor(word):
        provision["actor"] = [{"role": _coded(*_RECIPIENT), "reference": actor}]
    if word.kind == "emergency" and word.scope in _EMERGENCIES:
        code, display = _EMERGENCIES[word.scope]
        system = f"{_TERMS}/v3-ActReason"
        provision["purpose"] = [{"system": system, "code": code, "display": display}]
    made: Json = {
        "resourceType": "Consent",
        "id": resource_id,
        "meta": {"lastUpdated": at},
        "status": "inactive" if value in kind.over else "active",
        "scope": _coded("consentscope", "patient-privacy", "Privacy Consent"),
        "category": [
            {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]},
            {"coding": [{"system": CATEGORY, "code": word.kind, "display": kind.text}]},
        ],
        "patient": {"reference": patient},
        "dateTime": at,
        "policyRule": {"text": kind.rule},
        "provision": provision,
    }
    if word.on_behalf_of:
        made["performer"] = [_professional(word.on_behalf_of)]
    return made


def _coded(system: str, code: str, display: str = "") -> Json:
    coding = {"system": f"{_TERMS}/{system}", "code": code}
    return {"coding": [coding | ({"display": display} if display else {})]}


def _actor(word: Word) -> Json | None:
    """Whom it is about: a professional by national id, a team, an application or a representative by its name."""
    if word.kind in ("explicit", "block"):
        return _professional(word.scope)
    if word.kind == "traitant":
        return _professional(word.value) if word.value != "none" else None
    if word.kind in ("consultation", "application", "mandate", "minor_act") and word.scope:
        return {"display": word.scope}
    return None


def _professional(key: str) -> Json:
    system, bar, value = key.partition("|")
    if not bar:
        system, value = NATIONAL, key
    where = {"system": _NATIONAL_OID} if system == NATIONAL else {}
    return {"identifier": {**where, "value": value}}


def _period(mandate: str) -> Json:
    """From which day to which a mandate holds, days included."""
    _, _, start, end = (*mandate.split("/"), "", "", "")[:4]
    return {name: day for name, day in (("start", start), ("end", end)) if day}
