"""The Composition of a document Bundle: its header and its sections. For `broker.writing.fhir`.

A section shows its own narrative where it came as XHTML or text; CDA narrative is XML of another kind and is shown as
the text it holds. Records that no section names stand in a section of their kind.
Source: FHIR R4 (4.0.1) Composition, Narrative, "Documents".
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from broker.document import Document, Section
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries, references, unknown
from broker.writing.fhir_reference import is_withdrawn
from broker.writing.fhir_types import Json, each, filled

_STATUS = {
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "amended",
    "entered_in_error": "entered-in-error",
    "cancelled": "entered-in-error",
}
_RELATIONS = {"replaces": "replaces", "transforms": "transforms", "appends": "appends", "signs": "signs"}  # fmt: skip
_CONFIDENTIALITY = frozenset("ULMNRV")
_TAG = re.compile(r"<[^<>]*>")
_XHTML = "http://www.w3.org/1999/xhtml"

Records = Sequence[tuple[str, str, str]]
"""(title of their kind, id in the document, fullUrl) of each record."""


def composition(
    entries: Entries, document: Document, subject: str, encounter: str, records: Records
) -> Json:
    """The resource that comes first in a document Bundle."""
    authors = [entries.author(author) for author in document.authors]
    at = document.legal_authenticator.at if document.legal_authenticator else None
    signer = entries.author(document.legal_authenticator)
    label = next((c.code for one in document.confidentiality for c in one.codings), "")
    resource = filled(
        resourceType="Composition",
        language=document.language,
        identifier=types.identifier(document.set_id or document.unique_id),
        status="entered-in-error"
        if is_withdrawn(document)
        else _STATUS.get(document.status, "final" if signer else "preliminary"),
        type=types.concept(document.type_code) or {"text": document.title or document.kind},
        category=each(types.concept, [types.translated(document.class_code)]),
        subject=types.reference(subject),
        encounter=types.reference(encounter),
        date=types.date_time(document.created_at),
        author=references(authors) or [unknown()],
        title=document.title or _title(document),
        confidentiality=label if label in _CONFIDENTIALITY else None,
        attester=[filled(mode="legal", time=types.date_time(at), party=types.reference(signer))]
        if signer
        else [],
        custodian=types.reference(entries.organization(document.custodian)),
        relatesTo=[
            {"code": _RELATIONS[item.kind], "targetIdentifier": types.identifier(item.target)}
            for item in document.relations
            if item.kind in _RELATIONS and types.identifier(item.target)
        ],
        event=_event(document),
        section=_sections(document, records),
    )
    if "date" not in resource:
        resource["_date"] = unknown()
    return resource


def _title(document: Document) -> str:
    coded = document.type_code
    named = next((c.display for c in coded.codings if c.display), "") if coded else ""
    return named or (coded.text if coded else "") or document.kind.replace("_", " ")


def _event(document: Document) -> list[Json]:
    one = filled(
        code=each(types.concept, document.event_codes),
        period=filled(
            start=types.date_time(document.service_start), end=types.date_time(document.service_end)
        ),
    )
    return [one] if one else []


def _sections(document: Document, records: Records) -> list[Json]:
    """The document's sections in their tree, then a section for each kind of record that none of them names."""
    urls = {record: url for _, record, url in records if record}
    ids = {one.id for one in document.sections}
    tops = [one for one in document.sections if one.parent not in ids or not one.parent]
    made = [_section(one, document.sections, urls) for one in tops]
    named = {entry for one in document.sections for entry in one.entries}
    kinds: dict[str, list[str]] = {}
    for title, record, url in records:
        if title and url and (record not in named or not record):
            kinds.setdefault(title, []).append(url)
    made += [{"title": title, "entry": references(found)} for title, found in kinds.items()]
    return [one for one in made if one]


def _section(one: Section, all_of_them: Sequence[Section], urls: dict[str, str]) -> Json:
    inner = [
        _section(other, all_of_them, urls)
        for other in all_of_them
        if other.parent == one.id and one.id and other is not one
    ]
    text = narrative(one.narrative)
    entry = references([urls[record] for record in one.entries if record in urls])
    made = filled(
        title=one.title,
        code=types.concept(one.code),
        text=text,
        entry=entry,
        emptyReason={"text": one.empty_reason} if one.empty_reason and not entry else None,
        section=[part for part in inner if part],
    )
    # A section holds text, entries, sections, or the reason it is empty (FHIR R4 cmp-1).
    return made if made.keys() & {"text", "entry", "section", "emptyReason"} else {}


def narrative(text: str) -> Json | None:
    """A Narrative: the words of a section, paragraph by paragraph, without its markup."""
    words = html.unescape(_TAG.sub("\n", text)) if "<" in text else text
    lines = [line for line in (" ".join(line.split()) for line in words.splitlines()) if line]
    if not lines:
        return None
    body = "".join(f"<p>{html.escape(_printable(line), quote=False)}</p>" for line in lines)
    return {"status": "additional", "div": f'<div xmlns="{_XHTML}">{body}</div>'}


def _printable(line: str) -> str:
    """Without the characters that XML does not have."""
    return "".join(c for c in line if c >= " " and c not in "\ufffe\uffff")
