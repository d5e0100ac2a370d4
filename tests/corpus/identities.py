"""What identifies people in a file, read from it without the code that replaces it: for the test of anonymising."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from lxml import etree

from broker.parsing import cda, hl7v2, media

LEAST = 3
_FIELDS = {
    "PID": {3: (0,), 5: range(4), 7: (0,), 11: (0, 1, 2, 3, 4, 7, 8), 13: (0, 3, 6, 11)},
    "NK1": {2: range(4)},
}
_NAMES = ("name", "addr")
_KEPT = ("country", "prefix", "suffix")


def values(body: bytes) -> set[str]:
    """Names, identifiers, addresses, telecoms and birth dates of three characters and more."""
    kind = media.recognise(body)
    if kind == "hl7v2":
        found = {v for message in hl7v2.split_messages(body) for v in _hl7v2(message)}
    elif kind == "cda":
        found = set(_cda(cda.parse(body).root))
    elif kind == "xdm":
        found = {v for data in _files(body) if media.recognise(data) for v in values(data)}
    else:
        found = set(_fhir(body))
    return {v.strip() for v in found if len(v.strip()) >= LEAST}


def text(body: bytes) -> str:
    """The characters of a file, those of an archive's files one after the other; escaped ones as what they mean."""
    if media.recognise(body) == "xdm":
        return "\n".join(text(data) for data in _files(body))
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def occurs(value: str, where: str) -> bool:
    """Whether the value stands there as a whole word, in any case."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?!\.?\w)", where, re.IGNORECASE) is not None


def _files(body: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for member in archive.infolist():
            yield archive.read(member)


def _hl7v2(message: bytes) -> Iterator[str]:
    parsed = hl7v2.parse(message)
    marks = parsed.separators
    for segment in parsed.segments:
        for number, components in _FIELDS.get(segment.name, {}).items():
            raw = segment.fields[number] if number < len(segment.fields) else ""
            for repetition in raw.split(marks.repetition):
                parts = repetition.split(marks.component)
                for n in components:
                    if n < len(parts):
                        yield from re.split(re.escape(marks.subcomponent or "\0"), parts[n])


def _cda(root: Any) -> Iterator[str]:
    for role in root.iter(
        "{*}patientRole", "{*}assignedAuthor", "{*}assignedEntity", "{*}relatedEntity"
    ):
        for element in role.iter("{*}id"):
            yield element.get("extension") or ""
        for element in role.iter("{*}telecom"):
            yield (element.get("value") or "").rpartition(":")[2]
        for element in role.iter("{*}birthTime"):
            yield element.get("value") or ""
        for element in role.iter(*(f"{{*}}{name}" for name in _NAMES)):
            for inner in element.iter(etree.Element):
                if str(inner.tag).rpartition("}")[2] not in _KEPT:
                    yield inner.text or ""


def _fhir(body: bytes) -> Iterator[str]:
    if body.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<":
        yield from _fhir_xml(cda.tree(body))
        return
    decoder, at = json.JSONDecoder(), 0
    whole = body.decode("utf-8-sig")
    while at < len(whole):
        if whole[at].isspace():
            at += 1
            continue
        tree, at = decoder.raw_decode(whole, at)
        yield from _fhir_json(tree, "")


def _fhir_json(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _fhir_json(inner, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if name in ("identifier", "telecom") and key == "value" and isinstance(inner, str):
                yield inner
            yield from _fhir_json(inner, key)
    elif isinstance(value, str) and name in (
        "family",
        "given",
        "line",
        "city",
        "postalCode",
        "birthDate",
    ):
        yield value


def _fhir_xml(root: Any) -> Iterator[str]:
    for element in root.iter(etree.Element):
        name = str(element.tag).rpartition("}")[2]
        owner = element.getparent()
        around = "" if owner is None else str(owner.tag).rpartition("}")[2]
        if name in ("family", "given", "line", "city", "postalCode", "birthDate") or (
            name == "value" and around in ("identifier", "telecom")
        ):
            yield element.get("value") or ""
