"""The elements of the FHIR R4 resources that Carnet writes, and a change of one that a mapping asks for.

Facts of FHIR R4 (HL7, CC0), for the resources and data types named here. `*` marks a list, `!` an element that must be
there; `other` a type that a mapping cannot fill. Long because it is a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = frozenset({"text", "boolean", "integer", "decimal", "date", "dateTime", "instant"})


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its name, its type, whether it is a list and whether it must be there."""

    name: str
    type: str
    many: bool
    needed: bool


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A change of one element of every resource of a type: other values, more values, or none.

    path: element names from the resource down; values: of the document model, or texts; None removes the element
    """

    resource: str
    path: tuple[Element, ...]
    values: tuple[Any, ...] | None = field(repr=False)
    is_more: bool = False


def elements_of(type_name: str) -> dict[str, Element]:
    """The elements of a resource or data type by name; empty for one that is not described here."""
    found = {}
    for word in _ELEMENTS.get(type_name, "").split():
        name, _, kind = word.partition(":")
        found[name] = Element(name, kind.rstrip("*!"), "*" in kind, "!" in kind)
    return found


_ELEMENTS: dict[str, str] = {
    "List": (
        "language:text meta:Meta code:CodeableConcept date:dateTime emptyReason:CodeableConcept "
        "encounter:Reference entry:ListEntry* identifier:Identifier* mode:text! note:other* "
        "orderedBy:CodeableConcept source:Reference status:text! subject:Reference title:text"
    ),
    "ListEntry": "date:dateTime deleted:boolean flag:CodeableConcept item:Reference!",
    "Patient": (
        "language:text meta:Meta active:boolean address:Address* birthDate:date "
        "communication:PatientCommunication* contact:PatientContact* deceasedBoolean:boolean "
        "deceasedDateTime:dateTime gender:text generalPractitioner:Reference* identifier:Identifier* "
        "link:PatientLink* managingOrganization:Reference maritalStatus:CodeableConcept "
        "multipleBirthBoolean:boolean multipleBirthInteger:integer name:HumanName* photo:Attachment* "
        "telecom:ContactPoint*"
    ),
    "PatientCommunication": "preferred:boolean",
    "PatientContact": (
        "address:Address gender:text name:HumanName organization:Reference period:Period "
        "relationship:CodeableConcept* telecom:ContactPoint*"
    ),
    "PatientLink": "other:Reference! type:text!",
    "DocumentReference": (
        "language:text meta:Meta authenticator:Reference author:Reference* category:CodeableConcept* "
        "content:DocumentReferenceContent*! context:DocumentReferenceContext custodian:Reference date:instant "
        "description:text docStatus:text identifier:Identifier* masterIdentifier:Identifier "
        "relatesTo:DocumentReferenceRelatesTo* securityLabel:CodeableConcept* status:text! subject:Reference "
        "type:CodeableConcept"
    ),
    "DocumentReferenceContent": "attachment:Attachment! format:Coding",
    "DocumentReferenceContext": (
        "encounter:Reference* event:CodeableConcept* facilityType:CodeableConcept period:Period "
        "practiceSetting:CodeableConcept related:Reference* sourcePatientInfo:Reference"
    ),
    "DocumentReferenceRelatesTo": "code:text! target:Reference!",
    "Composition": (
        "language:text meta:Meta attester:CompositionAttester* author:Reference*! category:CodeableConcept* "
        "confidentiality:text custodian:Reference date:dateTime! encounter:Reference event:CompositionEvent* "
        "identifier:Identifier relatesTo:CompositionRelatesTo* section:CompositionSection* status:text! "
        "subject:Reference title:text! type:CodeableConcept!"
    ),
    "CompositionAttester": "mode:text! party:Reference time:dateTime",
    "CompositionEvent": "code:CodeableConcept* detail:Reference* period:Period",
    "CompositionRelatesTo": "code:text! targetIdentifier:Identifier targetReference:Reference",
    "CompositionSection": (
        "author:Reference* code:CodeableConcept emptyReason:CodeableConcept entry:Reference* focus:Reference "
        "mode:text orderedBy:CodeableConcept section:CompositionSection* title:text"
    ),
    "DiagnosticReport": (
        "language:text meta:Meta basedOn:Reference* category:CodeableConcept* code:CodeableConcept! "
        "conclusion:text conclusionCode:CodeableConcept* effectiveDateTime:dateTime effectivePeriod:Period "
        "encounter:Reference identifier:Identifier* imagingStudy:Reference* issued:instant "
        "media:DiagnosticReportMedia* performer:Reference* presentedForm:Attachment* result:Reference* "
        "resultsInterpreter:Reference* specimen:Reference* status:text! subject:Reference"
    ),
    "DiagnosticReportMedia": "comment:text link:Reference!",
    "Observation": (
        "language:text meta:Meta basedOn:Reference* bodySite:CodeableConcept category:CodeableConcept* "
        "code:CodeableConcept! component:ObservationComponent* dataAbsentReason:CodeableConcept "
        "derivedFrom:Reference* device:Reference effectiveDateTime:dateTime effectiveInstant:instant "
        "effectivePeriod:Period effectiveTiming:other encounter:Reference focus:Reference* "
        "hasMember:Reference* identifier:Identifier* interpretation:CodeableConcept* issued:instant "
        "method:CodeableConcept note:other* partOf:Reference* performer:Reference* "
        "referenceRange:ObservationReferenceRange* specimen:Reference status:text! subject:Reference "
        "valueBoolean:boolean valueCodeableConcept:CodeableConcept valueDateTime:dateTime "
        "valueInteger:integer valuePeriod:Period valueQuantity:Quantity valueRange:other valueRatio:other "
        "valueSampledData:other valueString:text valueTime:text"
    ),
    "ObservationComponent": (
        "code:CodeableConcept! dataAbsentReason:CodeableConcept interpretation:CodeableConcept* "
        "referenceRange:ObservationReferenceRange* valueBoolean:boolean valueCodeableConcept:CodeableConcept "
        "valueDateTime:dateTime valueInteger:integer valuePeriod:Period valueQuantity:Quantity "
        "valueRange:other valueRatio:other valueSampledData:other valueString:text valueTime:text"
    ),
    "ObservationReferenceRange": "age:other appliesTo:CodeableConcept* high:Quantity low:Quantity type:CodeableConcept",
    "Specimen": (
        "language:text meta:Meta accessionIdentifier:Identifier collection:SpecimenCollection "
        "condition:CodeableConcept* container:SpecimenContainer* identifier:Identifier* note:other* "
        "parent:Reference* processing:SpecimenProcessing* receivedTime:dateTime request:Reference* "
        "status:text subject:Reference type:CodeableConcept"
    ),
    "SpecimenCollection": (
        "bodySite:CodeableConcept collectedDateTime:dateTime collectedPeriod:Period collector:Reference "
        "duration:other fastingStatusCodeableConcept:CodeableConcept fastingStatusDuration:other "
        "method:CodeableConcept quantity:Quantity"
    ),
    "SpecimenContainer": (
        "additiveCodeableConcept:CodeableConcept additiveReference:Reference capacity:Quantity "
        "description:text identifier:Identifier* specimenQuantity:Quantity type:CodeableConcept"
    ),
    "SpecimenProcessing": (
        "additive:Reference* description:text procedure:CodeableConcept timeDateTime:dateTime "
        "timePeriod:Period"
    ),
    "ServiceRequest": (
        "language:text meta:Meta asNeededBoolean:boolean asNeededCodeableConcept:CodeableConcept "
        "authoredOn:dateTime basedOn:Reference* bodySite:CodeableConcept* category:CodeableConcept* "
        "code:CodeableConcept doNotPerform:boolean encounter:Reference identifier:Identifier* "
        "instantiatesCanonical:text* instantiatesUri:text* insurance:Reference* intent:text! "
        "locationCode:CodeableConcept* locationReference:Reference* note:other* occurrenceDateTime:dateTime "
        "occurrencePeriod:Period occurrenceTiming:other orderDetail:CodeableConcept* patientInstruction:text "
        "performer:Reference* performerType:CodeableConcept priority:text quantityQuantity:Quantity "
        "quantityRange:other quantityRatio:other reasonCode:CodeableConcept* reasonReference:Reference* "
        "relevantHistory:Reference* replaces:Reference* requester:Reference requisition:Identifier "
        "specimen:Reference* status:text! subject:Reference! supportingInfo:Reference*"
    ),
    "Encounter": (
        "language:text meta:Meta account:Reference* appointment:Reference* basedOn:Reference* "
        "classHistory:EncounterClassHistory* class:Coding! diagnosis:EncounterDiagnosis* "
        "episodeOfCare:Reference* hospitalization:EncounterHospitalization identifier:Identifier* "
        "length:other location:EncounterLocation* partOf:Reference participant:EncounterParticipant* "
        "period:Period priority:CodeableConcept reasonCode:CodeableConcept* reasonReference:Reference* "
        "serviceProvider:Reference serviceType:CodeableConcept status:text! "
        "statusHistory:EncounterStatusHistory* subject:Reference type:CodeableConcept*"
    ),
    "EncounterClassHistory": "class:Coding! period:Period!",
    "EncounterDiagnosis": "condition:Reference! rank:integer use:CodeableConcept",
    "EncounterHospitalization": (
        "admitSource:CodeableConcept destination:Reference dietPreference:CodeableConcept* "
        "dischargeDisposition:CodeableConcept origin:Reference preAdmissionIdentifier:Identifier "
        "reAdmission:CodeableConcept specialArrangement:CodeableConcept* specialCourtesy:CodeableConcept*"
    ),
    "EncounterLocation": "location:Reference! period:Period physicalType:CodeableConcept status:text",
    "EncounterParticipant": "individual:Reference period:Period type:CodeableConcept*",
    "EncounterStatusHistory": "period:Period! status:text!",
    "Appointment": (
        "language:text meta:Meta appointmentType:CodeableConcept basedOn:Reference* "
        "cancelationReason:CodeableConcept comment:text created:dateTime description:text end:instant "
        "identifier:Identifier* minutesDuration:integer participant:AppointmentParticipant*! "
        "patientInstruction:text priority:integer reasonCode:CodeableConcept* reasonReference:Reference* "
        "requestedPeriod:Period* serviceCategory:CodeableConcept* serviceType:CodeableConcept* "
        "slot:Reference* specialty:CodeableConcept* start:instant status:text! "
        "supportingInformation:Reference*"
    ),
    "AppointmentParticipant": "actor:Reference period:Period required:text status:text! type:CodeableConcept*",
    "Condition": (
        "language:text meta:Meta abatementAge:other abatementDateTime:dateTime abatementPeriod:Period "
        "abatementRange:other abatementString:text asserter:Reference bodySite:CodeableConcept* "
        "category:CodeableConcept* clinicalStatus:CodeableConcept code:CodeableConcept encounter:Reference "
        "evidence:ConditionEvidence* identifier:Identifier* note:other* onsetAge:other onsetDateTime:dateTime "
        "onsetPeriod:Period onsetRange:other onsetString:text recordedDate:dateTime recorder:Reference "
        "severity:CodeableConcept stage:ConditionStage* subject:Reference! verificationStatus:CodeableConcept"
    ),
    "ConditionEvidence": "code:CodeableConcept* detail:Reference*",
    "ConditionStage": "assessment:Reference* summary:CodeableConcept type:CodeableConcept",
    "AllergyIntolerance": (
        "language:text meta:Meta asserter:Reference category:text* clinicalStatus:CodeableConcept "
        "code:CodeableConcept criticality:text encounter:Reference identifier:Identifier* "
        "lastOccurrence:dateTime note:other* onsetAge:other onsetDateTime:dateTime onsetPeriod:Period "
        "onsetRange:other onsetString:text patient:Reference! reaction:AllergyIntoleranceReaction* "
        "recordedDate:dateTime recorder:Reference type:text verificationStatus:CodeableConcept"
    ),
    "AllergyIntoleranceReaction": (
        "description:text exposureRoute:CodeableConcept manifestation:CodeableConcept*! note:other* "
        "onset:dateTime severity:text substance:CodeableConcept"
    ),
    "Procedure": (
        "language:text meta:Meta asserter:Reference basedOn:Reference* bodySite:CodeableConcept* "
        "category:CodeableConcept code:CodeableConcept complication:CodeableConcept* "
        "complicationDetail:Reference* encounter:Reference focalDevice:ProcedureFocalDevice* "
        "followUp:CodeableConcept* identifier:Identifier* instantiatesCanonical:text* instantiatesUri:text* "
        "location:Reference note:other* outcome:CodeableConcept partOf:Reference* performedAge:other "
        "performedDateTime:dateTime performedPeriod:Period performedRange:other performedString:text "
        "performer:ProcedurePerformer* reasonCode:CodeableConcept* reasonReference:Reference* "
        "recorder:Reference report:Reference* status:text! statusReason:CodeableConcept subject:Reference! "
        "usedCode:CodeableConcept* usedReference:Reference*"
    ),
    "ProcedureFocalDevice": "action:CodeableConcept manipulated:Reference!",
    "ProcedurePerformer": "actor:Reference! function:CodeableConcept onBehalfOf:Reference",
    "MedicationRequest": (
        "language:text meta:Meta authoredOn:dateTime basedOn:Reference* category:CodeableConcept* "
        "courseOfTherapyType:CodeableConcept detectedIssue:Reference* "
        "dispenseRequest:MedicationRequestDispenseRequest doNotPerform:boolean dosageInstruction:other* "
        "encounter:Reference eventHistory:Reference* groupIdentifier:Identifier identifier:Identifier* "
        "instantiatesCanonical:text* instantiatesUri:text* insurance:Reference* intent:text! "
        "medicationCodeableConcept:CodeableConcept medicationReference:Reference note:other* "
        "performer:Reference performerType:CodeableConcept priorPrescription:Reference priority:text "
        "reasonCode:CodeableConcept* reasonReference:Reference* recorder:Reference reportedBoolean:boolean "
        "reportedReference:Reference requester:Reference status:text! statusReason:CodeableConcept "
        "subject:Reference! substitution:MedicationRequestSubstitution supportingInformation:Reference*"
    ),
    "MedicationRequestDispenseRequest": (
        "dispenseInterval:other expectedSupplyDuration:other "
        "initialFill:MedicationRequestDispenseRequestInitialFill numberOfRepeatsAllowed:integer "
        "performer:Reference quantity:Quantity validityPeriod:Period"
    ),
    "MedicationRequestDispenseRequestInitialFill": "duration:other quantity:Quantity",
    "MedicationRequestSubstitution": "allowedBoolean:boolean allowedCodeableConcept:CodeableConcept reason:CodeableConcept",
    "MedicationAdministration": (
        "language:text meta:Meta category:CodeableConcept context:Reference device:Reference* "
        "dosage:MedicationAdministrationDosage effectiveDateTime:dateTime effectivePeriod:Period "
        "eventHistory:Reference* identifier:Identifier* instantiates:text* "
        "medicationCodeableConcept:CodeableConcept medicationReference:Reference note:other* "
        "partOf:Reference* performer:MedicationAdministrationPerformer* reasonCode:CodeableConcept* "
        "reasonReference:Reference* request:Reference status:text! statusReason:CodeableConcept* "
        "subject:Reference! supportingInformation:Reference*"
    ),
    "MedicationAdministrationDosage": (
        "dose:Quantity method:CodeableConcept rateQuantity:Quantity rateRatio:other route:CodeableConcept "
        "site:CodeableConcept"
    ),
    "MedicationAdministrationPerformer": "actor:Reference! function:CodeableConcept",
    "MedicationDispense": (
        "language:text meta:Meta authorizingPrescription:Reference* category:CodeableConcept "
        "context:Reference daysSupply:Quantity destination:Reference detectedIssue:Reference* "
        "dosageInstruction:other* eventHistory:Reference* identifier:Identifier* location:Reference "
        "medicationCodeableConcept:CodeableConcept medicationReference:Reference note:other* "
        "partOf:Reference* performer:MedicationDispensePerformer* quantity:Quantity receiver:Reference* "
        "status:text! statusReasonCodeableConcept:CodeableConcept statusReasonReference:Reference "
        "subject:Reference substitution:MedicationDispenseSubstitution supportingInformation:Reference* "
        "type:CodeableConcept whenHandedOver:dateTime whenPrepared:dateTime"
    ),
    "MedicationDispensePerformer": "actor:Reference! function:CodeableConcept",
    "MedicationDispenseSubstitution": "reason:CodeableConcept* responsibleParty:Reference* type:CodeableConcept wasSubstituted:boolean!",
    "MedicationStatement": (
        "language:text meta:Meta basedOn:Reference* category:CodeableConcept context:Reference "
        "dateAsserted:dateTime derivedFrom:Reference* dosage:other* effectiveDateTime:dateTime "
        "effectivePeriod:Period identifier:Identifier* informationSource:Reference "
        "medicationCodeableConcept:CodeableConcept medicationReference:Reference note:other* "
        "partOf:Reference* reasonCode:CodeableConcept* reasonReference:Reference* status:text! "
        "statusReason:CodeableConcept* subject:Reference!"
    ),
    "Immunization": (
        "language:text meta:Meta doseQuantity:Quantity education:ImmunizationEducation* encounter:Reference "
        "expirationDate:date fundingSource:CodeableConcept identifier:Identifier* isSubpotent:boolean "
        "location:Reference lotNumber:text manufacturer:Reference note:other* occurrenceDateTime:dateTime "
        "occurrenceString:text patient:Reference! performer:ImmunizationPerformer* primarySource:boolean "
        "programEligibility:CodeableConcept* protocolApplied:ImmunizationProtocolApplied* "
        "reaction:ImmunizationReaction* reasonCode:CodeableConcept* reasonReference:Reference* "
        "recorded:dateTime reportOrigin:CodeableConcept route:CodeableConcept site:CodeableConcept "
        "status:text! statusReason:CodeableConcept subpotentReason:CodeableConcept* "
        "vaccineCode:CodeableConcept!"
    ),
    "ImmunizationEducation": "documentType:text presentationDate:dateTime publicationDate:dateTime reference:text",
    "ImmunizationPerformer": "actor:Reference! function:CodeableConcept",
    "ImmunizationProtocolApplied": (
        "authority:Reference doseNumberPositiveInt:integer doseNumberString:text series:text "
        "seriesDosesPositiveInt:integer seriesDosesString:text targetDisease:CodeableConcept*"
    ),
    "ImmunizationReaction": "date:dateTime detail:Reference reported:boolean",
    "Practitioner": (
        "language:text meta:Meta active:boolean address:Address* birthDate:date "
        "communication:CodeableConcept* gender:text identifier:Identifier* name:HumanName* photo:Attachment* "
        "qualification:PractitionerQualification* telecom:ContactPoint*"
    ),
    "PractitionerQualification": "code:CodeableConcept! identifier:Identifier* issuer:Reference period:Period",
    "PractitionerRole": (
        "language:text meta:Meta active:boolean availabilityExceptions:text "
        "availableTime:PractitionerRoleAvailableTime* code:CodeableConcept* endpoint:Reference* "
        "healthcareService:Reference* identifier:Identifier* location:Reference* "
        "notAvailable:PractitionerRoleNotAvailable* organization:Reference period:Period "
        "practitioner:Reference specialty:CodeableConcept* telecom:ContactPoint*"
    ),
    "PractitionerRoleAvailableTime": "allDay:boolean availableEndTime:text availableStartTime:text daysOfWeek:text*",
    "PractitionerRoleNotAvailable": "description:text! during:Period",
    "Organization": (
        "language:text meta:Meta active:boolean address:Address* alias:text* contact:OrganizationContact* "
        "endpoint:Reference* identifier:Identifier* name:text partOf:Reference telecom:ContactPoint* "
        "type:CodeableConcept*"
    ),
    "OrganizationContact": "address:Address name:HumanName purpose:CodeableConcept telecom:ContactPoint*",
    "Device": (
        "language:text meta:Meta contact:ContactPoint* definition:Reference deviceName:DeviceDeviceName* "
        "distinctIdentifier:text expirationDate:dateTime identifier:Identifier* location:Reference "
        "lotNumber:text manufactureDate:dateTime manufacturer:text modelNumber:text note:other* "
        "owner:Reference parent:Reference partNumber:text patient:Reference property:DeviceProperty* "
        "safety:CodeableConcept* serialNumber:text specialization:DeviceSpecialization* status:text "
        "statusReason:CodeableConcept* type:CodeableConcept udiCarrier:DeviceUdiCarrier* url:text "
        "version:DeviceVersion*"
    ),
    "DeviceDeviceName": "name:text! type:text!",
    "DeviceProperty": "type:CodeableConcept! valueCode:CodeableConcept* valueQuantity:Quantity*",
    "DeviceSpecialization": "systemType:CodeableConcept! version:text",
    "DeviceUdiCarrier": "carrierAIDC:text carrierHRF:text deviceIdentifier:text entryType:text issuer:text jurisdiction:text",
    "DeviceVersion": "component:Identifier type:CodeableConcept value:text!",
    "Location": (
        "language:text meta:Meta address:Address alias:text* availabilityExceptions:text description:text "
        "endpoint:Reference* hoursOfOperation:LocationHoursOfOperation* identifier:Identifier* "
        "managingOrganization:Reference mode:text name:text operationalStatus:Coding partOf:Reference "
        "physicalType:CodeableConcept position:LocationPosition status:text telecom:ContactPoint* "
        "type:CodeableConcept*"
    ),
    "LocationHoursOfOperation": "allDay:boolean closingTime:text daysOfWeek:text* openingTime:text",
    "LocationPosition": "altitude:decimal latitude:decimal! longitude:decimal!",
    "Provenance": (
        "language:text meta:Meta activity:CodeableConcept agent:ProvenanceAgent*! entity:ProvenanceEntity* "
        "location:Reference occurredDateTime:dateTime occurredPeriod:Period policy:text* "
        "reason:CodeableConcept* recorded:instant! signature:other* target:Reference*!"
    ),
    "ProvenanceAgent": "onBehalfOf:Reference role:CodeableConcept* type:CodeableConcept who:Reference!",
    "ProvenanceEntity": "agent:ProvenanceAgent* role:text! what:Reference!",
    "Binary": "language:text meta:Meta contentType:text! data:text securityContext:Reference",
    "Identifier": "assigner:Reference period:Period system:text type:CodeableConcept use:text value:text",
    "CodeableConcept": "coding:Coding*",
    "Coding": "code:text display:text system:text userSelected:boolean version:text",
    "HumanName": "family:text given:text* period:Period prefix:text* suffix:text* use:text",
    "Address": (
        "city:text country:text district:text line:text* period:Period postalCode:text state:text type:text "
        "use:text"
    ),
    "ContactPoint": "period:Period rank:integer system:text use:text value:text",
    "Attachment": "contentType:text creation:dateTime data:text hash:text size:integer title:text url:text",
    "Period": "end:dateTime start:dateTime",
    "Reference": "display:text identifier:Identifier reference:text type:text",
    "Quantity": "code:text comparator:text system:text unit:text value:decimal",
    "Meta": "lastUpdated:instant profile:text* security:Coding* source:text tag:Coding* versionId:text",
}

RESOURCES: frozenset[str] = frozenset(
    [
        "AllergyIntolerance",
        "Appointment",
        "Binary",
        "Composition",
        "Condition",
        "Device",
        "DiagnosticReport",
        "DocumentReference",
        "Encounter",
        "Immunization",
        "List",
        "Location",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
        "Observation",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Procedure",
        "Provenance",
        "ServiceRequest",
        "Specimen",
    ]
)
"""The resources that Carnet writes."""
