"""What a search asks for, read strictly: a parameter that is not known is refused, never passed over in silence.

Source: FHIR R4 §3.1.1. The order of pages is that of documents, so `_sort` takes `date` and `-date` alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from broker.records.looking import Want
from broker.web.matching import Filter, prefixed, span_of
from broker.web.refusing import RefusedError
from broker.web.resources import SORTS, Parameter, Resource, parameters_of

MAX_PAIRS = 40
MAX_VALUE = 500
MAX_COUNT = 200
PAGE = "_page"

Pairs = Sequence[tuple[str, str]]
_REFERENCE = re.compile(r"(?:.*/)?(?:Patient/)?([A-Za-z0-9.-]{1,64})")


@dataclass(frozen=True, slots=True)
class Question:
    """A search that can be answered. `patients` are ids, `identifiers` (system, value): all must be one person."""

    resource: Resource
    filters: tuple[Filter, ...] = ()
    patients: tuple[str, ...] = ()
    identifiers: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    count: int = 50
    oldest_first: bool = False

    def want(self, zone: tzinfo) -> Want:
        """As far as rows can tell: the rest is matched on what is rendered."""
        since, until = _bounds(self, zone)
        return Want(
            action=self.resource.action,
            only_current=self.resource.only_current,
            oldest_first=self.oldest_first,
            since=since,
            until=until,
        )


def question(resource: Resource, pairs: Pairs, default_count: int, zone: tzinfo) -> Question:
    """The search of these parameters. Raises: RefusedError(400)."""
    if len(pairs) > MAX_PAIRS or any(len(value) > MAX_VALUE for _, value in pairs):
        raise RefusedError(400, "search.bounds", "At most 40 parameters of 500 characters.")
    known = {one.name: one for one in parameters_of(resource)}
    known["subject"] = known.get("patient", known["_id"])
    filters: list[Filter] = []
    patients: list[str] = []
    identifiers: list[tuple[str, str]] = []
    ids: list[str] = []
    includes: list[str] = []
    count, oldest_first = default_count, False
    for name, value in pairs:
        if name == "_count":
            count = _count(value)
        elif name == "_sort":
            if value not in SORTS:
                raise RefusedError(400, "search.sort", "_sort takes date and -date.")
            oldest_first = value == "date"
        elif name == "_include":
            includes.append(_include(resource, value))
        elif name == "_format":
            continue
        elif name in ("patient", "subject") and "patient" in known:
            patients.append(_patient(value))
        elif (name == "patient.identifier" and name in known) or (
            name == "identifier" and resource.name == "Patient"
        ):
            identifiers.append(_identifier(value))
        elif (parameter := known.get(name)) is not None and name != "subject":
            values = _values(value)
            if name == "_id":
                ids += values
            _check(parameter, values, zone)
            filters.append(Filter(parameter, values))
        else:
            raise RefusedError(400, "search.parameter", "A parameter is not one of this type.")
    return Question(
        resource, tuple(filters), tuple(patients), tuple(identifiers), tuple(ids), tuple(includes), count, oldest_first,
    )  # fmt: skip


def _values(text: str) -> tuple[str, ...]:
    """The alternatives of a value; a comma that belongs to it is written `\\,`."""
    parts = [
        re.sub(r"\\([,$|\\])", r"\1", part) for part in re.split(r"(?<!\\),", text) if part != ""
    ]
    if not parts or len(parts) > MAX_PAIRS:
        raise RefusedError(400, "search.value", "A parameter has no value, or too many.")
    return tuple(parts)


def _check(parameter: Parameter, values: Sequence[str], zone: tzinfo) -> None:
    if parameter.kind == "date" and any(span_of(prefixed(v)[1], zone) is None for v in values):
        raise RefusedError(
            400, "search.date", "A date is written 2026, 2026-03, 2026-03-02 or full."
        )
    if any(value in ("|", "") for value in values):
        raise RefusedError(400, "search.value", "A parameter has no value.")


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 7 and int(value) > 0):
        raise RefusedError(
            400, "search.count", "_count takes a number from 1 on: there are no totals."
        )
    return min(int(value), MAX_COUNT)


def _include(resource: Resource, value: str) -> str:
    source, _, rest = value.partition(":")
    name, _, target = rest.partition(":")
    known = resource.includes or {}
    if source != resource.name or name not in known or target not in ("", known[name]):
        raise RefusedError(400, "search.include", "That cannot be included.")
    return known[name]


def _patient(value: str) -> str:
    found = _REFERENCE.fullmatch(value)
    if found is None:
        raise RefusedError(400, "search.patient", "A patient is written Patient/id.")
    return found[1]


def _identifier(value: str) -> tuple[str, str]:
    system, bar, number = value.rpartition("|")
    if not number:
        raise RefusedError(400, "search.identifier", "An identifier is written system|value.")
    return (system.removeprefix("urn:oid:") if bar else "ins"), number


def _bounds(asked: Question, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """Bounds of the document's instant that every answer lies in. Only a DocumentReference's `date` is that instant."""
    since = until = None
    if asked.resource.name != "DocumentReference":
        return since, until
    for one in asked.filters:
        if one.parameter.name != "date" or len(one.values) != 1:
            continue
        prefix, text = prefixed(one.values[0])
        low, high = span_of(text, zone) or (None, None)
        if prefix in ("eq", "ge", "gt", "sa") and low is not None:
            since = max(low, since or datetime.min.replace(tzinfo=UTC))
        if prefix in ("eq", "le", "lt", "eb") and high is not None:
            until = min(high, until or datetime.max.replace(tzinfo=UTC))
    return since, until
