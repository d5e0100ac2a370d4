"""Reads CDA R2 documents, also inside a self-presenting stylesheet, with the one XML parser of the broker.

Source: HL7 CDA R2 (2005), ClinicalDocument; CI-SIS "Structuration minimale" for the self-presenting form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from lxml import etree

from broker.errors import ParseError

V3 = "urn:hl7-org:v3"
MAX_BYTES = 64 * 1024 * 1024
MAX_ELEMENTS = 200_000
MAX_DEPTH = 100

NAMED = (
    "section", "act", "encounter", "observation", "observationMedia", "organizer", "procedure",
    "regionOfInterest", "substanceAdministration", "supply",
)  # fmt: skip
"""The elements a path may look for anywhere: sections and the clinical statements of CDA R2."""

INS_OIDS = frozenset(f"1.2.250.1.213.1.4.{last}" for last in (8, 9, 10, 11))
"""Production NIR, production NIA, test NIR, demonstration NIR (ANS, `systems.csv`)."""

_KNOWN_PREFIXES = {
    b"xsi": b"http://www.w3.org/2001/XMLSchema-instance",
    b"sdtc": b"urn:hl7-org:sdtc",
    b"voc": b"urn:hl7-org:v3/voc",
}
_ENCODINGS = re.compile(
    r"utf-?8|us-ascii|ascii|iso-8859-\d+|latin-?1|windows-125\d|cp125\d", re.IGNORECASE
)
_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
_WITH_ID = etree.XPath(
    "descendant::v3:text/descendant-or-self::*[@ID] | descendant::v3:title[@ID]",
    namespaces={"v3": V3},
)
_TOO_DEEP = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")


@dataclass(frozen=True, slots=True)
class CdaDocument:
    """One ClinicalDocument.

    root: the ClinicalDocument element, wherever it stood
    by_template: elements by the root of their templateId, in document order
    by_name: the elements of each name in `NAMED`, in document order
    by_id: the element of each `ID` of the narrative, which references in entries point to
    repairs: what was read as meant (`undeclared-prefix`, `no-namespace`)
    """

    root: etree._Element
    by_template: dict[str, list[etree._Element]]
    by_name: dict[str, list[etree._Element]]
    by_id: dict[str, etree._Element]
    body: bytes = field(repr=False)
    repairs: tuple[str, ...] = ()
    format_name: str = "cda"


def parse(body: bytes) -> CdaDocument:
    """Read one CDA document.

    Raises: ParseError `xml.*` (malformed, DOCTYPE, encoding, bounds) with the line, `cda.no_document`.
    """
    top, repairs = _repaired_tree(body)
    root = _clinical_document(top)
    if root is None:
        root = _without_namespace(top)
        repairs = (*repairs, "no-namespace")
    return CdaDocument(root, _by_template(root), _by_name(root), _by_id(root), body, repairs)


def tree(body: bytes) -> etree._Element:
    """The root element of any XML, read by the one hardened constructor: no DTD, no entity, no network, bounded.

    Raises: ParseError `xml.too_large`, `xml.encoding`, `xml.doctype`, `xml.too_many_elements`, `xml.too_deep`,
    `xml.malformed`; `where` is a line number.
    """
    text = plain(body)
    try:
        root = etree.fromstring(text, _parser())
    except etree.XMLSyntaxError as error:
        raise ParseError(
            "xml.malformed", where=f"line {error.lineno or 1}", reason=_kind(error)
        ) from None
    except ValueError:
        raise ParseError("xml.malformed", where="line 1", reason="not XML characters") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise ParseError("xml.doctype", where="prolog", reason="a DOCTYPE is not accepted")
    if _TOO_DEEP(root):
        raise ParseError("xml.too_deep", reason=f"more than {MAX_DEPTH} levels of elements")
    return root


def plain(body: bytes) -> bytes:
    """The same XML in an encoding that shares ASCII, checked for size, DOCTYPE and number of elements.

    UTF-16 is rewritten as UTF-8, so that no check below can be deceived by an encoding.
    """
    if len(body) > MAX_BYTES:
        raise ParseError("xml.too_large", reason=f"more than {MAX_BYTES} bytes")
    text = _ascii_compatible(body)
    prolog = _PROLOG.match(text)
    if text.startswith(b"<!", prolog.end() if prolog else 0):
        raise ParseError("xml.doctype", where="prolog", reason="a DOCTYPE is not accepted")
    # No element is shorter than `<a/>`; where there is room for too many, the first count is an upper bound and costs a
    # tenth of the exact one.
    has_room = len(text) > MAX_ELEMENTS * len("<a/>")
    if (
        has_room
        and text.count(b"<") > MAX_ELEMENTS
        and text.count(b"</") + text.count(b"/>") > MAX_ELEMENTS
    ):
        raise ParseError("xml.too_many_elements", reason=f"more than {MAX_ELEMENTS} elements")
    return text


def patient_keys(body: bytes) -> tuple[tuple[str, str], ...]:
    """The (root, extension) of the patient's identifiers, INS first, by a scan of the bytes and no parse.

    For intake, which computes the lane before anything is parsed. Empty when there is none, or no CDA at all.
    """
    text = body
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:4]:
        text = body.decode("utf-16", "ignore").encode()
    start = _after_patient_role(text)
    scope = text[start : start + 4096] if start else b""
    if b"<!--" in scope:
        scope = _COMMENT.sub(b"", scope)
    if end := _AFTER_IDS.search(scope):
        scope = scope[: end.start()]
    keys = [key for tag in _ID.findall(scope) if (key := _key(tag)) != ("", "")]
    keys.sort(key=lambda key: key[0] not in INS_OIDS)
    return tuple(dict.fromkeys(keys))


_AFTER_IDS = re.compile(
    rb"<(?:[\w.-]{1,40}:)?(?:addr|telecom|patient|providerOrganization)[\s/>]"
    rb"|</(?:[\w.-]{1,40}:)?patientRole"
)
_ID = re.compile(rb"<(?:[\w.-]{1,40}:)?id\s([^>]{1,1000})>")
_TAG_OPEN = re.compile(rb"<(?:[\w.-]{1,40}:)?$")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_ATTRIBUTE = re.compile(r"""\b(root|extension)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def _after_patient_role(text: bytes) -> int:
    """Just after the name of the first `patientRole` start tag; 0 when there is none."""
    at = text.find(b"patientRole")
    while at >= 0:
        before = text[max(0, at - 41) : at]
        if _TAG_OPEN.search(before):
            return at + len(b"patientRole")
        at = text.find(b"patientRole", at + 1)
    return 0


