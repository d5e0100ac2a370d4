"""Structured results of a CDA: a section a report, its table for people, and the entries that repeat it for machines.

Written as CI-SIS CR-BIO over IHE XD-LAB writes them; a report of another discipline has the same shape without the
templates of a laboratory. Source: CI-SIS volet CR-BIO 2024.01, IHE PaLM TF-3 (XD-LAB), in the examples ANS publishes.
"""

from __future__ import annotations

from broker.document import Document, Observation, Range, Report, ResultValue, Specimen
from broker.writing import cda_people as people
from broker.writing import cda_text as words
from broker.writing import cda_types as types
from broker.writing import systems
from broker.writing.cda_elements import Element, add
from broker.writing.cda_header import XD_LAB
from broker.writing.cda_values import Attach, value

CR_BIO = (XD_LAB, "1.2.250.1.213.1.1.1.55")
_CHAPTER = ("1.3.6.1.4.1.19376.1.3.3.2.1", "1.2.250.1.213.1.1.2.70")
_RESULTS = ("1.3.6.1.4.1.19376.1.3.1", "1.2.250.1.213.1.1.3.21")
_BATTERY = ("1.3.6.1.4.1.19376.1.3.1.4", "1.2.250.1.213.1.1.3.78")
_OBSERVATION = ("1.3.6.1.4.1.19376.1.3.1.6", "1.2.250.1.213.1.1.3.80")
_COLLECTION = ("1.3.6.1.4.1.19376.1.3.1.2", "1.2.250.1.213.1.1.3.77")
_RECEPTION = ("1.3.6.1.4.1.19376.1.3.1.3", "1.2.250.1.213.1.1.3.107")
_COMMENT = ("1.3.6.1.4.1.19376.1.5.3.1.4.2", "1.2.250.1.213.1.1.3.32")
_IHE_ACTS = "1.3.5.1.4.1.19376.1.5.3.2"

_NO_LABORATORY = frozenset({
    "CT", "CTH", "CUS", "EC", "EN", "NMR", "NMS", "NRS", "OUS", "PAR", "PHR", "PHY", "PT", "RAD",
    "RT", "RUS", "RX", "SR", "VR", "VUS", "XRC",
})  # fmt: skip
"""Diagnostic services that are no laboratory (HL7 v2.5.1 table 0074)."""

_STATUSES = {
    "final": "completed", "amended": "completed", "corrected": "completed", "appended": "completed",
    "preliminary": "active", "partial": "active", "registered": "new", "cancelled": "aborted",
    "entered_in_error": "nullified", "entered-in-error": "nullified",
}  # fmt: skip
_STATUS_WORDS = {
    "preliminary": "provisoire", "partial": "provisoire", "registered": "en attente", "corrected": "corrigé",
    "amended": "modifié", "cancelled": "annulé", "entered_in_error": "saisi par erreur",
    "entered-in-error": "saisi par erreur",
}  # fmt: skip
"""What the reader of the table must know of a result that is not simply final."""

_HEADINGS = ("Examen", "Résultat", "Unité", "Valeurs de référence", "Interprétation", "Date")


def is_laboratory(report: Report) -> bool:
    """Whether a report is one of a laboratory; one that does not say counts as such."""
    return not _NO_LABORATORY.intersection(
        coding.code for coding in (report.category.codings if report.category else ())
    )


class Results:
    """Writes the reports of one document, and numbers what their narrative names."""

    def __init__(self, document: Document, attach: Attach) -> None:
        self._own = systems.of_uuid(document.id)
        self._attach = attach
        self._sections = 0

    def section(self, body: Element, report: Report) -> None:
        """One report. Raises: PermanentError `writing.character`."""
        self._sections += 1
        writer = _Report(report, f"r{self._sections}", self._own, self._attach)
        writer.write(add(add(body, "component"), "section"))


