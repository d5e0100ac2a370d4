"""The header of a CI-SIS document: who, when, about whom, replacing what. For `cda`.

An element CI-SIS demands and the document does not have says so (nullFlavor); nobody is made legally responsible who
was not. Source: CDA R2 ClinicalDocument; CI-SIS "Structuration minimale des documents de santé".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from broker.document import (
    Author,
    Coded,
    Coding,
    Document,
    Encounter,
    Identifier,
    Participant,
    Relation,
)
from broker.writing import cda_people as people
from broker.writing import cda_types as types
from broker.writing import systems
from broker.writing.cda_elements import LAB, SDTC, Element, add

HL7_FRANCE = "2.16.840.1.113883.2.8.2.1"
MINIMAL = "1.2.250.1.213.1.1.1.1"
XD_LAB = "1.3.6.1.4.1.19376.1.3.3"
_TYPE_ID = ("2.16.840.1.113883.1.3", "POCD_HD000040")
_LEVELS = frozenset("NRV")
_RELATIONS = {"replaces": "RPLC", "appends": "APND", "transforms": "XFRM"}
_PARTICIPATIONS = frozenset({
    "ADM", "ALY", "ATND", "AUT", "AUTHEN", "BBY", "BEN", "CAGNT", "CALLBCK", "CON", "COV", "CSM",
    "CST", "DEV", "DIR", "DIS", "DIST", "DON", "DST", "ELOC", "ENT", "ESC", "GUAR", "HLD", "IND",
    "INF", "IRCP", "LA", "LOC", "NOT", "NRD", "ORG", "PART", "PPRF", "PRCP", "PRD", "PRF", "RCT",
    "RCV", "RDV", "REF", "REFB", "REFT", "RESP", "RML", "SBJ", "SPC", "SPRF", "TRC", "VIA", "VRF",
    "WIT",
})  # fmt: skip
_STATUSES = {"preliminary": "active", "cancelled": "aborted", "entered_in_error": "nullified"}
_LABORATORY_STATUSES = {
    "final": "completed", "amended": "completed", "corrected": "completed", "preliminary": "active",
}  # fmt: skip
_WITHDRAWN = {"cancel": "aborted", "delete": "nullified"}
_ROLES = {
    "requester": "REF", "referring": "REF", "attending": "ATND", "admitting": "ADM", "consulting": "CON",
    "main": "PRF", "principal_interpreter": "PRF",
}  # fmt: skip
_ENCOUNTER_ROLES = frozenset({"ADM", "ATND", "CON", "DIS", "REF"})
_REFERRER = Coded(codings=(Coding(code="REF"),))


def write(root: Element, document: Document, templates: Collection[str]) -> None:
    """Everything before the body, which `write_status` follows. Raises: PermanentError `writing.character`."""
    _document(root, document, templates)
    people.record_target(root, document.patient)
    for author in document.authors or (None,):
        people.author(root, author)
    groups = _Participants(document)
    for item in groups.enterers[:1]:
        _assigned(root, "dataEnterer", item)
    for item in groups.informants:
        people.assigned_entity(add(root, "informant"), item.person, item.organization)
    people.custodian(root, document.custodian)
    for recipient in document.recipients:
        people.recipient(root, recipient)
    _legal_authenticator(root, document.legal_authenticator)
    for item in groups.authenticators:
        _assigned(root, "authenticator", item, signed=True)
    for item in (*groups.others, *groups.enterers[1:]):
        _participant(root, item)
    for contact in document.patient.contacts if document.patient else ():
        people.contact(root, contact)
    for order in orders_of(document):
        types.identifier(add(add(root, "inFulfillmentOf"), "order"), order)
    laboratory = _LABORATORY_STATUSES.get(document.status, "") if XD_LAB in templates else ""
    _service_events(root, document, groups.performers, laboratory)
    for relation in document.relations:
        _related(root, relation)
    _encounter(root, document)


def write_status(root: Element, document: Document) -> None:
    """What comes after the body: the status of a document that is not simply final, or no longer valid.

    Source: the extension sdtc:statusCode of HL7 Structured Documents, which the CDA schema of CI-SIS has.
    """
    operation = document.event.operation if document.event else None
    status = _WITHDRAWN.get(operation or "", "") or _STATUSES.get(document.status, "")
    if status:
        add(root, f"{{{SDTC}}}statusCode", code=status)


def unique_id(document: Document) -> Identifier:
    """The document's global id; where its author gave none that is global, the OID of the broker's own id."""
    given = document.unique_id
    if given is not None and systems.instance(given).root:
        return given
    own = systems.of_uuid(document.id)
    return Identifier(value=own, system=systems.URI, oid=own)


def level(document: Document) -> Coded | None:
    """The level of confidentiality (N, R, V) among the codes; masking codes are no level."""
    levels = (item for item in document.confidentiality if types.simple_code(item) in _LEVELS)
    found = next(levels, None)
    if found is None or systems.code_system(found.codings[0]):
        return found
    code = found.codings[0].code
    return Coded(codings=(Coding(code=code, system=systems.CONFIDENTIALITY),))


def orders_of(document: Document) -> list[Identifier]:
    """The orders the document answers, each once."""
    found: dict[tuple[str, str], Identifier] = {}
    placed = [report.placer_order for report in document.reports]
    for item in (*document.reference_ids, *placed, *(order.placer for order in document.orders)):
        if item is not None and item.value:
            found.setdefault((item.system, item.value), item)
    return list(found.values())


def participants_of(document: Document) -> Iterator[Participant]:
    """Everybody with a role in the whole document; who asked for a report referred the patient."""
    yield from document.participants
    known = {item.person for item in document.participants if types.simple_code(item.role) == "REF"}
    for report in document.reports:
        if report.requester is not None and report.requester not in known:
            known.add(report.requester)
            yield Participant(role=_REFERRER, person=report.requester)


class _Participants:
    """The participants by the place CDA has for them."""

    def __init__(self, document: Document) -> None:
        self.enterers: list[Participant] = []
        self.informants: list[Participant] = []
        self.authenticators: list[Participant] = []
        self.performers: list[tuple[str, Participant]] = []
        self.others: list[Participant] = []
        for item in participants_of(document):
            role = types.simple_code(item.role)
            if role == "ENT":
                self.enterers.append(item)
            elif role == "AUTHEN":
                self.authenticators.append(item)
            elif role == "INF" and item.function is None:
                self.informants.append(item)
            elif role in ("PRF", "SPRF"):
                self.performers.append((role, item))
            else:
                self.others.append(item)


def _document(root: Element, document: Document, templates: Collection[str]) -> None:
    add(root, "realmCode", code="FR")
    add(root, "typeId", root=_TYPE_ID[0], extension=_TYPE_ID[1])
    for template in (HL7_FRANCE, MINIMAL, *templates):
        add(root, "templateId", root=template)
    types.identifier(root, unique_id(document))
    if types.coded(root, "code", document.type_code) is None:
        types.nothing(root, "code")
    if document.title:
        add(root, "title", document.title)
    else:
        types.nothing(root, "title")
    types.time(root, "effectiveTime", document.created_at, required=True)
    if types.coded(root, "confidentialityCode", level(document)) is None:
        types.nothing(root, "confidentialityCode")
    _code(root, "languageCode", document.language)
    if document.set_id is not None and document.set_id.value:
        types.identifier(root, document.set_id, "setId")
    else:
        types.nothing(root, "setId")
    number = "" if document.version_number is None else str(document.version_number)
    add(root, "versionNumber", value=number, nullFlavor="" if number else "UNK")


def _code(root: Element, name: str, code: str) -> None:
    fits = bool(code) and not any(char.isspace() for char in code)
    add(root, name, code=code if fits else "", nullFlavor="" if fits else "UNK")


def _legal_authenticator(root: Element, item: Author | None) -> None:
    if item is None:
        return
    element = add(root, "legalAuthenticator")
    types.time(element, "time", item.at, required=True)
    add(element, "signatureCode", code="S")
    people.assigned_entity(element, item.person, item.organization)


def _assigned(root: Element, name: str, item: Participant, *, signed: bool = False) -> None:
    element = add(root, name)
    types.time(element, "time", item.at, required=signed)
    if signed:
        add(element, "signatureCode", code="S")
    people.assigned_entity(element, item.person, item.organization)


def _participant(root: Element, item: Participant) -> None:
    """participant; a role CDA has no participation for is said as the function of one who takes part."""
    role = types.simple_code(item.role)
    kind = role if role in _PARTICIPATIONS else _ROLES.get(role, "PART")
    element = add(root, "participant", typeCode=kind)
    known = role in _PARTICIPATIONS or role in _ROLES
    types.coded(element, "functionCode", item.function or (None if known else item.role))
    types.until(element, "time", item.at)
    people.associated_entity(element, item.person, item.organization)


def _service_events(
    root: Element, document: Document, performers: list[tuple[str, Participant]], laboratory: str
) -> None:
    """One documentationOf an act; the first one has the time, the performers and the frame of practice.

    laboratory: whether all results are there (`lab:statusCode` of XD-LAB), when it is a laboratory's report
    """
    for number, code in enumerate(document.event_codes or (None,)):
        event = add(add(root, "documentationOf"), "serviceEvent")
        types.coded(event, "code", code)
        if number:
            continue
        if laboratory:
            add(event, f"{{{LAB}}}statusCode", code=laboratory)
        types.interval(
            event, "effectiveTime", document.service_start, document.service_end, required=True
        )
        setting = document.practice_setting
        for kind, item in performers or [("PRF", Participant())]:
            element = add(event, "performer", typeCode=kind)
            types.coded(element, "functionCode", item.function)
            types.interval(element, "time", item.at)
            people.assigned_entity(element, item.person, item.organization, setting=setting)
            setting = None


def _related(root: Element, relation: Relation) -> None:
    kind = _RELATIONS.get(relation.kind)
    if kind and relation.target is not None:
        parent = add(add(root, "relatedDocument", typeCode=kind), "parentDocument")
        types.identifier(parent, relation.target)


def _encounter(root: Element, document: Document) -> None:
    encounter = document.encounters[0] if document.encounters else Encounter()
    element = add(add(root, "componentOf"), "encompassingEncounter")
    if encounter.identifier is not None and encounter.identifier.value:
        types.identifier(element, encounter.identifier)
    types.coded(element, "code", encounter.class_)
    types.interval(element, "effectiveTime", encounter.start, encounter.end, required=True)
    types.coded(element, "dischargeDispositionCode", encounter.discharge_disposition)
    for item in encounter.participants:
        if types.simple_code(item.role) == "responsible":
            party = add(element, "responsibleParty")
            people.assigned_entity(party, item.person, item.organization)
            break
    for item in encounter.participants:
        role = types.simple_code(item.role)
        role = _ROLES.get(role, role)
        if role in _ENCOUNTER_ROLES:
            party = add(element, "encounterParticipant", typeCode=role)
            people.assigned_entity(party, item.person, item.organization)
    _facility(element, document, encounter)


def _facility(element: Element, document: Document, encounter: Encounter) -> None:
    facility = add(add(element, "location"), "healthCareFacility")
    place = encounter.location
    if place is not None and place.facility is not None and place.facility.value:
        types.identifier(facility, place.facility)
    if types.coded(facility, "code", document.facility_type) is None:
        types.nothing(facility, "code")
    words = [place.name] if place and place.name else []
    if place and not words:
        words = [part for part in (place.point_of_care, place.room, place.bed) if part]
    if words:
        add(add(facility, "location"), "name", " ".join(words))
