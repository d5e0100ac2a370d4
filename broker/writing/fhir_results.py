"""Reports and their results as DiagnosticReport, Observation, Specimen and ServiceRequest. For `broker.writing.fhir`.

Source: FHIR R4 (4.0.1); HL7 FHIR diagnostic-report-status and observation-status.
"""

from __future__ import annotations

from broker.document import Observation, Report, Specimen
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries, codes, references, status
from broker.writing.fhir_types import Json, each, filled
from broker.writing.own_records import is_of_patient

_REPORT = codes(
    "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown"
)
_OBSERVATION = codes(
    "registered preliminary final amended corrected cancelled entered-in-error unknown"
)


def report(entries: Entries, item: Report, number: int, subject: str, encounter: str) -> str:
    """A DiagnosticReport with its specimens, results and the order behind it; its fullUrl."""
    specimens = {
        one.id: entries.add(f"specimen {number}.{n}", specimen(one, subject))
        for n, one in enumerate(item.specimens, 1)
    }
    request = entries.add(f"request {number}", _request(entries, item, subject, encounter))
    results = [
        observation(entries, one, f"result {number}.{n}", subject, encounter, specimens)
        for n, one in enumerate(item.observations, 1)
        if is_of_patient(one)
    ]
    identifiers = [types.identifier(i) for i in (item.filler_order, item.placer_order) if i]
    resource = filled(
        resourceType="DiagnosticReport",
        identifier=identifiers + each(types.identifier, item.identifiers),
        basedOn=references([request]),
        status=status({"not_done": "cancelled"}.get(item.status, item.status), _REPORT),
        category=each(types.concept, [item.category]),
        code=types.concept(item.code) or {"text": item.title or "report"},
        subject=types.reference(subject),
        encounter=types.reference(encounter),
        effectiveDateTime=types.date_time(item.collected_at),
        issued=types.instant(item.issued_at),
        performer=references([entries.participant(one) for one in item.performers]),
        specimen=references(list(specimens.values())),
        result=references(results),
        conclusion=item.conclusion or "\n".join(item.notes),
    )
    return entries.add(f"report {number}", resource)


def _request(entries: Entries, item: Report, subject: str, encounter: str) -> Json | None:
    """The order a report answers, when its requester is known."""
    requester = entries.person(item.requester)
    if not requester or not subject:
        return None
    return filled(
        resourceType="ServiceRequest",
        identifier=each(types.identifier, [item.placer_order]),
        status="unknown",
        intent="order",
        code=types.concept(item.code),
        subject=types.reference(subject),
        encounter=types.reference(encounter),
        requester=types.reference(requester),
    )


def specimen(item: Specimen, subject: str) -> Json:
    """A Specimen."""
    return filled(
        resourceType="Specimen",
        identifier=each(types.identifier, [item.identifier, *item.identifiers]),
        type=types.concept(item.type),
        subject=types.reference(subject),
        receivedTime=types.date_time(item.received_at),
        collection=filled(
            collectedDateTime=types.date_time(item.collected_at),
            bodySite=types.concept(item.body_site),
        ),
        note=[{"text": note} for note in item.notes],
    )


def observation(
    entries: Entries,
    item: Observation,
    name: str,
    subject: str,
    encounter: str,
    specimens: dict[str, str],
) -> str:
    """An Observation; its fullUrl. Components of components are results of their own."""
    value = types.result_value(item.value)
    members = [
        observation(entries, part, f"{name}.{n}", subject, encounter, specimens)
        for n, part in enumerate(item.components, 1)
        if part.components and is_of_patient(part)
    ]
    performers = [
        entries.role(item.performer, None),
        entries.organization(item.performing_organization),
    ]
    resource = filled(
        resourceType="Observation",
        identifier=each(types.identifier, item.identifiers),
        status=status(item.status, _OBSERVATION),
        code=types.concept(item.code) or {"text": "observation"},
        subject=types.reference(subject),
        encounter=types.reference(encounter),
        effectiveDateTime=types.date_time(item.observed_at),
        performer=references(performers),
        **value,
        dataAbsentReason=_absent(item, bool(value)),
        interpretation=each(types.concept, item.flags),
        note=[{"text": note} for note in item.notes],
        bodySite=types.concept(item.body_site),
        method=types.concept(item.method),
        specimen=types.reference(specimens.get(item.specimen, "")),
        device=types.reference(entries.device(item.device)),
        referenceRange=each(types.reference_range, item.reference_range),
        hasMember=references(members),
        component=[
            _component(part)
            for part in item.components
            if not part.components and is_of_patient(part)
        ],
    )
    return entries.add(name, resource)


def _component(part: Observation) -> Json:
    value = types.result_value(part.value)
    return filled(
        code=types.concept(part.code) or {"text": "component"},
        **value,
        dataAbsentReason=_absent(part, bool(value)),
        interpretation=each(types.concept, part.flags),
        referenceRange=each(types.reference_range, part.reference_range),
    )


def _absent(item: Observation, has_value: bool) -> Json | None:
    return {"text": item.absent_reason} if item.absent_reason and not has_value else None
