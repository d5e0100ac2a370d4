"""CDA data types to model types. For the CDA source.

Long because it holds one small function for each data type and nothing else.

Each shape takes (run, element). An element that says only `nullFlavor` is a Null with that reason.
Source: CDA R2 and HL7 v3 data types R1; French identifiers and codes from CI-SIS "Structuration minimale".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lxml import etree
from msgspec.structs import replace

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
    Qualifier,
    Quantity,
    Range,
    Ratio,
    Recipient,
    ResultValue,
    Telecom,
    When,
)
from broker.mapping.coverage_cda import Traced
from broker.mapping.paths_cda_steps import V3, children_of, kids
from broker.mapping.run import Null
from broker.mapping.values import base64_bytes, hl7_when, number, text_range

Shape = Callable[[Any, Any], Any]
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_NAME_USES = {"BR": "birth", "CL": "usual", "SP": "married"}
_USES = {
    "H": "home",
    "HP": "home",
    "HV": "vacation",
    "WP": "work",
    "DIR": "work",
    "PUB": "work",
    "TMP": "temporary",
    "MC": "mobile",
    "EC": "emergency",
    "L": "official",
    "OR": "official",
    "P": "nickname",
}
_REPEATED = frozenset({"PIVL_TS", "EIVL_TS", "SXPR_TS", "PIVL", "EIVL"})
_SCHEMES = {"tel": "phone", "fax": "fax", "mailto": "email", "http": "url", "https": "url"}


@cache
def q(name: str) -> str:
    """The tag of a CDA element."""
    return f"{{{V3}}}{name}"


def children(run: Any, element: Any, name: str) -> list[Any]:
    """The child elements of a name; not to be changed."""
    return children_of(run, element, q(name))


def child(run: Any, element: Any, name: str) -> Any:
    """The first child of a name, or None."""
    found = kids(run, element).get(q(name))
    return found[0] if found.__class__ is list else found


def verbatim(element: Any) -> Any:
    """The lxml element to be written out as it is; in coverage mode all of it counts as read."""
    return element.verbatim() if isinstance(element, Traced) else element


_LONG = 500
"""Characters from which looking for what is to be collapsed costs less than taking the text apart."""


def words(element: Any) -> str:
    """The text of an element with blanks collapsed; empty for None."""
    if element is None:
        return ""
    said = "".join(element.itertext()) if len(element) else element.text or ""
    if len(said) > _LONG and "  " not in said and said.isprintable():
        return said.strip()  # no blank but single spaces: nothing to collapse
    return " ".join(said.split())


def identifier(run: Any, element: Any) -> Any:
    """II. Without extension, the root itself is the value (a bare OID or UUID)."""
    root, extension = element.get("root", ""), element.get("extension", "").strip()
    if not root and not extension:
        return None
    if not extension:
        return Identifier(
            value=root, system="urn:ietf:rfc:3986", oid=root if root[:2] in {"1.", "2."} else ""
        )
    system, kind, value = run.systems.identify(root, extension)
    return Identifier(
        value=value,
        system=system,
        kind=kind,
        oid=root,
        authority_name=element.get("assigningAuthorityName", ""),
    )


def coded(run: Any, element: Any) -> Any:
    """CD, CE, CV, CS: the code, its translations, its original text (references to narrative resolved)."""
    if element in run.known:
        return run.known[element]
    found = run.known[element] = _coded(run, element)
    return found


def _coded(run: Any, element: Any) -> Any:
    codings = _coding(run, element, "original")
    if not len(element):
        return Coded(codings=codings) if codings else None
    for translation in children(run, element, "translation"):
        codings += _coding(run, translation, "alternate")
    text = _original_text(run, element)
    if not codings and not text:
        return None
    qualifiers = tuple(_qualifier(run, e) for e in children(run, element, "qualifier"))
    return Coded(codings=codings, text=text, qualifiers=qualifiers)


def _qualifier(run: Any, element: Any) -> Qualifier:
    name, value = child(run, element, "name"), child(run, element, "value")
    return Qualifier(
        name=coded(run, name) if name is not None else None,
        value=coded(run, value) if value is not None else None,
    )


def _coding(run: Any, element: Any, role: Any) -> tuple[Coding, ...]:
    code, display = element.get("code", "").strip(), element.get("displayName", "")
    if not code and not display:
        return ()
    system = element.get("codeSystem", "")
    return (
        Coding(
            code=code,
            system=run.systems.code_system(system) if system else "",
            system_as_received=system,
            display=display,
            version=element.get("codeSystemVersion", ""),
            role=role,
        ),
    )


def _original_text(run: Any, element: Any) -> str:
    original = child(run, element, "originalText")
    return _said(run, original) if original is not None else ""


def _said(run: Any, element: Any) -> str:
    """The words of an ED, or those its reference points to in the narrative."""
    reference = child(run, element, "reference")
    if reference is not None and reference.get("value", "").startswith("#"):
        pointed = run.message.by_id.get(reference.get("value")[1:])
        return words(pointed) or words(element)
    return words(element)


def person_name(run: Any, element: Any) -> Any:
    """PN: qualifiers BR (birth), CL (used), SP (married) tell several family names apart.

    Given names with another name's qualifier are not this name's: CI-SIS repeats the first one as BR, the used one
    as CL, beside the whole list.
    """
    families = children(run, element, "family")
    givens = children(run, element, "given")
    use = element.get("use", "").split(" ")[0]
    if not families and not givens:
        text = words(element)
        return PersonName(text=text, use=_USES.get(use, use)) if text else None
    family, kind = _family(families)
    return PersonName(
        family=family,
        given=_given(givens, kind),
        prefix=" ".join(words(p) for p in children(run, element, "prefix")),
        suffix=" ".join(words(s) for s in children(run, element, "suffix")),
        use=kind or _USES.get(use, use),
        birth_given=next((words(g) for g in givens if "BR" in g.get("qualifier", "").split()), ""),
    )


def _family(families: list[Any]) -> tuple[str, str]:
    for qualifier in ("BR", "CL", "SP"):
        for family in families:
            if qualifier in family.get("qualifier", "").split():
                return words(family), _NAME_USES[qualifier]
    return " ".join(t for f in families if (t := words(f))), ""


def _given(givens: list[Any], kind: str) -> tuple[str, ...]:
    """The given names that go with a family name: its own where it has any, else those of no name in particular.

    Of a birth name, the first given name (BR) comes before the others, unless the list repeats it as its beginning.
    """
    by_qualifier: dict[str, list[str]] = {"": [], "BR": [], "CL": [], "SP": []}
    for given in givens:
        named = [q_ for q_ in given.get("qualifier", "").split() if q_ in _NAME_USES] or [""]
        if text_ := words(given):
            by_qualifier[named[0]].append(text_)
    plain, first, used = by_qualifier[""], by_qualifier["BR"], by_qualifier["CL"]
    if kind == "birth":
        return (*(name for name in first if not _begins(plain, name)), *plain)
    if kind == "usual" and used:
        return tuple(used)
    return tuple(plain or first or used)


def _begins(names: list[str], name: str) -> bool:
    return any(text_ == name or text_.startswith((f"{name} ", f"{name},")) for text_ in names)


def address(run: Any, element: Any) -> Any:
    """AD, or the place around one, whose name then is the text."""
    if element.tag == q("place"):
        inner, name = child(run, element, "addr"), words(child(run, element, "name"))
        found = address(run, inner) if inner is not None else None
        return replace(found or Address(), text=name) if name else found
    known = kids(run, element)
    lines = tuple(
        t
        for tag in _ADDRESS_LINES
        if tag in known
        for e in children_of(run, element, tag)
        if (t := words(e))
    )
    parts = tuple(
        f"{label}={t}"
        for tag, label in _ADDRESS_PARTS
        if tag in known
        for e in children_of(run, element, tag)
        if (t := words(e))
    )
    found = {
        field: t
        for tag, field in _ADDRESS_FIELDS
        if tag in known and (t := words(children_of(run, element, tag)[0]))
    }
    text = "" if known else words(element)
    if not lines and not parts and not found and not text:
        return None
    use = element.get("use", "").split(" ")[0]
    return Address(lines=lines, parts=parts, use=_USES.get(use, use), text=text, **found)


_ADDRESS_LINES = tuple(
    map(q, ("streetAddressLine", "additionalLocator", "unitID", "deliveryAddressLine"))
)
_ADDRESS_FIELDS = (
    (q("city"), "city"),
    (q("postalCode"), "postal_code"),
    (q("state"), "state"),
    (q("country"), "country"),
    (q("county"), "insee_code"),
)
_ADDRESS_PARTS = (
    (q("houseNumber"), "house_number"),
    (q("houseNumberNumeric"), "house_number"),
    (q("streetName"), "street_name"),
    (q("streetNameType"), "street_type"),
    (q("streetNameBase"), "street_name"),
    (q("postBox"), "post_box"),
    (q("precinct"), "precinct"),
)


def telecom(_run: Any, element: Any) -> Any:
    """TEL."""
    value = element.get("value", "").strip()
    scheme, mark, rest = value.partition(":")
    kind = _SCHEMES.get(scheme.lower(), "") if mark else ""
    if not value or (mark and kind and not rest.strip()):
        return None
    plain = value if kind == "url" or not kind else rest.strip()
    if kind == "email" and plain.lower().endswith(".mssante.fr"):
        kind = "mssante"
    use = element.get("use", "").split(" ")[0]
    return Telecom(value=plain, kind=kind or "phone", use=_USES.get(use, use))


def when(run: Any, element: Any) -> Any:
    """TS; of an interval, its value or its lower bound."""
    value = element.get("value", "").strip()
    if not value:
        for name in ("low", "center", "high"):
            bound = child(run, element, name)
            if bound is not None and bound.get("value"):
                value = bound.get("value").strip()
                break
    if not value:
        return None
    found = hl7_when(value, run.zone, run.midnight_is_unknown)
    if not found.value:
        run.issue("warning", "not-a-date")
    return found


def period(run: Any, element: Any) -> Any:
    """IVL_TS."""
    low, high = child(run, element, "low"), child(run, element, "high")
    start = when(run, low) if low is not None else None
    end = when(run, high) if high is not None else None
    if start is None and end is None:
        start = when(run, element)
    return Period(start=start, end=end) if start or end else None


def quantity(_run: Any, element: Any) -> Any:
    """PQ, REAL, INT, MO; digits as written. CDA units are UCUM."""
    value, unit = element.get("value", ""), element.get("unit", "")
    if not number(value):
        return None
    return Quantity(value=value, unit=unit, ucum=unit)


def range_(run: Any, element: Any) -> Any:
    """IVL_PQ, IVL_REAL, a text, or the observationRange around them."""
    if element.tag == q("observationRange"):
        return observation_range(run, element)
    low, high = child(run, element, "low"), child(run, element, "high")
    if low is None and high is None:
        text = words(element)
        return text_range(text) if text else None
    first = _bound(run, low, ">") if low is not None else None
    last = _bound(run, high, "<") if high is not None else None
    if first is None and last is None:
        return None
    return Range(low=first, high=last)


def _bound(run: Any, element: Any, sign: str) -> Any:
    """A bound; one that says whether it belongs to the interval has a comparator."""
    found = quantity(run, element)
    if found is None:
        return None
    inclusive = element.get("inclusive", "")
    if not inclusive:
        return found
    return replace(found, comparator=f"{sign}=" if inclusive in {"true", "1"} else sign)


def observation_range(run: Any, element: Any) -> Any:
    """referenceRange/observationRange: its value and its text; the text also when it is all there is."""
    value, text = child(run, element, "value"), child(run, element, "text")
    found = range_(run, value) if value is not None else None
    said = _said(run, text) if text is not None else ""
    if found is None:
        single = result_value(run, value) if value is not None else None
        words_ = said or (_as_text(single) if single is not None else "")
        return text_range(words_) if words_ else None
    return replace(found, text=said) if said else found


def _as_text(value: ResultValue) -> str:
    if value.coded is not None:
        return value.coded.text or next((c.display or c.code for c in value.coded.codings), "")
    if value.quantity is not None:
        return " ".join(t for t in (value.quantity.value, value.quantity.unit) if t)
    return value.text or ""


def result_value(run: Any, element: Any) -> Any:
    """An observation's value by its xsi:type."""
    declared = element.get(_TYPE, "").rpartition(":")[2]
    kind, shape = _RESULTS.get(declared, ("", None))
    if shape is None:
        return _guessed(run, element, declared)
    value = shape(run, element)
    if value is None:
        text = words(element) or element.get("value", "").strip()
        if text and kind in {"quantity", "range", "ratio"}:
            run.issue("warning", "value-not-numeric")
        return ResultValue(text=text, declared_type=declared) if text else None
    return ResultValue(declared_type=declared, **{kind: value})


