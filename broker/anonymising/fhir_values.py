"""What becomes of one value of a FHIR resource: the same for JSON and XML.

Source: FHIR R4 (4.0.1), data types Identifier, HumanName, Address, ContactPoint, Reference, Coding, CodeableConcept;
RESTful API, "search" for conditional references.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from broker.anonymising.fhir_elements import FACILITIES, IDENTIFYING, KEPT, REFERENCES
from broker.anonymising.words import Words
from broker.parsing.fhir_types import element_table

_NUMERIC = frozenset(
    name
    for elements in element_table().values()
    for name, (_, kind) in elements.items()
    if kind in ("integer", "decimal", "boolean") and name != "value"
)
_DATE = re.compile(r"\d{4}-\d{2}(?:-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2})?)?)?")
_TIMELY = re.compile(r".*(?:[dD]ate|[tT]ime|start|end|onset|Period|issued|created|recorded)")
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d+)?|true|false")
_RESULT = re.compile(r"\s*[<>=≤≥]{0,2}\s*[+-]?\d{1,4}(?:[.,]\d{1,4})?\s*%?\s*")
_OWNED = re.compile(r".*(?:[iI]dentifier|[tT]elecom|contact|[eE]xtension|answer)")
_TYPE = re.compile(r"[A-Z][A-Za-z]+")
_URI = re.compile(r"(?:urn|https?):\S+|[0-2](?:\.\d+)+", re.IGNORECASE)
_SHORT_TITLE = 6


def replaced(
    path: Sequence[str], siblings: Mapping[str, Any], kinds: Sequence[str], value: str, words: Words
) -> str:
    """The text that stands for `value`.

    path: element names, the value's own last; siblings: what else its object holds (of XML: what stood before it);
    kinds: the types of the resources around, the innermost last
    """
    name = path[-1]
    around = path[-2] if len(path) > 1 else ""
    if not value.strip() or (name in _NUMERIC and _NUMBER.fullmatch(value)):
        return value
    if name == "system":
        return words.authority(value)
    if name == "url" and around == "request":
        return reference(value, words)
    if name in KEPT and (name != "url" or around in ("extension", "modifierExtension", "")):
        return value
    if name in ("display", "version"):
        is_coding = "code" in siblings or "system" in siblings
        return words.display(value) if is_coding else words.text(value)
    if name in REFERENCES or name == "url":
        return reference(value, words)
    if name not in IDENTIFYING and (_DATE.fullmatch(value) or (_TIMELY.fullmatch(name) and value[:4].isdecimal())):  # fmt: skip
        return words.date(value)
    return _words(name, around, siblings, kinds, value, words)


def _words(
    name: str,
    around: str,
    siblings: Mapping[str, Any],
    kinds: Sequence[str],
    value: str,
    words: Words,
) -> str:
    is_facility = bool(kinds) and kinds[-1] in FACILITIES
    if (
        name == "value"
        and not _OWNED.fullmatch(around)
        and _NUMBER.fullmatch(value)
        and "system" not in siblings
    ):
        return value
    if name in ("prefix", "suffix") and len(value) <= _SHORT_TITLE:
        return value
    if name == "text" and value in displays(siblings):
        return words.display(value)
    if name in ("family", "given") or (name == "text" and around == "name"):
        return words.person(value)
    if name == "valueString" and kinds[-1:] == ["Observation"] and _RESULT.fullmatch(value):
        return value
    if name in ("name", "alias", "value") and is_facility and around != "telecom":
        return words.facility(value)
    if name in _FREE or (name == "text" and around not in ("name", "address")):
        return words.free(value)
    return words.text(value)


_FREE_NAMES = (
    "comment comments conclusion description div note summary text title valueString valueMarkdown "
    "patientInstruction purpose details contentString"
)
_FREE = frozenset(_FREE_NAMES.split())


def displays(siblings: Mapping[str, Any]) -> set[str]:
    """The displays and codes beside the text of a CodeableConcept."""
    coding = siblings.get("coding")
    found = coding if isinstance(coding, list) else []
    return {
        str(one.get(name)) for one in found if isinstance(one, dict) for name in ("display", "code")
    }


def reference(text: str, words: Words) -> str:
    """A reference, URL or condition with other identifiers and the same types, servers and systems."""
    start, mark, query = text.partition("?")
    if not mark and "identifier=" in text:
        start, query = "", text
    if query:
        return start + mark + "&".join(_condition(part, words) for part in query.split("&"))
    if text.startswith("#"):
        return "#" + words.text(text[1:])
    if text.lower().startswith("urn:"):
        return words.text(text)
    parts = text.split("/")
    own = [n + 1 for n, part in enumerate(parts[:-1]) if _TYPE.fullmatch(part)]
    if not own and len(parts) == 1 and _TYPE.fullmatch(text):
        return text
    for n in own or [len(parts) - 1]:
        parts[n] = words.text(parts[n])
    return "/".join(parts)


def _condition(part: str, words: Words) -> str:
    name, mark, value = part.partition("=")
    plain = unquote(value)
    system, bar, own = plain.rpartition("|")
    new = words.authority(system) + bar + words.text(own)
    return name + mark + (quote(new, safe="/:") if plain != value else new)
