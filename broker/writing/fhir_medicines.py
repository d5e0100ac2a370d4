"""Medicines and vaccinations as FHIR resources. For `broker.writing.fhir`.

Source: FHIR R4 (4.0.1) MedicationRequest, MedicationAdministration, MedicationDispense, MedicationStatement,
Immunization.
"""

from __future__ import annotations

from typing import Any

from broker.document import Immunization, Medication
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries, codes, status, unknown
from broker.writing.fhir_types import Json, each, filled

_STATUS = {
    "MedicationRequest": codes(
        "active on-hold cancelled completed entered-in-error stopped draft unknown"
    ),
    "MedicationAdministration": codes(
        "in-progress not-done on-hold completed entered-in-error stopped unknown"
    ),
    "MedicationDispense": codes(
        "preparation in-progress cancelled on-hold completed entered-in-error stopped declined unknown"
    ),
    "MedicationStatement": codes(
        "active completed entered-in-error intended stopped on-hold unknown not-taken"
    ),
}
_IMMUNIZATION = codes("completed entered-in-error not-done")


def medication(entries: Entries, item: Medication, number: int, subject: str, visit: str) -> str:
    """The resource for what was done with a medicine; its fullUrl. A kind that is not known is a statement."""
    write = _KINDS.get(item.kind, _statement)
    return entries.add(f"medication {number}", write(entries, item, subject, visit))


def _common(kind: str, item: Medication, subject: str) -> Json:
    return filled(
        resourceType=kind,
        identifier=each(types.identifier, item.identifiers),
        status=status(item.status, _STATUS[kind]),
        medicationCodeableConcept=types.concept(item.product) or unknown(),
        subject=types.reference(subject) or unknown(),
        note=[{"text": note} for note in item.notes],
    )


def _request(entries: Entries, item: Medication, subject: str, visit: str) -> Json:
    return {
        **_common("MedicationRequest", item, subject),
        **filled(
            intent="order",
            encounter=types.reference(visit),
            reasonCode=each(types.concept, [item.reason]),
            requester=types.reference(entries.person(item.performer)),
            dosageInstruction=_dosages(item),
            dispenseRequest=filled(
                quantity=_simple(item.quantity),
                validityPeriod=_period(item),
            ),
        ),
    }


def _administration(entries: Entries, item: Medication, subject: str, visit: str) -> Json:
    performer = types.reference(entries.person(item.performer))
    return {
        **_common("MedicationAdministration", item, subject),
        **filled(
            context=types.reference(visit),
            **_effective(item, is_needed=True),
            performer=[{"actor": performer}] if performer else [],
            reasonCode=each(types.concept, [item.reason]),
            dosage=filled(
                text=item.timing,
                route=types.concept(item.route),
                dose=_simple(item.dose),
            )
            if item.dose
            else None,
        ),
    }


def _dispense(entries: Entries, item: Medication, subject: str, visit: str) -> Json:
    performer = types.reference(entries.person(item.performer))
    return {
        **_common("MedicationDispense", item, subject),
        **filled(
            context=types.reference(visit),
            performer=[{"actor": performer}] if performer else [],
            quantity=_simple(item.quantity),
            whenHandedOver=types.date_time(item.start),
            dosageInstruction=_dosages(item),
        ),
    }


def _statement(entries: Entries, item: Medication, subject: str, visit: str) -> Json:
    return {
        **_common("MedicationStatement", item, subject),
        **filled(
            context=types.reference(visit),
            **_effective(item, is_needed=False),
            informationSource=types.reference(entries.person(item.performer)),
            reasonCode=each(types.concept, [item.reason]),
            dosage=_dosages(item, with_period=False),
        ),
    }


_KINDS: dict[str, Any] = {
    "prescribed": _request,
    "administered": _administration,
    "dispensed": _dispense,
    "statement": _statement,
}


def _effective(item: Medication, *, is_needed: bool) -> Json:
    start, end = types.date_time(item.start), types.date_time(item.end)
    if end:
        return {"effectivePeriod": filled(start=start, end=end)}
    if start:
        return {"effectiveDateTime": start}
    return {"effectivePeriod": unknown()} if is_needed else {}


def _period(item: Medication) -> Json:
    return filled(start=types.date_time(item.start), end=types.date_time(item.end))


def _dosages(item: Medication, *, with_period: bool = True) -> list[Json]:
    dose = _simple(item.dose)
    bounds = _period(item) if with_period else {}
    one = filled(
        text=item.timing,
        timing=filled(repeat=filled(boundsPeriod=bounds)) if bounds else None,
        asNeededBoolean=item.as_needed,
        route=types.concept(item.route),
        doseAndRate=[{"doseQuantity": dose}] if dose else [],
    )
    return [one] if one else []


def _simple(quantity: Any) -> Json | None:
    """A SimpleQuantity: without comparator."""
    found = types.quantity(quantity)
    if found:
        found.pop("comparator", None)
    return found


def immunization(
    entries: Entries, item: Immunization, number: int, subject: str, visit: str
) -> str:
    """An Immunization; its fullUrl. When it was given must be there, or be said to be unknown."""
    occurred = types.date_time(item.occurred_at)
    performer = types.reference(entries.person(item.performer))
    was_given = "not-done" if item.reason_not_done else "completed"
    resource = filled(
        resourceType="Immunization",
        identifier=each(types.identifier, item.identifiers),
        status=status(item.status, _IMMUNIZATION, was_given),
        statusReason=types.concept(item.reason_not_done),
        vaccineCode=types.concept(item.vaccine) or unknown(),
        patient=types.reference(subject) or unknown(),
        encounter=types.reference(visit),
        occurrenceDateTime=occurred,
        occurrenceString=None if occurred else "unknown",
        manufacturer=types.reference(entries.organization(item.manufacturer)),
        lotNumber=item.lot,
        expirationDate=types.date(item.expiration),
        site=types.concept(item.site),
        route=types.concept(item.route),
        doseQuantity=_simple(item.dose),
        performer=[{"actor": performer}] if performer else [],
        note=[{"text": note} for note in item.notes],
        protocolApplied=[{"doseNumberString": item.dose_number}] if item.dose_number else [],
    )
    return entries.add(f"immunization {number}", resource)
