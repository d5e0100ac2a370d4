"""The common document model (model 1): what every source is read into and every destination is written from.

One module on purpose, and longer than the others for that reason: the whole vocabulary can be read top to
bottom, and the reference page and the JSON Schema are generated from it (`python -m broker.mapping.reference`).
Conventions: a field is never filled by guess; lists are tuples and default to empty; codes, dates and numbers
keep the digits and precision they were sent with. Only additive changes inside a major version.
A line `name: text` in a class docstring describes one field.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MODEL = 1

Kind = Literal[
    "clinical_document",
    "result_report",
    "encounter_event",
    "patient_event",
    "appointment_event",
    "order_event",
    "medication_event",
    "immunization_event",
    "other",
]
Status = Literal[
    "preliminary", "final", "amended", "corrected", "cancelled", "entered_in_error", "unknown"
]
Availability = Literal["current", "superseded", "archived", "deleted"]
Operation = Literal["create", "update", "cancel", "replace", "delete", "merge", "link", "snapshot"]
RelationKind = Literal["replaces", "appends", "transforms", "signs"]
Severity = Literal["error", "warning", "information"]


class Value(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What all parts of a document share: frozen, keyword-only, defaults left out of JSON, no unknown field."""


class When(Value, frozen=True, kw_only=True):
    """A partial date-time as it was written.

    value: ISO-like, cut at its precision (`1979`, `1979-03-28`, `2024-03-09T07:35`)
    offset: offset as received (`+01:00`)
    assumed_offset: offset attached from the installation's time zone, never written into the value
    original: the text as received, when it could not be read or was shortened
    """

    value: str = ""
    offset: str = ""
    assumed_offset: str = ""
    original: str = ""


class Period(Value, frozen=True, kw_only=True):
    """From when to when; either side may be open."""

    start: When | None = None
    end: When | None = None


class Identifier(Value, frozen=True, kw_only=True):
    """A value and who assigned it. Equality is that of (system, value).

    system: key of `systems.csv` (`ins_nir`, `rpps`), or the literal OID, URI or namespace when not listed
    kind: `INS-NIR`, `INS-NIA`, `PI`, `VN`, `AN`, `RPPS`, `ADELI`, `FINESS`, `SIRET`, `order`...
    oid: as received
    uri: as received
    authority_name: namespace or name of the authority as received
    type_code: HL7 table 0203 as received
    """

    value: str
    system: str = ""
    kind: str = ""
    oid: str = ""
    uri: str = ""
    authority_name: str = ""
    type_code: str = ""
    use: str = ""
    start: When | None = None
    end: When | None = None


class Coding(Value, frozen=True, kw_only=True):
    """One code of one system.

    system: canonical URI or OID; `system_as_received` keeps what the sender wrote
    role: `original`, `alternate` or `translation`
    translated_by: the table that translated it
    """

    code: str = ""
    system: str = ""
    system_as_received: str = ""
    display: str = ""
    version: str = ""
    role: Literal["original", "alternate", "translation"] = "original"
    translated_by: str = ""


class Coded(Value, frozen=True, kw_only=True):
    """A concept: its codings, the sender's own first, and the text it was chosen from.

    qualifiers: what makes it more precise (laterality: left)
    """

    codings: tuple[Coding, ...] = ()
    text: str = ""
    qualifiers: tuple[Qualifier, ...] = ()


class Qualifier(Value, frozen=True, kw_only=True):
    """One refinement of a concept: which aspect, and its value."""

    name: Coded | None = None
    value: Coded | None = None


class Quantity(Value, frozen=True, kw_only=True):
    """A measured amount; digits exactly as written.

    unit: as received
    ucum: UCUM unit, when known
    """

    value: str = ""
    comparator: str = ""
    unit: str = ""
    ucum: str = ""


class Range(Value, frozen=True, kw_only=True):
    """Two bounds, and always the text as received when there was one."""

    low: Quantity | None = None
    high: Quantity | None = None
    text: str = ""


class Ratio(Value, frozen=True, kw_only=True):
    """One amount to another (1:128)."""

    numerator: Quantity | None = None
    denominator: Quantity | None = None


