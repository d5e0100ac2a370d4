"""Which FHIR elements repeat and which are not text: what XML does not say and the JSON form needs. Data only.

Facts of the FHIR R4B (4.3.0) element definitions (HL7, CC0), for the resources Carnet maps and the types they
use; checked against `fhir.resources` by `tests/broker/parsing/test_fhir.py`. One type a paragraph: its name,
then `element`, `*` when it repeats, `:Type` when it is not text. Long because it is a table.
"""

from __future__ import annotations

ELEMENTS = """
Address line* period:Period
Age value:decimal
AllergyIntolerance asserter:Reference category* clinicalStatus:CodeableConcept
  code:CodeableConcept encounter:Reference identifier*:Identifier note*:Annotation onsetAge:Age
  onsetPeriod:Period onsetRange:Range patient:Reference reaction*:AllergyIntoleranceReaction
  recorder:Reference verificationStatus:CodeableConcept
AllergyIntoleranceReaction exposureRoute:CodeableConcept manifestation*:CodeableConcept
  note*:Annotation substance:CodeableConcept
Annotation authorReference:Reference
Appointment appointmentType:CodeableConcept basedOn*:Reference cancelationReason:CodeableConcept
  identifier*:Identifier minutesDuration:integer participant*:AppointmentParticipant
  priority:integer reasonCode*:CodeableConcept reasonReference*:Reference
  requestedPeriod*:Period serviceCategory*:CodeableConcept serviceType*:CodeableConcept
  slot*:Reference specialty*:CodeableConcept supportingInformation*:Reference
AppointmentParticipant actor:Reference period:Period type*:CodeableConcept
Attachment size:integer
Binary securityContext:Reference
Bundle entry*:BundleEntry identifier:Identifier link*:BundleLink signature:Signature
  total:integer
BundleEntry link*:BundleLink request:BundleEntryRequest resource:Resource
  response:BundleEntryResponse search:BundleEntrySearch
BundleEntryResponse outcome:Resource
BundleEntrySearch score:decimal
CareTeam category*:CodeableConcept encounter:Reference identifier*:Identifier
  managingOrganization*:Reference note*:Annotation participant*:CareTeamParticipant
  period:Period reasonCode*:CodeableConcept reasonReference*:Reference subject:Reference
  telecom*:ContactPoint
CareTeamParticipant member:Reference onBehalfOf:Reference period:Period role*:CodeableConcept
CodeableConcept coding*:Coding
CodeableReference concept:CodeableConcept reference:Reference
Coding userSelected:boolean
Composition attester*:CompositionAttester author*:Reference category*:CodeableConcept
  custodian:Reference encounter:Reference event*:CompositionEvent identifier:Identifier
  relatesTo*:CompositionRelatesTo section*:CompositionSection subject:Reference
  type:CodeableConcept
CompositionAttester party:Reference
CompositionEvent code*:CodeableConcept detail*:Reference period:Period
CompositionRelatesTo targetIdentifier:Identifier targetReference:Reference
CompositionSection author*:Reference code:CodeableConcept emptyReason:CodeableConcept
  entry*:Reference focus:Reference orderedBy:CodeableConcept section*:CompositionSection
  text:Narrative
Condition abatementAge:Age abatementPeriod:Period abatementRange:Range asserter:Reference
  bodySite*:CodeableConcept category*:CodeableConcept clinicalStatus:CodeableConcept
  code:CodeableConcept encounter:Reference evidence*:ConditionEvidence identifier*:Identifier
  note*:Annotation onsetAge:Age onsetPeriod:Period onsetRange:Range recorder:Reference
  severity:CodeableConcept stage*:ConditionStage subject:Reference
  verificationStatus:CodeableConcept
ConditionEvidence code*:CodeableConcept detail*:Reference
ConditionStage assessment*:Reference summary:CodeableConcept type:CodeableConcept
Consent category*:CodeableConcept identifier*:Identifier organization*:Reference
  patient:Reference performer*:Reference policy*:ConsentPolicy policyRule:CodeableConcept
  provision:ConsentProvision scope:CodeableConcept sourceAttachment:Attachment
  sourceReference:Reference verification*:ConsentVerification
ConsentProvision action*:CodeableConcept actor*:ConsentProvisionActor class*:Coding
  code*:CodeableConcept data*:ConsentProvisionData dataPeriod:Period period:Period
  provision*:ConsentProvision purpose*:Coding securityLabel*:Coding
ConsentProvisionActor reference:Reference role:CodeableConcept
ConsentProvisionData reference:Reference
ConsentVerification verified:boolean verifiedWith:Reference
ContactDetail telecom*:ContactPoint
ContactPoint period:Period rank:integer
Contributor contact*:ContactDetail
Count value:decimal
DataRequirement codeFilter*:DataRequirementCodeFilter dateFilter*:DataRequirementDateFilter
  limit:integer mustSupport* profile* sort*:DataRequirementSort
  subjectCodeableConcept:CodeableConcept subjectReference:Reference
DataRequirementCodeFilter code*:Coding
DataRequirementDateFilter valueDuration:Duration valuePeriod:Period
Device contact*:ContactPoint definition:Reference deviceName*:DeviceDeviceName
  identifier*:Identifier location:Reference note*:Annotation owner:Reference parent:Reference
  patient:Reference property*:DeviceProperty safety*:CodeableConcept
  specialization*:DeviceSpecialization statusReason*:CodeableConcept type:CodeableConcept
  udiCarrier*:DeviceUdiCarrier version*:DeviceVersion
DeviceProperty type:CodeableConcept valueCode*:CodeableConcept valueQuantity*:Quantity
DeviceSpecialization systemType:CodeableConcept
DeviceVersion component:Identifier type:CodeableConcept
DiagnosticReport basedOn*:Reference category*:CodeableConcept code:CodeableConcept
  conclusionCode*:CodeableConcept effectivePeriod:Period encounter:Reference
  identifier*:Identifier imagingStudy*:Reference media*:DiagnosticReportMedia
  performer*:Reference presentedForm*:Attachment result*:Reference resultsInterpreter*:Reference
  specimen*:Reference subject:Reference
DiagnosticReportMedia link:Reference
Distance value:decimal
DocumentManifest author*:Reference content*:Reference identifier*:Identifier
  masterIdentifier:Identifier recipient*:Reference related*:DocumentManifestRelated
  subject:Reference type:CodeableConcept
DocumentManifestRelated identifier:Identifier ref:Reference
DocumentReference authenticator:Reference author*:Reference category*:CodeableConcept
  content*:DocumentReferenceContent context:DocumentReferenceContext custodian:Reference
  identifier*:Identifier masterIdentifier:Identifier relatesTo*:DocumentReferenceRelatesTo
  securityLabel*:CodeableConcept subject:Reference type:CodeableConcept
DocumentReferenceContent attachment:Attachment format:Coding
DocumentReferenceContext encounter*:Reference event*:CodeableConcept
  facilityType:CodeableConcept period:Period practiceSetting:CodeableConcept related*:Reference
  sourcePatientInfo:Reference
DocumentReferenceRelatesTo target:Reference
Dosage additionalInstruction*:CodeableConcept asNeededBoolean:boolean
  asNeededCodeableConcept:CodeableConcept doseAndRate*:DosageDoseAndRate
  maxDosePerAdministration:Quantity maxDosePerLifetime:Quantity maxDosePerPeriod:Ratio
  method:CodeableConcept route:CodeableConcept sequence:integer site:CodeableConcept
  timing:Timing
DosageDoseAndRate doseQuantity:Quantity doseRange:Range rateQuantity:Quantity rateRange:Range
  rateRatio:Ratio type:CodeableConcept
Duration value:decimal
Encounter account*:Reference appointment*:Reference basedOn*:Reference
  classHistory*:EncounterClassHistory class:Coding diagnosis*:EncounterDiagnosis
  episodeOfCare*:Reference hospitalization:EncounterHospitalization identifier*:Identifier
  length:Duration location*:EncounterLocation partOf:Reference participant*:EncounterParticipant
  period:Period priority:CodeableConcept reasonCode*:CodeableConcept reasonReference*:Reference
  serviceProvider:Reference serviceType:CodeableConcept statusHistory*:EncounterStatusHistory
  subject:Reference type*:CodeableConcept
EncounterClassHistory class:Coding period:Period
EncounterDiagnosis condition:Reference rank:integer use:CodeableConcept
EncounterHospitalization admitSource:CodeableConcept destination:Reference
  dietPreference*:CodeableConcept dischargeDisposition:CodeableConcept origin:Reference
  preAdmissionIdentifier:Identifier reAdmission:CodeableConcept
  specialArrangement*:CodeableConcept specialCourtesy*:CodeableConcept
EncounterLocation location:Reference period:Period physicalType:CodeableConcept
EncounterParticipant individual:Reference period:Period type*:CodeableConcept
EncounterStatusHistory period:Period
EpisodeOfCare account*:Reference careManager:Reference diagnosis*:EpisodeOfCareDiagnosis
  identifier*:Identifier managingOrganization:Reference patient:Reference period:Period
  referralRequest*:Reference statusHistory*:EpisodeOfCareStatusHistory team*:Reference
  type*:CodeableConcept
EpisodeOfCareDiagnosis condition:Reference rank:integer role:CodeableConcept
EpisodeOfCareStatusHistory period:Period
Extension valueAddress:Address valueAge:Age valueAnnotation:Annotation
  valueAttachment:Attachment valueBoolean:boolean valueCodeableConcept:CodeableConcept
  valueCodeableReference:CodeableReference valueCoding:Coding valueContactDetail:ContactDetail
  valueContactPoint:ContactPoint valueContributor:Contributor valueCount:Count
  valueDataRequirement:DataRequirement valueDecimal:decimal valueDistance:Distance
  valueDosage:Dosage valueDuration:Duration valueExpression:Expression valueHumanName:HumanName
  valueIdentifier:Identifier valueInteger:integer valueMoney:Money
  valueParameterDefinition:ParameterDefinition valuePeriod:Period valuePositiveInt:integer
  valueQuantity:Quantity valueRange:Range valueRatio:Ratio valueRatioRange:RatioRange
  valueReference:Reference valueRelatedArtifact:RelatedArtifact valueSampledData:SampledData
  valueSignature:Signature valueTiming:Timing valueTriggerDefinition:TriggerDefinition
  valueUnsignedInt:integer valueUsageContext:UsageContext
HumanName given* period:Period prefix* suffix*
Identifier assigner:Reference period:Period type:CodeableConcept
ImagingStudy basedOn*:Reference encounter:Reference endpoint*:Reference identifier*:Identifier
  interpreter*:Reference location:Reference modality*:Coding note*:Annotation
  numberOfInstances:integer numberOfSeries:integer procedureCode*:CodeableConcept
  procedureReference:Reference reasonCode*:CodeableConcept reasonReference*:Reference
  referrer:Reference series*:ImagingStudySeries subject:Reference
ImagingStudySeries bodySite:Coding endpoint*:Reference instance*:ImagingStudySeriesInstance
  laterality:Coding modality:Coding number:integer numberOfInstances:integer
  performer*:ImagingStudySeriesPerformer specimen*:Reference
ImagingStudySeriesInstance number:integer sopClass:Coding
ImagingStudySeriesPerformer actor:Reference function:CodeableConcept
Immunization doseQuantity:Quantity education*:ImmunizationEducation encounter:Reference
  fundingSource:CodeableConcept identifier*:Identifier isSubpotent:boolean location:Reference
  manufacturer:Reference note*:Annotation patient:Reference performer*:ImmunizationPerformer
  primarySource:boolean programEligibility*:CodeableConcept
  protocolApplied*:ImmunizationProtocolApplied reaction*:ImmunizationReaction
  reasonCode*:CodeableConcept reasonReference*:Reference reportOrigin:CodeableConcept
  route:CodeableConcept site:CodeableConcept statusReason:CodeableConcept
  subpotentReason*:CodeableConcept vaccineCode:CodeableConcept
ImmunizationPerformer actor:Reference function:CodeableConcept
ImmunizationProtocolApplied authority:Reference doseNumberPositiveInt:integer
  seriesDosesPositiveInt:integer targetDisease*:CodeableConcept
ImmunizationReaction detail:Reference reported:boolean
List code:CodeableConcept emptyReason:CodeableConcept encounter:Reference entry*:ListEntry
  identifier*:Identifier note*:Annotation orderedBy:CodeableConcept source:Reference
  subject:Reference
ListEntry deleted:boolean flag:CodeableConcept item:Reference
Location address:Address alias* endpoint*:Reference hoursOfOperation*:LocationHoursOfOperation
  identifier*:Identifier managingOrganization:Reference operationalStatus:Coding
  partOf:Reference physicalType:CodeableConcept position:LocationPosition telecom*:ContactPoint
  type*:CodeableConcept
LocationHoursOfOperation allDay:boolean daysOfWeek*
LocationPosition altitude:decimal latitude:decimal longitude:decimal
Media basedOn*:Reference bodySite:CodeableConcept content:Attachment createdPeriod:Period
  device:Reference duration:decimal encounter:Reference frames:integer height:integer
  identifier*:Identifier modality:CodeableConcept note*:Annotation operator:Reference
  partOf*:Reference reasonCode*:CodeableConcept subject:Reference type:CodeableConcept
  view:CodeableConcept width:integer
Medication amount:Ratio batch:MedicationBatch code:CodeableConcept form:CodeableConcept
  identifier*:Identifier ingredient*:MedicationIngredient manufacturer:Reference
MedicationAdministration category:CodeableConcept context:Reference device*:Reference
  dosage:MedicationAdministrationDosage effectivePeriod:Period eventHistory*:Reference
  identifier*:Identifier instantiates* medicationCodeableConcept:CodeableConcept
  medicationReference:Reference note*:Annotation partOf*:Reference
  performer*:MedicationAdministrationPerformer reasonCode*:CodeableConcept
  reasonReference*:Reference request:Reference statusReason*:CodeableConcept subject:Reference
  supportingInformation*:Reference
MedicationAdministrationDosage dose:Quantity method:CodeableConcept rateQuantity:Quantity
  rateRatio:Ratio route:CodeableConcept site:CodeableConcept
MedicationAdministrationPerformer actor:Reference function:CodeableConcept
MedicationDispense authorizingPrescription*:Reference category:CodeableConcept context:Reference
  daysSupply:Quantity destination:Reference detectedIssue*:Reference dosageInstruction*:Dosage
  eventHistory*:Reference identifier*:Identifier location:Reference
  medicationCodeableConcept:CodeableConcept medicationReference:Reference note*:Annotation
  partOf*:Reference performer*:MedicationDispensePerformer quantity:Quantity receiver*:Reference
  statusReasonCodeableConcept:CodeableConcept statusReasonReference:Reference subject:Reference
  substitution:MedicationDispenseSubstitution supportingInformation*:Reference
  type:CodeableConcept
MedicationDispensePerformer actor:Reference function:CodeableConcept
MedicationDispenseSubstitution reason*:CodeableConcept responsibleParty*:Reference
  type:CodeableConcept wasSubstituted:boolean
MedicationIngredient isActive:boolean itemCodeableConcept:CodeableConcept
  itemReference:Reference strength:Ratio
MedicationRequest basedOn*:Reference category*:CodeableConcept
  courseOfTherapyType:CodeableConcept detectedIssue*:Reference
  dispenseRequest:MedicationRequestDispenseRequest doNotPerform:boolean
  dosageInstruction*:Dosage encounter:Reference eventHistory*:Reference
  groupIdentifier:Identifier identifier*:Identifier instantiatesCanonical* instantiatesUri*
  insurance*:Reference medicationCodeableConcept:CodeableConcept medicationReference:Reference
  note*:Annotation performer:Reference performerType:CodeableConcept priorPrescription:Reference
  reasonCode*:CodeableConcept reasonReference*:Reference recorder:Reference
  reportedBoolean:boolean reportedReference:Reference requester:Reference
  statusReason:CodeableConcept subject:Reference substitution:MedicationRequestSubstitution
  supportingInformation*:Reference
MedicationRequestDispenseRequest dispenseInterval:Duration expectedSupplyDuration:Duration
  initialFill:MedicationRequestDispenseRequestInitialFill numberOfRepeatsAllowed:integer
  performer:Reference quantity:Quantity validityPeriod:Period
MedicationRequestDispenseRequestInitialFill duration:Duration quantity:Quantity
MedicationRequestSubstitution allowedBoolean:boolean allowedCodeableConcept:CodeableConcept
  reason:CodeableConcept
MedicationStatement basedOn*:Reference category:CodeableConcept context:Reference
  derivedFrom*:Reference dosage*:Dosage effectivePeriod:Period identifier*:Identifier
  informationSource:Reference medicationCodeableConcept:CodeableConcept
  medicationReference:Reference note*:Annotation partOf*:Reference reasonCode*:CodeableConcept
  reasonReference*:Reference statusReason*:CodeableConcept subject:Reference
MessageHeader author:Reference destination*:MessageHeaderDestination enterer:Reference
  eventCoding:Coding focus*:Reference reason:CodeableConcept response:MessageHeaderResponse
  responsible:Reference sender:Reference source:MessageHeaderSource
MessageHeaderDestination receiver:Reference target:Reference
MessageHeaderResponse details:Reference
MessageHeaderSource contact:ContactPoint
Meta profile* security*:Coding tag*:Coding
Money value:decimal
Observation basedOn*:Reference bodySite:CodeableConcept category*:CodeableConcept
  code:CodeableConcept component*:ObservationComponent dataAbsentReason:CodeableConcept
  derivedFrom*:Reference device:Reference effectivePeriod:Period effectiveTiming:Timing
  encounter:Reference focus*:Reference hasMember*:Reference identifier*:Identifier
  interpretation*:CodeableConcept method:CodeableConcept note*:Annotation partOf*:Reference
  performer*:Reference referenceRange*:ObservationReferenceRange specimen:Reference
  subject:Reference valueBoolean:boolean valueCodeableConcept:CodeableConcept
  valueInteger:integer valuePeriod:Period valueQuantity:Quantity valueRange:Range
  valueRatio:Ratio valueSampledData:SampledData
ObservationComponent code:CodeableConcept dataAbsentReason:CodeableConcept
  interpretation*:CodeableConcept referenceRange*:ObservationReferenceRange valueBoolean:boolean
  valueCodeableConcept:CodeableConcept valueInteger:integer valuePeriod:Period
  valueQuantity:Quantity valueRange:Range valueRatio:Ratio valueSampledData:SampledData
ObservationReferenceRange age:Range appliesTo*:CodeableConcept high:Quantity low:Quantity
  type:CodeableConcept
OperationOutcome issue*:OperationOutcomeIssue
OperationOutcomeIssue details:CodeableConcept expression* location*
Organization active:boolean address*:Address alias* contact*:OrganizationContact
  endpoint*:Reference identifier*:Identifier partOf:Reference telecom*:ContactPoint
  type*:CodeableConcept
OrganizationContact address:Address name:HumanName purpose:CodeableConcept telecom*:ContactPoint
ParameterDefinition min:integer
Parameters parameter*:ParametersParameter
ParametersParameter part*:ParametersParameter resource:Resource valueAddress:Address
  valueAge:Age valueAnnotation:Annotation valueAttachment:Attachment valueBoolean:boolean
  valueCodeableConcept:CodeableConcept valueCoding:Coding valueContactDetail:ContactDetail
  valueContactPoint:ContactPoint valueContributor:Contributor valueCount:Count
  valueDataRequirement:DataRequirement valueDecimal:decimal valueDistance:Distance
  valueDosage:Dosage valueDuration:Duration valueExpression:Expression valueHumanName:HumanName
  valueIdentifier:Identifier valueInteger:integer valueMeta:Meta valueMoney:Money
  valueParameterDefinition:ParameterDefinition valuePeriod:Period valuePositiveInt:integer
  valueQuantity:Quantity valueRange:Range valueRatio:Ratio valueReference:Reference
  valueRelatedArtifact:RelatedArtifact valueSampledData:SampledData valueSignature:Signature
  valueTiming:Timing valueTriggerDefinition:TriggerDefinition valueUnsignedInt:integer
  valueUsageContext:UsageContext
Patient active:boolean address*:Address communication*:PatientCommunication
  contact*:PatientContact deceasedBoolean:boolean generalPractitioner*:Reference
  identifier*:Identifier link*:PatientLink managingOrganization:Reference
  maritalStatus:CodeableConcept multipleBirthBoolean:boolean multipleBirthInteger:integer
  name*:HumanName photo*:Attachment telecom*:ContactPoint
PatientCommunication preferred:boolean
PatientContact address:Address name:HumanName organization:Reference period:Period
  relationship*:CodeableConcept telecom*:ContactPoint
PatientLink other:Reference
Practitioner active:boolean address*:Address communication*:CodeableConcept
  identifier*:Identifier name*:HumanName photo*:Attachment
  qualification*:PractitionerQualification telecom*:ContactPoint
PractitionerQualification code:CodeableConcept identifier*:Identifier issuer:Reference
  period:Period
PractitionerRole active:boolean availableTime*:PractitionerRoleAvailableTime
  code*:CodeableConcept endpoint*:Reference healthcareService*:Reference identifier*:Identifier
  location*:Reference notAvailable*:PractitionerRoleNotAvailable organization:Reference
  period:Period practitioner:Reference specialty*:CodeableConcept telecom*:ContactPoint
PractitionerRoleAvailableTime allDay:boolean daysOfWeek*
PractitionerRoleNotAvailable during:Period
Procedure asserter:Reference basedOn*:Reference bodySite*:CodeableConcept
  category:CodeableConcept code:CodeableConcept complication*:CodeableConcept
  complicationDetail*:Reference encounter:Reference focalDevice*:ProcedureFocalDevice
  followUp*:CodeableConcept identifier*:Identifier instantiatesCanonical* instantiatesUri*
  location:Reference note*:Annotation outcome:CodeableConcept partOf*:Reference performedAge:Age
  performedPeriod:Period performedRange:Range performer*:ProcedurePerformer
  reasonCode*:CodeableConcept reasonReference*:Reference recorder:Reference report*:Reference
  statusReason:CodeableConcept subject:Reference usedCode*:CodeableConcept
  usedReference*:Reference
ProcedureFocalDevice action:CodeableConcept manipulated:Reference
ProcedurePerformer actor:Reference function:CodeableConcept onBehalfOf:Reference
Provenance activity:CodeableConcept agent*:ProvenanceAgent entity*:ProvenanceEntity
  location:Reference occurredPeriod:Period policy* reason*:CodeableConcept signature*:Signature
  target*:Reference
ProvenanceAgent onBehalfOf:Reference role*:CodeableConcept type:CodeableConcept who:Reference
ProvenanceEntity agent*:ProvenanceAgent what:Reference
Quantity value:decimal
Range high:Quantity low:Quantity
Ratio denominator:Quantity numerator:Quantity
RatioRange denominator:Quantity highNumerator:Quantity lowNumerator:Quantity
Reference identifier:Identifier
RelatedArtifact document:Attachment
RelatedPerson active:boolean address*:Address communication*:RelatedPersonCommunication
  identifier*:Identifier name*:HumanName patient:Reference period:Period photo*:Attachment
  relationship*:CodeableConcept telecom*:ContactPoint
RelatedPersonCommunication preferred:boolean
SampledData dimensions:integer factor:decimal lowerLimit:decimal origin:Quantity period:decimal
  upperLimit:decimal
ServiceRequest asNeededBoolean:boolean asNeededCodeableConcept:CodeableConcept
  basedOn*:Reference bodySite*:CodeableConcept category*:CodeableConcept code:CodeableConcept
  doNotPerform:boolean encounter:Reference identifier*:Identifier instantiatesCanonical*
  instantiatesUri* insurance*:Reference locationCode*:CodeableConcept
  locationReference*:Reference note*:Annotation occurrencePeriod:Period occurrenceTiming:Timing
  orderDetail*:CodeableConcept performer*:Reference performerType:CodeableConcept
  quantityQuantity:Quantity quantityRange:Range quantityRatio:Ratio reasonCode*:CodeableConcept
  reasonReference*:Reference relevantHistory*:Reference replaces*:Reference requester:Reference
  requisition:Identifier specimen*:Reference subject:Reference supportingInfo*:Reference
Signature onBehalfOf:Reference type*:Coding who:Reference
Specimen accessionIdentifier:Identifier collection:SpecimenCollection condition*:CodeableConcept
  container*:SpecimenContainer identifier*:Identifier note*:Annotation parent*:Reference
  processing*:SpecimenProcessing request*:Reference subject:Reference type:CodeableConcept
SpecimenCollection bodySite:CodeableConcept collectedPeriod:Period collector:Reference
  duration:Duration fastingStatusCodeableConcept:CodeableConcept fastingStatusDuration:Duration
  method:CodeableConcept quantity:Quantity
SpecimenContainer additiveCodeableConcept:CodeableConcept additiveReference:Reference
  capacity:Quantity identifier*:Identifier specimenQuantity:Quantity type:CodeableConcept
SpecimenProcessing additive*:Reference procedure:CodeableConcept timePeriod:Period
Task basedOn*:Reference businessStatus:CodeableConcept code:CodeableConcept encounter:Reference
  executionPeriod:Period focus:Reference for:Reference groupIdentifier:Identifier
  identifier*:Identifier input*:TaskInput insurance*:Reference location:Reference
  note*:Annotation output*:TaskOutput owner:Reference partOf*:Reference
  performerType*:CodeableConcept reasonCode:CodeableConcept reasonReference:Reference
  relevantHistory*:Reference requester:Reference restriction:TaskRestriction
  statusReason:CodeableConcept
TaskInput type:CodeableConcept valueAddress:Address valueAge:Age valueAnnotation:Annotation
  valueAttachment:Attachment valueBoolean:boolean valueCodeableConcept:CodeableConcept
  valueCoding:Coding valueContactDetail:ContactDetail valueContactPoint:ContactPoint
  valueContributor:Contributor valueCount:Count valueDataRequirement:DataRequirement
  valueDecimal:decimal valueDistance:Distance valueDosage:Dosage valueDuration:Duration
  valueExpression:Expression valueHumanName:HumanName valueIdentifier:Identifier
  valueInteger:integer valueMeta:Meta valueMoney:Money
  valueParameterDefinition:ParameterDefinition valuePeriod:Period valuePositiveInt:integer
  valueQuantity:Quantity valueRange:Range valueRatio:Ratio valueReference:Reference
  valueRelatedArtifact:RelatedArtifact valueSampledData:SampledData valueSignature:Signature
  valueTiming:Timing valueTriggerDefinition:TriggerDefinition valueUnsignedInt:integer
  valueUsageContext:UsageContext
TaskOutput type:CodeableConcept valueAddress:Address valueAge:Age valueAnnotation:Annotation
  valueAttachment:Attachment valueBoolean:boolean valueCodeableConcept:CodeableConcept
  valueCoding:Coding valueContactDetail:ContactDetail valueContactPoint:ContactPoint
  valueContributor:Contributor valueCount:Count valueDataRequirement:DataRequirement
  valueDecimal:decimal valueDistance:Distance valueDosage:Dosage valueDuration:Duration
  valueExpression:Expression valueHumanName:HumanName valueIdentifier:Identifier
  valueInteger:integer valueMeta:Meta valueMoney:Money
  valueParameterDefinition:ParameterDefinition valuePeriod:Period valuePositiveInt:integer
  valueQuantity:Quantity valueRange:Range valueRatio:Ratio valueReference:Reference
  valueRelatedArtifact:RelatedArtifact valueSampledData:SampledData valueSignature:Signature
  valueTiming:Timing valueTriggerDefinition:TriggerDefinition valueUnsignedInt:integer
  valueUsageContext:UsageContext
TaskRestriction period:Period recipient*:Reference repetitions:integer
Timing code:CodeableConcept event* repeat:TimingRepeat
TimingRepeat boundsDuration:Duration boundsPeriod:Period boundsRange:Range count:integer
  countMax:integer dayOfWeek* duration:decimal durationMax:decimal frequency:integer
  frequencyMax:integer offset:integer period:decimal periodMax:decimal timeOfDay* when*
TriggerDefinition condition:Expression data*:DataRequirement timingReference:Reference
  timingTiming:Timing
UsageContext code:Coding valueCodeableConcept:CodeableConcept valueQuantity:Quantity
  valueRange:Range valueReference:Reference
"""


def element_table() -> dict[str, dict[str, tuple[bool, str]]]:
    """Type name to element name to (repeats, type); a text element that does not repeat is not listed."""
    table: dict[str, dict[str, tuple[bool, str]]] = {}
    current: dict[str, tuple[bool, str]] = {}
    for line in ELEMENTS.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            current = table.setdefault(words.pop(0), {})
        for word in words:
            name, _, kind = word.partition(":")
            current[name.rstrip("*")] = (name.endswith("*"), kind)
    return table