def _guessed(run: Any, element: Any, declared: str) -> Any:
    if declared in {"ST", "SC"}:
        text = words(element)
        return ResultValue(text=text, declared_type=declared) if text else None
    if declared == "BL":
        return ResultValue(boolean=element.get("value") == "true", declared_type=declared)
    if element.get("code"):
        return ResultValue(coded=coded(run, element), declared_type=declared)
    text = words(element) or element.get("value", "")
    if not text:
        return None
    if declared:
        run.issue("warning", "unknown-value-type")
    return ResultValue(text=text, declared_type=declared)


def _ratio(run: Any, element: Any) -> Any:
    above, below = child(run, element, "numerator"), child(run, element, "denominator")
    if above is None or below is None:
        return None
    return Ratio(numerator=quantity(run, above), denominator=quantity(run, below))


def organization(run: Any, element: Any) -> Any:
    """representedOrganization, scopingOrganization, custodian and their like."""
    name = words(child(run, element, "name"))
    identifiers = tuple(i for e in children(run, element, "id") if (i := identifier(run, e)))
    telecoms, addresses = _telecoms(run, element), _addresses(run, element)
    sector = child(run, element, "standardIndustryClassCode")
    kind = coded(run, sector) if sector is not None else None
    name = name or words(child(run, element, "desc"))
    if not (name or identifiers or telecoms or addresses or kind):
        return None
    return Organization(
        identifiers=identifiers, name=name, type=kind, telecoms=telecoms, addresses=addresses
    )


