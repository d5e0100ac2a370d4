"""Stays, appointments, orders, conditions, allergies and acts as FHIR resources. For `broker.writing.fhir`.

Where FHIR demands what the document does not say, the resource says that it is not known.
Source: FHIR R4 (4.0.1) Encounter, Appointment, ServiceRequest, Condition, AllergyIntolerance, Procedure.
"""

from __future__ import annotations

from broker.document import Allergy, Appointment, Encounter, Order, Participant, Problem, Procedure
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries, codes, status, unknown
from broker.writing.fhir_types import Json, each, filled

_ENCOUNTER = codes(
    "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
)
_APPOINTMENT = codes(
    "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist"
)
_REQUEST = codes("draft active on-hold revoked completed entered-in-error unknown")
_PROCEDURE = codes(
    "preparation in-progress not-done on-hold stopped completed entered-in-error unknown"
)
_STATES = {
    "condition-clinical": codes("active recurrence relapse inactive remission resolved"),
    "condition-ver-status": codes(
        "unconfirmed provisional differential confirmed refuted entered-in-error"
    ),
    "allergyintolerance-clinical": codes("active inactive resolved"),
    "allergyintolerance-verification": codes("unconfirmed confirmed refuted entered-in-error"),
}
"""Code systems of clinical and verification status, and their codes."""
_CATEGORIES = codes("food medication environment biologic")
_CRITICALITIES = codes("low high unable-to-assess")
_ORDER_STATUS = {
    "cancelled": "revoked", "ca": "revoked", "dc": "revoked", "cm": "completed", "ip": "active", "sc": "active",
    "hd": "on-hold", "er": "entered-in-error", "a": "active",
}  # fmt: skip
"""HL7 v2.5.1 table 0038 (order status) and the words of other sources."""
_ORDER_CONTROL = {"CA": "revoked", "DC": "revoked", "OC": "revoked", "CR": "revoked", "HD": "on-hold", "NW": "active"}  # fmt: skip
_PRIORITIES = {"r": "routine", "s": "stat", "a": "asap", "u": "urgent"}
_TERMS = "http://terminology.hl7.org/CodeSystem"


def encounter(entries: Entries, item: Encounter, number: int, subject: str) -> str:
    """An Encounter; its fullUrl."""
    places = [
        filled(location=types.reference(entries.location(place)), status=state)
        for place, state in ((item.location, ""), (item.previous_location, "completed"))
        if place
    ]
    resource = filled(
        resourceType="Encounter",
        identifier=each(types.identifier, [item.identifier, *item.identifiers]),
        status=status(item.status, _ENCOUNTER),
        **{"class": types.coding(types.translated(item.class_)) or _no_class()},
        type=each(types.concept, [item.type]),
        priority=types.concept(item.admission_type),
        subject=types.reference(subject),
        participant=[_participant(entries, one) for one in item.participants],
        period=filled(start=types.date_time(item.start), end=types.date_time(item.end)),
        reasonCode=each(types.concept, [item.reason]),
        hospitalization=filled(dischargeDisposition=types.concept(item.discharge_disposition)),
        location=[place for place in places if "location" in place],
        serviceProvider=types.reference(_unit(entries, item)),
    )
    resource["participant"] = [one for one in resource.get("participant", []) if one]
    if not resource["participant"]:
        del resource["participant"]
    return entries.add(f"encounter {number}", resource)


def _no_class() -> Json:
    return {"system": f"{_TERMS}/v3-NullFlavor", "code": "UNK"}


def _unit(entries: Entries, item: Encounter) -> str:
    if item.movement is None:
        return ""
    return entries.organization(item.movement.medical_unit or item.movement.care_unit)


def _participant(entries: Entries, one: Participant) -> Json:
    return filled(
        type=each(types.concept, [one.role]),
        period=filled(start=types.date_time(one.at)),
        individual=types.reference(entries.person(one.person)),
    )


def appointment(entries: Entries, item: Appointment, number: int, subject: str) -> str:
    """An Appointment; its fullUrl. A time that is no full instant is what was asked for, not what is agreed."""
    start, end = types.instant(item.start), types.instant(item.end)
    minutes = item.duration.value if item.duration else ""
    actors = [subject, entries.location(item.location)]
    people = [(entries.participant(one), one) for one in item.participants]
    participants = [
        filled(actor=types.reference(url), status="needs-action") for url in actors if url
    ]
    participants += [
        filled(
            type=each(types.concept, [one.role]),
            actor=types.reference(url),
            status="needs-action",
        )
        for url, one in people
        if url
    ]
    requested = filled(start=types.date_time(item.start), end=types.date_time(item.end))
    resource = filled(
        resourceType="Appointment",
        identifier=each(
            types.identifier, [item.identifier, item.placer, item.filler, *item.identifiers]
        ),
        status=status(item.status, _APPOINTMENT, "proposed"),
        serviceType=each(types.concept, [item.service]),
        reasonCode=each(types.concept, [item.reason]),
        start=start if start and end else None,
        end=end if start and end else None,
        minutesDuration=int(minutes) if minutes.isdigit() and int(minutes) else None,
        comment="\n".join(item.notes),
        participant=participants or [{**unknown(), "status": "needs-action"}],
        requestedPeriod=[requested] if requested and not (start and end) else [],
    )
    return entries.add(f"appointment {number}", resource)