class _Report:
    """One report while it is written: narrative first, then the entry that refers to it."""

    def __init__(self, report: Report, prefix: str, own: str, attach: Attach) -> None:
        self.report = report
        self.prefix = prefix
        self.own = own
        self.attach = attach
        self.is_laboratory = is_laboratory(report)
        self.rows = list(_flat(report.observations, prefix))
        self.names = {id(item): name for name, item in self.rows}
        self.specimens = {one.id: one for one in report.specimens}

    def templates(self, element: Element, oids: tuple[str, ...]) -> None:
        for oid in oids if self.is_laboratory else ():
            add(element, "templateId", root=oid)

    def write(self, section: Element) -> None:
        report = self.report
        self.templates(section, _CHAPTER)
        types.coded(section, "code", report.code)
        title = report.title or words.label(report.code)
        if title:
            add(section, "title", title)
        self._narrative(add(section, "text"))
        if report.observations or report.specimens:
            self._entry(section)

    def _narrative(self, text: Element) -> None:
        if self.rows:
            table = add(text, "table")
            head = add(add(table, "thead"), "tr")
            for heading in _HEADINGS:
                add(head, "th", heading)
            body = add(table, "tbody")
            for name, item in self.rows:
                _row(add(body, "tr"), name, item)
        for name, item in self.rows:
            for number, note in enumerate(item.notes, 1):
                self._said(text, f"{words.label(item.code)} : {note}", f"{name}n{number}")
        for number, note in enumerate(self.report.notes, 1):
            self._said(text, note, f"{self.prefix}n{number}")
        for line in words.words_of(self.report.narrative):
            self._said(text, line)
        if self.report.conclusion:
            self._said(text, self.report.conclusion, f"{self.prefix}c")
        if not len(text):
            self._said(text, words.label(self.report.code) or self.report.title)

    def _said(self, text: Element, said: str, name: str = "") -> None:
        words.lines(add(text, "paragraph", ID=name), said)

    def _entry(self, section: Element) -> None:
        report = self.report
        entry = add(section, "entry", typeCode="DRIV")
        self.templates(entry, _RESULTS)
        act = add(entry, "act", classCode="ACT", moodCode="EVN")
        orders = (report.filler_order, *report.identifiers)
        for item in orders:
            if item is not None and item.value:
                types.identifier(act, item)
        if types.coded(act, "code", report.code) is None:
            types.nothing(act, "code")
        _status(act, report.status)
        types.interval(act, "effectiveTime", report.issued_at)
        for who in report.performers:
            types_ = add(act, "performer")
            types.until(types_, "time", who.at)
            people.assigned_entity(types_, who.person, who.organization)
        for specimen in report.specimens:
            self._collection(_component(act), specimen)
        if report.observations:
            self._battery(_component(act))
        if report.conclusion:
            self._comment(_component(act), f"{self.prefix}c")
        for number, _ in enumerate(report.notes, 1):
            self._comment(_component(act), f"{self.prefix}n{number}")

    def _battery(self, parent: Element) -> None:
        report = self.report
        organizer = add(parent, "organizer", classCode="BATTERY", moodCode="EVN")
        self.templates(organizer, _BATTERY)
        types.coded(organizer, "code", report.code)
        _status(organizer, report.status)
        if moment := types.stamp(report.collected_at):
            add(organizer, "effectiveTime", value=moment)
        for item in report.observations:
            self._observation(add(organizer, "component"), item)

    def _observation(self, parent: Element, item: Observation) -> None:
        name = self.names[id(item)]
        element = add(parent, "observation", classCode="OBS", moodCode="EVN")
        self.templates(element, _OBSERVATION)
        for own in item.identifiers:
            if own.value:
                types.identifier(element, own)
        types.coded(element, "code", item.code, reference=name)
        _status(element, item.status)
        if moment := types.stamp(item.observed_at):
            add(element, "effectiveTime", value=moment)
        written = value(element, item.value, self.attach) if item.value else None
        if written is None and item.absent_reason:
            _absent(element, item.absent_reason)
        for flag in item.flags:
            types.coded(element, "interpretationCode", flag)
        types.coded(element, "methodCode", item.method)
        types.coded(element, "targetSiteCode", item.body_site)
        self._specimen(element, item.specimen)
        if item.performer is not None or item.performing_organization is not None:
            performer = add(element, "performer")
            people.assigned_entity(performer, item.performer, item.performing_organization)
        for number, _ in enumerate(item.notes, 1):
            self._comment(_component(element), f"{name}n{number}")
        for part in item.components:
            self._observation(_component(element), part)
        for range_ in item.reference_range:
            _reference_range(element, range_, item.value)

    def _specimen(self, element: Element, name: str) -> None:
        specimen = self.specimens.get(name)
        if name and specimen is not None:
            self._specimen_id(add(add(element, "specimen"), "specimenRole"), specimen)

    def _specimen_id(self, element: Element, specimen: Specimen) -> None:
        """The specimen's own identifier; else its name inside the document, in the document's own space."""
        if specimen.identifier is not None and specimen.identifier.value:
            types.identifier(element, specimen.identifier)
        else:
            extension = f"{self.prefix}-{specimen.id or 'spm'}"
            add(element, "id", root=self.own, extension=extension)

    def _collection(self, parent: Element, specimen: Specimen) -> None:
        element = add(parent, "procedure", classCode="PROC", moodCode="EVN")
        self.templates(element, _COLLECTION)
        types.until(element, "effectiveTime", specimen.collected_at)
        types.coded(element, "targetSiteCode", specimen.body_site)
        product = add(element, "participant", typeCode="PRD")
        role = add(product, "participantRole", classCode="SPEC")
        self._specimen_id(role, specimen)
        entity = add(role, "playingEntity")
        if types.coded(entity, "code", specimen.type) is None:
            types.nothing(entity, "code")
        if moment := types.stamp(specimen.received_at):
            received = add(_component(element), "act", classCode="ACT", moodCode="EVN")
            self.templates(received, _RECEPTION)
            add(received, "code", code="SPRECEIVE", codeSystem=_IHE_ACTS)
            add(received, "effectiveTime", value=moment)

    def _comment(self, parent: Element, name: str) -> None:
        act = add(parent, "act", classCode="ACT", moodCode="EVN")
        self.templates(act, _COMMENT)
        add(act, "code", code="48767-8", codeSystem=systems.LOINC, displayName="Commentaire")
        add(add(act, "text"), "reference", value=f"#{name}")
        add(act, "statusCode", code="completed")