def _telecoms(run: Any, element: Any) -> tuple[Telecom, ...]:
    return tuple(t for e in children(run, element, "telecom") if (t := telecom(run, e)))


def _addresses(run: Any, element: Any) -> tuple[Address, ...]:
    return tuple(a for e in children(run, element, "addr") if (a := address(run, e)))


_PEOPLE = (
    "assignedPerson",
    "associatedPerson",
    "informationRecipient",
    "relatedPerson",
    "guardianPerson",
    "playingEntity",
    "subject",
    "person",
)
_PEOPLE_TAGS = tuple(map(q, _PEOPLE))


def person(run: Any, element: Any) -> Any:
    """assignedAuthor, assignedEntity, associatedEntity, intendedRecipient, relatedEntity."""
    known = kids(run, element)
    inner = next((children_of(run, element, tag)[0] for tag in _PEOPLE_TAGS if tag in known), None)
    name_element = child(run, inner, "name") if inner is not None else child(run, element, "name")
    name = person_name(run, name_element) if name_element is not None else None
    identifiers = tuple(i for e in children(run, element, "id") if (i := identifier(run, e)))
    if name is None and not identifiers:
        return None
    code = child(run, element, "code")
    role = coded(run, code) if code is not None else None
    profession, speciality = _professions(role)
    return Person(
        identifiers=identifiers,
        name=name,
        role_code=role,
        profession=profession,
        speciality=speciality,
        telecoms=_telecoms(run, element),
        addresses=_addresses(run, element),
    )