def order(entries: Entries, item: Order, number: int, subject: str, visit: str) -> str:
    """A ServiceRequest; its fullUrl."""
    said = _ORDER_STATUS.get(item.status.lower()) or status(item.status, _REQUEST, "")
    resource = filled(
        resourceType="ServiceRequest",
        identifier=each(types.identifier, [item.placer, item.filler, *item.identifiers]),
        status=said or _ORDER_CONTROL.get(item.control, "unknown"),
        intent="order",
        priority=_PRIORITIES.get(item.priority[:1].lower()) if item.priority else None,
        code=types.concept(item.code),
        subject=types.reference(subject) or unknown(),
        encounter=types.reference(visit),
        authoredOn=types.date_time(item.requested_at),
        requester=types.reference(entries.person(item.requester)),
        note=[{"text": note} for note in item.notes],
    )
    return entries.add(f"order {number}", resource)


def problem(entries: Entries, item: Problem, number: int, subject: str, visit: str) -> str:
    """A Condition; its fullUrl."""
    resource = filled(
        resourceType="Condition",
        identifier=each(types.identifier, item.identifiers),
        clinicalStatus=_state(item.clinical_status, "condition-clinical"),
        verificationStatus=_state(item.verification, "condition-ver-status"),
        category=[{"text": item.kind}] if item.kind else [],
        code=types.concept(item.code) or ({"text": "no known problem"} if item.no_known else None),
        subject=types.reference(subject) or unknown(),
        encounter=types.reference(visit),
        onsetDateTime=types.date_time(item.onset),
        abatementDateTime=types.date_time(item.abatement),
        note=[{"text": note} for note in item.notes],
    )
    return entries.add(f"problem {number}", resource)


def _state(text: str, system: str) -> Json | None:
    code = status(text, _STATES[system], "")
    return {"coding": [{"system": f"{_TERMS}/{system}", "code": code}]} if code else None


def allergy(entries: Entries, item: Allergy, number: int, subject: str, visit: str) -> str:
    """An AllergyIntolerance; its fullUrl. A clinical status must be there, or be said to be unknown."""
    category = item.category.lower()
    criticality = item.criticality.lower().replace("_", "-")
    verification = _state(item.verification, "allergyintolerance-verification")
    is_error = item.verification.replace("_", "-") == "entered-in-error"
    clinical = _state(item.clinical_status, "allergyintolerance-clinical")
    resource = filled(
        resourceType="AllergyIntolerance",
        identifier=each(types.identifier, item.identifiers),
        clinicalStatus=None if is_error else clinical or unknown(),
        verificationStatus=verification,
        category=[category] if category in _CATEGORIES else [],
        criticality=criticality if criticality in _CRITICALITIES else None,
        code=types.concept(item.code) or ({"text": "no known allergy"} if item.no_known else None),
        patient=types.reference(subject) or unknown(),
        encounter=types.reference(visit),
        onsetDateTime=types.date_time(item.onset),
        note=[{"text": note} for note in item.notes],
        reaction=[{"manifestation": [one]} for one in each(types.concept, item.reactions)],
    )
    return entries.add(f"allergy {number}", resource)


def procedure(entries: Entries, item: Procedure, number: int, subject: str, visit: str) -> str:
    """A Procedure; its fullUrl."""
    start = types.date_time(item.performed.start) if item.performed else None
    end = types.date_time(item.performed.end) if item.performed else None
    performers = [
        filled(
            function=types.concept(one.function or one.role),
            actor=types.reference(entries.role(one.person, one.organization)),
        )
        for one in item.performers
    ]
    resource = filled(
        resourceType="Procedure",
        identifier=each(types.identifier, item.identifiers),
        status=status(item.status, _PROCEDURE),
        code=types.concept(item.code),
        subject=types.reference(subject) or unknown(),
        encounter=types.reference(visit),
        performedDateTime=start if not end else None,
        performedPeriod=filled(start=start, end=end) if end else None,
        performer=[one for one in performers if "actor" in one],
        bodySite=each(types.concept, [item.body_site]),
        outcome=types.concept(item.outcome),
        note=[{"text": note} for note in item.notes],
    )
    return entries.add(f"procedure {number}", resource)
