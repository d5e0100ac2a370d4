"""FHIR R4 data types to model types. For the FHIR source.

Long because it holds one small function for each data type and nothing else.

Each shape takes (run, At). Source: FHIR R4 (4.0.1) datatypes; numbers keep their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from broker.document import (
    Address,
    Attachment,
    Author,
    Coded,
    Coding,
    Contact,
    Device,
    Identifier,
    Location,
    Organization,
    Participant,
    Period,
    Person,
    PersonName,
    Quantity,
    Range,
    Ratio,
    Recipient,
    ResultValue,
    Telecom,
    When,
)
from broker.mapping.paths_fhir import At, text_of
from broker.mapping.values import base64_bytes, iso_when

Shape = Callable[[Any, At], Any]


def _dict(at: At) -> dict[str, Any]:
    return at.value if isinstance(at.value, dict) else {}


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _inner(at: At, name: str) -> list[At]:
    return [At(v, at.owner) for v in _list(_dict(at).get(name))]


def _made(run: Any, at: At, name: str, shape: Shape) -> Any:
    return next((v for a in _inner(at, name) if (v := shape(run, a)) is not None), None)


def _all(run: Any, at: At, name: str, shape: Shape) -> tuple[Any, ...]:
    return tuple(v for a in _inner(at, name) if (v := shape(run, a)) is not None)


def identifier(run: Any, at: At) -> Any:
    """Identifier, a Reference's logical identifier, or a uri."""
    if isinstance(at.value, str):
        return Identifier(value=at.value, system="urn:ietf:rfc:3986")
    value = _dict(at)
    if "reference" in value or ("identifier" in value and "value" not in value):
        logical = _made(run, at, "identifier", identifier)
        reference = _text(value, "reference")
        return logical or (Identifier(value=reference) if reference else None)
    text = _text(value, "value").strip()
    if not text:
        return None
    given = _text(value, "system")
    system, kind, plain = run.systems.identify(given, text)
    codings = _list(_dict_of(value.get("type")).get("coding"))
    type_code = next(
        (str(c.get("code")) for c in codings if isinstance(c, dict) and c.get("code")), ""
    )
    interval = _dict_of(value.get("period"))
    return Identifier(
        value=plain,
        system=system,
        kind=kind or type_code,
        oid=given[8:] if given[:8] == "urn:oid:" else "",
        uri="" if given[:8] == "urn:oid:" else given,
        authority_name=_assigner(run, at),
        type_code=type_code,
        use=_text(value, "use"),
        start=_when(run, interval.get("start")),
        end=_when(run, interval.get("end")),
    )


def _assigner(run: Any, at: At) -> str:
    """The name of who assigned an identifier, from the reference or the resource it leads to."""
    found = next(iter(_inner(at, "assigner")), None)
    if found is None:
        return ""
    return _text(_dict(found), "display") or _text(_dict(_resolved(run, found)), "name")


def _dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def coded(run: Any, at: At) -> Any:
    """CodeableConcept, Coding, code."""
    if isinstance(at.value, str):
        return Coded(codings=(Coding(code=at.value),)) if at.value else None
    value = _dict(at)
    if "concept" in value or isinstance(value.get("reference"), dict):
        return _made(run, at, "concept", coded) or _referred_code(run, at)
    if "coding" in value or "text" in value:
        codings = [c for c in _list(value.get("coding")) if isinstance(c, dict)]
        made = tuple(
            _coding(run, c, "original" if i == 0 else "alternate") for i, c in enumerate(codings)
        )
        made = tuple(c for c in made if c.code or c.display)
        text = _text(value, "text")
        return Coded(codings=made, text=text) if made or text else None
    coding = _coding(run, value, "original")
    return Coded(codings=(coding,)) if coding.code or coding.display else None


def _referred_code(run: Any, at: At) -> Any:
    """The code of the resource that a CodeableReference (FHIR R5) points to."""
    target = next((_resolved(run, a) for a in _inner(at, "reference")), None)
    return _made(run, target, "code", coded) if target is not None else None


def _coding(run: Any, value: dict[str, Any], role: Any) -> Coding:
    system = _text(value, "system")
    return Coding(
        code=_text(value, "code").strip(),
        system=run.systems.code_system(system) if system else "",
        system_as_received=system,
        display=_text(value, "display"),
        version=_text(value, "version"),
        role=role,
    )