class PersonName(Value, frozen=True, kw_only=True):
    """A name and its use.

    use: `birth`, `usual`, `maiden`, `married`, `nickname`, `official`... or as received
    birth_given: first given name of the birth record (INS)
    """

    family: str = ""
    given: tuple[str, ...] = ()
    prefix: str = ""
    suffix: str = ""
    use: str = ""
    birth_given: str = ""
    text: str = ""


class Address(Value, frozen=True, kw_only=True):
    """A postal address or a place of birth.

    parts: further parts as received (`house_number=28`)
    insee_code: INSEE commune or country code of a place of birth
    """

    lines: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    city: str = ""
    postal_code: str = ""
    district: str = ""
    state: str = ""
    country: str = ""
    insee_code: str = ""
    use: str = ""
    text: str = ""


class Telecom(Value, frozen=True, kw_only=True):
    """A way to reach somebody.

    kind: `phone`, `mobile`, `fax`, `email`, `mssante`, `url`, `pager`
    """

    value: str
    kind: str = ""
    use: str = ""


class Attachment(Value, frozen=True, kw_only=True):
    """Content addressed by its digest; the bytes live once in the store.

    sha256: store key; sha1 is the hash of XDS and FHIR
    media_type: as declared; `detected_type` by its first bytes
    role: `main` is the shared document itself
    source_path: where it was in the message
    url: for content that was only referred to
    """

    id: str = ""
    sha256: str = ""
    sha1: str = ""
    size: int = 0
    media_type: str = ""
    detected_type: str = ""
    charset: str = ""
    language: str = ""
    title: str = ""
    creation: When | None = None
    role: Literal["", "main", "rendering", "image", "signature", "stylesheet", "original"] = ""
    source_path: str = ""
    encoding_as_received: str = ""
    url: str = ""


class AttachmentRef(Value, frozen=True, kw_only=True):
    """The message exactly as received, in the store."""

    sha256: str = ""
    size: int = 0
    media_type: str = ""


class ResultValue(Value, frozen=True, kw_only=True):
    """Exactly one kind of value, the type it was declared with, and its text when a conversion failed.

    time: an attribute `when` in Python; `when` is a keyword of the mapping language
    """

    quantity: Quantity | None = None
    range: Range | None = None
    ratio: Ratio | None = None
    coded: Coded | None = None
    text: str | None = None
    when: When | None = msgspec.field(default=None, name="time")
    period: Period | None = None
    boolean: bool | None = None
    attachment: Attachment | None = None
    identifier: Identifier | None = None
    declared_type: str = ""
    original: str = ""


class Organization(Value, frozen=True, kw_only=True):
    """A structure, service or laboratory."""

    identifiers: tuple[Identifier, ...] = ()
    name: str = ""
    type: Coded | None = None
    sector: Coded | None = None
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()
    part_of: Identifier | None = None


class Person(Value, frozen=True, kw_only=True):
    """A professional, or anybody acting.

    role_code: as received (`G15_10/SM03`); its parts are `profession` and `speciality`
    """

    identifiers: tuple[Identifier, ...] = ()
    name: PersonName | None = None
    profession: Coded | None = None
    speciality: Coded | None = None
    role_code: Coded | None = None
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()


class Device(Value, frozen=True, kw_only=True):
    """A machine, a program that wrote something, or a device that was used, implanted or supplied."""

    identifiers: tuple[Identifier, ...] = ()
    code: Coded | None = None
    model: str = ""
    software: str = ""
    manufacturer: Organization | None = None


class Contact(Value, frozen=True, kw_only=True):
    """A relative, guardian or other person to reach, or whom a record is about when it is not the patient.

    role: what they are called for (emergency contact, employer); `relationship` is who they are to the patient
    """

    identifiers: tuple[Identifier, ...] = ()
    name: PersonName | None = None
    sex: str = ""
    birth_date: When | None = None
    relationship: Coded | None = None
    role: Coded | None = None
    addresses: tuple[Address, ...] = ()
    telecoms: tuple[Telecom, ...] = ()
    organization: Organization | None = None


