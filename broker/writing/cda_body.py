"""The body of a CDA: one content as it is (level 1), or sections of results, narrative and enclosed content.

Source: CDA R2 nonXMLBody and structuredBody; IHE XDS-SD (1.3.6.1.4.1.19376.1.2.20) for one PDF or text.
"""

from __future__ import annotations

from broker.document import Attachment, Document, Report, Section
from broker.writing import cda_records
from broker.writing import cda_text as words
from broker.writing import cda_types as types
from broker.writing.cda_elements import Element, add
from broker.writing.cda_results import CR_BIO, Results, is_laboratory
from broker.writing.cda_values import Attach, content

SCANNED = "1.3.6.1.4.1.19376.1.2.20"
_SCANNED_MEDIA = frozenset({"application/pdf", "text/plain"})


def templates(document: Document) -> tuple[str, ...]:
    """The templates the body makes the document conform to."""
    only = alone(document)
    if only is not None:
        return (SCANNED,) if only.media_type in _SCANNED_MEDIA else ()
    reports = reports_of(document)
    observed = [report for report in reports if report.observations]
    return CR_BIO if observed and all(map(is_laboratory, observed)) else ()


def write(root: Element, document: Document, attach: Attach) -> None:
    """The component that holds the body. Raises: PermanentError `writing.character`."""
    component = add(root, "component")
    only = alone(document)
    if only is not None:
        content(add(component, "nonXMLBody"), "text", only, attach)
        return
    reports = reports_of(document)
    enclosed = _enclosed(document)
    has_records = _shows_records(document)
    if not (reports or enclosed or document.sections or has_records):
        types.nothing(add(component, "nonXMLBody"), "text", "NI")
        return
    body = add(component, "structuredBody")
    results = Results(document, attach)
    for report in reports:
        results.section(body, report)
    for section in document.sections:
        _section(body, section)
    if has_records:
        cda_records.write(body, document)
    for number, item in enumerate(enclosed, 1):
        _media(body, item, f"m{number}", attach)


def alone(document: Document) -> Attachment | None:
    """The one content that is the whole document: its main one, or the only thing it has."""
    enclosed = _enclosed(document)
    if len(enclosed) != 1:
        return None
    only = enclosed[0]
    others = document.reports or document.observations or document.sections
    if only.role == "main" or not (others or _shows_records(document)):
        return only
    return None


def reports_of(document: Document) -> list[Report]:
    """The reports, and one of the observations that stand outside any."""
    free = [Report(observations=document.observations)] if document.observations else []
    return [*document.reports, *free]


def _shows_records(document: Document) -> bool:
    """Whether records need sections of their own: where its author wrote sections in words, those are the truth."""
    narrated = any(section.narrative for section in document.sections)
    return not narrated and cda_records.shown_in(document)


def _enclosed(document: Document) -> list[Attachment]:
    """Content with bytes or a link, the document itself first; a style sheet is no content."""
    found = [item for item in document.attachments if item.sha256 or item.url]
    found = [item for item in found if item.role != "stylesheet"]
    return sorted(found, key=lambda item: item.role != "main")


def _section(body: Element, section: Section) -> None:
    """A section by its words: a fragment of another format is not CDA mark-up."""
    reason = section.empty_reason
    flavor = reason if reason in types.NULL_FLAVORS else ""
    element = add(add(body, "component"), "section", nullFlavor=flavor)
    types.coded(element, "code", section.code)
    if section.title:
        add(element, "title", section.title)
    text = add(element, "text")
    for line in words.words_of(section.narrative):
        add(text, "paragraph", line)


def _media(body: Element, item: Attachment, name: str, attach: Attach) -> None:
    section = add(add(body, "component"), "section")
    if item.title:
        add(section, "title", item.title)
    text = add(section, "text")
    add(text, "renderMultiMedia", referencedObject=name)
    media = add(add(section, "entry"), "observationMedia", ID=name, classCode="OBS", moodCode="EVN")
    content(media, "value", item, attach)