def _flat(observations: tuple[Observation, ...], prefix: str) -> list[tuple[str, Observation]]:
    """Every observation with its name in the narrative, components behind the one they belong to."""
    found = []
    for number, item in enumerate(observations, 1):
        name = f"{prefix}o{number}"
        found += [(name, item), *_flat(item.components, name)]
    return found


def _row(row: Element, name: str, item: Observation) -> None:
    said, unit = words.result(item.value)
    add(add(row, "td"), "content", words.label(item.code) or "-", ID=name)
    cell = add(row, "td")
    words.lines(add(cell, "content", ID=f"{name}v"), said or item.absent_reason)
    ranges = " ; ".join(filter(None, map(words.range_, item.reference_range)))
    status = _STATUS_WORDS.get(item.status, "")
    flags = ", ".join(filter(None, (*map(words.label, item.flags), status)))
    for text in (unit, ranges, flags, words.moment(item.observed_at)):
        add(row, "td", text)


def _component(parent: Element) -> Element:
    return add(parent, "entryRelationship", typeCode="COMP")


def _status(parent: Element, status: str) -> None:
    code = _STATUSES.get(status, "")
    add(parent, "statusCode", code=code, nullFlavor="" if code else "UNK")


_ABSENT = {
    "unknown": "UNK", "asked-unknown": "ASKU", "temp-unknown": "NAV", "not-asked": "NASK", "masked": "MSK",
    "not-applicable": "NA", "unsupported": "OTH",
}  # fmt: skip


def _absent(element: Element, reason: str) -> None:
    flavor = reason if reason in types.NULL_FLAVORS else _ABSENT.get(reason, "NI")
    add(element, "value", type_="CD", nullFlavor=flavor)


def _reference_range(parent: Element, item: Range, result: ResultValue | None) -> None:
    """A range by its bounds, in the unit of the result when they have none; else by its text."""
    bounds = [end for end in (item.low, item.high) if end]
    measured = bool(bounds) and all(map(types.is_measured, bounds))
    text = words.range_(item)
    if not measured and not text:
        return
    element = add(add(parent, "referenceRange"), "observationRange")
    if not measured:
        add(element, "value", text, type_="ST")
        return
    if item.text:
        add(element, "text", item.text)
    unit = types.unit_of(result.quantity) if result and result.quantity else ""
    found = add(element, "value", type_="IVL_PQ")
    if item.low:
        types.bound(found, "low", item.low, unit)
    if item.high:
        types.bound(found, "high", item.high, unit)