def person_name(_run: Any, at: At) -> Any:
    """HumanName."""
    value = _dict(at)
    given = tuple(g for g in _list(value.get("given")) if isinstance(g, str))
    family, text = _text(value, "family"), _text(value, "text")
    if not family and not given and not text:
        return None
    use = _text(value, "use")
    return PersonName(
        family=family,
        given=given,
        prefix=" ".join(p for p in _list(value.get("prefix")) if isinstance(p, str)),
        suffix=" ".join(s for s in _list(value.get("suffix")) if isinstance(s, str)),
        use={"official": "birth" if _is_ins(at) else "official"}.get(use, use),
        text=text,
    )


def _is_ins(at: At) -> bool:
    """French profiles: the official name of a patient with an INS is the birth name."""
    identifiers = _list(_dict_of(at.owner).get("identifier"))
    return any(
        ".1.2.250.1.213.1.4." in f".{_dict_of(i).get('system', '')}".replace(":", ".")
        for i in identifiers
    )


def address(_run: Any, at: At) -> Any:
    """Address."""
    value = _dict(at)
    if not value:
        return None
    return Address(
        lines=tuple(t for t in _list(value.get("line")) if isinstance(t, str)),
        city=_text(value, "city"),
        postal_code=_text(value, "postalCode"),
        district=_text(value, "district"),
        state=_text(value, "state"),
        country=_text(value, "country"),
        insee_code=_insee(value),
        use=_text(value, "use"),
        text=_text(value, "text"),
    )


def _insee(value: dict[str, Any]) -> str:
    for extension in _list(value.get("extension")):
        url = _dict_of(extension).get("url", "")
        if "insee-code" in str(url):
            coding = _dict_of(extension.get("valueCoding")).get("code")
            return str(coding or extension.get("valueString") or "")
    return ""


def telecom(_run: Any, at: At) -> Any:
    """ContactPoint."""
    value = _dict(at)
    text = _text(value, "value")
    if not text:
        return None
    kind = _text(value, "system")
    if kind == "email" and text.lower().endswith(".mssante.fr"):
        kind = "mssante"
    return Telecom(value=text, kind=kind, use=_text(value, "use"))


def _when(run: Any, value: Any) -> When | None:
    if not isinstance(value, str) or not value:
        return None
    found = iso_when(value, run.zone)
    if not found.value:
        run.issue("warning", "not-a-date")
    return found


def when(run: Any, at: At) -> Any:
    """date, dateTime, instant; of a Period, its start."""
    if isinstance(at.value, dict):
        return _when(run, at.value.get("start") or at.value.get("end"))
    return _when(run, at.value)


def period(run: Any, at: At) -> Any:
    """Period; a single time is a start."""
    if isinstance(at.value, str):
        start = _when(run, at.value)
        return Period(start=start) if start else None
    start, end = _when(run, _dict(at).get("start")), _when(run, _dict(at).get("end"))
    return Period(start=start, end=end) if start or end else None


