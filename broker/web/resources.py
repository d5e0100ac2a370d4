"""What the API serves: types, parameters and includes, as one table. For requests, conformance and documentation.

Source: FHIR R4 (4.0.1) search parameters of each type; IHE MHD 4.2 ITI-66, ITI-67 (PDSm takes the same). A parameter
stands here only if it is answered in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from broker.access import Action

Kind = Literal["token", "date", "string", "reference"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter: where in the resource its values stand, and what they mean."""

    name: str
    kind: Kind
    meaning: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """One type. `action` is what showing it amounts to: "list" what a document is, "read" what it says.

    only_current: what a superseded version said is not served; searched: false is by id alone
    includes: what `_include` may ask for: name of the parameter, and the type that comes with it
    """

    name: str
    meaning: str
    action: Action = "read"
    only_current: bool = True
    searched: bool = True
    parameters: tuple[Parameter, ...] = ()
    includes: Mapping[str, str] | None = None


def _token(name: str, meaning: str, *paths: str) -> Parameter:
    return Parameter(name, "token", meaning, paths)


def _date(name: str, meaning: str, *paths: str) -> Parameter:
    return Parameter(name, "date", meaning, paths)


def _string(name: str, meaning: str, *paths: str) -> Parameter:
    return Parameter(name, "string", meaning, paths)


PATIENT = (
    Parameter(
        "patient",
        "reference",
        "whose record: Patient/id; a patient or representative may leave it out",
    ),
    Parameter("patient.identifier", "token", "whose record: system|value, or the INS alone"),
)
COMMON = (
    _token("_id", "id of the resource", "id"),
    _date("_lastUpdated", "when it was filed", "meta.lastUpdated"),
)
_IDENTIFIER = _token("identifier", "an identifier", "identifier")
_STATUS = _token("status", "status", "status")
_CODE = _token("code", "what it is", "code")
_SUBJECT = {"patient": "Patient", "subject": "Patient"}

TABLE: tuple[Resource, ...] = (
    Resource(
        "Patient",
        "who a record is of",
        action="list",
        parameters=(_IDENTIFIER,),
    ),
    Resource(
        "DocumentReference",
        "a document of the record (ITI-67)",
        action="list",
        only_current=False,
        parameters=(
            _STATUS,
            _token("identifier", "an identifier", "identifier", "masterIdentifier"),
            _token("type", "type of the document", "type"),
            _token("category", "class of the document", "category"),
            _date("date", "when it was written", "date"),
            _date("creation", "when its content was made", "content.attachment.creation"),
            _date("period", "when what it tells of took place", "context.period"),
            _token("event", "act it tells of", "context.event"),
            _token("facility", "kind of facility", "context.facilityType"),
            _token("setting", "practice setting", "context.practiceSetting"),
            _token("security-label", "confidentiality", "securityLabel"),
            _token("format", "format of the content", "content.format"),
            _token("contenttype", "media type of the content", "content.attachment.contentType"),
            _token("related", "order or study it belongs to", "context.related.identifier"),
            _string("author.family", "family name of an author", "contained.name.family"),
            _string("author.given", "given name of an author", "contained.name.given"),
        ),
        includes=_SUBJECT,
    ),
    Resource(
        "Binary",
        "the bytes of a document (ITI-68)",
        searched=False,
    ),
    Resource(
        "List",
        "the submission set a document came in (ITI-66)",
        action="list",
        only_current=False,
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _CODE,
            _date("date", "when it was sent", "date"),
            _string("source.family", "family name of its author", "contained.name.family"),
            _string("source.given", "given name of its author", "contained.name.given"),
        ),
        includes={**_SUBJECT, "item": "DocumentReference"},
    ),
    Resource(
        "DiagnosticReport",
        "results, as reported",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _CODE,
            _token("category", "section", "category"),
            _date("date", "time of the specimen", "effectiveDateTime", "effectivePeriod"),
            _date("issued", "when it was reported", "issued"),
        ),
        includes={**_SUBJECT, "result": "Observation"},
    ),
    Resource(
        "Observation",
        "one result or measure",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _CODE,
            _token("category", "kind", "category"),
            _date("date", "when it was observed", "effectiveDateTime", "effectivePeriod"),
        ),
        includes=_SUBJECT,
    ),
    Resource(
        "Immunization",
        "a vaccination",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _token("vaccine-code", "the vaccine", "vaccineCode"),
            _date("date", "when it was given", "occurrenceDateTime"),
        ),
        includes={"patient": "Patient"},
    ),
    Resource(
        "MedicationRequest",
        "a medicine that was prescribed",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _token("intent", "intent", "intent"),
            _token("code", "the medicine", "medicationCodeableConcept"),
            _date("authoredon", "when it was prescribed", "authoredOn"),
        ),
        includes=_SUBJECT,
    ),
    Resource(
        "AllergyIntolerance",
        "an allergy or intolerance",
        parameters=(
            _IDENTIFIER,
            _CODE,
            _token("clinical-status", "clinical status", "clinicalStatus"),
            _token("category", "kind of substance", "category"),
            _date("date", "when it was recorded", "recordedDate"),
        ),
        includes={"patient": "Patient"},
    ),
    Resource(
        "Condition",
        "a problem or diagnosis",
        parameters=(
            _IDENTIFIER,
            _CODE,
            _token("clinical-status", "clinical status", "clinicalStatus"),
            _token("category", "kind", "category"),
            _date("onset-date", "when it began", "onsetDateTime"),
            _date("recorded-date", "when it was recorded", "recordedDate"),
        ),
        includes=_SUBJECT,
    ),
    Resource(
        "Encounter",
        "a stay or visit",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _token("class", "class", "class"),
            _token("type", "type", "type"),
            _date("date", "when it took place", "period"),
        ),
        includes=_SUBJECT,
    ),
    Resource(
        "Appointment",
        "an appointment",
        parameters=(
            _STATUS,
            _IDENTIFIER,
            _token("service-type", "kind of service", "serviceType"),
            _date("date", "when it begins", "start", "requestedPeriod"),
        ),
        includes={"patient": "Patient"},
    ),
    Resource(
        "Consent",
        "what the patient said of who may see and feed the record: all of it for its patient, else what names one",
        action="list",
        parameters=(
            _STATUS,
            _token("category", "what it is of", "category"),
            _date("date", "when it was said last", "dateTime"),
        ),
        includes={"patient": "Patient"},
    ),
    Resource(
        "AuditEvent",
        "an access to the record: all for its patient and the declared médecin traitant, else one's own",
        action="list",
        parameters=(
            _date("date", "when it was", "recorded"),
            _token("type", "event (DICOM)", "type"),
            _token("action", "E listed, R read", "action"),
            _token("purpose", "treatment or which emergency", "purposeOfEvent"),
            _token("agent.identifier", "national id of who it was", "agent.who.identifier"),
            _string("agent-name", "name of who it was", "agent.name"),
        ),
        includes={"patient": "Patient"},
    ),
)

RESOURCES: Mapping[str, Resource] = {one.name: one for one in TABLE}
OF_DOCUMENTS = frozenset(RESOURCES) - {"Patient", "Consent", "AuditEvent"}
"""Types that are read out of documents, and decided with them."""

SORTS = ("-date", "date")
"""Newest or oldest document first: the order that keyset paging has."""


def parameters_of(resource: Resource) -> tuple[Parameter, ...]:
    """Every parameter a search of this type takes, beside `_count`, `_sort` and `_include`."""
    own = () if resource.name == "Patient" else PATIENT
    return (*COMMON, *own, *resource.parameters)
