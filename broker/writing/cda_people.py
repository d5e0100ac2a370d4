"""People and organisations of a CDA: the patient, professionals in their roles, structures.

The national identity goes out only when it is validated (RNIV: a qualified identity carries its number to others).
Source: CDA R2 recordTarget, assignedAuthor, assignedEntity, associatedEntity; CI-SIS "Structuration minimale".
"""

from __future__ import annotations

from broker.document import (
    Author,
    Coded,
    Coding,
    Contact,
    Device,
    Identifier,
    Organization,
    Patient,
    Person,
    Recipient,
)
from broker.writing import cda_types as types
from broker.writing import systems
from broker.writing.cda_elements import SDTC, Element, add

_GENDERS = {"male": ("M", "Masculin"), "female": ("F", "Féminin"), "other": ("UN", "Indifférencié")}
_GENDER_SYSTEM = "2.16.840.1.113883.5.1"


def identifiers_of(patient: Patient) -> list[Identifier]:
    """What may leave of a patient's identifiers: the national ones only with a validated identity, and first."""
    ins = [item for item in patient.identifiers if systems.is_ins(item)]
    local = [item for item in patient.identifiers if not systems.is_ins(item)]
    return [*ins, *local] if patient.identity_status == "validated" else local


def record_target(parent: Element, patient: Patient | None) -> None:
    """recordTarget; one of whom nothing is known still stands there."""
    role = add(add(parent, "recordTarget"), "patientRole")
    if patient is None:
        types.nothing(role, "id")
        return
    types.identifiers(role, identifiers_of(patient))
    types.addresses(role, patient.addresses, required=True)
    types.telecoms(role, patient.phones, required=True)
    _patient(role, patient)


def _patient(role: Element, patient: Patient) -> None:
    element = add(role, "patient")
    types.names(element, patient.names)
    code, display = _GENDERS.get(patient.sex, ("", ""))
    if code:
        add(
            element,
            "administrativeGenderCode",
            code=code,
            codeSystem=_GENDER_SYSTEM,
            displayName=display,
        )
    else:
        types.nothing(element, "administrativeGenderCode")
    birth = types.stamp(patient.birth_date)[:8]
    add(element, "birthTime", value=birth, nullFlavor="" if birth else "UNK")
    _death(element, patient)
    types.coded(element, "maritalStatusCode", patient.marital_status)
    for contact in patient.guardians:
        _guardian(element, contact)
    if patient.birth_place is not None:
        _birthplace(element, patient)
    for language in patient.languages:
        if code := types.simple_code(language):
            add(add(element, "languageCommunication"), "languageCode", code=code)


def _death(element: Element, patient: Patient) -> None:
    moment = types.stamp(patient.deceased_at)
    if patient.deceased is not None or moment:
        dead = "true" if patient.deceased or moment else "false"
        add(element, f"{{{SDTC}}}deceasedInd", value=dead)
    if moment:
        add(element, f"{{{SDTC}}}deceasedTime", value=moment)


def _birthplace(element: Element, patient: Patient) -> None:
    assert patient.birth_place is not None
    birthplace = add(element, "birthplace")
    if types.address(add(birthplace, "place"), patient.birth_place) is None:
        element.remove(birthplace)


def _guardian(element: Element, contact: Contact) -> None:
    guardian = add(element, "guardian")
    types.coded(guardian, "code", contact.relationship)
    types.addresses(guardian, contact.addresses)
    types.telecoms(guardian, contact.telecoms)
    _person(guardian, "guardianPerson", Person(name=contact.name))


def contact(parent: Element, item: Contact) -> None:
    """A relative or other person to reach, as a participant."""
    entity = add(add(parent, "participant", typeCode="IND"), "associatedEntity", classCode="CON")
    types.coded(entity, "code", item.relationship)
    types.addresses(entity, item.addresses)
    types.telecoms(entity, item.telecoms)
    _person(entity, "associatedPerson", Person(name=item.name))
    if item.organization is not None:
        organization(entity, "scopingOrganization", item.organization)


