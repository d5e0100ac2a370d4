"""What a document says of its patient and is so: all that may be written where a reader could take it for a finding.

What is denied, or said of a relative, is left out: formats have places for either that readers overlook. The
document's own bytes, which go along, do say it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from broker.document import Document, Observation, Record, Report

_RECORDS = (
    "problems", "allergies", "medications", "immunizations", "procedures", "orders", "appointments", "encounters",
)  # fmt: skip


def is_of_patient(item: Record) -> bool:
    """Whether a record says something of the patient that is so. A vaccination that was not done has a status."""
    return item.subject is None and (not item.negated or item.status == "not_done")


def own_records(document: Document) -> Document:
    """The document without the records that are not its patient's own."""
    changes: dict[str, Any] = {
        name: tuple(filter(is_of_patient, getattr(document, name))) for name in _RECORDS
    }
    changes["observations"] = _observations(document.observations)
    changes["reports"] = tuple(
        _report(report) for report in document.reports if is_of_patient(report)
    )
    return msgspec.structs.replace(document, **changes)


def _report(report: Report) -> Report:
    return msgspec.structs.replace(report, observations=_observations(report.observations))


def _observations(items: Iterable[Observation]) -> tuple[Observation, ...]:
    return tuple(
        msgspec.structs.replace(item, components=_observations(item.components))
        if item.components
        else item
        for item in items
        if is_of_patient(item)
    )
