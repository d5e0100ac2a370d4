"""Writes a document as CDA R2 in the manner of CI-SIS. For destinations, and for the documents XDS metadata describe.

What came as a CDA goes out byte for byte. Anything else becomes a document of its own: level 1 around its PDF or
text, or sections with results (CI-SIS CR-BIO). The same document always gives the same bytes.
Source: HL7 CDA R2 (2005); CI-SIS "Structuration minimale des documents de santé", volet CR-BIO.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from broker.document import Document
from broker.writing import cda_body, cda_elements, cda_header
from broker.writing.own_records import own_records

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

MEDIA = "application/cda+xml"

_HEAD = 65_536
_BEFORE_ROOT = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(ClinicalDocument|stylesheet|transform)[\s>]")
_WITHIN = re.compile(rb"<(?:[\w.-]+:)?ClinicalDocument[\s>]")


def to_bytes(document: Document, content: Content) -> bytes:
    """The document as CDA.

    content: called once for each attachment whose bytes go into it
    Raises: PermanentError `writing.character` where the document has a character XML cannot hold; `where` is the
    path of the element.
    """
    own = original(document, content)
    if own is not None:
        return own
    document = own_records(document)
    element = cda_elements.root("ClinicalDocument")
    cda_header.write(element, document, cda_body.templates(document))
    cda_body.write(element, document, content)
    cda_header.write_status(element, document)
    return cda_elements.to_bytes(element)


def original(document: Document, content: Content) -> bytes | None:
    """The CDA the document came as, untouched; None when it came as something else."""
    for item in document.attachments:
        if item.role == "main" and item.sha256 and _may_be_cda(item.media_type):
            data = content(item.sha256)
            if is_cda(data):
                return data
    if document.source.format == "cda" and document.original.sha256:
        return content(document.original.sha256)
    return None


def is_cda(data: bytes) -> bool:
    """Whether the bytes are a ClinicalDocument, also inside a style sheet that presents it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in data[:2]:
        data = data.replace(b"\x00", b"").lstrip(b"\xff\xfe")
    text = data.removeprefix(b"\xef\xbb\xbf")
    before = _BEFORE_ROOT.match(text, 0, _HEAD)
    found = _ROOT.match(text, before.end() if before else 0)
    return found is not None and (found[1] == b"ClinicalDocument" or bool(_WITHIN.search(text)))


def _may_be_cda(media: str) -> bool:
    """Senders declare a CDA as any kind of XML, or not at all; the bytes decide."""
    return not media or "xml" in media.lower() or "cda" in media.lower()
