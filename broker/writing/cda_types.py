"""The values of the document model as HL7 v3 data types: II, CD, TS, AD, TEL, PN, PQ and their intervals.

Digits are written as they came. What CDA has no form for is said as text, or as unknown.
Source: HL7 v3 Data Types R1 as in the CDA R2 schema; CI-SIS "Structuration minimale" for names and addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from broker.document import (
    Address,
    Coded,
    Coding,
    Identifier,
    Period,
    PersonName,
    Quantity,
    Telecom,
    When,
)
from broker.writing import systems
from broker.writing.cda_elements import Element, add, put, write

NULL_FLAVORS = frozenset({
    "ASKU", "DER", "INV", "MSK", "NA", "NASK", "NAV", "NI", "NINF", "OTH", "PINF", "QS", "TRC",
    "UNC", "UNK",
})  # fmt: skip
"""Why nothing is there (HL7 v3 NullFlavor, as the CDA schema lists them)."""

_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(\.\d+)?)?)?)?)?)?", re.ASCII
)
_OFFSET = re.compile(r"[+-]\d\d:\d\d", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPACE = re.compile(r"\s")
_SCHEMES = {
    "phone": "tel:", "mobile": "tel:", "pager": "tel:", "fax": "fax:", "email": "mailto:",
    "mssante": "mailto:",
}  # fmt: skip
_TELECOM_USES = {
    "home": "H", "work": "WP", "mobile": "MC", "temporary": "TMP", "vacation": "HV",
    "emergency": "EC", "bad": "BAD",
}  # fmt: skip
_ADDRESS_USES = {"home": "H", "work": "WP", "temporary": "TMP", "vacation": "HV", "bad": "BAD"}
_ADDRESS_PARTS = {
    "house_number": "houseNumber", "street_name": "streetName", "street_type": "streetNameType",
    "post_box": "postBox", "precinct": "precinct",
}  # fmt: skip
_NAME_USES = {"official": "L", "nickname": "P", "pseudonym": "P", "alias": "P"}
_INCLUSIVE = {"<": "false", ">": "false", "<=": "true", ">=": "true"}


def nothing(parent: Element, name: str, reason: str = "UNK") -> Element:
    """An element that says that its value is unknown, where a reader demands the element."""
    return add(parent, name, nullFlavor=reason)


def identifier(parent: Element, item: Identifier, name: str = "id") -> Element:
    """II. An authority without an OID is given by its name, and its root said to be unknown."""
    found = systems.instance(item)
    element = add(parent, name, root=found.root, extension=found.extension)
    put(element, "assigningAuthorityName", found.authority if found.extension else "")
    if not found.root:
        put(element, "nullFlavor", "UNK")
    return element


def identifiers(parent: Element, items: Iterable[Identifier]) -> None:
    """At least one II: those given, else one that is unknown."""
    written = [identifier(parent, item) for item in items if item.value]
    if not written:
        nothing(parent, "id")


def coded(
    parent: Element, name: str, item: Coded | None, *, reference: str = "", type_: str = ""
) -> Element | None:
    """CD or CE: first the coding of a system with an OID, the others as translations. None when there is nothing.

    reference: ID of the narrative that says it, instead of the text itself
    """
    codings = [one for one in item.codings if one.code or one.display] if item else []
    text = item.text if item else ""
    if not codings and not text and not reference:
        return None
    element = add(parent, name, type_=type_)
    first = next(
        (one for one in codings if systems.code_system(one)), codings[0] if codings else None
    )
    unsaid = _coding(element, first) if first else ""
    if first is None or unsaid:
        put(element, "nullFlavor", "UNK" if first is None else "OTH")
    if reference:
        original = add(element, "originalText")
        add(original, "reference", value=f"#{reference}")
    elif text or unsaid:
        add(element, "originalText", text or unsaid)
    if unsaid and (reference or text):
        _in_words(element, unsaid)
    for one in codings:
        if one is not first and (first is None or one.code != first.code or one.system):
            translation = add(element, "translation")
            if left := _coding(translation, one):
                put(translation, "nullFlavor", "OTH")
                add(translation, "originalText", left)
    return element


def _in_words(element: Element, code: str) -> None:
    """A code with blanks as a translation in words: no attribute can hold it."""
    translation = add(element, "translation", nullFlavor="OTH")
    add(translation, "originalText", code)


def _coding(element: Element, one: Coding) -> str:
    """Write the attributes of a coding. What its code is when CDA cannot hold it (a code with blanks), else empty."""
    oid = systems.code_system(one)
    fits = not _SPACE.search(one.code)
    put(element, "code", one.code if fits else "")
    put(element, "codeSystem", oid)
    put(element, "codeSystemName", systems.code_system_name(one, oid))
    put(element, "codeSystemVersion", one.version)
    put(element, "displayName", one.display)
    return "" if fits else one.code


def simple_code(item: Coded | None) -> str:
    """The code alone, for attributes and CS; empty when there is none that fits."""
    code = item.codings[0].code if item and item.codings else ""
    return "" if _SPACE.search(code) else code


def stamp(when: When | None) -> str:
    """TS: digits to the precision the source had, an offset only after a time. Empty when nothing was readable."""
    found = _TIME.fullmatch(when.value) if when else None
    if when is None or found is None:
        return ""
    digits = "".join(part for part in found.groups() if part)
    offset = when.offset or when.assumed_offset
    if found[4] and _OFFSET.fullmatch(offset):
        digits += offset.replace(":", "")
    return digits


def time(
    parent: Element, name: str, when: When | None, *, required: bool = False
) -> Element | None:
    """TS, or unknown where one is required."""
    value = stamp(when)
    if value:
        return add(parent, name, value=value)
    return nothing(parent, name) if required else None


def interval(
    parent: Element,
    name: str,
    start: When | None,
    end: When | None = None,
    *,
    required: bool = False,
) -> Element | None:
    """IVL_TS of its two bounds; a bound nobody gave is unknown where the interval is required."""
    low, high = stamp(start), stamp(end)
    if not low and not high:
        if not required:
            return None
        element = add(parent, name)
        nothing(element, "low")
        return element
    element = add(parent, name)
    if low:
        add(element, "low", value=low)
    elif required:
        nothing(element, "low")
    if high:
        add(element, "high", value=high)
    return element


def until(parent: Element, name: str, when: When | None) -> None:
    """IVL_TS that ends at a moment, as CI-SIS dates participations."""
    if value := stamp(when):
        add(add(parent, name), "high", value=value)


def period(parent: Element, name: str, item: Period, *, type_: str = "") -> Element | None:
    """IVL_TS with its type said, for a value."""
    element = interval(parent, name, item.start, item.end)
    if element is not None and type_:
        element.set("{http://www.w3.org/2001/XMLSchema-instance}type", type_)
    return element


def address(parent: Element, item: Address) -> Element | None:
    """AD; the place of birth carries its INSEE code in `county`. None when nothing is said."""
    pieces = []
    for part in item.parts:
        label, mark, text = part.partition("=")
        pieces.append((_ADDRESS_PARTS.get(label, "streetAddressLine"), text if mark else label))
    pieces += [("streetAddressLine", line) for line in item.lines]
    pieces += [
        ("precinct", item.district),
        ("county", item.insee_code),
        ("postalCode", item.postal_code),
        ("city", item.city),
        ("state", item.state),
        ("country", item.country),
    ]
    pieces = [(name, text) for name, text in pieces if text]
    if not pieces and not item.text:
        return None
    element = add(parent, "addr", use=_ADDRESS_USES.get(item.use, ""))
    if not pieces:
        write(element, item.text)
    for name, text in pieces:
        add(element, name, text)
    return element


def addresses(parent: Element, items: Iterable[Address], *, required: bool = False) -> None:
    """Every AD there is, or one that is unknown."""
    written = [element for item in items if (element := address(parent, item)) is not None]
    if required and not written:
        nothing(parent, "addr")


def telecoms(parent: Element, items: Iterable[Telecom], *, required: bool = False) -> None:
    """Every TEL there is, or one that is unknown."""
    written = [telecom(parent, item) for item in items if item.value]
    if required and not written:
        nothing(parent, "telecom")


def telecom(parent: Element, item: Telecom) -> Element:
    """TEL: a scheme by kind. Blanks are no part of a URL, and left out of a number."""
    scheme = _SCHEMES.get(item.kind, "" if item.kind == "url" else "tel:")
    value = _SPACE.sub("", item.value)
    if scheme and not value.lower().startswith(scheme):
        value = scheme + value
    use = "MC" if item.kind == "mobile" else "PG" if item.kind == "pager" else ""
    return add(parent, "telecom", value=value, use=use or _TELECOM_USES.get(item.use, ""))


def names(parent: Element, items: Iterable[PersonName]) -> None:
    """PN of a patient: birth and used name in one element with their qualifiers, any other name in its own.

    Given names of the birth record are one text, the first of them again with its qualifier. Source: CI-SIS.
    """
    rest = list(items)
    birth = next((item for item in rest if item.use == "birth"), None)
    used = next((item for item in rest if item.use == "usual"), None)
    if birth or used:
        element = add(parent, "name")
        for item, qualifier in ((birth, "BR"), (used, "CL")):
            if item is not None:
                _qualified(element, item, qualifier, alone=birth is None)
    for item in rest:
        if item is not birth and item is not used:
            name(parent, item)


def _qualified(element: Element, item: PersonName, qualifier: str, *, alone: bool) -> None:
    given = " ".join(part for part in item.given if part)
    add_text(element, "prefix", item.prefix)
    add_text(element, "family", item.family, qualifier)
    if qualifier == "BR":
        add_text(element, "given", given)
        add_text(element, "given", item.birth_given, "BR")
    else:
        add_text(element, "given", given, "" if alone else "CL")
    add_text(element, "suffix", item.suffix)


def add_text(parent: Element, name: str, text: str, qualifier: str = "") -> None:
    """A part of a name, unless there is none."""
    if text:
        add(parent, name, text, qualifier=qualifier)


def name(parent: Element, item: PersonName) -> Element | None:
    """PN of anybody. None when it has no part and no text."""
    if not (item.family or any(item.given) or item.prefix or item.suffix or item.text):
        return None
    element = add(parent, "name", use=_NAME_USES.get(item.use, ""))
    if not item.family and not any(item.given):
        write(element, item.text or " ".join(filter(None, (item.prefix, item.suffix))))
        return element
    add_text(element, "prefix", item.prefix)
    for given in item.given:
        add_text(element, "given", given)
    qualifier = {"birth": "BR", "maiden": "BR", "married": "SP"}.get(item.use, "")
    add_text(element, "family", item.family, qualifier)
    add_text(element, "suffix", item.suffix)
    return element


def is_number(text: str) -> bool:
    """Whether PQ can hold it as it is written."""
    return _NUMBER.fullmatch(text) is not None


def unit_of(item: Quantity) -> str:
    """The UCUM unit, else the unit as received when it can stand in CDA at all."""
    unit = item.ucum or item.unit
    return "" if _SPACE.search(unit) else unit


def is_measured(item: Quantity | None) -> bool:
    """Whether a quantity has a PQ: a number, and a unit that CDA can write when it has one."""
    return (
        item is not None
        and is_number(item.value)
        and bool(unit_of(item) or not (item.unit or item.ucum))
    )


def quantity(
    parent: Element, name: str, item: Quantity, *, unit: str = "", type_: str = ""
) -> Element:
    """PQ with the digits as received; the unit as received too, where UCUM writes it otherwise.

    unit: of what it is compared with, for a bound that was sent without
    """
    own = unit_of(item)
    element = add(parent, name, type_=type_, value=item.value, unit=own or unit)
    if item.unit and item.ucum and item.unit != item.ucum:
        translation = add(element, "translation", value=item.value)
        add(translation, "originalText", item.unit)
    return element


def bound(parent: Element, name: str, item: Quantity, unit: str = "") -> Element:
    """A bound of IVL_PQ; a comparator says whether it belongs to the interval."""
    element = quantity(parent, name, item, unit=unit)
    put(element, "inclusive", _INCLUSIVE.get(item.comparator, ""))
    return element