class Author(Value, frozen=True, kw_only=True):
    """Who wrote it: a person, a device, or at least an organisation."""

    person: Person | None = None
    device: Device | None = None
    organization: Organization | None = None
    function: Coded | None = None
    at: When | None = None


class Participant(Value, frozen=True, kw_only=True):
    """Somebody else involved, by role.

    at: when, or from when; `until`: to when
    """

    role: Coded | None = None
    function: Coded | None = None
    person: Person | None = None
    organization: Organization | None = None
    at: When | None = None
    until: When | None = None
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()


class Recipient(Value, frozen=True, kw_only=True):
    """Somebody a document is meant for."""

    person: Person | None = None
    organization: Organization | None = None
    patient: bool | None = None
    telecoms: tuple[Telecom, ...] = ()


class Patient(Value, frozen=True, kw_only=True):
    """The patient as the source knew them at that moment: a snapshot, not a link.

    identity_status: `validated`, `provisional`, `doubtful`, `fictitious` or `unknown` (PID-32)
    identity_method: how the identity was verified (ZFD-5)
    identity_proof: the document that was seen (ZFD-7: `CN`, `PA`, `AN`...)
    identity_checked_at: when the INS service was asked (ZFD-6)
    birth_date_changed: the birth date was completed or changed after that call (ZFD-4)
    lunar_birth_date: day, month and year of another calendar, as received (ZFD-1)
    text_messages: whether they agreed to be sent text messages (ZFD-3)
    protected: access to this patient's data is to be restricted (PD1-12, ARV)
    living_will: whether there are advance directives (PD1-7)
    sex: administrative sex as received; nothing is inferred
    """

    identifiers: tuple[Identifier, ...] = ()
    identity_status: str = ""
    identity_method: str = ""
    identity_proof: str = ""
    identity_checked_at: When | None = None
    names: tuple[PersonName, ...] = ()
    birth_date: When | None = None
    birth_date_changed: bool | None = None
    lunar_birth_date: str = ""
    birth_place: Address | None = None
    sex: str = ""
    addresses: tuple[Address, ...] = ()
    phones: tuple[Telecom, ...] = ()
    text_messages: bool | None = None
    deceased_at: When | None = None
    deceased: bool | None = None
    marital_status: Coded | None = None
    multiple_birth: bool | None = None
    birth_order: int | None = None
    gestation_weeks: int | None = None
    languages: tuple[Coded, ...] = ()
    account: Identifier | None = None
    contacts: tuple[Contact, ...] = ()
    care_team: tuple[Participant, ...] = ()
    guardians: tuple[Contact, ...] = ()
    occupations: tuple[Coded, ...] = ()
    living_will: Coded | None = None
    organ_donor: Coded | None = None
    protected: bool | None = None
    updated_at: When | None = None


class Event(Value, frozen=True, kw_only=True):
    """What the message asks or tells.

    operation: the sender's wish; what became of it is in the journal
    prior_patient: the patient merged away or linked (A40, A24)
    prior_visit: the visit that was another patient's until now (A45: MRG-5)
    """

    code: str = ""
    operation: Operation | None = None
    occurred_at: When | None = None
    recorded_at: When | None = None
    reason: Coded | None = None
    operator: Person | None = None
    prior_patient: Patient | None = None
    prior_visit: Identifier | None = None


class Relation(Value, frozen=True, kw_only=True):
    """How this document stands to another one."""

    kind: RelationKind
    target: Identifier | None = None


class Consent(Value, frozen=True, kw_only=True):
    """What the source says the patient consented to.

    scope: `filing`, `consultation` or `account`
    value: as received (ZFA: `INO`, `IO`, `NA`, `IC`, `INC`, `ACTIF`...)
    """

    scope: Literal["filing", "consultation", "account"]
    value: str = ""
    at: When | None = None


class Delivery(Value, frozen=True, kw_only=True):
    """What the sender asks to be done with the document besides filing it.

    patient_may_answer: false where the patient is not to answer the mail (NTE-4 `FIN`)
    """

    dmp: bool | None = None
    mssante_professional: bool | None = None
    mssante_patient: bool | None = None
    patient_may_answer: bool | None = None
    receipt: bool | None = None
    read_receipt: bool | None = None
    secret_connection: bool | None = None
    change_confidentiality: bool | None = None
    reply_to: tuple[Telecom, ...] = ()
    mail_body: tuple[Attachment, ...] = ()