def author(parent: Element, item: Author | None) -> None:
    """author; a document without one says that it is unknown."""
    element = add(parent, "author", nullFlavor="" if item else "UNK")
    types.coded(element, "functionCode", item.function if item else None)
    types.time(element, "time", item.at if item else None, required=True)
    assigned = add(element, "assignedAuthor")
    if item is None:
        types.nothing(assigned, "id")
        return
    person = item.person
    device = item.device if person is None else None
    own = person.identifiers if person else device.identifiers if device else ()
    types.identifiers(assigned, own)
    if person is not None:
        _role(assigned, person)
        _person(assigned, "assignedPerson", person)
    elif device is not None:
        _device(assigned, device)
    if item.organization is not None:
        organization(assigned, "representedOrganization", item.organization)


def _device(parent: Element, device: Device) -> None:
    element = add(parent, "assignedAuthoringDevice")
    if device.model:
        add(element, "manufacturerModelName", device.model)
    if device.software:
        add(element, "softwareName", device.software)


def assigned_entity(
    parent: Element,
    person: Person | None,
    place: Organization | None = None,
    *,
    setting: Coded | None = None,
) -> None:
    """assignedEntity of a person, of a structure, or of nobody known.

    setting: frame of practice, said of the structure
    """
    entity = add(parent, "assignedEntity")
    types.identifiers(entity, person.identifiers if person else ())
    if person is not None:
        _role(entity, person)
        _person(entity, "assignedPerson", person)
    if place is not None or setting is not None:
        organization(entity, "representedOrganization", place or Organization(), setting=setting)


def associated_entity(
    parent: Element, person: Person | None, place: Organization | None, *, kind: str = "PROV"
) -> Element:
    """associatedEntity of a participant."""
    entity = add(parent, "associatedEntity", classCode=kind)
    types.identifiers(entity, person.identifiers if person else ())
    if person is not None:
        _role(entity, person)
        _person(entity, "associatedPerson", person)
    if place is not None:
        organization(entity, "scopingOrganization", place)
    return entity


def recipient(parent: Element, item: Recipient) -> None:
    """informationRecipient; one known by an address only, or the patient, is not of the document."""
    if item.person is None and item.organization is None:
        return
    intended = add(add(parent, "informationRecipient"), "intendedRecipient")
    person = item.person
    if person is not None:
        for found in person.identifiers:
            types.identifier(intended, found)
        types.addresses(intended, person.addresses)
    types.telecoms(intended, item.telecoms or (person.telecoms if person else ()))
    if person is not None:
        _person(intended, "informationRecipient", person)
    if item.organization is not None:
        organization(intended, "receivedOrganization", item.organization)


def custodian(parent: Element, item: Organization | None) -> None:
    """custodian, which CDA demands."""
    assigned = add(add(parent, "custodian"), "assignedCustodian")
    element = add(assigned, "representedCustodianOrganization")
    if item is None:
        types.nothing(element, "id")
        return
    types.identifiers(element, item.identifiers)
    if item.name:
        add(element, "name", item.name)
    types.telecoms(element, item.telecoms[:1])
    types.addresses(element, item.addresses[:1])


def organization(
    parent: Element, name: str, item: Organization, *, setting: Coded | None = None
) -> None:
    """An organisation in any of its roles."""
    element = add(parent, name)
    for found in item.identifiers:
        types.identifier(element, found)
    if item.name:
        add(element, "name", item.name)
    types.telecoms(element, item.telecoms)
    types.addresses(element, item.addresses)
    types.coded(element, "standardIndustryClassCode", setting or item.type)
    if item.part_of is not None:
        whole = add(add(element, "asOrganizationPartOf"), "wholeOrganization")
        types.identifier(whole, item.part_of)


def role_code(person: Person) -> Coded | None:
    """Profession and speciality in one code (`G15_10/SM26`), as CI-SIS writes them."""
    if person.role_code is not None or person.profession is None:
        return person.role_code
    profession = types.simple_code(person.profession)
    speciality = types.simple_code(person.speciality)
    if not profession.startswith("G15_"):
        return person.profession
    code = f"{profession}/{speciality}" if speciality else profession
    return Coded(codings=(Coding(code=code, system=systems.PROFESSIONS),))


def _role(parent: Element, person: Person) -> None:
    types.coded(parent, "code", role_code(person))
    types.addresses(parent, person.addresses)
    types.telecoms(parent, person.telecoms)


def _person(parent: Element, name: str, person: Person) -> None:
    """The person's own element; a guardian must have one even without a name."""
    element = add(parent, name)
    written = types.name(element, person.name) if person.name else None
    if written is None:
        if name == "guardianPerson":
            types.nothing(element, "name")
        else:
            parent.remove(element)