def _professions(role: Coded | None) -> tuple[Coded | None, Coded | None]:
    """`G15_10/SM03` is a profession (TRE_G15) and a speciality (TRE_R38) in one code."""
    if role is None or not role.codings or not role.codings[0].code.startswith("G15_"):
        return None, None
    first, mark, second = role.codings[0].code.partition("/")
    profession = Coded(codings=(Coding(code=first, system="urn:oid:1.2.250.1.71.1.2.7"),))
    if not mark:
        return profession, None
    return profession, Coded(codings=(Coding(code=second, system="urn:oid:1.2.250.1.71.4.2.5"),))


def device(run: Any, element: Any) -> Any:
    """assignedAuthoringDevice or playingDevice, or the role around it."""
    inner = child(run, element, "assignedAuthoringDevice")
    inner = child(run, element, "playingDevice") if inner is None else inner
    inner = element if inner is None else inner
    model = words(child(run, inner, "manufacturerModelName"))
    software = words(child(run, inner, "softwareName"))
    identifiers = tuple(i for e in children(run, element, "id") if (i := identifier(run, e)))
    code = child(run, inner, "code")
    kind = coded(run, code) if code is not None else None
    maker = child(run, element, "scopingEntity")
    manufacturer = organization(run, maker) if maker is not None else None
    if not (model or software or identifiers or kind or manufacturer):
        return None
    return Device(
        identifiers=identifiers,
        code=kind,
        model=model,
        software=software,
        manufacturer=manufacturer,
    )