class Location(Value, frozen=True, kw_only=True):
    """A place of care (HL7v2 PL, healthCareFacility, Location)."""

    point_of_care: str = ""
    room: str = ""
    bed: str = ""
    facility: Identifier | None = None
    status: str = ""
    kind: str = ""
    building: str = ""
    floor: str = ""
    name: str = ""
    type: Coded | None = None
    address: Address | None = None
    telecoms: tuple[Telecom, ...] = ()


class Movement(Value, frozen=True, kw_only=True):
    """A movement of a stay (IHE PAM ZBE)."""

    identifier: Identifier | None = None
    action: str = ""
    start: When | None = None
    end: When | None = None
    historic: bool | None = None
    original_event: str = ""
    medical_unit: Organization | None = None
    care_unit: Organization | None = None
    nature: Coded | None = None


class LegalMode(Value, frozen=True, kw_only=True):
    """A legal mode of psychiatric care (IHE PAM France ZFS).

    rim_code: the same in the code of the psychiatric data collection (RIM-P)
    """

    identifier: Identifier | None = None
    action: str = ""
    start: When | None = None
    end: When | None = None
    mode: Coded | None = None
    rim_code: Coded | None = None
    note: str = ""


class Record(Value, frozen=True, kw_only=True):
    """What every structured record has.

    id: stable inside the document (`obs-3`)
    negated: the source states that it is not so, or was not done (CDA negationInd)
    subject: whom it is about when it is not the patient: a relative, a foetus, a donor
    participants: who wrote, performed, reported or verified this record
    findings: what was observed with it (the reason of an act, the outcome of a supply)
    references: documents, images, acts or orders elsewhere that it points to
    """

    id: str = ""
    identifiers: tuple[Identifier, ...] = ()
    status: str = ""
    notes: tuple[str, ...] = ()
    negated: bool | None = None
    subject: Contact | None = None
    participants: tuple[Participant, ...] = ()
    findings: tuple[Observation, ...] = ()
    references: tuple[Identifier, ...] = ()


class Encounter(Record, frozen=True, kw_only=True):
    """A stay or visit. `class` (an attribute `class_` in Python) is inpatient, emergency... by table.

    entry_mode: how the stay began, and `exit_mode` how it ended (PMSI: ZFM-1, ZFM-2)
    admit_source: where the patient came from; `destination` is where they went (PV1-14, PV1-37, ZFM-3, ZFM-4)
    protected: access to this stay is to be restricted (PV2-22)
    """

    identifier: Identifier | None = None
    class_: Coded | None = msgspec.field(default=None, name="class")
    type: Coded | None = None
    start: When | None = None
    end: When | None = None
    expected_start: When | None = None
    expected_end: When | None = None
    location: Location | None = None
    previous_location: Location | None = None
    pending_location: Location | None = None
    temporary_location: Location | None = None
    service: Coded | None = None
    reason: Coded | None = None
    admission_type: Coded | None = None
    entry_mode: Coded | None = None
    exit_mode: Coded | None = None
    admit_source: Coded | None = None
    destination: Coded | None = None
    transport: Coded | None = None
    discharge_disposition: Coded | None = None
    protected: bool | None = None
    legal_modes: tuple[LegalMode, ...] = ()
    movement: Movement | None = None


class Specimen(Record, frozen=True, kw_only=True):
    """What was examined."""

    identifier: Identifier | None = None
    type: Coded | None = None
    body_site: Coded | None = None
    collected_at: When | None = None
    received_at: When | None = None
    collector: Person | None = None
    quantity: Quantity | None = None


