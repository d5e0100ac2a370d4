"""The value of an observation by its kind, and encapsulated content (ED). For the bodies of a CDA.

Source: HL7 v3 Data Types R1 (PQ, IVL_PQ, RTO_PQ_PQ, CD, ST, TS, IVL_TS, BL, ED, II); CDA R2 observation/value.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from broker.document import Attachment, Quantity, Range, Ratio, ResultValue
from broker.writing import cda_text as words
from broker.writing import cda_types as types
from broker.writing.cda_elements import XSI, Element, add, put, write

Attach = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""


def value(parent: Element, item: ResultValue, attach: Attach) -> Element | None:
    """`value` with its type; what has no form of its own is written as its text. None when there is nothing."""
    written = _typed(parent, item, attach)
    if written is not None:
        return written
    said, unit = words.result(item)
    text = f"{said} {unit}".strip()
    return add(parent, "value", text, type_="ST") if text else None


def _typed(parent: Element, item: ResultValue, attach: Attach) -> Element | None:
    if item.quantity:
        return _quantity(parent, item.quantity)
    if item.range:
        return _range(parent, item.range)
    if item.ratio:
        return _ratio(parent, item.ratio)
    if item.coded:
        return types.coded(parent, "value", item.coded, type_="CD")
    if item.when:
        moment = types.stamp(item.when)
        return add(parent, "value", type_="TS", value=moment) if moment else None
    if item.period:
        return types.period(parent, "value", item.period, type_="IVL_TS")
    if item.boolean is not None:
        return add(parent, "value", type_="BL", value="true" if item.boolean else "false")
    if item.identifier and item.identifier.value:
        element = types.identifier(parent, item.identifier, "value")
        element.set(f"{{{XSI}}}type", "II")
        return element
    if item.attachment and (item.attachment.sha256 or item.attachment.url):
        return content(parent, "value", item.attachment, attach, type_="ED")
    return None


def _quantity(parent: Element, item: Quantity) -> Element | None:
    """PQ; what was measured beyond a limit is the interval from it."""
    if not types.is_measured(item):
        return None
    if not item.comparator:
        return types.quantity(parent, "value", item, type_="PQ")
    side = {"<": "high", "<=": "high", ">": "low", ">=": "low"}.get(item.comparator)
    if side is None:
        return None
    element = add(parent, "value", type_="IVL_PQ")
    types.bound(element, side, item)
    return element


def _range(parent: Element, item: Range) -> Element | None:
    bounds = [end for end in (item.low, item.high) if end]
    if not bounds or not all(map(types.is_measured, bounds)):
        return None
    element = add(parent, "value", type_="IVL_PQ")
    if item.low:
        types.bound(element, "low", item.low)
    if item.high:
        types.bound(element, "high", item.high)
    return element


def _ratio(parent: Element, item: Ratio) -> Element | None:
    above, below = item.numerator, item.denominator
    if above is None or below is None or above.comparator or below.comparator:
        return None
    if not (types.is_measured(above) and types.is_measured(below)):
        return None
    element = add(parent, "value", type_="RTO_PQ_PQ")
    types.quantity(element, "numerator", above)
    types.quantity(element, "denominator", below)
    return element


def content(
    parent: Element, name: str, item: Attachment, attach: Attach, *, type_: str = ""
) -> Element:
    """ED: plain text as such when XML keeps every byte of it, anything else in Base64, a link as a reference."""
    media = "".join(item.media_type.split())
    element = add(parent, name, type_=type_, mediaType=media)
    if not item.sha256:
        add(element, "reference", value=item.url)
        return element
    data = attach(item.sha256)
    text = _plain(data) if media in ("", "text/plain") else ""
    if text:
        put(element, "representation", "TXT")
        write(element, text)
    else:
        put(element, "representation", "B64")
        write(element, base64.b64encode(data).decode("ascii"))
    return element


def _plain(data: bytes) -> str:
    """The text of the bytes when XML can say exactly it; otherwise nothing."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    unsayable = any(
        (ord(char) < 32 and char not in "\t\n\r") or char in "\ufffe\uffff" for char in text
    )
    return "" if unsayable or text != text.strip() else text
