"""The values of the document model as FHIR R4 data types. For `broker.writing.fhir`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from broker.document import (
    Address,
    Author,
    Coded,
    Identifier,
    Organization,
    Person,
    PersonName,
    Quantity,
    Range,
    ResultValue,
    Telecom,
    When,
)

Json = dict[str, Any]
T = TypeVar("T")

GENDERS = frozenset({"male", "female", "other", "unknown"})

_SYSTEMS = {
    "ins_nir": "urn:oid:1.2.250.1.213.1.4.8",
    "ins_nia": "urn:oid:1.2.250.1.213.1.4.9",
    "ins_nir_test": "urn:oid:1.2.250.1.213.1.4.10",
    "ins_nir_demo": "urn:oid:1.2.250.1.213.1.4.11",
    "rpps": "https://rpps.esante.gouv.fr",
    "finess": "https://finess.esante.gouv.fr",
}
"""For systems that came by name only; an OID or URI that was received is written as it was."""

_NAME_USES = {
    "birth": "official", "official": "official", "usual": "usual", "maiden": "maiden",
    "nickname": "nickname", "married": "usual", "temp": "temp", "old": "old", "anonymous": "anonymous",
}  # fmt: skip
_TELECOM_KINDS = {
    "phone": "phone", "mobile": "phone", "fax": "fax", "email": "email", "mssante": "email",
    "url": "url", "pager": "pager",
}  # fmt: skip
_USES = frozenset({"home", "work", "temp", "old", "mobile", "billing"})
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
_UNIT_SYSTEM = "http://unitsofmeasure.org"


def filled(**fields: Any) -> Json:
    """The fields that hold something; FHIR knows no empty text, list or object."""
    return {name: value for name, value in fields.items() if value or value is False or value == 0}


def each(write: Callable[[T], Json | None], items: Iterable[T | None]) -> list[Json]:
    """What `write` makes of each item that is there."""
    return [made for item in items if item is not None and (made := write(item))]


def identifier(item: Identifier | None) -> Json | None:
    """Identifier, its system as it was received whenever it was."""
    if item is None:
        return None
    if item.system in ("", _URI) and (value := _as_uri(item.value)):
        return {"system": _URI, "value": value}
    system = item.uri or (f"urn:oid:{item.oid}" if _OID.fullmatch(item.oid) else "")
    kind = item.type_code
    return filled(
        type={"coding": [{"system": _TYPES, "code": kind}]} if kind else None,
        system=system or _system(item.system),
        value=item.value,
    )


_URI = "urn:ietf:rfc:3986"
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def _as_uri(value: str) -> str:
    """A bare OID or UUID as the URN FHIR wants; what is a URI already stays; otherwise nothing."""
    if _OID.fullmatch(value):
        return f"urn:oid:{value}"
    if _UUID.fullmatch(value):
        return f"urn:uuid:{value.lower()}"
    return value if value.startswith(("urn:", "http:", "https:")) else ""


_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


def _system(name: str) -> str | None:
    if known := _SYSTEMS.get(name):
        return known
    if _OID.fullmatch(name):
        return f"urn:oid:{name}"
    return name if ":" in name else None


def concept(item: Coded | None) -> Json | None:
    """CodeableConcept with every coding, the sender's first."""
    if item is None:
        return None
    codings = [
        filled(
            system=_system(one.system) or _system(one.system_as_received),
            version=one.version,
            code=one.code,
            display=one.display,
        )
        for one in item.codings
    ]
    return filled(coding=[one for one in codings if one], text=item.text) or None


def translated(item: Coded | None) -> Coded | None:
    """What a table made of a code, alone: a class deduced from a type must not be written beside that type."""
    codings = tuple(one for one in item.codings if one.role == "translation") if item else ()
    return Coded(codings=codings) if codings else item


def coding(item: Coded | None) -> Json | None:
    """The first coding alone, where FHIR takes only one."""
    written = concept(item)
    return written["coding"][0] if written and "coding" in written else None


_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d|Z)")


def when_of(text: str) -> When | None:
    """The broker's own time stamp (`source.received_at`); None for anything else."""
    m = _STAMP.fullmatch(text)
    return When(value=m.group(1), offset=m.group(3)) if m else None


_DATE = re.compile(r"(?!0000)\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60)(?:\.\d+)?)?")
_OFFSET = re.compile(r"Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00)")


def date(when: When | None) -> str | None:
    """The day at most: a time never belongs to a birth date. Nothing when FHIR has no form for it."""
    day = when.value[:10] if when else ""
    return day if _DATE.fullmatch(day) else None


def date_time(when: When | None) -> str | None:
    """dateTime: a time needs seconds and an offset in FHIR; without any offset only the day is said."""
    day = date(when)
    if when is None or day is None:
        return None
    time = when.value[11:]
    offset = when.offset or when.assumed_offset
    if not _TIME.fullmatch(time) or not _OFFSET.fullmatch(offset):
        return day
    return f"{day}T{time if len(time) > 5 else time + ':00'}{offset}"


def instant(when: When | None) -> str | None:
    """instant: nothing less than a full time with its offset."""
    text = date_time(when)
    return text if text and "T" in text else None


def name(item: PersonName) -> Json:
    """HumanName."""
    return filled(
        use=_NAME_USES.get(item.use),
        text=item.text,
        family=item.family,
        given=[given for given in item.given if given],
        prefix=[item.prefix] if item.prefix else [],
        suffix=[item.suffix] if item.suffix else [],
    )


