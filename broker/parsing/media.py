"""Recognises a format from the bytes, with the declared media type as a second witness."""

from __future__ import annotations

import re

HEAD = 65_536

_HL7V2 = re.compile(rb"(?:^|[\r\n\x0b])[ \t]*(?:MSH|FHS|BHS)[^\w\s]")
_HL7V2_GLUED = re.compile(rb"^\W{0,8}(?:MSH|FHS|BHS)[^\w\s]")
_ROOT = re.compile(rb"<((?:[\w.-]+:)?[A-Za-z_][\w.-]*)([^>]*)>?")
_SKIPPED = re.compile(
    rb"(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*+", re.DOTALL
)
_CDA_TAG = re.compile(rb"<(?:[\w.-]+:)?ClinicalDocument[\s>]")
_DECLARED = (
    ("hl7-v2", "hl7v2"),
    ("hl7v2", "hl7v2"),
    ("cda", "cda"),
    ("fhir", "fhir-r4"),
    ("zip", "xdm"),
)


def recognise(body: bytes, declared: str = "") -> str:
    """`hl7v2`, `cda`, `fhir-r4`, `xdm`, or an empty text when the bytes are none of them.

    The bytes decide. `declared` (a media type) decides only between what the bytes leave open: JSON or XML whose
    root says nothing, so that the format's own reader can name what is wrong.
    """
    if body[:4] == b"MSH|":
        return "hl7v2"
    text = _ascii(body)
    if text[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "xdm"
    if _HL7V2_GLUED.match(text[:64]):
        return "hl7v2"
    if text[:1] == b"<":
        return _xml(text) or _declared(declared, ("cda", "fhir-r4"))
    if text[:1] in (b"{", b"["):
        named = "fhir-r4" if b'"resourceType"' in text else ""
        return named or _declared(declared, ("fhir-r4",))
    return "hl7v2" if _HL7V2.search(text[:HEAD]) else ""


def _ascii(body: bytes) -> bytes:
    """The beginning without byte order mark and blanks; UTF-16 narrowed, for the look of it only."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:2]:
        body = body[: 2 * HEAD].replace(b"\x00", b"").lstrip(b"\xff\xfe")
    return body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x0b")


def _xml(text: bytes) -> str:
    skipped = _SKIPPED.match(text, 0, HEAD)
    root = _ROOT.match(text, skipped.end() if skipped else 0)
    if root is None:
        return ""
    name = root[1].rpartition(b":")[2]
    if name == b"ClinicalDocument":
        return "cda"
    if b'"http://hl7.org/fhir"' in root[2] or b"'http://hl7.org/fhir'" in root[2]:
        return "fhir-r4"
    if name in (b"stylesheet", b"transform") and _CDA_TAG.search(text):
        return "cda"
    return ""


def _declared(media: str, possible: tuple[str, ...]) -> str:
    media = media.lower()
    named = next((kind for word, kind in _DECLARED if word in media), "")
    return named if named in possible else ""
