"""Elements of a CDA document while it is written: lxml does the escaping, and whatever XML cannot say is refused.

Source: XML 1.0 (fifth edition) §2.2, characters; CDA R2 schema for the types of attributes.
"""

from __future__ import annotations

from lxml import etree

from broker.errors import PermanentError

Element = etree._Element  # noqa: SLF001 - lxml has no public name for it

V3 = "urn:hl7-org:v3"
SDTC = "urn:hl7-org:sdtc"
LAB = "urn:oid:1.3.6.1.4.1.19376.1.3.2"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = f"{{{XSI}}}type"
_PREFIXES = {None: V3, "xsi": XSI, "sdtc": SDTC, "lab": LAB}


def q(name: str) -> str:
    """The tag of a CDA element; a name that has a namespace already keeps it."""
    return name if name.startswith("{") else f"{{{V3}}}{name}"


def root(name: str) -> Element:
    """The document element, with the prefixes a CDA uses."""
    return etree.Element(q(name), nsmap=_PREFIXES)  # type: ignore[arg-type]  # the stubs know no default namespace


def add(
    parent: Element, name: str, text: str = "", *, type_: str = "", **attributes: str
) -> Element:
    """A new last child. Attributes without a value are left out; `type_` is its xsi:type.

    Raises: PermanentError `writing.character` with the path of the element.
    """
    element = etree.SubElement(parent, q(name))
    if type_:
        element.set(_TYPE, type_)
    for key, value in attributes.items():
        put(element, key, value)
    if text:
        write(element, text)
    return element


def put(element: Element, name: str, value: str) -> None:
    """Set an attribute unless the value is empty. Raises: PermanentError `writing.character`."""
    if not value:
        return
    try:
        element.set(name, value)
    except ValueError:
        raise _refused(f"{place(element)}/@{name}") from None


def write(element: Element, text: str) -> None:
    """Set the text of an element. Raises: PermanentError `writing.character`."""
    try:
        element.text = text
    except ValueError:
        raise _refused(place(element)) from None


def write_after(element: Element, text: str) -> None:
    """Set the text that follows an element. Raises: PermanentError `writing.character`."""
    try:
        element.tail = text
    except ValueError:
        raise _refused(place(element)) from None


def place(element: Element) -> str:
    """The path of an element by local names, as CDA people write it."""
    names = [_local(element), *(_local(above) for above in element.iterancestors())]
    return "/".join(reversed(names))


def to_bytes(document: Element) -> bytes:
    """The document as UTF-8 with its declaration."""
    return etree.tostring(document, xml_declaration=True, encoding="UTF-8")


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _refused(where: str) -> PermanentError:
    return PermanentError(
        "writing.character", where=where, reason="a character that XML has no place for"
    )