def author(run: Any, element: Any) -> Any:
    """author, or anybody's assignedEntity as an author."""
    inner = child(run, element, "assignedAuthor")
    inner = child(run, element, "assignedEntity") if inner is None else inner
    inner = element if inner is None else inner
    is_device = child(run, inner, "assignedAuthoringDevice") is not None
    who = None if is_device else person(run, inner)
    what = device(run, inner) if is_device else None
    organization_element = child(run, inner, "representedOrganization")
    place = organization(run, organization_element) if organization_element is not None else None
    if not (who or what or place):
        return None
    at = child(run, element, "time")
    function = child(run, element, "functionCode")
    return Author(
        person=who,
        device=what,
        organization=place,
        function=coded(run, function) if function is not None else None,
        at=when(run, at) if at is not None else None,
    )


def participant(run: Any, element: Any) -> Any:
    """A participation seen as its person and organisation."""
    found = author(run, element)
    if found is None:
        return None
    return Participant(
        person=found.person, organization=found.organization, function=found.function, at=found.at
    )


def recipient(run: Any, element: Any) -> Any:
    """informationRecipient/intendedRecipient."""
    inner = child(run, element, "intendedRecipient")
    inner = element if inner is None else inner
    who = person(run, inner)
    organization_element = child(run, inner, "receivedOrganization")
    place = organization(run, organization_element) if organization_element is not None else None
    if who is None and place is None:
        return None
    return Recipient(person=who, organization=place, telecoms=_telecoms(run, inner))


def contact(run: Any, element: Any) -> Any:
    """A guardian, a participant or the relative a record is about, as a contact."""
    who = person(run, element)
    inner = child(run, element, "subject")
    code = child(run, element, "code")
    relationship = coded(run, code) if code is not None else None
    if who is None and relationship is None:
        return None
    who = who or Person(telecoms=_telecoms(run, element), addresses=_addresses(run, element))
    sex = child(run, inner, "administrativeGenderCode") if inner is not None else None
    birth = child(run, inner, "birthTime") if inner is not None else None
    return Contact(
        identifiers=who.identifiers,
        name=who.name,
        relationship=relationship,
        sex=(sex.get("code") or "") if sex is not None else "",
        birth_date=when(run, birth) if birth is not None else None,
        addresses=who.addresses,
        telecoms=who.telecoms,
    )


def location(run: Any, element: Any) -> Any:
    """healthCareFacility or its location; participantRole of a participant of type LOC."""
    inner = child(run, element, "location")
    inner = child(run, element, "playingEntity") if inner is None else inner
    inner = element if inner is None else inner
    name = words(child(run, inner, "name"))
    facility = next((i for e in children(run, element, "id") if (i := identifier(run, e))), None)
    code = child(run, element, "code")
    kind = coded(run, code) if code is not None else None
    addresses = _addresses(run, inner) or _addresses(run, element)
    if not name and facility is None and kind is None and not addresses:
        return None
    return Location(
        name=name,
        facility=facility,
        type=kind,
        address=addresses[0] if addresses else None,
        telecoms=_telecoms(run, element),
    )


def attachment(run: Any, element: Any) -> Any:
    """ED: content in Base64 or plain, or a reference to it."""
    reference = child(run, element, "reference")
    media = element.get("mediaType", "")
    text = "".join(element.itertext()).strip()
    if reference is not None and not text:
        return Attachment(url=reference.get("value", ""), media_type=media)
    if not text:
        return None
    if element.get("representation", "").upper() == "B64":
        data, repaired = base64_bytes(text)
        if data is None:
            run.issue("warning", "attachment-unreadable")
            return None
        if repaired:
            run.issue("warning", "base64-repaired")
        encoding = "B64"
    else:
        data, encoding = text.encode("utf-8"), "TXT"
    language = element.get("language", "")
    found = Attachment(media_type=media, language=language, encoding_as_received=encoding)
    return run.attach(data, found)