def _key(tag: bytes) -> tuple[str, str]:
    attributes = {
        name: unescape(double or single).strip()
        for name, double, single in _ATTRIBUTE.findall(tag.decode("utf-8", "replace"))
    }
    return attributes.get("root", ""), attributes.get("extension", "")


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, dtd_validation=False,
        attribute_defaults=False, huge_tree=False, recover=False,
    )  # fmt: skip


def _ascii_compatible(body: bytes) -> bytes:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:4]:
        return _from_utf16(body)
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    declared = _DECLARED.match(text[:200])
    if declared and not _ENCODINGS.fullmatch(declared[1].decode("ascii", "replace")):
        raise ParseError("xml.encoding", where="line 1", reason="an encoding that is not accepted")
    return text


def _from_utf16(body: bytes) -> bytes:
    codec = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(
        body[:2], "utf-16-be" if body[:1] == b"\x00" else "utf-16-le"
    )
    try:
        text = body.decode(codec).lstrip()
    except UnicodeDecodeError:
        raise ParseError(
            "xml.encoding", where="line 1", reason="not the UTF-16 it begins as"
        ) from None
    return re.sub(r"^<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL).encode()


def _kind(error: etree.XMLSyntaxError) -> str:
    """The parser's own name of the error: its sentence may quote the document, its name cannot."""
    log: Any = error.error_log
    names = [entry.type_name for entry in log]
    name = names[-1] if names else ""
    return name.removeprefix("ERR_").lower().replace("_", " ") or "not well-formed"


def _repaired_tree(body: bytes) -> tuple[etree._Element, tuple[str, ...]]:
    """The tree, declaring well-known prefixes that published documents use undeclared (`xsi`, `sdtc`)."""
    try:
        return tree(body), ()
    except ParseError as error:
        if (
            error.reason != "ns err undefined namespace"
            and "undefined namespace" not in error.reason
        ):
            raise
        declared = _with_known_prefixes(plain(body))
        if declared is None:
            raise
    return tree(declared), ("undeclared-prefix",)


def _with_known_prefixes(text: bytes) -> bytes | None:
    start = re.search(rb"<(?:[\w.-]+:)?ClinicalDocument\b", text)
    if start is None:
        return None
    tag = text[start.start() : text.find(b">", start.start())]
    missing = b"".join(
        b' xmlns:%s="%s"' % (prefix, uri)
        for prefix, uri in _KNOWN_PREFIXES.items()
        if b"xmlns:" + prefix not in tag and prefix + b":" in text
    )
    return text[: start.end()] + missing + text[start.end() :] if missing else None


def _clinical_document(top: etree._Element) -> etree._Element | None:
    return next(top.iter(f"{{{V3}}}ClinicalDocument"), None)


def _without_namespace(top: etree._Element) -> etree._Element:
    """A document published without any namespace, its elements put into the namespace of CDA."""
    if top.tag != "ClinicalDocument":
        raise ParseError("cda.no_document", where="root", reason="no ClinicalDocument element")
    for element in top.iter(etree.Element):
        if "{" not in str(element.tag):
            element.tag = f"{{{V3}}}{element.tag}"
    return top


def _by_template(root: etree._Element) -> dict[str, list[etree._Element]]:
    index: dict[str, list[etree._Element]] = {}
    for template in root.iter(f"{{{V3}}}templateId"):
        oid, owner = template.get("root"), template.getparent()
        if oid and owner is not None:
            elements = index.setdefault(oid.strip(), [])
            if not elements or elements[-1] is not owner:
                elements.append(owner)
    return index


def _by_id(root: etree._Element) -> dict[str, etree._Element]:
    found: Any = _WITH_ID(root)
    return {element.get("ID"): element for element in found}


def _by_name(root: etree._Element) -> dict[str, list[etree._Element]]:
    index: dict[str, list[etree._Element]] = {name: [] for name in NAMED}
    start = len(V3) + 2
    for element in root.iter(*(f"{{{V3}}}{name}" for name in NAMED)):
        index[str(element.tag)[start:]].append(element)
    return index