def telecom(item: Telecom) -> Json:
    """ContactPoint."""
    use = "mobile" if item.kind == "mobile" else item.use
    return filled(
        system=_TELECOM_KINDS.get(item.kind),
        value=item.value,
        use=use if use in _USES and use != "billing" else None,
    )


def address(item: Address) -> Json:
    """Address."""
    return filled(
        use=item.use if item.use in _USES and item.use != "mobile" else None,
        text=item.text,
        line=[line for line in item.lines if line],
        city=item.city,
        district=item.district,
        state=item.state,
        postalCode=item.postal_code,
        country=item.country,
    )


def reference(url: str) -> Json | None:
    """Reference by URL."""
    return {"reference": url} if url else None


def number(text: str) -> Decimal | None:
    """The number with its digits; None when it is none."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def quantity(item: Quantity | None) -> Json | None:
    """Quantity; what is no number is left to the text of its owner."""
    value = number(item.value) if item else None
    if item is None or value is None:
        return None
    comparator = item.comparator if item.comparator in {"<", "<=", ">=", ">"} else None
    return filled(
        value=value,
        comparator=comparator,
        unit=item.unit or item.ucum,
        system=_UNIT_SYSTEM if item.ucum else None,
        code=item.ucum,
    )


def reference_range(item: Range) -> Json:
    """Observation.referenceRange: its bounds are simple quantities, without comparator."""
    low, high = quantity(item.low), quantity(item.high)
    for bound in (low, high):
        if bound:
            bound.pop("comparator", None)
    return filled(low=low, high=high, text=item.text or _bounds_text(item, low, high))


def _bounds_text(item: Range, low: Json | None, high: Json | None) -> str:
    lost = (item.low and not low) or (item.high and not high)
    texts = [bound.value for bound in (item.low, item.high) if bound and bound.value]
    return " - ".join(texts) if lost else ""


def result_value(item: ResultValue | None) -> Json:
    """The `value[x]` of an Observation; a value without a FHIR form is written as its text."""
    if item is None:
        return {}
    if item.range:
        return _range(item.range) or _text(item.range.text or item.original)
    if item.ratio:
        written = filled(
            numerator=quantity(item.ratio.numerator), denominator=quantity(item.ratio.denominator)
        )
        return {"valueRatio": written} if len(written) == 2 else _text(item.original)
    if item.quantity:
        found = quantity(item.quantity)
        return {"valueQuantity": found} if found else _text(item.quantity.value or item.original)
    if item.coded:
        found = concept(item.coded)
        return {"valueCodeableConcept": found} if found else {}
    if item.boolean is not None:
        return {"valueBoolean": item.boolean}
    if item.when:
        moment = date_time(item.when)
        return {"valueDateTime": moment} if moment else _text(item.when.original)
    if item.period:
        written = filled(start=date_time(item.period.start), end=date_time(item.period.end))
        return {"valuePeriod": written} if written else {}
    if item.identifier:
        return _text(item.identifier.value)
    return _text(item.text or item.original)


def _range(item: Range) -> Json:
    """Range has simple quantities: a single bound with a comparator is a Quantity with it."""
    low, high = quantity(item.low), quantity(item.high)
    only = high if low is None else low if high is None else None
    if only and "comparator" in only:
        return {"valueQuantity": only}
    for bound in (low, high):
        if bound:
            bound.pop("comparator", None)
    written = filled(low=low, high=high)
    return {"valueRange": written} if written else {}


def _text(text: str) -> Json:
    return {"valueString": text} if text and text.strip() else {}


class Contained:
    """The people and structures of one DocumentReference, contained in it."""

    def __init__(self, resources: list[Json]) -> None:
        self.resources = resources

    def author(self, author: Author | None) -> Json | None:
        """A Practitioner with the role in which they wrote, or the structure or device alone."""
        if author is None:
            return None
        organization = self.organization(author.organization)
        if author.person is None:
            return self._device(author) or organization
        practitioner = self.person(author.person)
        codes = each(concept, [author.function, author.person.role_code])
        specialities = each(concept, [author.person.profession, author.person.speciality])
        if not organization and not codes and not specialities:
            return practitioner
        return self._add(
            "PractitionerRole",
            practitioner=practitioner,
            organization=organization,
            code=codes,
            specialty=specialities,
        )

    def organization(self, item: Organization | None) -> Json | None:
        """An Organization; None when nothing is known of it."""
        if item is None:
            return None
        return self._add(
            "Organization",
            identifier=each(identifier, item.identifiers),
            type=each(concept, [item.type, item.sector]),
            name=item.name,
            telecom=each(telecom, item.telecoms),
            address=each(address, item.addresses),
        )

    def person(self, person: Person) -> Json | None:
        """A Practitioner."""
        return self._add(
            "Practitioner",
            identifier=each(identifier, person.identifiers),
            name=each(name, [person.name]),
            telecom=each(telecom, person.telecoms),
            address=each(address, person.addresses),
        )

    def _device(self, author: Author) -> Json | None:
        if author.device is None:
            return None
        named = author.device.software or author.device.model
        return self._add(
            "Device",
            identifier=each(identifier, author.device.identifiers),
            deviceName=[{"name": named, "type": "other"}] if named else [],
        )

    def _add(self, kind: str, **fields: Any) -> Json | None:
        content = filled(**fields)
        if not content:
            return None
        ident = f"{kind.lower()}{len(self.resources) + 1}"
        self.resources.append({"resourceType": kind, "id": ident, **content})
        return {"reference": f"#{ident}"}