def text(run: Any, element: Any) -> Any:
    """The verbatim narrative of a section; of an entry the text or what it refers to; ST; else an attribute."""
    if element.tag == q("text"):
        if element.getparent().tag != q("section"):
            return _said(run, element) or None
        fragment = etree.tostring(verbatim(element), encoding="unicode", with_tail=False)
        return fragment if len(element) or words(element) else None
    if element.get(_TYPE, "").rpartition(":")[2] in _REPEATED:
        return _timing(run, element) or None
    return (
        words(element)
        or element.get("value")
        or element.get("code")
        or _original_text(run, element)
        or None
    )


def _timing(run: Any, element: Any) -> str:
    """PIVL_TS, EIVL_TS and sets of them in words: `every 6 h`, `at ACM`."""
    pieces = []
    period_, event = child(run, element, "period"), child(run, element, "event")
    if period_ is not None and (amount := _amount(run, period_)):
        pieces.append(f"every {amount}")
    if event is not None and event.get("code"):
        pieces.append(f"at {event.get('code')}")
    for name in ("offset", "phase"):
        inner = child(run, element, name)
        bounds = [] if inner is None else [child(run, inner, n) for n in ("low", "width", "high")]
        said = [
            _amount(run, bound) for bound in bounds if bound is not None and _amount(run, bound)
        ]
        if inner is not None and inner.get("value"):
            said.insert(0, inner.get("value"))
        pieces += [f"{name} {' '.join(said)}"] if said else []
    pieces += [
        t for e in children(run, element, "comp") if (t := _timing(run, e) or words_of_time(run, e))
    ]
    return ", ".join(pieces)


def words_of_time(run: Any, element: Any) -> str:
    """A component of a set of times that is a plain time or interval."""
    found = period(run, element)
    ends = [] if found is None else [found.start, found.end]
    return " - ".join(end.value for end in ends if end is not None and end.value)


def _amount(run: Any, element: Any) -> str:
    low, high = child(run, element, "low"), child(run, element, "high")
    if element.get("value"):
        return " ".join(t for t in (element.get("value"), element.get("unit")) if t)
    return "-".join(a for e in (low, high) if e is not None and (a := _amount(run, e)))


def plain_text(_run: Any, element: Any) -> Any:
    """`as: text`: the words of an element without its mark-up."""
    return words(element) or None


def integer(run: Any, element: Any) -> Any:
    """INT."""
    value = element.get("value", "") or words(element)
    if value and not value.lstrip("-").isdigit():
        run.issue("warning", "not-an-integer")
    return int(value) if value.lstrip("-").isdigit() else None


def boolean(_run: Any, element: Any) -> Any:
    """BL."""
    value = (element.get("value", "") or words(element)).lower()
    return True if value in {"true", "1"} else False if value in {"false", "0"} else None


def or_null(shape: Shape) -> Callable[[Any, Any, Any], Any]:
    """A shape as the compiler wants it, which tells "nothing, and why" (nullFlavor) from "nothing"."""

    def shaped(run: Any, element: Any, _scope: Any) -> Any:
        value = shape(run, element)
        if value is None:
            reason = element.get("nullFlavor")
            return Null(reason) if reason else None
        return value

    return shaped


_RESULTS: dict[str, tuple[str, Shape | None]] = {
    "PQ": ("quantity", quantity),
    "INT": ("quantity", quantity),
    "REAL": ("quantity", quantity),
    "IVL_PQ": ("range", range_),
    "IVL_INT": ("range", range_),
    "IVL_REAL": ("range", range_),
    "RTO": ("ratio", _ratio),
    "RTO_PQ_PQ": ("ratio", _ratio),
    "RTO_QTY_QTY": ("ratio", _ratio),
    "RTO_MO_PQ": ("ratio", _ratio),
    "MO": ("quantity", quantity),
    "SXCM_TS": ("when", when),
    "CD": ("coded", coded),
    "CE": ("coded", coded),
    "CV": ("coded", coded),
    "CO": ("coded", coded),
    "CS": ("coded", coded),
    "TS": ("when", when),
    "IVL_TS": ("period", period),
    "II": ("identifier", identifier),
    "ED": ("attachment", attachment),
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
    Ratio: _ratio,
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
