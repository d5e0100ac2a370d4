"""Applies what a mapping changes to the Bundle the writer made. For `broker.writing.fhir`.

A list on the way is entered at its first item, which is made when there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from broker.document import Coded, Identifier
from broker.fhir_elements import Adjustment, Element
from broker.writing import fhir_types as types
from broker.writing.fhir_types import Json


def adjust(bundle: Json, adjustments: Sequence[Adjustment]) -> None:
    """Change every resource of the types named, in the order of the adjustments."""
    for one in adjustments:
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == one.resource:
                _apply(entry["resource"], one)


def _apply(resource: Json, one: Adjustment) -> None:
    owner = _owner(resource, one.path[:-1], make=one.values is not None)
    if owner is None:
        return
    last = one.path[-1]
    if one.values is None:
        owner.pop(last.name, None)
        return
    written = [
        value for value in map(_writer(last.type), one.values) if value not in (None, "", {})
    ]
    if not written:
        return
    if last.many:
        owner[last.name] = [*owner.get(last.name, []), *written] if one.is_more else written
    else:
        owner[last.name] = written[0]


def _owner(resource: Json, path: Sequence[Element], *, make: bool) -> Json | None:
    owner: Any = resource
    for element in path:
        if element.name not in owner:
            if not make:
                return None
            owner[element.name] = [{}] if element.many else {}
        owner = owner[element.name]
        if element.many:
            owner = owner[0]
    found: Json = owner
    return found


def _writer(kind: str) -> Callable[[Any], Any]:
    return _WRITERS.get(kind, _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if isinstance(value, Coded):
        return next((c.code for c in value.codings if c.code), value.text)
    return value if isinstance(value, str) else str(getattr(value, "value", value))


def _reference(value: Identifier) -> Json:
    return {"identifier": types.identifier(value)}


def _period(value: Any) -> Json:
    return types.filled(start=types.date_time(value.start), end=types.date_time(value.end))


_WRITERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "Identifier": types.identifier,
    "Reference": _reference,
    "CodeableConcept": types.concept,
    "Coding": types.coding,
    "HumanName": types.name,
    "Address": types.address,
    "ContactPoint": types.telecom,
    "date": types.date,
    "dateTime": types.date_time,
    "instant": types.instant,
    "Period": _period,
    "Quantity": types.quantity,
}