class Observation(Record, frozen=True, kw_only=True):
    """One result or finding.

    group: the battery, cluster or panel it was reported in
    specimen: id of the specimen in the report
    observed_at: when, or from when; `observed_until`: to when
    """

    category: Coded | None = None
    code: Coded | None = None
    sub_id: str = ""
    group: Coded | None = None
    value: ResultValue | None = None
    reference_range: tuple[Range, ...] = ()
    flags: tuple[Coded, ...] = ()
    observed_at: When | None = None
    analysed_at: When | None = None
    observed_until: When | None = None
    method: Coded | None = None
    body_site: Coded | None = None
    specimen: str = ""
    performer: Person | None = None
    performing_organization: Organization | None = None
    device: Device | None = None
    components: tuple[Observation, ...] = ()
    absent_reason: str = ""


class Report(Record, frozen=True, kw_only=True):
    """A group of results that was ordered and signed together.

    clinical_information: what the requester told the performer (OBR-13)
    parent: the order this one follows from; `parent_code` and `parent_sub_id` the result of it (an organism found)
    """

    placer_order: Identifier | None = None
    filler_order: Identifier | None = None
    code: Coded | None = None
    category: Coded | None = None
    title: str = ""
    reason: Coded | None = None
    clinical_information: str = ""
    parent: Identifier | None = None
    parent_code: Coded | None = None
    parent_sub_id: str = ""
    collected_at: When | None = None
    issued_at: When | None = None
    requester: Person | None = None
    performers: tuple[Participant, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    observations: tuple[Observation, ...] = ()
    narrative: str = ""
    conclusion: str = ""


class Ingredient(Value, frozen=True, kw_only=True):
    """A part of a mixture.

    role: `B` base or `A` additive (HL7 table 0166)
    """

    product: Coded | None = None
    role: str = ""
    amount: Quantity | None = None


class Medication(Record, frozen=True, kw_only=True):
    """A medicine prescribed, given, dispensed or taken.

    kind: `prescribed`, `administered`, `dispensed` or `statement`
    product_name: brand name or free name, beside the code; `form`: pharmaceutical form
    dose: or the least of it; `dose_max`: the most
    max_dose: the most that may be taken in a time
    site: where on the body
    instructions: for who gives or takes it
    repeats: how often it may be dispensed
    prescriber: who ordered it; `performer` is who gave or dispensed it
    """

    kind: str = ""
    product: Coded | None = None
    product_name: str = ""
    product_identifiers: tuple[Identifier, ...] = ()
    form: Coded | None = None
    lot: str = ""
    manufacturer: Organization | None = None
    dose: Quantity | None = None
    dose_max: Quantity | None = None
    rate: Quantity | None = None
    ingredients: tuple[Ingredient, ...] = ()
    max_dose: Ratio | None = None
    route: Coded | None = None
    site: Coded | None = None
    instructions: str = ""
    expiration: When | None = None
    timing: str = ""
    start: When | None = None
    end: When | None = None
    as_needed: bool | None = None
    quantity: Quantity | None = None
    repeats: int | None = None
    reason: Coded | None = None
    prescriber: Person | None = None
    performer: Person | None = None


class Immunization(Record, frozen=True, kw_only=True):
    """A vaccination, or that it was not done and why.

    observations: what was noted with it: eligibility, information given, reactions
    """

    vaccine: Coded | None = None
    product_name: str = ""
    product_identifiers: tuple[Identifier, ...] = ()
    lot: str = ""
    expiration: When | None = None
    manufacturer: Organization | None = None
    occurred_at: When | None = None
    dose: Quantity | None = None
    dose_number: str = ""
    site: Coded | None = None
    route: Coded | None = None
    requester: Person | None = None
    performer: Person | None = None
    place: Location | None = None
    reason_not_done: Coded | None = None
    observations: tuple[Observation, ...] = ()


class Allergy(Record, frozen=True, kw_only=True):
    """An allergy or intolerance, or the statement that none is known (`no_known`).

    type: allergy, intolerance, adverse reaction... as received
    """

    type: Coded | None = None
    code: Coded | None = None
    category: str = ""
    criticality: str = ""
    severity: Coded | None = None
    reactions: tuple[Coded, ...] = ()
    onset: When | None = None
    clinical_status: str = ""
    verification: str = ""
    no_known: bool | None = None


class Problem(Record, frozen=True, kw_only=True):
    """A problem or diagnosis, or the statement that none is known (`no_known`)."""

    code: Coded | None = None
    kind: str = ""
    onset: When | None = None
    abatement: When | None = None
    clinical_status: str = ""
    verification: str = ""
    severity: Coded | None = None
    body_site: Coded | None = None
    rank: int | None = None
    asserter: Person | None = None
    asserted_at: When | None = None
    no_known: bool | None = None


class Procedure(Record, frozen=True, kw_only=True):
    """An act performed, or a device supplied.

    devices: what was used, implanted or supplied
    """

    code: Coded | None = None
    performed: Period | None = None
    performers: tuple[Participant, ...] = ()
    body_site: Coded | None = None
    outcome: Coded | None = None
    method: Coded | None = None
    reason: Coded | None = None
    devices: tuple[Device, ...] = ()
    quantity: Quantity | None = None


class Appointment(Record, frozen=True, kw_only=True):
    """A booking.

    service: the first of `services`; `location` is the first of `locations`
    equipment: what is booked with it
    """

    identifier: Identifier | None = None
    placer: Identifier | None = None
    filler: Identifier | None = None
    start: When | None = None
    end: When | None = None
    duration: Quantity | None = None
    service: Coded | None = None
    services: tuple[Coded, ...] = ()
    type: Coded | None = None
    reason: Coded | None = None
    location: Location | None = None
    locations: tuple[Location, ...] = ()
    equipment: tuple[Coded, ...] = ()


class Order(Record, frozen=True, kw_only=True):
    """A request for an examination, an act or a product, or the plan to do it.

    control: HL7 table 0119; `intent`: `order`, `plan`, `proposal`, `promise`... as received
    scheduled: when it is to be done
    group: the requester's number for orders that belong together (ORC-4)
    """

    placer: Identifier | None = None
    filler: Identifier | None = None
    control: str = ""
    code: Coded | None = None
    priority: str = ""
    requester: Person | None = None
    requested_at: When | None = None
    intent: str = ""
    scheduled: Period | None = None
    body_site: Coded | None = None
    reason: Coded | None = None
    clinical_information: str = ""
    group: Identifier | None = None
    parent: Identifier | None = None
    specimens: tuple[Specimen, ...] = ()


class Plan(Record, frozen=True, kw_only=True):
    """What is aimed at or advised: a goal, an instruction, a care plan.

    kind: `goal`, `instruction` or `care_plan`
    target: the value to reach
    """

    kind: str = ""
    code: Coded | None = None
    title: str = ""
    target: ResultValue | None = None
    priority: Coded | None = None
    start: When | None = None
    end: When | None = None


class Directive(Record, frozen=True, kw_only=True):
    """A consent or directive of the patient as a clinical document tells it; `Consent` is what the broker acts on.

    decision: as received (`permit`, `deny`)
    """

    code: Coded | None = None
    category: Coded | None = None
    decision: str = ""
    at: When | None = None
    start: When | None = None
    end: When | None = None


class Section(Value, frozen=True, kw_only=True):
    """A section of a document; its narrative verbatim (an XML or XHTML fragment).

    level: depth, 1 at the top; `parent` is the id of the enclosing section
    """

    id: str = ""
    identifiers: tuple[Identifier, ...] = ()
    code: Coded | None = None
    title: str = ""
    level: int | None = None
    parent: str = ""
    narrative: str = ""
    entries: tuple[str, ...] = ()
    empty_reason: str = ""
    language: str = ""
    confidentiality: Coded | None = None
    authors: tuple[Author, ...] = ()
    subject: Contact | None = None


class Source(Value, frozen=True, kw_only=True):
    """Where the message came from, in its own words and ours.

    parent: id of the message's own document, when this one was embedded in it
    """

    format: str = ""
    format_version: str = ""
    profile: str = ""
    message_type: str = ""
    message_id: str = ""
    application: Identifier | None = None
    facility: Identifier | None = None
    receiving_application: Identifier | None = None
    receiving_facility: Identifier | None = None
    sent_at: When | None = None
    received_at: str = ""
    processing_id: str = ""
    charset: str = ""
    charset_used: str = ""
    channel: str = ""
    peer: str = ""
    original_sha256: str = ""
    parent: str = ""


class Extra(Value, frozen=True, kw_only=True):
    """A source value no rule reads, kept; never sent unless a mapping reads it."""

    source_path: str
    value: str = ""
    reason: Literal["unread", "unparsed", "unmapped_code", "unexpected_segment"] = "unread"


class Issue(Value, frozen=True, kw_only=True):
    """Something that happened while reading. Names places, never a value.

    code: stable (`unmapped-code`, `value-not-numeric`)
    detail: what the code is about, without data of the patient (a table file, a charset)
    rule: `file:line:column` of the rule
    """

    severity: Severity
    code: str
    detail: str = ""
    rule: str = ""
    source_path: str = ""
    target_path: str = ""


class MappingRef(Value, frozen=True, kw_only=True):
    """Which mapping made the document. `set` is the SHA-256 of the mapping set's files."""

    name: str = ""
    version: str = ""
    set: str = ""
    engine: str = ""


class Document(Value, frozen=True, kw_only=True):
    """One document or event about one patient: the header every format has, and the structured content.

    id: the broker's own UUIDv7, given from outside
    unique_id: the global id its author gave it (XDS uniqueId)
    set_id: the same for all versions of a document
    availability: life in the record; `status` is the author's word on completeness
    class_code: class of the document, by table from its type
    confidentiality: first N, R or V; then masking codes (`MASQUE_PS`, `INVISIBLE_PATIENT`...)
    patient: as the source knew them
    sender: who asks for the sharing (PRT-4 = SB)
    delivery: what else the sender asks for
    reference_ids: orders, accession numbers, studies
    cleared: model paths the source explicitly emptied (HL7 `""`)
    absent: model path to the reason nothing is there (nullFlavor, data-absent-reason)
    """

    id: str
    model: int = MODEL
    kind: Kind = "other"
    unique_id: Identifier | None = None
    set_id: Identifier | None = None
    version_number: int | None = None
    status: Status = "unknown"
    availability: Availability = "current"
    event: Event | None = None
    relations: tuple[Relation, ...] = ()
    title: str = ""
    type_code: Coded | None = None
    class_code: Coded | None = None
    format_code: Coded | None = None
    facility_type: Coded | None = None
    practice_setting: Coded | None = None
    event_codes: tuple[Coded, ...] = ()
    confidentiality: tuple[Coded, ...] = ()
    language: str = ""
    created_at: When | None = None
    service_start: When | None = None
    service_end: When | None = None
    patient: Patient | None = None
    authors: tuple[Author, ...] = ()
    legal_authenticator: Author | None = None
    custodian: Organization | None = None
    participants: tuple[Participant, ...] = ()
    sender: Author | None = None
    recipients: tuple[Recipient, ...] = ()
    delivery: Delivery | None = None
    consents: tuple[Consent, ...] = ()
    reference_ids: tuple[Identifier, ...] = ()
    comments: str = ""
    original: AttachmentRef = AttachmentRef()
    attachments: tuple[Attachment, ...] = ()
    source: Source = Source()
    encounters: tuple[Encounter, ...] = ()
    reports: tuple[Report, ...] = ()
    observations: tuple[Observation, ...] = ()
    medications: tuple[Medication, ...] = ()
    immunizations: tuple[Immunization, ...] = ()
    allergies: tuple[Allergy, ...] = ()
    problems: tuple[Problem, ...] = ()
    procedures: tuple[Procedure, ...] = ()
    appointments: tuple[Appointment, ...] = ()
    orders: tuple[Order, ...] = ()
    plans: tuple[Plan, ...] = ()
    directives: tuple[Directive, ...] = ()
    sections: tuple[Section, ...] = ()
    cleared: tuple[str, ...] = ()
    absent: dict[str, str] = {}
    extras: tuple[Extra, ...] = ()
    issues: tuple[Issue, ...] = ()
    mapping: MappingRef = MappingRef()


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Document)


def encode(document: Document) -> bytes:
    """The document as JSON, for storage and tests; fields at their default are left out."""
    return _ENCODER.encode(document)


def decode(data: bytes) -> Document:
    """The document of its JSON, fully type-checked. Raises ValueError for anything else."""
    return _DECODER.decode(data)
