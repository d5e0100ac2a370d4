"""IHE XDM archives: every document replaced inside, the metadata told what has become of it.

Names of files are replaced but for those of the standard. Pages for people and style sheets are left out.
Source: IHE ITI TF-2 3.32; attributes of a document entry: IHE ITI TF-3 §4.2.3.2.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping

from broker.anonymising import hl7v2, markup
from broker.anonymising.markup import Element
from broker.anonymising.words import Words
from broker.parsing import cda, xdm

Inner = Callable[[bytes, str], bytes]

_PLAIN_NAME = re.compile(r"(?:DOC\d*|SUBSET\d*|IHE_XDM|METADATA|DOCUMENT\d*)", re.IGNORECASE)
_LEFT_OUT = re.compile(
    r".*\.(?:html?|xslt?|css|swp)|readme.*|thumbs\.db|desktop\.ini", re.IGNORECASE
)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F-]{36}")
_OID = re.compile(r"[0-2](?:\.\d+)+")
_DATES = frozenset({"creationTime", "serviceStartTime", "serviceStopTime", "submissionTime"})
_KEPT = frozenset({"languageCode", "codingScheme", "repositoryUniqueId", "authorRole", "authorSpecialty"})  # fmt: skip
_TYPES = {
    "authorInstitution": "XON",
    "authorPerson": "XCN",
    "authorTelecommunication": "XTN",
    "intendedRecipient": "XCN",
    "legalAuthenticator": "XCN",
    "patientId": "CX",
    "sourcePatientId": "CX",
}
_PATIENT = {
    "3": "CX",
    "4": "CX",
    "5": "XPN",
    "7": "TS",
    "8": "IS",
    "11": "XAD",
    "13": "XTN",
    "18": "CX",
    "32": "ID",
}
_PATIENT_ID = ("urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427", "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446")  # fmt: skip
"""External identifiers XDSDocumentEntry.patientId and XDSSubmissionSet.patientId."""
_SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
"""XDSSubmissionSet.sourceId: an OID of a system, not of a person."""
_OBJECTS = frozenset({"id", "registryObject", "classifiedObject", "sourceObject", "targetObject"})


def anonymise(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> bytes:
    """The archive with other people in it. `places` counts what was replaced.

    Raises: ParseError as `broker.parsing.xdm.parse` does.
    """
    xdm.parse(body)
    files = {
        name: data
        for name, data in xdm.unpack(body).items()
        if not _LEFT_OUT.fullmatch(name.rpartition("/")[2])
    }
    new = {name: inner(data, "") for name, data in files.items() if not _is_metadata(name)}
    told = {}
    for name, data in new.items():
        old = files[name]
        told[hashlib.sha1(old, usedforsecurity=False).hexdigest()] = hashlib.sha1(data, usedforsecurity=False).hexdigest()  # fmt: skip
        told[str(len(old))] = str(len(data))
        places["document"] += 1
    for name, data in files.items():
        if _is_metadata(name):
            new[name] = _metadata(data, told, words, places)
    return _zipped({_renamed(name, words): new[name] for name in files})


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2].upper() == "METADATA.XML"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _renamed(path: str, words: Words) -> str:
    return "/".join(
        part if _PLAIN_NAME.fullmatch(part.partition(".")[0]) else _stem(part, words)
        for part in path.split("/")
    )


def _stem(name: str, words: Words) -> str:
    stem, dot, extension = name.rpartition(".")
    return words.text(stem) + dot + extension if dot else words.text(name)


def _metadata(data: bytes, told: Mapping[str, str], words: Words, places: Counter[str]) -> bytes:
    cda.tree(data)
    codec = markup.codec(data)

    def edit(stack: list[Element], attribute: str, value: str) -> str:
        if not value.strip():
            return value
        new = _attribute(stack, attribute, value, words) if attribute else _slot(stack, value, told, words)  # fmt: skip
        if new != value:
            places["/".join(e.name for e in stack[-3:])] += 1
        return new

    text = data.decode(codec, "surrogateescape")
    return markup.rewrite(text, edit, codec).encode(codec, "surrogateescape")


def _attribute(stack: list[Element], name: str, value: str, words: Words) -> str:
    element = stack[-1]
    if name == "#comment":
        return words.free(value)
    if name in _OBJECTS:
        return words.text(value) if _UUID.fullmatch(value) else value
    if name != "value":
        return value
    if element.name == "ExternalIdentifier":
        scheme = element.attributes.get("identificationScheme", "")
        if scheme == _SOURCE_ID and _OID.fullmatch(value):
            return value
        return hl7v2.value("CX", value, words) if scheme in _PATIENT_ID else words.text(value)
    owners = [one.name for one in stack[-3:-1]]
    if element.name == "LocalizedString" and owners[:1] in (["Classification"], ["ExternalIdentifier"]):  # fmt: skip
        return value
    return words.free(value)


def _slot(stack: list[Element], value: str, told: Mapping[str, str], words: Words) -> str:
    name = next((e.attributes.get("name", "") for e in reversed(stack) if e.name == "Slot"), "")
    bare = value.strip()
    if name in ("hash", "size"):
        return value.replace(bare, told.get(bare.lower(), bare))
    if name == "URI":
        return _renamed(value.replace("\\", "/"), words)
    if name in _DATES:
        return words.date(value)
    if name in _KEPT:
        return value
    if name == "sourcePatientInfo":
        place, mark, rest = value.partition("|")
        kind = _PATIENT.get(place.strip().removeprefix("PID-"), "")
        return place + mark + hl7v2.value(kind, rest, words)
    if name in _TYPES:
        return "|".join(
            hl7v2.value(
                "XON" if n == 0 and name == "intendedRecipient" else _TYPES[name], part, words
            )
            for n, part in enumerate(value.split("|"))
        )
    return words.text(value)
