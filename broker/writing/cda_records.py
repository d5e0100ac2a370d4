"""Problems, allergies, treatments, vaccinations and acts of a document as sections for people (CDA level 2).

Their entries are of many profiles and are not repeated for machines: the table is what a CDA reader shows. A record
entered in error is not shown. Section codes: LOINC, as IHE PCC and CI-SIS name their sections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from broker.document import (
    Allergy,
    Coded,
    Coding,
    Document,
    Immunization,
    Medication,
    Period,
    Problem,
    Procedure,
    Quantity,
)
from broker.writing import cda_text as words
from broker.writing import cda_types as types
from broker.writing import systems
from broker.writing.cda_elements import Element, add

_ERRONEOUS = frozenset({"entered_in_error", "entered-in-error"})
_STATUSES = {
    "active": "actif", "completed": "terminé", "resolved": "résolu", "inactive": "inactif", "stopped": "arrêté",
    "on_hold": "suspendu", "planned": "prévu", "not_done": "non fait", "confirmed": "confirmé", "provisional": "provisoire",
    "unconfirmed": "non confirmé", "refuted": "réfuté",
}  # fmt: skip
_KINDS = {
    "prescribed": "prescrit",
    "administered": "administré",
    "dispensed": "dispensé",
    "statement": "déclaré",
}


@dataclass(frozen=True, slots=True)
class _Table:
    """How a list of the document is shown: `field` of the model, LOINC code and title of its section, its columns."""

    field: str
    code: str
    title: str
    headings: tuple[str, ...]
    row: Callable[[Any], tuple[str, ...]]
    none_known: str = ""


def shown_in(document: Document) -> bool:
    """Whether the document has any record that these sections show."""
    return any(_shown(document, table) for table in _TABLES)


def write(body: Element, document: Document) -> None:
    """A section for each kind of record there is. Raises: PermanentError `writing.character`."""
    for table in _TABLES:
        records = _shown(document, table)
        if records:
            _section(add(add(body, "component"), "section"), table, records)


def _shown(document: Document, table: _Table) -> list[Any]:
    return [one for one in getattr(document, table.field) if one.status not in _ERRONEOUS]


def _section(section: Element, table: _Table, records: Sequence[Any]) -> None:
    code = Coded(codings=(Coding(code=table.code, system=systems.LOINC),))
    types.coded(section, "code", code)
    add(section, "title", table.title)
    text = add(section, "text")
    listed = [one for one in records if not getattr(one, "no_known", None)]
    if len(listed) < len(records):
        add(text, "paragraph", table.none_known)
    if not listed:
        return
    drawn = add(text, "table")
    head = add(add(drawn, "thead"), "tr")
    for heading in (*table.headings, "Remarques"):
        add(head, "th", heading)
    rows = add(drawn, "tbody")
    for one in listed:
        row = add(rows, "tr")
        for cell in (*table.row(one), "\n".join(one.notes)):
            words.lines(add(row, "td"), cell)


def _problem(item: Problem) -> tuple[str, ...]:
    status = _joined(_status(item.clinical_status or item.status), _status(item.verification))
    return (
        words.label(item.code),
        words.moment(item.onset),
        words.moment(item.abatement),
        status,
    )


def _allergy(item: Allergy) -> tuple[str, ...]:
    reactions = ", ".join(filter(None, map(words.label, item.reactions)))
    status = _joined(_status(item.clinical_status or item.status), _status(item.verification))
    return (
        words.label(item.code),
        reactions,
        item.criticality,
        words.moment(item.onset),
        status,
    )


def _medication(item: Medication) -> tuple[str, ...]:
    reason = words.label(item.reason)
    return (
        words.label(item.product),
        _joined(_amount(item.dose), item.timing, "si besoin" if item.as_needed else ""),
        words.label(item.route),
        _span(item.start, item.end),
        _joined(_KINDS.get(item.kind, item.kind), _status(item.status), reason),
    )


def _immunization(item: Immunization) -> tuple[str, ...]:
    return (
        words.label(item.vaccine),
        words.moment(item.occurred_at),
        _joined(_amount(item.dose), item.dose_number),
        item.lot,
        _joined(_status(item.status), words.label(item.reason_not_done)),
    )


def _procedure(item: Procedure) -> tuple[str, ...]:
    when = item.performed or Period()
    return (
        words.label(item.code),
        _span(when.start, when.end),
        words.label(item.body_site),
        _joined(_status(item.status), words.label(item.outcome)),
    )


def _amount(item: Quantity | None) -> str:
    return f"{words.amount(item)} {item.unit or item.ucum}".strip() if item else ""


def _span(start: Any, end: Any) -> str:
    return " - ".join(filter(None, (words.moment(start), words.moment(end))))


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _status(status: str) -> str:
    return _STATUSES.get(status, status if status != "unknown" else "")


_TABLES = (
    _Table(
        "problems",
        "11450-4",
        "Problèmes",
        ("Problème", "Début", "Fin", "Statut"),
        _problem,
        "Aucun problème connu.",
    ),
    _Table(
        "allergies",
        "48765-2",
        "Allergies et intolérances",
        ("Allergie", "Réactions", "Criticité", "Début", "Statut"),
        _allergy,
        "Aucune allergie connue.",
    ),
    _Table(
        "medications",
        "10160-0",
        "Traitements",
        ("Médicament", "Dose", "Voie", "Période", "Statut"),
        _medication,
    ),
    _Table(
        "immunizations",
        "11369-6",
        "Vaccinations",
        ("Vaccin", "Date", "Dose", "Lot", "Statut"),
        _immunization,
    ),
    _Table(
        "procedures", "47519-4", "Actes", ("Acte", "Date", "Localisation", "Statut"), _procedure
    ),
)
