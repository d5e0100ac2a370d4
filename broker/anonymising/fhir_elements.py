"""Which FHIR elements keep what they say: codes, systems, types and numbers. Every other text is replaced.

Source: FHIR R4 (4.0.1), the elements of type code, uri, canonical and of the numeric types in the resources Carnet
reads; numeric ones by `broker.parsing.fhir_types`.
"""

from __future__ import annotations

_KEPT_NAMES = (
    "action category class clinicalStatus code codeFilter comparator contentType country criticality currency "
    "dayOfWeek definition docStatus durationUnit event fhirVersion gender ifNoneMatch implicitRules "
    "instantiatesCanonical intent interpretation kind language linkId lockId method mode operation periodUnit priority "
    "profile rank relation relationship resourceType restriction security sequenceType severity status "
    "system type unit url use valueBoolean valueCanonical valueCode valueDecimal valueInteger valuePositiveInt "
    "valueTime valueUnsignedInt valueUri verificationStatus versionId when xmlns"
)
KEPT = frozenset(_KEPT_NAMES.split())
"""Elements whose text is a code, a system or a number."""

REFERENCES = frozenset(
    {"reference", "fullUrl", "ifNoneExist", "location", "source", "questionnaire"}
)
IDENTIFYING = frozenset({"value", "id", "reference", "fullUrl", "family", "given", "line", "city", "postalCode"})  # fmt: skip
"""Never taken for a date, whatever it looks like."""
FACILITIES = frozenset({"Organization", "Location", "HealthcareService", "Endpoint", "Device"})
