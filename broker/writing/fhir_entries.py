"""The entries of one FHIR Bundle while it is written: ids, references, and each person or structure once.

Ids are derived from the document's id and the place of a resource in it, so the same document gives the same bytes.
Source: FHIR R4 (4.0.1) Bundle, Practitioner, PractitionerRole, Organization, Device, Location.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from hashlib import sha1

import msgspec

from broker.document import (
    Author,
    Coded,
    Device,
    Document,
    Location,
    Organization,
    Participant,
    Person,
)
from broker.writing import fhir_types as types
from broker.writing.fhir_types import Json, each, filled

_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


class Entries:
    """Resources in the order they are added, and who acts in them."""

    def __init__(self, document: Document) -> None:
        self.resources: list[tuple[str, Json]] = []
        self._space = _named(uuid.NAMESPACE_URL.bytes, f"urn:uuid:{document.id}")
        self._known: dict[bytes, str] = {}

    def uuid(self, name: str) -> str:
        """The id of a resource by its place in the document."""
        made = _named(self._space, name).hex()
        return f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"

    def url(self, name: str) -> str:
        """The fullUrl a resource will have."""
        return f"urn:uuid:{self.uuid(name)}"

    def add(self, name: str, resource: Json | None) -> str:
        """Adds a resource; its fullUrl, to be referred to by. Nothing for nothing."""
        if resource is None:
            return ""
        url = self.url(name)
        self.resources.append((url, resource))
        return url

    def once(self, kind: str, **fields: object) -> str:
        """Adds a resource that may be met again: what is the same is one entry."""
        content = filled(**fields)
        if not content:
            return ""
        resource = {"resourceType": kind, **content}
        key = msgspec.json.encode(resource, order="sorted")
        if key not in self._known:
            self._known[key] = self.add(f"{kind} {len(self._known) + 1}", resource)
        return self._known[key]

    def person(self, person: Person | None) -> str:
        """A Practitioner."""
        if person is None:
            return ""
        return self.once(
            "Practitioner",
            identifier=each(types.identifier, person.identifiers),
            name=each(types.name, [person.name]),
            telecom=each(types.telecom, person.telecoms),
            address=each(types.address, person.addresses),
        )

    def organization(self, item: Organization | None) -> str:
        """An Organization. One that is part of another says so by its identifier."""
        if item is None:
            return ""
        part_of = types.identifier(item.part_of)
        return self.once(
            "Organization",
            identifier=each(types.identifier, item.identifiers),
            type=each(types.concept, [item.type, item.sector]),
            name=item.name,
            telecom=each(types.telecom, item.telecoms),
            address=each(types.address, item.addresses),
            partOf={"identifier": part_of} if part_of else None,
        )

    def device(self, device: Device | None) -> str:
        """A Device or program."""
        if device is None:
            return ""
        named = device.software or device.model
        return self.once(
            "Device",
            identifier=each(types.identifier, device.identifiers),
            deviceName=[{"name": named, "type": "other"}] if named else [],
        )

    def role(
        self,
        person: Person | None,
        organization: Organization | None,
        function: Coded | None = None,
    ) -> str:
        """A PractitionerRole when person and structure, or a profession, are known; else the one that is."""
        practitioner, structure = self.person(person), self.organization(organization)
        if person is None:
            return structure
        roles = each(types.concept, [function, person.role_code])
        specialities = each(types.concept, [person.profession, person.speciality])
        if not structure and not roles and not specialities:
            return practitioner
        return self.once(
            "PractitionerRole",
            practitioner=types.reference(practitioner),
            organization=types.reference(structure),
            code=roles,
            specialty=specialities,
        )

    def author(self, author: Author | None) -> str:
        """Who wrote something: the person in their role, the device, or the structure."""
        if author is None:
            return ""
        if author.person is None and author.device is not None:
            return self.device(author.device)
        return self.role(author.person, author.organization, author.function)

    def participant(self, item: Participant | None) -> str:
        """Somebody involved, in their role."""
        return self.role(item.person, item.organization, item.function) if item else ""

    def location(self, item: Location | None) -> str:
        """A Location: its name as people read it, and what it is part of by its identifier."""
        if item is None:
            return ""
        parts = (item.building, item.floor, item.point_of_care, item.room, item.bed)
        facility = types.identifier(item.facility)
        return self.once(
            "Location",
            name=item.name or " ".join(part for part in parts if part),
            description=" ".join(part for part in parts if part) if item.name else None,
            physicalType={"text": item.kind} if item.kind else None,
            managingOrganization={"identifier": facility} if facility else None,
        )


def _named(space: bytes, name: str) -> bytes:
    """A UUID of version 5 (RFC 4122, 4.3) as 16 bytes: `uuid.uuid5` in an eighth of the time, thousands a page."""
    made = bytearray(sha1(space + name.encode(), usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def references(urls: Iterable[str]) -> list[Json]:
    """References to every resource that is there."""
    return [{"reference": url} for url in urls if url]


def unknown() -> Json:
    """What stands where FHIR demands an element and the document has none: that it is not known."""
    return {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def codes(text: str) -> frozenset[str]:
    """The codes of a value set, written with blanks between."""
    return frozenset(text.split())


def status(text: str, known: frozenset[str], absent: str = "unknown") -> str:
    """A status as FHIR spells it; `absent` for one its value set does not have."""
    spelled = text.replace("_", "-").lower()
    return spelled if spelled in known else absent
