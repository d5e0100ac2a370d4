"""CDA R2: names, identifiers, addresses, dates and every text replaced; codes, numbers and structure as written.

What is not known to be harmless is replaced. Outside ClinicalDocument stands the stylesheet of a self-presenting
document, which stays but for the data in it.
Source: HL7 CDA R2 (2005); CI-SIS "Structuration minimale" for the self-presenting form.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable

from broker.anonymising import markup
from broker.anonymising.markup import Element
from broker.anonymising.words import Words
from broker.mapping.values import base64_bytes
from broker.parsing import cda

_KEPT_NAMES = (
    "alignment align border cellpadding cellspacing char charoff classCode code codeSystem codeSystemName "
    "codeSystemVersion colspan compression contextConductionInd contextControlCode determinerCode encoding frame "
    "headers ID IDREF IDREFS inclusive independentInd institutionSpecified integrityCheckAlgorithm inversionInd "
    "isCriterionInd lang language listType mediaType moodCode negationInd nullFlavor operator partType qualifier "
    "referencedObject representation revised rowspan rules scope span styleCode typeCode unit updateMode use valign valueSet "
    "valueSetVersion version width xsiType type schemaLocation"
)
_KEPT = frozenset(_KEPT_NAMES.split())
"""Attributes that hold codes, types and layout."""
_ORGANISATION = re.compile(r".*Organization|asOrganizationPartOf|healthCareFacility|custodian")
_PERSON = frozenset(
    {"assignedPerson", "informationRecipient", "relatedPerson", "associatedPerson", "patient"}
)
_TEMPLATES = frozenset({"templateId", "typeId"})
_LONG_NUMBER = re.compile(r"\d{6,}")
"""An identifier that a sender put where a template has its date."""
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false")
_RESULT = re.compile(r"\s*[<>=≤≥]{0,2}\s*[+-]?\d{1,4}(?:[.,]\d{1,4})?\s*%?\s*")
_DATA_URI = re.compile(r"(data:([\w/+.-]+);base64,)([A-Za-z0-9+/=\s]+)")
_BOUNDS = frozenset({"low", "high", "center"})


def anonymise(
    body: bytes, words: Words, inner: Callable[[bytes, str], bytes], places: Counter[str]
) -> bytes:
    """The document with other people in it. `places` counts what was replaced.

    Raises: ParseError as `broker.parsing.cda.parse` does.
    """
    cda.parse(body)
    codec = markup.codec(body)
    text = body.decode(codec, "surrogateescape")

    def edit(stack: list[Element], attribute: str, value: str) -> str:
        if not value.strip():
            return value
        inside = next((n for n, e in enumerate(stack) if e.name == "ClinicalDocument"), None)
        if inside is None:
            new = words.free(value, codec) if attribute == "#comment" else _data_uris(value, inner)
        elif attribute:
            new = _attribute(stack[inside:], attribute, value, words, codec)
        else:
            new = _text(stack[inside:], value, words, codec, inner)
        if new != value:
            steps = [element.name for element in stack[(inside or 0) + 1 :]]
            last = f"@{attribute}" if attribute.isalpha() else attribute or "text()"
            places["/".join([*steps, last])] += 1
        return new

    return markup.rewrite(text, edit, codec).encode(codec, "surrogateescape")


def _attribute(stack: list[Element], name: str, value: str, words: Words, codec: str) -> str:
    element = stack[-1]
    if name in _KEPT:
        return value
    if element.name in _TEMPLATES:
        return words.text(value, codec) if _LONG_NUMBER.fullmatch(value) else value
    if name == "root":
        is_own = "extension" not in element.attributes
        return words.text(value, codec) if is_own else words.authority(value)
    if name == "extension":
        return words.facility(value, codec) if _is_organisation(stack) else words.text(value, codec)
    if name == "assigningAuthorityName":
        return words.facility(value, codec)
    if name == "displayName":
        return (
            words.display(value, codec)
            if "code" in element.attributes
            else words.free(value, codec)
        )
    if name == "value":
        return _value(stack, value, words, codec)
    if name == "#comment":
        return words.free(value, codec)
    return value if len(value) <= 2 else words.text(value, codec)


def _value(stack: list[Element], value: str, words: Words, codec: str) -> str:
    element = stack[-1]
    if element.name == "telecom":
        return words.text(value, codec)
    if element.name == "reference" and value.startswith("#"):
        return value
    if _is_time(stack):
        return words.date(value, codec)
    return value if _NUMBER.fullmatch(value.strip()) else words.text(value, codec)


def _is_time(stack: list[Element]) -> bool:
    """Whether a `value` here is a point in time: TS by its type, or by the name of the element or of the one around."""
    element = stack[-1]
    if "unit" in element.attributes:
        return False
    kind = element.attributes.get("type", "")
    if kind.endswith("TS") or element.name[-4:].lower() == "time":
        return True
    if element.name not in _BOUNDS or len(stack) < 2:
        return False
    around = stack[-2]
    return around.name[-4:].lower() == "time" or around.attributes.get("type", "").endswith("TS")


def _text(
    stack: list[Element],
    value: str,
    words: Words,
    codec: str,
    inner: Callable[[bytes, str], bytes],
) -> str:
    element = stack[-1]
    if element.attributes.get("representation") == "B64":
        return _base64(value, element.attributes.get("mediaType", ""), words, codec, inner)
    if element.name == "country" or (element.name in ("prefix", "suffix") and len(value.strip()) <= 6):  # fmt: skip
        return value
    named = {one.name for one in stack} & {"name", "addr"}
    if named and _is_organisation(stack):
        return words.facility(value, codec)
    if named:
        return words.person(value, codec) if "name" in named else words.text(value, codec)
    if element.name == "value" and _RESULT.fullmatch(value):
        return value
    return words.free(value, codec)


def _base64(
    value: str, media: str, words: Words, codec: str, inner: Callable[[bytes, str], bytes]
) -> str:
    data, _ = base64_bytes(value)
    if data is None:
        return words.text(value, codec)
    return base64.b64encode(inner(data, media)).decode("ascii")


def _data_uris(value: str, inner: Callable[[bytes, str], bytes]) -> str:
    def changed(found: re.Match[str]) -> str:
        data, _ = base64_bytes(found[3])
        return found[1] + base64.b64encode(inner(data or b"", found[2])).decode("ascii")

    return _DATA_URI.sub(changed, value)


def _is_organisation(stack: list[Element]) -> bool:
    for element in reversed(stack):
        if element.name in _PERSON:
            return False
        if _ORGANISATION.fullmatch(element.name):
            return True
    return False
