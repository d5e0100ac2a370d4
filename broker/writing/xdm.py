"""Writes a document as an IHE XDM archive: its CDA form, the metadata, and the pages for whoever opens it by hand.

Names are those of 8.3 file systems, in capitals; entries carry no date of today, so the same document gives the same
bytes. Source: IHE ITI TF-2 §3.32 "Distribute Document Set on Media".
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

from lxml import etree

from broker.document import Document
from broker.writing import cda, xds
from broker.writing.cda_elements import add

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

MEDIA = "application/zip"

_DOCUMENT = "DOC0001.XML"
_FOLDER = "IHE_XDM/SUBSET01"
_DATE = (1980, 1, 1, 0, 0, 0)
"""The first date a zip can say."""

_XHTML = "http://www.w3.org/1999/xhtml"
_DOCTYPE = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML Basic 1.1//EN" '
    '"http://www.w3.org/TR/xhtml-basic/xhtml-basic11.dtd">'
)
_README = """\
Archive IHE XDM / IHE XDM archive

INDEX.HTM                       ce que contient l'archive / what the archive holds
IHE_XDM/SUBSET01/METADATA.XML   les metadonnees XDS / the XDS metadata
IHE_XDM/SUBSET01/DOC0001.XML    le document, CDA R2 / the document, CDA R2

Ecrit par Carnet. Written by Carnet.
"""


def to_bytes(document: Document, content: Content) -> bytes:
    """The archive of one document. Raises: PermanentError `writing.character` as `cda.to_bytes`."""
    body = cda.to_bytes(document, content)
    files = {
        "INDEX.HTM": _index(document),
        "README.TXT": _README.replace("\n", "\r\n").encode(),
        f"{_FOLDER}/METADATA.XML": xds.metadata(document, body, content, uri=_DOCUMENT),
        f"{_FOLDER}/{_DOCUMENT}": body,
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, data)
    return archive.getvalue()


def _index(document: Document) -> bytes:
    """The page XDM wants: the document by its title, and from where. No patient is named outside the document."""
    page = etree.Element(_html("html"), nsmap={None: _XHTML})  # type: ignore[dict-item]  # the stubs know no default namespace
    title = document.title or "Document"
    add(add(page, _html("head")), _html("title"), title)
    body = add(page, _html("body"))
    add(body, _html("h1"), title)
    if document.custodian and document.custodian.name:
        add(body, _html("p"), document.custodian.name)
    links = add(body, _html("ul"))
    for text, target in (
        (f"{title} (CDA R2)", f"{_FOLDER}/{_DOCUMENT}"),
        ("METADATA.XML", f"{_FOLDER}/METADATA.XML"),
        ("README.TXT", "README.TXT"),
    ):
        add(add(links, _html("li")), _html("a"), text, href=target)
    return etree.tostring(page, xml_declaration=True, encoding="UTF-8", doctype=_DOCTYPE)


def _html(name: str) -> str:
    return f"{{{_XHTML}}}{name}"