def _digits(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return value if isinstance(value, str) else ""
    return (
        format(value, "f")
        if isinstance(value, Decimal) and abs(value.adjusted()) < 40
        else str(value)
    )


def quantity(_run: Any, at: At) -> Any:
    """Quantity, decimal, integer."""
    if not isinstance(at.value, dict):
        digits = _digits(at.value)
        return Quantity(value=digits) if digits else None
    value = at.value
    digits = _digits(value.get("value"))
    if not digits:
        return None
    is_ucum = _text(value, "system") == "http://unitsofmeasure.org"
    return Quantity(
        value=digits,
        comparator=_text(value, "comparator"),
        unit=_text(value, "unit") or _text(value, "code"),
        ucum=_text(value, "code") if is_ucum else "",
    )


def range_(run: Any, at: At) -> Any:
    """Range, or a referenceRange with its text."""
    low, high = _made(run, at, "low", quantity), _made(run, at, "high", quantity)
    text = _text(_dict(at), "text")
    return Range(low=low, high=high, text=text) if low or high or text else None


def ratio(run: Any, at: At) -> Any:
    """Ratio."""
    above, below = _made(run, at, "numerator", quantity), _made(run, at, "denominator", quantity)
    return Ratio(numerator=above, denominator=below) if above and below else None


def result_value(run: Any, at: At) -> Any:
    """value[x] by the type its name says."""
    kind, value = at.type, at.value
    if isinstance(value, bool):
        return ResultValue(boolean=value, declared_type=kind)
    if kind in _RESULTS:
        field, shape = _RESULTS[kind]
        found = shape(run, at)
        return ResultValue(declared_type=kind, **{field: found}) if found is not None else None
    text = text_of(at) or _text(_dict(at), "data")
    return ResultValue(text=text, declared_type=kind) if text else None


def _resolved(run: Any, at: At) -> At:
    reference = _dict(at).get("reference")
    if isinstance(reference, str):
        target = run.message.resolve(reference, at.owner)
        if target is not None:
            return At(target, at.owner if reference.startswith("#") else target)
    return at


def organization(run: Any, at: At) -> Any:
    """Organization, or what a reference to one says."""
    at = _resolved(run, at)
    value = _dict(at)
    if value.get("resourceType") == "PractitionerRole":
        return _made(run, at, "organization", organization)
    if value.get("resourceType") not in {None, "Organization", "Location", "HealthcareService"}:
        return None
    identifiers = _all(run, at, "identifier", identifier)
    name = _text(value, "name") or _text(value, "display")
    if not identifiers and not name:
        return None
    return Organization(
        identifiers=identifiers,
        name=name,
        type=_made(run, at, "type", coded) if value.get("resourceType") == "Organization" else None,
        telecoms=_all(run, at, "telecom", telecom),
        addresses=_all(run, at, "address", address),
    )


def person(run: Any, at: At) -> Any:
    """Practitioner, PractitionerRole, RelatedPerson, Patient, or what a reference to one says."""
    at = _resolved(run, at)
    value = _dict(at)
    if value.get("resourceType") == "PractitionerRole":
        return _from_role(run, at)
    if value.get("resourceType") in {"Organization", "Device", "Location"}:
        return None
    if "resourceType" not in value and "given" not in value and "family" not in value:
        display = _text(value, "display")
        found = _all(run, at, "identifier", identifier)
        if not display and not found:
            return None
        return Person(identifiers=found, name=PersonName(text=display) if display else None)
    name = _made(run, at, "name", person_name)
    identifiers = _all(run, at, "identifier", identifier)
    if name is None and not identifiers:
        return None
    return Person(
        identifiers=identifiers,
        name=name,
        telecoms=_all(run, at, "telecom", telecom),
        addresses=_all(run, at, "address", address),
    )


def _from_role(run: Any, at: At) -> Any:
    who = _made(run, at, "practitioner", person)
    own = _all(run, at, "identifier", identifier)
    code, speciality = _made(run, at, "code", coded), _made(run, at, "specialty", coded)
    if who is None and not own:
        return None
    who = who or Person()
    return Person(
        identifiers=who.identifiers or own,
        name=who.name,
        role_code=code,
        profession=code
        if code and code.codings and code.codings[0].code.startswith("G15_")
        else None,
        speciality=speciality,
        telecoms=who.telecoms or _all(run, at, "telecom", telecom),
        addresses=who.addresses,
    )


def device(run: Any, at: At) -> Any:
    """Device."""
    at = _resolved(run, at)
    value = _dict(at)
    if value.get("resourceType") != "Device":
        return None
    names = [_text(_dict_of(n), "name") for n in _list(value.get("deviceName"))]
    version = [_text(_dict_of(v), "value") for v in _list(value.get("version"))]
    model = _text(value, "modelNumber") or _text(value, "manufacturer")
    identifiers = _all(run, at, "identifier", identifier)
    software = " ".join(n for n in (*names[:1], *version[:1]) if n)
    if not identifiers and not model and not software:
        return None
    return Device(identifiers=identifiers, model=model, software=software)


def author(run: Any, at: At) -> Any:
    """Whoever is referred to, with the organisation of a role."""
    at = _resolved(run, at)
    what = device(run, at)
    who = None if what else person(run, at)
    kind = _dict(at).get("resourceType")
    place = organization(run, at) if kind in {"PractitionerRole", "Organization"} else None
    if not (who or what or place):
        return None
    return Author(person=who, device=what, organization=place)


def participant(run: Any, at: At) -> Any:
    """A performer or participant with its function."""
    value = _dict(at)
    inner = next((a for n in ("actor", "individual", "member") for a in _inner(at, n)), at)
    found = author(run, inner)
    if found is None:
        return None
    function = None
    for name in ("function", "role", "type"):
        if "reference" not in value and name in value:
            function = _made(run, at, name, coded)
            break
    return Participant(person=found.person, organization=found.organization, function=function)


def recipient(run: Any, at: At) -> Any:
    """An intended recipient."""
    found = author(run, at)
    if found is None:
        return None
    resolved = _resolved(run, at)
    is_patient = _dict(resolved).get("resourceType") == "Patient"
    return Recipient(
        person=found.person,
        organization=found.organization,
        patient=True if is_patient else None,
        telecoms=_all(run, resolved, "telecom", telecom),
    )


def contact(run: Any, at: At) -> Any:
    """Patient.contact or RelatedPerson."""
    name = _made(run, at, "name", person_name)
    telecoms = _all(run, at, "telecom", telecom)
    if name is None and not telecoms:
        return None
    return Contact(
        name=name,
        relationship=_made(run, at, "relationship", coded),
        addresses=_all(run, at, "address", address),
        telecoms=telecoms,
        organization=_made(run, at, "organization", organization),
    )


def location(run: Any, at: At) -> Any:
    """Location, or an entry of Encounter.location."""
    inner = next(iter(_inner(at, "location")), at)
    inner = _resolved(run, inner)
    value = _dict(inner)
    name = _text(value, "name") or _text(value, "display")
    facility = _made(run, inner, "identifier", identifier)
    return Location(name=name, facility=facility) if name or facility else None


def attachment(run: Any, at: At) -> Any:
    """Attachment with its data or its Binary in the message; else a pointer."""
    value = _dict(at)
    if "attachment" in value and isinstance(value["attachment"], dict):
        return attachment(run, At(value["attachment"], at.owner))
    media, url = _text(value, "contentType"), _text(value, "url")
    data = _text(value, "data")
    if not data and url:
        binary = run.message.resolve(url, at.owner)
        if binary is not None and binary.get("resourceType") == "Binary":
            data = _text(binary, "data")
            media = media or _text(binary, "contentType")
    found = Attachment(
        media_type=media.partition(";")[0].strip(),
        language=_text(value, "language"),
        title=_text(value, "title"),
        creation=_when(run, value.get("creation")),
        encoding_as_received="base64" if data else "",
    )
    if data:
        content, repaired = base64_bytes(data)
        if content is None:
            run.issue("warning", "attachment-unreadable")
            return None
        if repaired:
            run.issue("warning", "base64-repaired")
        return run.attach(content, found)
    if not url:
        return None
    return Attachment(
        url=url, media_type=found.media_type, title=found.title, creation=found.creation
    )


def text(_run: Any, at: At) -> Any:
    """A primitive's text; a narrative's XHTML; a concept's code."""
    if isinstance(at.value, dict) and "div" in at.value:
        return _text(at.value, "div") or None
    if isinstance(at.value, dict) and "repeat" in at.value:
        return _timing(_dict_of(at.value.get("repeat"))) or text_of(at) or None
    found = text_of(at)
    return found if found.strip() else None


def _timing(repeat: dict[str, Any]) -> str:
    """Timing.repeat in words: `2 times every 1 d, MORN, for 10 d`."""
    pieces = []
    if "frequency" in repeat or "period" in repeat:
        times = "-".join(_digits(repeat[n]) for n in ("frequency", "frequencyMax") if n in repeat)
        period_ = "-".join(_digits(repeat[n]) for n in ("period", "periodMax") if n in repeat)
        every = f"every {period_} {_text(repeat, 'periodUnit')}".strip() if period_ else ""
        pieces.append(" ".join(t for t in (f"{times} times" if times else "", every) if t))
    pieces += [str(t) for name in _MOMENTS for t in _list(repeat.get(name))]
    if "duration" in repeat:
        pieces.append(f"for {_digits(repeat['duration'])} {_text(repeat, 'durationUnit')}".strip())
    if "count" in repeat:
        pieces.append(f"{_digits(repeat['count'])} times in all")
    return ", ".join(piece for piece in pieces if piece)


_MOMENTS = ("dayOfWeek", "timeOfDay", "when")


def integer(_run: Any, at: At) -> Any:
    """integer, or a text of digits."""
    found = text_of(at)
    return int(found) if found.lstrip("-").isdigit() else None


def boolean(_run: Any, at: At) -> Any:
    """boolean."""
    return at.value if isinstance(at.value, bool) else None


_RESULTS: dict[str, tuple[str, Shape]] = {
    "Quantity": ("quantity", quantity),
    "Integer": ("quantity", quantity),
    "Decimal": ("quantity", quantity),
    "CodeableConcept": ("coded", coded),
    "Coding": ("coded", coded),
    "Range": ("range", range_),
    "Ratio": ("ratio", ratio),
    "DateTime": ("when", when),
    "Date": ("when", when),
    "Instant": ("when", when),
    "Period": ("period", period),
    "Attachment": ("attachment", attachment),
    "Identifier": ("identifier", identifier),
}

SHAPES: dict[Any, Shape] = {
    Identifier: identifier,
    Coded: coded,
    PersonName: person_name,
    Person: person,
    Organization: organization,
    Address: address,
    Telecom: telecom,
    When: when,
    Period: period,
    Quantity: quantity,
    Range: range_,
    Ratio: ratio,
    ResultValue: result_value,
    Attachment: attachment,
    Author: author,
    Participant: participant,
    Recipient: recipient,
    Contact: contact,
    Device: device,
    Location: location,
    str: text,
    int: integer,
    bool: boolean,
}
